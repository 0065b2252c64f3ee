//! How the parts of the false world tell what happened in them: a word for the hash of the run, a line for the trace.

use std::{fmt, sync::Arc};

use crate::engine::{Control, HostId};

type Hear = dyn Fn(u64, fmt::Arguments<'_>) + Send + Sync;

/// Hears what happened. Called while the part that tells holds its own lock: it must not call back into it.
#[derive(Clone)]
pub struct Tell(Arc<Hear>);

impl Tell {
    /// Tells it to this closure.
    pub fn to(hear: impl Fn(u64, fmt::Arguments<'_>) + Send + Sync + 'static) -> Tell {
        Tell(Arc::new(hear))
    }

    /// Tells it to the engine, as something that happened on a host.
    pub fn on(control: &Control, host: HostId) -> Tell {
        let control = control.clone();
        Tell::to(move |word, line| control.tell(host, word, line))
    }

    /// Tells nobody.
    pub fn nobody() -> Tell {
        Tell::to(|_, _| {})
    }

    /// Passes on what happened. What the line says that could differ between two runs must be in the word.
    pub fn line(&self, word: u64, line: fmt::Arguments<'_>) {
        (self.0)(word, line);
    }
}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}

/// A word for some bytes (FNV-1a): equal bytes have equal words, and others hardly ever.
pub(crate) fn word_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut word = 0xCBF2_9CE4_8422_2325;
    for part in parts {
        for byte in part {
            word = (word ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
        // So that two parts are not the same as one.
        word = (word ^ part.len() as u64).wrapping_mul(0x0100_0000_01B3);
    }
    word
}
