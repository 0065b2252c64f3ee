//! What goes wrong with the false S3.
//!
//! Of every kind there is a chance; a request meets one trouble at most. None of them touches what is stored.

use std::time::Duration;

use net::dice::Stream;
use rand::RngExt;

use super::asked::What;
use crate::cold::ColdFaults;

/// How far a listing that lags is behind at most, unless told otherwise.
const LAG_MAX: Duration = Duration::from_secs(3);

/// What is wrong with the server. The default is a healthy one. Chances go from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct S3Faults {
    /// 500 InternalError, before or after the effect.
    pub internal_error_chance: f64,
    /// 503 SlowDown, without effect.
    pub slow_down_chance: f64,
    /// 403 ExpiredToken, without effect.
    pub expired_chance: f64,
    /// The connection is reset, without effect.
    pub reset_before_chance: f64,
    /// The connection is reset after the effect, before the answer.
    pub reset_after_chance: f64,
    /// 409 ConditionalRequestConflict for a put, without effect.
    pub conflict_chance: f64,
    /// The body of a read breaks off.
    pub truncate_chance: f64,
    /// One bit of the body of a read is another.
    pub corrupt_chance: f64,
    /// A listing shows what was there a moment ago.
    pub list_lag_chance: f64,
    /// How long ago at most.
    pub list_lag_max: Duration,
    /// How much later every answer begins.
    pub slow_first_byte: Duration,
    /// Nobody is served. How, is thrown when it begins.
    pub out: bool,
}

impl Default for S3Faults {
    fn default() -> Self {
        Self {
            internal_error_chance: 0.0,
            slow_down_chance: 0.0,
            expired_chance: 0.0,
            reset_before_chance: 0.0,
            reset_after_chance: 0.0,
            conflict_chance: 0.0,
            truncate_chance: 0.0,
            corrupt_chance: 0.0,
            list_lag_chance: 0.0,
            list_lag_max: LAG_MAX,
            slow_first_byte: Duration::ZERO,
            out: false,
        }
    }
}

impl From<&ColdFaults> for S3Faults {
    /// The same harm one level down: a failure at the seam is, by the dice, one of those that a bucket has. Listings never
    /// lag: those of S3 do not.
    fn from(faults: &ColdFaults) -> Self {
        let (before, after) = (faults.fail_before_chance, faults.fail_after_chance);
        Self {
            internal_error_chance: (before + after) * 0.1,
            slow_down_chance: before * 0.3,
            expired_chance: before * 0.1,
            reset_before_chance: before * 0.4,
            reset_after_chance: after * 0.7,
            // Only puts meet it, only reads that.
            conflict_chance: before * 0.5,
            truncate_chance: after * 0.3,
            corrupt_chance: faults.flip_chance,
            slow_first_byte: faults.slow,
            out: faults.out,
            ..Self::default()
        }
    }
}

/// What befalls one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// 500 InternalError, and nothing was done.
    InternalErrorBefore,
    /// 500 InternalError, and it was done.
    InternalErrorAfter,
    /// 503 SlowDown.
    SlowDown,
    /// 403 ExpiredToken.
    Expired,
    /// The connection is reset; nothing was done.
    ResetBefore,
    /// The connection is reset; it was done.
    ResetAfter,
    /// 409 ConditionalRequestConflict.
    Conflict,
    /// The body of the answer breaks off.
    Truncated,
    /// The body of the answer has a bit that is another.
    Corrupted,
    /// The listing is one of a moment ago.
    Lags,
    /// 503 ServiceUnavailable, in an outage.
    Unavailable,
}

impl Trouble {
    /// In words, for the trace.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::InternalErrorBefore => "fails before it took effect",
            Self::InternalErrorAfter => "fails after it took effect",
            Self::SlowDown => "is told to slow down",
            Self::Expired => "is told that its credentials have expired",
            Self::ResetBefore => "is reset before it took effect",
            Self::ResetAfter => "is reset after it took effect",
            Self::Conflict => "meets another of the same name",
            Self::Truncated => "is answered with a body that breaks off",
            Self::Corrupted => "is answered with a bit flipped",
            Self::Lags => "is answered as of a moment ago",
            Self::Unavailable => "is told that nobody is served",
        }
    }

    /// Whether this can befall such a request.
    pub(super) fn befalls(self, what: &What) -> bool {
        match self {
            Self::Conflict => matches!(what, What::Put { .. }),
            Self::Truncated | Self::Corrupted => matches!(what, What::Get { .. }),
            Self::Lags => matches!(what, What::List { .. }),
            _ => true,
        }
    }
}

impl S3Faults {
    /// What befalls this request, by a throw for each kind that may.
    pub(super) fn throw(&self, what: &What, dice: &mut Stream) -> Option<Trouble> {
        let kinds = [
            (self.internal_error_chance, Trouble::InternalErrorBefore),
            (self.slow_down_chance, Trouble::SlowDown),
            (self.expired_chance, Trouble::Expired),
            (self.reset_before_chance, Trouble::ResetBefore),
            (self.reset_after_chance, Trouble::ResetAfter),
            (self.conflict_chance, Trouble::Conflict),
            (self.truncate_chance, Trouble::Truncated),
            (self.corrupt_chance, Trouble::Corrupted),
            (self.list_lag_chance, Trouble::Lags),
        ];
        let mut throw = |chance: f64| chance > 0.0 && dice.random_bool(chance.min(1.0));
        let mut likely = kinds.into_iter().filter(|(_, trouble)| trouble.befalls(what));
        let (_, trouble) = likely.find(|(chance, _)| throw(*chance))?;
        match trouble {
            Trouble::InternalErrorBefore if throw(0.5) => Some(Trouble::InternalErrorAfter),
            trouble => Some(trouble),
        }
    }
}

/// How nobody is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Connections are refused.
    Refuses,
    /// Nothing is heard of it.
    Silent,
    /// Every request is answered with 503.
    Unavailable,
}

impl Outage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Refuses, Self::Silent, Self::Unavailable];

    /// Whether its host is down.
    pub(super) fn is_down(self) -> bool {
        self != Self::Unavailable
    }
}
