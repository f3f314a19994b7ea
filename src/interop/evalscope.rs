//! evalscope's JSON lines: a request body, and when it was sent. The body is read as the recorder reads one, under a key that
//! is made for this import and forgotten after it.

use std::collections::VecDeque;

use super::azure::unix_microseconds;
use super::bodies;
use super::input::{About, Fields, Labels, LineFormat, Row, Told};
use crate::anonymise::ChainKey;
use crate::shape::BlockSpec;
use crate::trace::Source;

/// The reader.
pub(super) struct Evalscope {
    key: ChainKey,
    spacing_us: u64,
    begun: u64,
    /// Whether rows have timestamps: all or none must.
    timed: Option<bool>,
}

const LABELS: Labels<3> = Labels::new(["body", "timestamp", "completion_tokens"]);

impl Evalscope {
    pub(super) fn new(key: &ChainKey, spacing_us: u64) -> Self {
        Self {
            key: key.clone(),
            spacing_us,
            begun: 0,
            timed: None,
        }
    }

    fn arrival(&mut self, line: &Fields<'_, 3>) -> Result<u64, String> {
        let what = "a number of seconds or like 2024-05-10T00:00:00Z, as in the rows before";
        let timed = line.raw(1).is_some();
        if *self.timed.get_or_insert(timed) != timed {
            return Err(line.wrong(1, what));
        }
        if !timed {
            let at_us = self.spacing_us.saturating_mul(self.begun);
            self.begun += 1;
            return Ok(at_us);
        }
        if let Ok(Some(text)) = line.text(1) {
            return unix_microseconds(&text).ok_or_else(|| line.wrong(1, what));
        }
        line.needed_time_us(1, 1_000_000)
    }
}

impl LineFormat for Evalscope {
    fn read(&mut self, line: &[u8], rows: &mut VecDeque<Row>) -> Result<(), String> {
        let labels = LABELS;
        let line = labels.read(line)?;
        let body = line.raw(0).ok_or_else(|| line.wrong(0, "an object"))?;
        let seen = bodies::observe(body, &self.key)?;
        let told = Told {
            output_tokens: line.tokens(2)?,
            at_us: self.arrival(&line)?,
            ..Told::default()
        };
        rows.push_back(seen.into_row(told));
        Ok(())
    }

    fn about(&self) -> About {
        let about = About::new(Source::Evalscope, Some(BlockSpec::LIVE));
        match self.timed {
            Some(true) => about.on_the_wall_clock(),
            _ => about,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Endpoint;

    #[test]
    fn a_body_gives_its_shape_and_timestamps_are_read_both_ways() {
        let mut format = Evalscope::new(&ChainKey::from_bytes([2; 16]), 0);
        let mut rows = VecDeque::new();
        let mut read = |line: &str| format.read(line.as_bytes(), &mut rows);
        read(r#"{"body": {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 7}, "timestamp": "2024-05-10T00:00:00.5Z", "headers": {"authorization": "x"}, "completion_tokens": 5}"#).unwrap();
        read(r#"{"body": {"prompt": "hello"}, "timestamp": 1715299200.75}"#).unwrap();
        assert!(read(r#"{"body": {"prompt": "hello"}}"#).is_err());
        assert!(read(r#"{"body": {"secret": "hello"}, "timestamp": 1}"#).is_err());
        let first = &rows[0].exchange;
        assert_eq!(first.request.params.max_tokens, Some(7));
        assert_eq!(first.request.messages[0].bytes, 5);
        assert_eq!(rows[1].exchange.endpoint, Endpoint::Completions);
        assert_eq!(rows[1].exchange.at.us() - first.at.us(), 250_000);
        assert!(format.about().wall_clock);
    }
}
