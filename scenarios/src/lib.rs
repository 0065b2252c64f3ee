//! Which tales we tell: scenarios as data, the nemeses in them, how a tale is run and judged, and how a failure is kept.
//!
//! | part | question |
//! |---|---|
//! | [`exploratory`] | who meets whom: clients, nemeses, laws, by name |
//! | [`nemesis`] | what harm comes next, and when? |
//! | [`scenario`], [`runner`] | storm, calm, judgement |
//! | [`transport`] | how the judge's clients reach simulated nodes |
//! | `about` | what must a run have met, to have proved anything? |
//! | [`story`] | one trap, told step by step |
//! | [`keep`] | the corpus: what a failure leaves behind |
//!
//! The command is `cargo sim`. Everything here needs the feature `sim`.
#![cfg(feature = "sim")]

mod about;
pub mod exploratory;
pub mod keep;
pub mod nemesis;
pub mod runner;
pub mod scenario;
pub mod story;
pub mod transport;
