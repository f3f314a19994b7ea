//! Our own JSON lines, both ways and without loss: every exchange whole, as `inspect --exchanges` prints it. What we write begins
//! with a line that says what the trace's header said.

use std::collections::VecDeque;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::input::{About, Labels, LineFormat, Row, json_reason};
use super::output::{Refused, RowWriter};
use crate::shape::{BlockSpec, Exchange, GapSketch};
use crate::trace::{Header, Source};

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    schema: String,
    source: Source,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block: Option<BlockSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch_unix_us: Option<u64>,
    sample_ppm: u32,
}

const SCHEMA: &str = "reenact.exchanges/1";

/// The reader.
pub(super) struct Jsonl {
    about: About,
    /// Whether an exchange was read: a head after it must say the same as the one before.
    begun: bool,
}

impl Jsonl {
    pub(super) fn new() -> Self {
        Self {
            about: About::new(Source::Jsonl, None),
            begun: false,
        }
    }

    fn head(&mut self, line: &[u8]) -> Result<(), String> {
        let head: Head = serde_json::from_slice(line).map_err(|error| json_reason(&error))?;
        if head.schema != SCHEMA {
            return Err(format!("`schema` is not {SCHEMA}"));
        }
        let about = About {
            epoch_unix_us: head.epoch_unix_us,
            sample_ppm: head.sample_ppm,
            ..About::new(head.source, head.block)
        };
        if self.begun && about != self.about {
            return Err(
                "it begins another trace, which was recorded otherwise than the lines before"
                    .to_owned(),
            );
        }
        self.about = about;
        Ok(())
    }
}

impl LineFormat for Jsonl {
    fn read(&mut self, line: &[u8], rows: &mut VecDeque<Row>) -> Result<(), String> {
        const HEAD: Labels<1> = Labels::new(["schema"]);
        let head = HEAD;
        if head.read(line)?.raw(0).is_some() {
            return self.head(line);
        }
        let exchange = serde_json::from_slice(line).map_err(|error| json_reason(&error))?;
        let exchange = sane(exchange)?;
        self.begun = true;
        rows.push_back(exchange.into());
        Ok(())
    }

    fn about(&self) -> About {
        self.about
    }
}

/// An exchange of the same fields that stands elsewhere.
#[cfg(feature = "parquet")]
pub(super) fn exchange_of(fields: serde_json::Value) -> Result<Exchange, String> {
    let exchange = serde_json::from_value(fields);
    exchange.map_err(|error| json_reason(&error)).and_then(sane)
}

fn sane(exchange: Exchange) -> Result<Exchange, String> {
    let sent = exchange.frames.as_ref().map(|frames| &frames.sent_gaps);
    for gaps in [&exchange.response.gaps].into_iter().chain(sent) {
        GapSketch::from_parts(gaps.buckets().to_vec(), gaps.longest_us())
            .map_err(|error| error.to_string())?;
    }
    Ok(exchange)
}

/// The writer.
pub(super) struct JsonlWriter {
    head: Option<Head>,
}

impl JsonlWriter {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            head: Some(Head {
                schema: SCHEMA.to_owned(),
                source: header.source,
                block: header.block,
                epoch_unix_us: header.epoch_unix_us,
                sample_ppm: header.sample_ppm,
            }),
        }
    }
}

impl RowWriter for JsonlWriter {
    fn write(
        &mut self,
        exchange: &Exchange,
        _: Option<&str>,
        mut out: &mut dyn Write,
    ) -> Result<(), Refused> {
        if let Some(head) = self.head.take() {
            serde_json::to_writer(&mut out, &head).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        serde_json::to_writer(&mut out, exchange).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tests::any;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_exchange_comes_back_as_it_went_out(mut exchanges in prop::collection::vec(any::exchange(), 1..5)) {
            exchanges.iter_mut().for_each(any::without_longest_of_none);
            let header = Header {
                tool: "0.1.0".into(), source: Source::Recorded, block: Some(BlockSpec::LIVE),
                epoch_unix_us: Some(7), run: 1, sample_ppm: 5, policy: None, envelope: None,
            };
            let mut text = Vec::new();
            let mut writer = JsonlWriter::new(&header);
            for exchange in &exchanges {
                prop_assert!(writer.write(exchange, None, &mut text).is_ok());
            }
            let mut reader = Jsonl::new();
            let mut rows = VecDeque::new();
            for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                reader.read(line, &mut rows).unwrap();
            }
            let about = reader.about();
            prop_assert_eq!((about.source, about.block, about.epoch_unix_us, about.sample_ppm), (header.source, header.block, Some(7), 5));
            let back: Vec<_> = rows.into_iter().map(|row| row.exchange).collect();
            prop_assert_eq!(back, exchanges);
        }
    }

    #[test]
    fn impossible_lines_are_malformed() {
        let mut rows = VecDeque::new();
        for line in [
            r#"{"schema":"reenact.exchanges/2","source":"azure","sample_ppm":1}"#,
            r#"{"at_us":1,"endpoint":"secret"}"#,
            "secret",
        ] {
            let reason = Jsonl::new().read(line.as_bytes(), &mut rows).unwrap_err();
            assert!(!reason.contains("secret"), "{reason}");
        }
        let exchange = Exchange::bare(
            crate::shape::TraceTime::from_us(1),
            crate::shape::Endpoint::Other,
            crate::shape::Method::Get,
        );
        let text = serde_json::to_string(&exchange).unwrap().replace(
            "\"response\":{",
            "\"response\":{\"gaps\":{\"buckets\":[[5,1],[2,1]],\"longest_us\":9},",
        );
        let reason = Jsonl::new().read(text.as_bytes(), &mut rows).unwrap_err();
        assert!(reason.contains("rise"), "{reason}");
        assert!(rows.is_empty());
    }
}
