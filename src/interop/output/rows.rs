use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use super::file::Output;
use crate::interop::InteropError;
use crate::shape::Exchange;

/// A format of text, row by row.
pub(in crate::interop) trait RowWriter {
    /// Writes an exchange, whose model's name or pseudonym is `model`, or says why it has no row.
    fn write(
        &mut self,
        exchange: &Exchange,
        model: Option<&str>,
        out: &mut dyn Write,
    ) -> Result<(), Refused>;
}

/// Where an export's exchanges go.
pub(in crate::interop) trait Sink {
    /// Takes an exchange, or says why the format cannot.
    fn take(&mut self, exchange: &Exchange, model: Option<&str>) -> Result<(), Refused>;

    /// Writes what is left, and gives the file its name.
    fn finish(self: Box<Self>) -> Result<(), InteropError>;
}

/// Rows of text to a file.
pub(in crate::interop) struct TextSink<W> {
    pub(in crate::interop) out: Output,
    pub(in crate::interop) rows: W,
}

impl<W: RowWriter> Sink for TextSink<W> {
    fn take(&mut self, exchange: &Exchange, model: Option<&str>) -> Result<(), Refused> {
        self.rows.write(exchange, model, &mut self.out)
    }

    fn finish(self: Box<Self>) -> Result<(), InteropError> {
        self.out.finish()
    }
}

/// Why an exchange was not written.
pub(in crate::interop) enum Refused {
    /// The format cannot express it.
    LeftOut(LeftOut),
    /// Nothing can be written any more.
    Failed(io::Error),
}

impl From<LeftOut> for Refused {
    fn from(why: LeftOut) -> Self {
        Self::LeftOut(why)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Why an exchange has no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::interop) enum LeftOut {
    NotInference,
    NoPromptTokens,
    NoOutputTokens,
    BeyondCalendar,
    TooManyBlocks,
}

impl LeftOut {
    pub(in crate::interop) fn reason(self) -> &'static str {
        match self {
            Self::NotInference => "no answer of tokens",
            Self::NoPromptTokens => "no prompt token count",
            Self::NoOutputTokens => "no output token count",
            Self::BeyondCalendar => "a time beyond the calendar",
            Self::TooManyBlocks => "a prompt of more than 524288 blocks",
        }
    }
}

/// Prompt and output tokens of an exchange, which most formats cannot do without.
pub(in crate::interop) fn counts(exchange: &Exchange) -> Result<(u32, u32), LeftOut> {
    if !exchange.endpoint.generates() {
        return Err(LeftOut::NotInference);
    }
    let prompt = exchange.request.prompt_tokens;
    let prompt = prompt.ok_or(LeftOut::NoPromptTokens)?;
    let output = exchange.response.output_tokens;
    let output = output.ok_or(LeftOut::NoOutputTokens)?;
    Ok((prompt.count, output.count))
}

/// A value as text has it.
#[derive(Default)]
pub(in crate::interop) enum Cell<'a> {
    #[default]
    Empty,
    Seconds(u64),
    Whole(u32),
    Text(Cow<'a, str>),
}

impl Cell<'_> {
    /// Seconds, with as many digits behind the point as it takes.
    pub(in crate::interop) fn seconds(us: u64) -> Self {
        Self::Seconds(us)
    }

    /// A cell, or an empty one.
    pub(in crate::interop) fn or_empty(cell: Option<impl Into<Self>>) -> Self {
        cell.map_or(Self::Empty, Into::into)
    }
}

impl<'a> Cell<'a> {
    /// Text for CSV, in quotes where it needs them. A line end, which no reader here would take for part of a field, is a blank.
    pub(in crate::interop) fn csv(text: &'a str) -> Self {
        let text = if text.contains(['\n', '\r']) {
            Cow::Owned(text.replace(['\n', '\r'], " "))
        } else {
            Cow::Borrowed(text)
        };
        Self::Text(if text.contains([',', '"']) {
            Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
        } else {
            text
        })
    }
}

impl From<u32> for Cell<'_> {
    fn from(number: u32) -> Self {
        Self::Whole(number)
    }
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::Seconds(us) => {
                let (seconds, rest) = (us / 1_000_000, us % 1_000_000);
                if rest == 0 {
                    return write!(f, "{seconds}");
                }
                let digits = format!("{rest:06}");
                write!(f, "{seconds}.{}", digits.trim_end_matches('0'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_the_digits_they_need() {
        let seconds = |us| Cell::seconds(us).to_string();
        assert_eq!(seconds(5_000_000), "5");
        assert_eq!(seconds(61_114_000), "61.114");
        assert_eq!(seconds(1), "0.000001");
    }

    #[test]
    fn text_is_quoted_where_csv_needs_it() {
        assert_eq!(Cell::csv("GPT-4").to_string(), "GPT-4");
        assert_eq!(Cell::csv("a,\"b\"\n").to_string(), "\"a,\"\"b\"\" \"");
    }
}
