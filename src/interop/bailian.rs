//! Qwen-Bailian's JSON lines, both ways. Every row holds its whole context; `parent_chat_id` links the turns of a chat.

use std::collections::{HashMap, VecDeque};
use std::io::Write;

use super::blocks::Blocks;
use super::input::{About, Labels, LineFormat, Numbering, Row, Told};
use super::output::{Cell, Rechain, Refused, RowWriter, counts};
use crate::shape::{BlockSpec, BlockUnit, Exchange, SessionId};
use crate::trace::Source;

/// The reader.
pub(super) struct Bailian {
    blocks: Blocks,
    /// Which session a chat is a turn of.
    sessions: Numbering<u64>,
}

const LABELS: Labels<6> = Labels::new([
    "timestamp",
    "input_length",
    "output_length",
    "hash_ids",
    "chat_id",
    "parent_chat_id",
]);
const BLOCK_TOKENS: u32 = 16;

impl Bailian {
    pub(super) fn new() -> Self {
        Self {
            blocks: Blocks::of_tokens(BLOCK_TOKENS),
            sessions: Numbering::default(),
        }
    }

    /// The session of a chat: its parent's. A parent outside the file stands for one all the same, so that its other children
    /// find it.
    fn session(&mut self, chat: u64, parent: Option<u64>) -> Result<u32, String> {
        let session = match parent {
            Some(parent) => self.sessions.number(parent)?,
            None => match self.sessions.get(&chat) {
                Some(session) => session,
                None => self.sessions.fresh()?,
            },
        };
        self.sessions.alias(chat, session);
        Ok(session)
    }
}

impl LineFormat for Bailian {
    fn read(&mut self, line: &[u8], rows: &mut VecDeque<Row>) -> Result<(), String> {
        let labels = LABELS;
        let line = labels.read(line)?;
        let at_us = line.needed_time_us(0, 1_000_000)?;
        let prompt_tokens = line.needed_tokens(1)?;
        let output_tokens = line.needed_tokens(2)?;
        let hashes = line.hashes(3)?.unwrap_or_default();
        let id = |at: usize| match line.raw(at) {
            None => Ok(None),
            Some("-1") => Ok(None),
            Some(text) => text
                .parse::<u64>()
                .map(Some)
                .map_err(|_| line.wrong(at, "a whole number")),
        };
        let chat = id(4)?.ok_or_else(|| line.wrong(4, "a whole number"))?;
        let parent = id(5)?;
        let blocks = self.blocks.number(&hashes, prompt_tokens)?;
        let session = self.session(chat, parent)?;
        rows.push_back(
            Told {
                at_us,
                prompt_tokens: Some(prompt_tokens),
                output_tokens: Some(output_tokens),
                blocks,
                session: Some(SessionId(session)),
                ..Told::default()
            }
            .into(),
        );
        Ok(())
    }

    fn about(&self) -> About {
        About::new(Source::Bailian, self.blocks.spec())
    }

    fn blocks(&mut self) -> Option<&mut Blocks> {
        Some(&mut self.blocks)
    }
}

/// The writer. A row's number is its `chat_id`.
pub(super) struct BailianWriter {
    chains: Rechain,
    /// The last chat of a session, and its turn.
    turns: HashMap<SessionId, (u64, u64)>,
    chats: u64,
}

impl BailianWriter {
    pub(super) fn new(spec: Option<BlockSpec>) -> Self {
        let target = BlockSpec {
            unit: BlockUnit::Tokens,
            size: BLOCK_TOKENS,
            partial_last: true,
        };
        Self {
            chains: Rechain::new(spec, target),
            turns: HashMap::new(),
            chats: 0,
        }
    }
}

impl RowWriter for BailianWriter {
    fn write(
        &mut self,
        exchange: &Exchange,
        _: Option<&str>,
        out: &mut dyn Write,
    ) -> Result<(), Refused> {
        let (prompt, output) = counts(exchange)?;
        self.chains.check(prompt)?;
        let chat = self.chats;
        self.chats += 1;
        let before = exchange.session.and_then(|session| {
            let turn = self.turns.get(&session).map_or(1, |(_, turn)| turn + 1);
            let (parent, _) = self.turns.insert(session, (chat, turn))?;
            Some((parent, turn))
        });
        let (parent, turn) = match before {
            Some((parent, turn)) => (parent.to_string(), turn),
            None => ("-1".to_owned(), 1),
        };
        write!(
            out,
            r#"{{"chat_id": {chat}, "parent_chat_id": {parent}, "timestamp": {}, "input_length": {prompt}, "output_length": {output}, "type": "text", "turn": {turn}, "hash_ids": "#,
            Cell::seconds(exchange.at.us()),
        )?;
        self.chains.write(&exchange.request, prompt, out)?;
        out.write_all(b"}\n")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(links: &[(u64, i64)]) -> Vec<u32> {
        let mut format = Bailian::new();
        let mut rows = VecDeque::new();
        for (chat, parent) in links {
            let line = format!(
                r#"{{"chat_id": {chat}, "parent_chat_id": {parent}, "timestamp": 61.114, "input_length": 33, "output_length": 2, "type": "text", "turn": 1, "hash_ids": [5, 6, 7]}}"#
            );
            format.read(line.as_bytes(), &mut rows).unwrap();
        }
        rows.iter()
            .map(|row| row.exchange.session.unwrap().0)
            .collect()
    }

    #[test]
    fn chats_are_sessions_by_their_parents() {
        assert_eq!(
            sessions(&[(10, -1), (11, 10), (20, -1), (12, 11), (30, 29), (31, 29)]),
            [0, 0, 1, 0, 2, 2]
        );
    }

    #[test]
    fn seconds_are_read_to_the_microsecond() {
        let mut rows = VecDeque::new();
        let line = br#"{"chat_id": 1, "timestamp": 61.114, "input_length": 33, "output_length": 2, "hash_ids": [5, 6]}"#;
        let mut format = Bailian::new();
        format.read(line, &mut rows).unwrap();
        assert_eq!(rows[0].exchange.at.us(), 61_114_000);
        assert!(!format.about().block.unwrap().partial_last);
    }
}
