//! Figures in the text format of Prometheus (exposition format 0.0.4).
//!
//! Written here because the libraries keep families in maps whose order the operating system seeds; it is a page of code.

use std::fmt::{Display, Write as _};

/// What kind of figures a family holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// A page of figures that grows family by family.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    /// Begins a family. Names end with their unit, those of counters with `_total`.
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        debug_assert!(!help.contains(['\n', '\\']), "{name}: help is one plain line");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.family = name;
        let _infallible = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One figure of the family begun last.
    pub(crate) fn sample(&mut self, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.sample_of("", labels, value);
    }

    /// One figure of a part of the family: `_bucket`, `_sum` or `_count` of a histogram.
    pub(crate) fn sample_of(&mut self, part: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.text.push_str(self.family);
        self.text.push_str(part);
        for (at, (label, of)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            for letter in of.to_string().chars() {
                match letter {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _infallible = writeln!(self.text, " {value}");
    }

    /// A family of one figure without labels.
    pub(crate) fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// The page.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_as_the_format_says() {
        let mut page = Exposition::default();
        page.family("a_total", Kind::Counter, "How many.");
        page.sample(&[("method", &"GET"), ("status", &200)], 3);
        page.sample(&[("method", &"a\"b\\c\nd")], 4);
        page.single("b_bytes", Kind::Gauge, "How much.", 1.5);
        page.family("c_seconds", Kind::Histogram, "How long.");
        page.sample_of("_bucket", &[("le", &"+Inf")], 7);
        assert_eq!(
            page.into_text(),
            "# HELP a_total How many.\n# TYPE a_total counter\n\
             a_total{method=\"GET\",status=\"200\"} 3\n\
             a_total{method=\"a\\\"b\\\\c\\nd\"} 4\n\
             # HELP b_bytes How much.\n# TYPE b_bytes gauge\nb_bytes 1.5\n\
             # HELP c_seconds How long.\n# TYPE c_seconds histogram\nc_seconds_bucket{le=\"+Inf\"} 7\n"
        );
    }
}
