//! The trace: one line per event, with simulated time, so that two runs can be compared with `cmp`.

use std::{
    fmt,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use crate::engine::Trace;

/// Writes every line out.
pub struct Written<W>(W);

impl<W: Write + Send> Written<W> {
    /// Writes to this; errors of writing are not the run's concern.
    pub fn to(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write + Send> Trace for Written<W> {
    fn line(&mut self, at_ns: u64, host: &str, what: fmt::Arguments<'_>) {
        let _ = writeln!(
            self.0,
            "{:>4}.{:09} {host:<6} {what}",
            at_ns / 1_000_000_000,
            at_ns % 1_000_000_000
        );
    }
}

/// A trace in memory, to be read when the run is over. Clones are the same trace.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    /// What was written so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_simulated_seconds_and_the_host() {
        let kept = Kept::default();
        Written::to(kept.clone()).line(41_203_000_017, "n2", format_args!("power-loss"));
        assert_eq!(kept.text(), "  41.203000017 n2     power-loss\n");
    }
}
