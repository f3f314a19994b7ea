//! Azure's inference traces: CSV with `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`. Timestamps have 100 ns digits and,
//! in the files of 2024, an offset; they become microseconds since the first row, exactly.

use std::io::BufRead;

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::import::{Row, RowError, Rows};

pub(super) struct AzureRows {
    reader: Reader<Box<dyn BufRead>>,
    /// Where the three columns stand.
    columns: [usize; 3],
    first_ns: Option<i128>,
    record: ByteRecord,
}

const COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

impl AzureRows {
    pub(super) fn new(reader: Box<dyn BufRead>) -> Result<Self, RowError> {
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(reader);
        let header = reader.byte_headers().map_err(io_error)?;
        let place = |name: &str| {
            header
                .iter()
                .map(|field| field.strip_prefix(b"\xef\xbb\xbf").unwrap_or(field))
                .position(|field| field.trim_ascii() == name.as_bytes())
        };
        let [Some(timestamp), Some(context), Some(generated)] = COLUMNS.map(place) else {
            let names = COLUMNS.join(", ");
            return Err(RowError::Format(format!(
                "the header does not name {names}"
            )));
        };
        Ok(Self {
            reader,
            columns: [timestamp, context, generated],
            first_ns: None,
            record: ByteRecord::new(),
        })
    }

    fn row(&mut self) -> Result<Row, String> {
        let [timestamp, context, generated] = self.columns.map(|column| {
            let field = self.record.get(column).map(<[u8]>::trim_ascii);
            field.and_then(|field| std::str::from_utf8(field).ok())
        });
        let at_ns = timestamp
            .and_then(nanoseconds)
            .ok_or("`TIMESTAMP` is missing or not like 2023-11-16 18:15:46.6805900".to_owned())?;
        let tokens = |field: Option<&str>, name: &str| {
            field
                .and_then(|field| field.parse::<u32>().ok())
                .ok_or_else(|| format!("`{name}` is missing or not a whole number"))
        };
        let prompt_tokens = tokens(context, "ContextTokens")?;
        let output_tokens = tokens(generated, "GeneratedTokens")?;
        let since = at_ns - *self.first_ns.get_or_insert(at_ns);
        let at_us = u64::try_from(since.div_euclid(1000)).map_err(|_| {
            "it is earlier than the first row, which is where time begins".to_owned()
        })?;
        Ok(Row {
            at_us,
            prompt_tokens,
            output_tokens,
            blocks: Vec::new(),
        })
    }
}

impl Rows for AzureRows {
    fn next_row(&mut self) -> Option<Result<Row, RowError>> {
        let mut record = std::mem::take(&mut self.record);
        let read = self.reader.read_byte_record(&mut record);
        self.record = record;
        match read {
            Ok(false) => None,
            Ok(true) => Some(self.row().map_err(|reason| RowError::Bad {
                line: self.record.position().map_or(0, csv::Position::line),
                reason,
            })),
            Err(error) => Some(Err(io_error(error))),
        }
    }
}

/// With byte records of any length, reading is all that can fail.
fn io_error(error: csv::Error) -> RowError {
    match error.into_kind() {
        ErrorKind::Io(source) => RowError::Io(source),
        _ => RowError::Io(std::io::Error::other("not CSV")),
    }
}

/// Nanoseconds since 1970. Without an offset, UTC: only differences matter.
fn nanoseconds(text: &str) -> Option<i128> {
    let clock = text.get(10..)?;
    let timestamp = if clock.contains(['+', '-', 'Z', 'z']) {
        text.parse::<Timestamp>().ok()?
    } else {
        let civil: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(civil).ok()?
    };
    Some(timestamp.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Result<(u64, u32, u32), (u64, String)>;

    fn rows(text: &str) -> Vec<Read> {
        let mut rows = AzureRows::new(Box::new(std::io::Cursor::new(text.to_owned())))
            .ok()
            .unwrap();
        std::iter::from_fn(|| rows.next_row())
            .map(|row| match row {
                Ok(row) => Ok((row.at_us, row.prompt_tokens, row.output_tokens)),
                Err(RowError::Bad { line, reason }) => Err((line, reason)),
                Err(RowError::Io(_) | RowError::Format(_)) => unreachable!(),
            })
            .collect()
    }

    #[test]
    fn times_keep_every_microsecond() {
        let read = rows(
            "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
             2023-11-16 23:59:59.9999999,1,2\r\n\
             2023-11-17 00:00:00.0000009,3,4\r\n\
             2023-11-17 00:00:01,5,6\r\n",
        );
        assert_eq!(read, [Ok((0, 1, 2)), Ok((1, 3, 4)), Ok((1_000_000, 5, 6))]);
    }

    #[test]
    fn offsets_and_other_column_orders_are_read() {
        let read = rows(
            "GeneratedTokens,TIMESTAMP,ContextTokens\n\
             2,2024-05-10 00:00:00.009930+00:00,1\n\
             4,2024-05-10 02:00:00.009931+02:00,3\n",
        );
        assert_eq!(read, [Ok((0, 1, 2)), Ok((1, 3, 4))]);
    }

    #[test]
    fn malformed_rows_are_named_and_not_quoted() {
        let read = rows(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n\
             2023-11-16 18:15:46,1,2\n\
             secret,1,2\n\
             2023-11-16 18:15:47,secret,2\n\
             2023-11-16 18:15:47\n\
             2023-11-16 18:15:45,1,2\n\
             2023-11-16 18:15:48,1,2\n",
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
    fn another_csv_is_refused_at_its_header() {
        let other = AzureRows::new(Box::new(&b"Timestamp,Model\n1,x\n"[..]));
        assert!(matches!(other, Err(RowError::Format(_))));
    }
}
