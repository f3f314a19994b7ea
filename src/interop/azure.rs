//! Azure's inference traces, both ways: CSV with `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`. Timestamps have 100 ns digits
//! and, in the files of 2024, an offset; they become microseconds since the first row.

use std::collections::VecDeque;
use std::io::Write;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::input::{About, CsvLine, LineFormat, Lines, Row, RowError, Told};
use super::output::{LeftOut, Refused, RowWriter, counts};
use crate::shape::Exchange;
use crate::trace::Source;

/// The reader.
pub(super) struct Azure {
    csv: CsvLine,
    columns: [Option<usize>; 3],
}

const COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

impl Azure {
    /// Reads the header.
    pub(super) fn open(lines: &mut Lines) -> Result<Self, RowError> {
        let mut csv = CsvLine::new();
        let columns = csv.header(lines, COLUMNS, &COLUMNS)?;
        Ok(Self { csv, columns })
    }
}

impl LineFormat for Azure {
    fn read(&mut self, line: &[u8], rows: &mut VecDeque<Row>) -> Result<(), String> {
        self.csv.split(line)?;
        let [timestamp, context, generated] = self.columns;
        let at_us = self
            .csv
            .filled(timestamp)
            .and_then(unix_microseconds)
            .ok_or("`TIMESTAMP` is missing or not like 2023-11-16 18:15:46.6805900")?;
        rows.push_back(
            Told {
                at_us,
                prompt_tokens: Some(self.csv.tokens(context, "ContextTokens")?),
                output_tokens: Some(self.csv.tokens(generated, "GeneratedTokens")?),
                ..Told::default()
            }
            .into(),
        );
        Ok(())
    }

    fn about(&self) -> About {
        About::new(Source::Azure, None).on_the_wall_clock()
    }
}

/// Microseconds since 1970. Without an offset, UTC: only differences matter.
pub(super) fn unix_microseconds(text: &str) -> Option<u64> {
    let clock = text.get(10..)?;
    let timestamp = if clock.contains(['+', '-', 'Z', 'z']) {
        text.parse::<Timestamp>().ok()?
    } else {
        let civil: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(civil).ok()?
    };
    u64::try_from(timestamp.as_nanosecond().div_euclid(1000)).ok()
}

/// The writer.
pub(super) struct AzureWriter {
    /// The trace's epoch where it is kept, else 1970.
    epoch_unix_us: u64,
    begun: bool,
}

impl AzureWriter {
    pub(super) fn new(epoch_unix_us: Option<u64>) -> Self {
        Self {
            epoch_unix_us: epoch_unix_us.unwrap_or(0),
            begun: false,
        }
    }
}

impl RowWriter for AzureWriter {
    fn write(
        &mut self,
        exchange: &Exchange,
        _: Option<&str>,
        out: &mut dyn Write,
    ) -> Result<(), Refused> {
        let (prompt, output) = counts(exchange)?;
        let unix_us = self.epoch_unix_us.saturating_add(exchange.at.us());
        let Some(at) = i64::try_from(unix_us)
            .ok()
            .and_then(|us| Timestamp::from_microsecond(us).ok())
        else {
            return Err(LeftOut::BeyondCalendar.into());
        };
        if !self.begun {
            self.begun = true;
            write!(out, "{}\r\n", COLUMNS.join(","))?;
        }
        write!(
            out,
            "{}.{:06}0,{prompt},{output}\r\n",
            at.strftime("%Y-%m-%d %H:%M:%S"),
            unix_us % 1_000_000,
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::input::{LineRows, Rows};

    type Read = Result<(u64, u32, u32), (u64, String)>;

    fn rows(text: &str) -> Vec<Read> {
        let mut lines = Lines::new(Box::new(std::io::Cursor::new(text.to_owned())));
        let azure = Azure::open(&mut lines).ok().unwrap();
        let mut rows = LineRows::new(lines, azure);
        std::iter::from_fn(|| rows.next_row())
            .map(|row| match row {
                Ok(Row { exchange, .. }) => {
                    let prompt = exchange.request.prompt_tokens.unwrap().count;
                    let output = exchange.response.output_tokens.unwrap().count;
                    Ok((exchange.at.us() - FIRST_US, prompt, output))
                }
                Err(RowError::Bad { line, reason }) => Err((line, reason)),
                Err(RowError::Io(_) | RowError::Format(_)) => unreachable!(),
            })
            .collect()
    }

    /// 2023-11-16 18:00:00.
    const FIRST_US: u64 = 1_700_157_600_000_000;

    #[test]
    fn times_keep_every_microsecond() {
        let read = rows(
            "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
             2023-11-16 18:00:00.0000009,1,2\r\n\
             2023-11-16 18:00:00.0000010,3,4\r\n\
             2023-11-16 18:00:01,5,6\r\n",
        );
        assert_eq!(read, [Ok((0, 1, 2)), Ok((1, 3, 4)), Ok((1_000_000, 5, 6))]);
    }

    #[test]
    fn offsets_and_other_column_orders_are_read() {
        let read = rows(
            "GeneratedTokens,TIMESTAMP,\"ContextTokens\"\n\
             2,2023-11-16 18:00:00.009930+00:00,1\n\
             4,2023-11-16 20:00:00.009931+02:00,3\n",
        );
        assert_eq!(read, [Ok((9930, 1, 2)), Ok((9931, 3, 4))]);
    }

    #[test]
    fn malformed_rows_are_named_and_not_quoted() {
        let read = rows(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n\
             2023-11-16 18:00:00,1,2\n\
             secret,1,2\n\
             2023-11-16 18:15:47,secret,2\n\
             2023-11-16 18:15:47\n\
             1923-11-16 18:15:47,1,2\n\
             2023-11-16 18:00:02,1,2\n",
        );
        let lines: Vec<_> = read.iter().filter_map(|row| row.as_ref().err()).collect();
        assert_eq!(
            lines.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [3, 4, 5, 6]
        );
        assert!(lines.iter().all(|(_, reason)| !reason.contains("secret")));
        assert_eq!(read[5], Ok((2_000_000, 1, 2)));
    }

    #[test]
    fn a_stray_quote_costs_its_own_line_only() {
        let read = rows(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n\
             2023-11-16 18:00:00,1,2\n\
             \"2023-11-16 18:00:01,1,2\n\
             2023-11-16 18:00:02,1,2\n",
        );
        assert_eq!(read.len(), 3);
        assert_eq!(read[1].as_ref().unwrap_err().0, 3);
        assert_eq!(read[2], Ok((2_000_000, 1, 2)));
    }

    #[test]
    fn another_csv_is_refused_at_its_header() {
        let mut lines = Lines::new(Box::new(&b"Timestamp,Model\n1,x\n"[..]));
        assert!(matches!(Azure::open(&mut lines), Err(RowError::Format(_))));
    }
}
