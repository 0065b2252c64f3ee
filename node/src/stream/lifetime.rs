//! How long a stream lives: for ever, until a moment, or as long as somebody uses it.
//!
//! PROTOCOL-NOTES, TTL. A window slides: reads, appends and closes begin it anew. So that not every read must write,
//! a use is noted only when the last one noted is older than a sixteenth of the window, and for that the stream lives a
//! sixteenth longer (at most a minute) than its last noted use says. So it never ends before a whole window has passed
//! without use.

use serde::{Deserialize, Serialize};

use super::row::StreamRow;

/// The most a window is stretched by, in milliseconds.
const SLACK_MS_MAX: u64 = 60_000;

/// The part of a window by which it is stretched.
const SLACK_PART: u64 = 16;

/// How long a stream lives. Set at its creation, for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// Until it is deleted.
    #[default]
    Forever,
    /// `Stream-TTL`: until nobody has used it for so long.
    Window {
        /// Milliseconds. 0: over at once.
        ms: u64,
    },
    /// `Stream-Expires-At`: until this moment, whoever uses it.
    Until {
        /// Unix milliseconds.
        ms: u64,
    },
}

impl Lifetime {
    /// When a stream used last at `touched_ms` is over, in Unix milliseconds.
    #[must_use]
    pub fn deadline_ms(self, touched_ms: u64) -> Option<u64> {
        match self {
            Self::Forever => None,
            Self::Window { ms } => Some(touched_ms.saturating_add(ms).saturating_add(self.slack_ms())),
            Self::Until { ms } => Some(ms),
        }
    }

    /// By how much a use may be newer than the last one noted.
    #[must_use]
    pub fn slack_ms(self) -> u64 {
        match self {
            Self::Window { ms } => (ms / SLACK_PART).min(SLACK_MS_MAX),
            Self::Forever | Self::Until { .. } => 0,
        }
    }

    /// The window within which a use prolongs it, in milliseconds.
    #[must_use]
    pub fn window_ms(self) -> Option<u64> {
        match self {
            Self::Window { ms } => Some(ms),
            Self::Forever | Self::Until { .. } => None,
        }
    }
}

impl StreamRow {
    /// When the stream is over, in Unix milliseconds of the group's time, if nobody uses it any more.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        self.lifetime.deadline_ms(self.touched_ms)
    }

    /// Whether the stream is over at this time: whoever looks for it then finds none.
    #[must_use]
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.deadline_ms().is_some_and(|deadline| deadline <= now_ms)
    }

    /// Whether a use at this time must be noted, or the stream might end too early.
    #[must_use]
    pub fn wants_touch(&self, now_ms: u64) -> bool {
        self.lifetime.window_ms().is_some() && self.touched_ms.saturating_add(self.lifetime.slack_ms()) < now_ms
    }

    /// Notes a use.
    pub(super) fn touch(&mut self, now_ms: u64) {
        if self.lifetime.window_ms().is_some() {
            self.touched_ms = self.touched_ms.max(now_ms);
        }
    }

    /// The next moment at which time alone changes the stream.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let trim = self.retention.due_ms(&self.marks);
        [self.deadline_ms(), trim].into_iter().flatten().min()
    }

    /// Sees to it that the index of deadlines holds the stream no later than it is due. A row that stands there too
    /// early is moved when its time comes, so that a use does not have to move it.
    pub(super) fn index_deadline(&mut self) {
        if let Some(due) = self.due_ms() {
            self.deadline_key_ms = Some(self.deadline_key_ms.map_or(due, |key| key.min(due)));
        }
    }
}
