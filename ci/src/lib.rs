//! When we tell them: jobs a person could type.
//!
//! The jobs are the scripts beside this crate (`ci/serve`, `ci/conformance`, `ci/planted`, ...). The crate itself exists
//! for `tests/tidy.rs`, which checks the arrows of the house, so that `cargo test` checks them too.
