//! Mooncake's JSON lines and their family: AIPerf adds sessions, delays and prompts given as text; `vllm bench` takes the same
//! rows under labels, in units and in blocks of one's choice. All are read by the same rules.

use std::collections::{HashMap, VecDeque};

use super::InteropError;
use super::blocks::Blocks;
use super::bodies;
use super::input::{About, Fields, Labels, LineFormat, Numbering, Row, Told, message};
use super::options::ImportOptions;
use crate::anonymise::{ChainKey, MAX_PARTS, Private};
use crate::shape::{MessageShape, Role, SessionId};
use crate::trace::Source;

/// Reads rows of the family.
pub(super) struct MooncakeFamily {
    source: Source,
    labels: Labels<FIELDS>,
    unit_us: u32,
    blocks: Blocks,
    sessions: Numbering<Private>,
    /// When the last turn of a session began.
    turns: HashMap<u32, u64>,
    /// What was said in sessions whose rows tell only what is new.
    said: HashMap<u32, Vec<MessageShape>>,
    spacing_us: u64,
    /// Requests and sessions that began by `spacing_us`.
    begun: u64,
    key: ChainKey,
}

const FIELDS: usize = 11;
const LABELS: Labels<FIELDS> = Labels::new([
    "timestamp",
    "input_length",
    "output_length",
    "hash_ids",
    "session_id",
    "delay",
    "text_input",
    "messages",
    "tools",
    "payload",
    "message_mode",
]);
const TIMESTAMP: usize = 0;
const INPUT_LENGTH: usize = 1;
const OUTPUT_LENGTH: usize = 2;
const HASH_IDS: usize = 3;
const SESSION_ID: usize = 4;
const DELAY: usize = 5;
const TEXT_INPUT: usize = 6;
const MESSAGES: usize = 7;
const TOOLS: usize = 8;
const PAYLOAD: usize = 9;
const MESSAGE_MODE: usize = 10;

type Line<'a> = Fields<'a, FIELDS>;

impl MooncakeFamily {
    /// A reader of rows in units of `unit_us` and blocks of `block_tokens`, unless the options say otherwise.
    pub(super) fn new(
        source: Source,
        unit_us: u32,
        block_tokens: u32,
        options: &ImportOptions,
        key: &ChainKey,
    ) -> Result<Self, InteropError> {
        let mut labels = LABELS;
        for (field, label) in &options.columns {
            if !labels.rename(field, label) {
                return Err(InteropError::Column {
                    field: field.clone(),
                    known: LABELS.join(),
                });
            }
        }
        Ok(Self {
            source,
            labels,
            unit_us: options.time_unit.map_or(unit_us, super::TimeUnit::us),
            blocks: Blocks::of_tokens(options.block_tokens.map_or(block_tokens, Into::into)),
            sessions: Numbering::default(),
            turns: HashMap::new(),
            said: HashMap::new(),
            spacing_us: options.spacing_us(),
            begun: 0,
            key: key.clone(),
        })
    }

    fn row(&mut self, line: &Line<'_>, blocks: &mut Blocks) -> Result<Row, String> {
        let session = match line.key(SESSION_ID)? {
            Some(key) => Some(self.sessions.number(key)?),
            None => None,
        };
        let prompt_tokens = line.tokens(INPUT_LENGTH)?;
        let hashes = line.hashes(HASH_IDS)?.unwrap_or_default();
        let told = Told {
            at_us: self.arrival(line, session)?,
            prompt_tokens,
            output_tokens: line.tokens(OUTPUT_LENGTH)?,
            blocks: blocks.number(&hashes, prompt_tokens.unwrap_or_default())?,
            session: session.map(SessionId),
            ..Told::default()
        };
        let mut row = self.with_text(line, session, told)?;
        // The chain of a text cuts bytes, which a trace of token blocks cannot hold beside its own.
        row.chain = None;
        let at_us = row.exchange.at.us();
        if let Some(session) = session {
            self.turns.insert(session, at_us);
        }
        Ok(row)
    }

    /// The timestamp; else `delay` after the session's turn before, whose answer took a time that no row tells; else so far
    /// from the request or session that began before.
    fn arrival(&mut self, line: &Line<'_>, session: Option<u32>) -> Result<u64, String> {
        let delay_us = line.time_us(DELAY, 1000)?.unwrap_or(0);
        if let Some(at_us) = line.time_us(TIMESTAMP, self.unit_us)? {
            return Ok(at_us);
        }
        let before = session.and_then(|session| self.turns.get(&session).copied());
        let from_us = before.unwrap_or_else(|| {
            let begins_us = self.spacing_us.saturating_mul(self.begun);
            self.begun += 1;
            begins_us
        });
        Ok(from_us.saturating_add(delay_us))
    }

    /// The row with the sizes of what text it holds.
    fn with_text(
        &mut self,
        line: &Line<'_>,
        session: Option<u32>,
        mut told: Told,
    ) -> Result<Row, String> {
        if let Some(payload) = line.raw(PAYLOAD) {
            return Ok(bodies::observe(payload, &self.key)?.into_row(told));
        }
        if let Some(messages) = line.raw(MESSAGES) {
            let mut prompt = bodies::observe_messages(messages, line.raw(TOOLS), &self.key)?;
            if line.text(MESSAGE_MODE)?.as_deref() == Some("delta")
                && let Some(session) = session
            {
                prompt.messages = self.continued(session, &prompt.messages, told.output_tokens)?;
            }
            return Ok(bodies::with_prompt(told.into(), prompt));
        }
        if let Some(text) = line.text(TEXT_INPUT)? {
            told.messages = vec![message(Role::User, text.len())];
        } else if told.prompt_tokens.is_none() {
            let what =
                "a whole number of tokens (and neither is `text_input`, `messages` or `payload`)";
            return Err(line.wrong(INPUT_LENGTH, what));
        }
        Ok(told.into())
    }

    /// All that was said in a session, with what is new. Of the answers in between only the tokens are known.
    fn continued(
        &mut self,
        session: u32,
        new: &[MessageShape],
        output_tokens: Option<u32>,
    ) -> Result<Vec<MessageShape>, String> {
        let said = self.said.entry(session).or_default();
        if said.len() + new.len() >= MAX_PARTS {
            return Err(format!("its session has more than {MAX_PARTS} messages"));
        }
        said.extend_from_slice(new);
        let prompt = said.clone();
        said.push(MessageShape {
            tokens: output_tokens,
            ..message(Role::Assistant, 0)
        });
        Ok(prompt)
    }
}

impl LineFormat for MooncakeFamily {
    fn read(&mut self, line: &[u8], rows: &mut VecDeque<Row>) -> Result<(), String> {
        // The line borrows the labels, and the rest is to be changed beside it.
        let labels = std::mem::replace(&mut self.labels, LABELS);
        let mut blocks = std::mem::replace(&mut self.blocks, Blocks::of_tokens(0));
        let row = labels
            .read(line)
            .and_then(|line| self.row(&line, &mut blocks));
        self.blocks = blocks;
        self.labels = labels;
        rows.push_back(row?);
        Ok(())
    }

    fn about(&self) -> About {
        About::new(self.source, self.blocks.spec())
    }

    fn blocks(&mut self) -> Option<&mut Blocks> {
        Some(&mut self.blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::input::{LineRows, Lines, Row, RowError, Rows};
    use crate::shape::BlockId;

    fn read(text: &str, options: &ImportOptions) -> Vec<Result<Row, (u64, String)>> {
        let key = ChainKey::from_bytes([1; 16]);
        let family = MooncakeFamily::new(Source::Aiperf, 1000, 512, options, &key).unwrap();
        let lines = Lines::new(Box::new(std::io::Cursor::new(text.to_owned())));
        let mut rows = LineRows::new(lines, family);
        std::iter::from_fn(|| rows.next_row())
            .map(|row| {
                row.map_err(|error| match error {
                    RowError::Bad { line, reason } => (line, reason),
                    RowError::Io(_) | RowError::Format(_) => unreachable!(),
                })
            })
            .collect()
    }

    fn rows(text: &str) -> Vec<Row> {
        read(text, &ImportOptions::default())
            .into_iter()
            .map(|row| row.ok().unwrap())
            .collect()
    }

    fn times(rows: &[Row]) -> Vec<u64> {
        rows.iter().map(|row| row.exchange.at.us()).collect()
    }

    #[test]
    fn ids_are_numbered_in_order_of_first_appearance() {
        let read = rows(concat!(
            r#"{"timestamp": 3, "input_length": 600, "output_length": 5, "hash_ids": [77, 9]}"#,
            "\r\n\n",
            r#"{"hash_ids": [77, 1], "extra": {"a": [1]}, "timestamp": 4.5, "output_length": 0, "input_length": 1}"#,
        ));
        let seen: Vec<_> = read
            .iter()
            .map(|row| {
                let exchange = &row.exchange;
                let prompt = exchange.request.prompt_tokens.unwrap().count;
                let output = exchange.response.output_tokens.unwrap().count;
                (
                    exchange.at.us(),
                    prompt,
                    output,
                    exchange.request.blocks.clone(),
                )
            })
            .collect();
        let ids = |ids: [u32; 2]| ids.map(BlockId).to_vec();
        assert_eq!(
            seen,
            [(3000, 600, 5, ids([0, 1])), (4500, 1, 0, ids([0, 2]))]
        );
    }

    #[test]
    fn malformed_rows_are_named_and_not_quoted() {
        let good = r#""timestamp": 3, "input_length": 600, "output_length": 5"#;
        let text = [
            "secret",
            "\"secret\"",
            "{\"timestamp\": \"secret\"}",
            &format!("{{{good}, \"hash_ids\": [1, \"secret\"]}}"),
            &format!("{{{good}"),
            "{\"timestamp\": -1, \"input_length\": 1}",
            "{\"timestamp\": 1}",
            "{\"timestamp\": 1, \"messages\": \"secret\"}",
            "{\"timestamp\": 1, \"payload\": {\"secret\": 1}}",
            "{\"timestamp\": 1, \"input_length\": 1, \"session_id\": [\"secret\"]}",
            &format!("{{{good}, \"hash_ids\": []}}"),
        ]
        .join("\n");
        let read = read(&text, &ImportOptions::default());
        for (i, row) in read.iter().take(10).enumerate() {
            let (line, reason) = row.as_ref().err().unwrap();
            assert_eq!(*line, i as u64 + 1);
            assert!(!reason.contains("secret"), "{reason}");
        }
        assert!(read[10].is_ok());
    }

    #[test]
    fn turns_without_a_timestamp_come_a_delay_after_the_one_before() {
        let read = rows(concat!(
            r#"{"session_id": "a", "input_length": 10, "output_length": 4}"#,
            "\n",
            r#"{"session_id": 7, "input_length": 10, "delay": 250}"#,
            "\n",
            r#"{"session_id": "a", "input_length": 30, "delay": 1500.5}"#,
            "\n",
            r#"{"session_id": "a", "input_length": 30, "delay": 100}"#,
            "\n",
            r#"{"input_length": 30}"#,
            "\n",
            r#"{"session_id": "a", "timestamp": 9000, "input_length": 30, "delay": 100}"#,
        ));
        assert_eq!(
            times(&read),
            [0, 1_250_000, 1_500_500, 1_600_500, 2_000_000, 9_000_000]
        );
        let sessions: Vec<_> = read.iter().map(|row| row.exchange.session).collect();
        let [a, b] = [Some(SessionId(0)), Some(SessionId(1))];
        assert_eq!(sessions, [a, b, a, a, None, a]);
    }

    #[test]
    fn of_text_only_sizes_are_kept() {
        let read = rows(concat!(
            r#"{"text_input": "four\u00e9", "output_length": 4}"#,
            "\n",
            r#"{"messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "hello"}], "tools": [{"type": "function"}]}"#,
            "\n",
            r#"{"payload": {"model": "m", "prompt": "Hello", "max_tokens": 50}, "timestamp": 1000}"#,
        ));
        let sizes: Vec<Vec<_>> = read
            .iter()
            .map(|row| {
                let messages = &row.exchange.request.messages;
                messages.iter().map(|m| (m.role, m.bytes)).collect()
            })
            .collect();
        assert_eq!(sizes[0], [(Role::User, 6)]);
        assert_eq!(sizes[1], [(Role::System, 2), (Role::User, 5)]);
        assert_eq!(sizes[2], [(Role::User, 5)]);
        assert_eq!(read[1].exchange.request.tools.count, 1);
        assert_eq!(read[2].exchange.request.params.max_tokens, Some(50));
        assert_eq!(read[2].model, Some(Private::new("m")));
        assert!(read.iter().all(|row| row.chain.is_none()));
    }

    #[test]
    fn a_session_of_new_messages_only_is_put_together() {
        let turn = r#"{"session_id": "s", "message_mode": "delta", "messages": [{"role": "user", "content": "hi"}], "output_length": 9}"#;
        let read = rows(&format!("{turn}\n{turn}\n"));
        let roles: Vec<_> = read[1]
            .exchange
            .request
            .messages
            .iter()
            .map(|m| (m.role, m.bytes, m.tokens))
            .collect();
        assert_eq!(
            roles,
            [
                (Role::User, 2, None),
                (Role::Assistant, 0, Some(9)),
                (Role::User, 2, None)
            ]
        );
    }

    #[test]
    fn labels_units_and_blocks_can_be_given() {
        let options = ImportOptions {
            columns: vec![
                ("timestamp".into(), "ts".into()),
                ("input_length".into(), "isl".into()),
            ],
            time_unit: Some(crate::interop::TimeUnit::S),
            block_tokens: std::num::NonZeroU32::new(16),
            ..ImportOptions::default()
        };
        let read = read(r#"{"ts": 1.5, "isl": 33, "hash_ids": [4, 5]}"#, &options);
        let row = read[0].as_ref().ok().unwrap();
        assert_eq!(row.exchange.at.us(), 1_500_000);
        let unknown = ImportOptions {
            columns: vec![("time".into(), "ts".into())],
            ..ImportOptions::default()
        };
        let key = ChainKey::from_bytes([1; 16]);
        let refused = MooncakeFamily::new(Source::Aiperf, 1000, 512, &unknown, &key);
        assert!(refused.err().unwrap().hint().unwrap().contains("timestamp"));
    }
}
