//! Dynamo's request trace, version 1: JSON lines, one for each event. A request is written when it ends, so its arrival is told
//! out of order. Events of tools and of others are no requests.

use std::collections::VecDeque;

use super::blocks::Blocks;
use super::input::{About, Labels, LineFormat, Numbering, Row, Told};
use crate::anonymise::Private;
use crate::shape::SessionId;
use crate::trace::Source;

/// The reader.
pub(super) struct Dynamo {
    blocks: Blocks,
    sessions: Numbering<Private>,
}

const RECORD: Labels<5> = Labels::new([
    "schema",
    "event_type",
    "event_time_unix_ms",
    "agent_context",
    "request",
]);
const CONTEXT: Labels<2> = Labels::new(["trajectory_id", "session_id"]);
const REQUEST: Labels<8> = Labels::new([
    "model",
    "input_tokens",
    "output_tokens",
    "request_received_ms",
    "total_time_ms",
    "ttft_ms",
    "cached_tokens",
    "replay",
]);
const REPLAY: Labels<3> =
    Labels::new(["trace_block_size", "input_length", "input_sequence_hashes"]);

impl Dynamo {
    pub(super) fn new() -> Self {
        Self {
            blocks: Blocks::of_tokens(0),
            sessions: Numbering::default(),
        }
    }
}

impl LineFormat for Dynamo {
    fn read(&mut self, line: &[u8], rows: &mut VecDeque<Row>) -> Result<(), String> {
        let (record, context, request, replay) = (RECORD, CONTEXT, REQUEST, REPLAY);
        let line = record.read(line)?;
        match line.text(0)?.as_deref() {
            None | Some("dynamo.request.trace.v1") => {}
            Some(_) => return Err("`schema` is not dynamo.request.trace.v1".to_owned()),
        }
        match line.text(1)?.as_deref() {
            Some("request_end") => {}
            Some(_) => return Ok(()),
            None => return Err(line.wrong(1, "a text")),
        }
        let request = line
            .object(4, &request)?
            .ok_or_else(|| line.wrong(4, "an object"))?;
        let replay = request.object(7, &replay)?;
        let mut prompt_tokens = request.tokens(1)?;
        let mut blocks = Vec::new();
        if let Some(replay) = &replay {
            prompt_tokens = replay.tokens(1)?.or(prompt_tokens);
            if let Some(hashes) = replay.hashes(2)? {
                self.blocks.told(replay.needed_tokens(0)?)?;
                blocks = self
                    .blocks
                    .number(&hashes, prompt_tokens.unwrap_or_default())?;
            }
        }
        let end_us = request.time_us(4, 1000)?;
        let at_us = match request.time_us(3, 1000)? {
            Some(at_us) => at_us,
            None => line
                .needed_time_us(2, 1000)?
                .saturating_sub(end_us.unwrap_or(0)),
        };
        let session = match line.object(3, &context)? {
            None => None,
            Some(context) => match (context.key(0)?, context.key(1)?) {
                (Some(key), _) | (None, Some(key)) => Some(SessionId(self.sessions.number(key)?)),
                (None, None) => None,
            },
        };
        rows.push_back(
            Told {
                at_us,
                prompt_tokens,
                output_tokens: request.tokens(2)?,
                cached_tokens: request.tokens(6)?,
                blocks,
                session,
                model: request.text(0)?.map(Private::new),
                first_token_us: request.time_us(5, 1000)?,
                end_us,
                ..Told::default()
            }
            .into(),
        );
        Ok(())
    }

    fn about(&self) -> About {
        About::new(Source::Dynamo, self.blocks.spec()).on_the_wall_clock()
    }

    fn blocks(&mut self) -> Option<&mut Blocks> {
        Some(&mut self.blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> (Dynamo, Vec<Row>) {
        let mut format = Dynamo::new();
        let mut rows = VecDeque::new();
        for line in lines {
            format.read(line.as_bytes(), &mut rows).unwrap();
        }
        (format, rows.into())
    }

    #[test]
    fn requests_are_read_and_tools_are_none() {
        let (format, rows) = read(&[
            r#"{"schema":"dynamo.request.trace.v1","event_type":"tool_end","event_time_unix_ms":5,"tool":{"tool_call_id":"c"}}"#,
            r#"{"schema":"dynamo.request.trace.v1","event_type":"request_end","event_time_unix_ms":1700000020000,"agent_context":{"trajectory_id":"t1","session_id":"s"},"request":{"request_id":"r","model":"m","input_tokens":9,"output_tokens":8,"cached_tokens":2,"request_received_ms":1700000000000,"total_time_ms":20000.5,"ttft_ms":12.25,"replay":{"trace_block_size":64,"input_length":128,"input_sequence_hashes":[18446744073709551615,2]}}}"#,
            r#"{"event_type":"request_end","event_time_unix_ms":1700000020000,"request":{"request_id":"r","output_tokens":8,"total_time_ms":1000}}"#,
        ]);
        assert_eq!(rows.len(), 2);
        let exchange = &rows[0].exchange;
        assert_eq!(exchange.at.us(), 1_700_000_000_000_000);
        assert_eq!(exchange.request.prompt_tokens.unwrap().count, 128);
        assert_eq!(exchange.request.blocks.len(), 2);
        assert_eq!(exchange.response.end_us, Some(20_000_500));
        assert_eq!(exchange.response.first_token_us, Some(12_250));
        assert_eq!(exchange.response.cached_tokens, Some(2));
        assert_eq!(exchange.session, Some(SessionId(0)));
        assert_eq!(rows[1].exchange.at.us(), 1_700_000_019_000_000);
        assert_eq!(format.about().block.unwrap().size, 64);
    }

    #[test]
    fn another_schema_is_refused() {
        let mut rows = VecDeque::new();
        let later = br#"{"schema":"dynamo.request.trace.v2","event_type":"request_end"}"#;
        assert!(
            Dynamo::new()
                .read(later, &mut rows)
                .unwrap_err()
                .contains("v1")
        );
    }
}
