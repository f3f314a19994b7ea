//! What a `/metrics` page says, line by line: Prometheus' text format, and OpenMetrics as far as the two agree.

/// One sample of a page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line<'a> {
    /// The metric's name.
    pub(super) name: &'a str,
    /// What stands between the braces, still escaped.
    labels: &'a str,
    /// Its value; may be NaN or infinite.
    pub(super) value: f64,
}

impl<'a> Line<'a> {
    /// A label's value, still escaped: the values that are looked at hold digits and plain words.
    pub(super) fn label(&self, wanted: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        loop {
            let (name, after) = rest.split_once("=\"")?;
            let end = closing_quote(after)?;
            if name.trim_start_matches([',', ' ']).trim_end() == wanted {
                return after.get(..end);
            }
            rest = after.get(end + 1..)?;
        }
    }
}

/// The samples of a page. A line that is none (a comment, an exemplar's rest, rubbish) is skipped: one odd metric must not hide the
/// others.
pub(super) fn lines(page: &str) -> impl Iterator<Item = Line<'_>> {
    page.lines().filter_map(line)
}

fn line(text: &str) -> Option<Line<'_>> {
    let text = text.trim();
    if text.starts_with('#') {
        return None;
    }
    let name_end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))?;
    let (name, rest) = text.split_at_checked(name_end)?;
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        None => ("", rest),
        Some(inside) => {
            let end = closing_brace(inside)?;
            (inside.get(..end)?, inside.get(end + 1..)?)
        }
    };
    let value = rest.split_ascii_whitespace().next()?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        value => value.parse().ok()?,
    };
    (!name.is_empty()).then_some(Line {
        name,
        labels,
        value,
    })
}

/// Where a label's value ends, after its opening quote.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// Where the labels end, after their opening brace.
fn closing_brace(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        let ends = byte == b'}' && !quoted;
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn samples_are_read_with_and_without_labels_and_timestamps() {
        let page = "# HELP a b\n# TYPE a gauge\na 1\nb:c{x=\"1\",y=\"q\\\"}{\"} 2.5e3 1700000000000\n\
                    d{} +Inf\ne{z=\"\"} NaN # {trace=\"1\"} 3\nnot a line\n{x=\"1\"} 3\nf{x=\"1\" 3\n";
        let read: Vec<Line<'_>> = lines(page).collect();
        let names: Vec<&str> = read.iter().map(|line| line.name).collect();
        assert_eq!(names, ["a", "b:c", "d", "e"]);
        assert_eq!(
            (read[0].value, read[1].value, read[2].value),
            (1.0, 2500.0, f64::INFINITY)
        );
        assert_eq!(read[1].label("x"), Some("1"));
        assert_eq!(read[1].label("y"), Some("q\\\"}{"));
        assert_eq!(read[1].label("z"), None);
        assert_eq!(read[3].label("z"), Some(""));
    }

    proptest! {
        #[test]
        fn no_page_panics(page in "[a-z:_{}=\"\\\\, 0-9.\n#é]{0,200}", label in "[a-z]{0,2}") {
            for line in lines(&page) {
                let _ = line.label(&label);
            }
        }

        #[test]
        fn what_is_written_reads_back(value in any::<f64>(), label in "[a-zA-Z0-9 ,{}=]{0,20}") {
            let page = format!("m{{first=\"{label}\",second=\"x\"}} {value}\n");
            let read: Vec<Line<'_>> = lines(&page).collect();
            prop_assert_eq!(read.len(), 1);
            prop_assert!(read[0].value == value || value.is_nan());
            prop_assert_eq!(read[0].label("first"), Some(label.as_str()));
            prop_assert_eq!(read[0].label("second"), Some("x"));
        }
    }
}
