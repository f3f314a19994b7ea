//! Agent sessions of kv-cache-tester ("Weka"): one JSON object for each session, with the requests of its sub-agents inside.
//!
//! The clock of a session begins at 0, and nobody tells when sessions began: here each begins one spacing after the one before.
//! A sub-agent's clock begins at its entry, and it is a session of its own. Ids of blocks hold within one session only, unless
//! it says that they are global.

use std::collections::VecDeque;

use serde::Deserialize;

use super::blocks::Blocks;
use super::input::{About, Lines, Row, RowError, Rows, Told, json_reason, microseconds};
use crate::anonymise::Private;
use crate::shape::{FinishReason, SessionId};
use crate::trace::Source;

/// The reader.
pub(super) struct WekaRows {
    lines: Lines,
    ready: VecDeque<Row>,
    blocks: Blocks,
    /// Conversations so far, those of sub-agents included.
    sessions: u32,
    begun: u64,
    spacing_us: u64,
    whole_file: bool,
}

/// The longest file that holds a session over several lines.
const MAX_FILE: usize = 256 << 20;

#[derive(Deserialize)]
struct Session {
    block_size: Option<u32>,
    hash_id_scope: Option<String>,
    requests: Vec<Request>,
}

#[derive(Deserialize)]
struct Request {
    t: f64,
    #[serde(rename = "type")]
    kind: String,
    model: Option<String>,
    #[serde(rename = "in")]
    input: Option<u32>,
    #[serde(rename = "out")]
    output: Option<u32>,
    #[serde(default)]
    hash_ids: Vec<u64>,
    stop: Option<String>,
    api_time: Option<f64>,
    ttft: Option<f64>,
    /// Of a sub-agent.
    requests: Option<Vec<Request>>,
}

impl WekaRows {
    pub(super) fn new(lines: Lines, spacing_us: u64) -> Self {
        Self {
            lines,
            ready: VecDeque::new(),
            blocks: Blocks::of_tokens(0),
            sessions: 0,
            begun: 0,
            spacing_us,
            whole_file: false,
        }
    }

    fn session(&mut self, session: &Session) -> Result<(), String> {
        self.blocks
            .told(session.block_size.unwrap_or(BLOCK_TOKENS))?;
        if session.hash_id_scope.as_deref() != Some("global") {
            self.blocks.forget();
        }
        let begins_us = self.spacing_us.saturating_mul(self.begun);
        self.begun += 1;
        self.conversation(begins_us, &session.requests)
    }

    /// The requests of one conversation, and those of the sub-agents that it started.
    fn conversation(&mut self, begins_us: u64, requests: &[Request]) -> Result<(), String> {
        let session = SessionId(self.sessions);
        self.sessions = self
            .sessions
            .checked_add(1)
            .ok_or("more than 2^32 conversations")?;
        for request in requests {
            let at_us = microseconds(request.t, 1_000_000)
                .ok_or("`t` is not a number of seconds from 0 on")?
                .saturating_add(begins_us);
            match &request.requests {
                Some(inner) => self.conversation(at_us, inner)?,
                None => {
                    let row = self.request(at_us, session, request)?;
                    self.ready.push_back(row);
                }
            }
        }
        Ok(())
    }

    fn request(
        &mut self,
        at_us: u64,
        session: SessionId,
        request: &Request,
    ) -> Result<Row, String> {
        let (Some(input), Some(output)) = (request.input, request.output) else {
            return Err("`in` or `out` of a request is missing".to_owned());
        };
        let seconds = |value: Option<f64>, name: &str| match value {
            None => Ok(None),
            Some(value) => microseconds(value, 1_000_000)
                .map(Some)
                .ok_or_else(|| format!("`{name}` is not a number of seconds from 0 on")),
        };
        Ok(Told {
            at_us,
            prompt_tokens: Some(input),
            output_tokens: Some(output),
            blocks: self.blocks.number(&request.hash_ids, input)?,
            session: Some(session),
            model: request.model.as_deref().map(Private::new),
            first_token_us: seconds(request.ttft, "ttft")?,
            end_us: seconds(request.api_time, "api_time")?,
            finish: request.stop.as_deref().and_then(finish),
            plain: request.kind == "n",
            ..Told::default()
        }
        .into())
    }

    /// Reads a line, or at the first one a whole file.
    fn read(&mut self) -> Option<Result<(), RowError>> {
        let first = self.lines.number() == 0;
        let bad = |line, reason| RowError::Bad { line, reason };
        let text = match self.lines.next()? {
            Ok(line) => line.to_vec(),
            Err(error) => return Some(Err(error)),
        };
        match self.sessions_of(&text) {
            Ok(()) => return Some(Ok(())),
            Err((error, _)) if first && error.is_none() => {}
            Err((error, _)) => {
                let reason = error.unwrap_or_else(|| "the JSON ends early".to_owned());
                return Some(Err(bad(self.lines.number(), reason)));
            }
        }
        // The first line is the beginning of an object that goes on: a file of one session, written over several lines.
        self.whole_file = true;
        let text = match self.lines.rest(MAX_FILE) {
            Ok(Some(text)) => text,
            Ok(None) => {
                let reason = format!(
                    "a session over several lines is longer than {} MiB",
                    MAX_FILE >> 20
                );
                return Some(Err(bad(1, reason)));
            }
            Err(error) => return Some(Err(error)),
        };
        Some(self.sessions_of(&text).map_err(|(reason, line)| {
            bad(
                line,
                reason.unwrap_or_else(|| "the JSON ends early".to_owned()),
            )
        }))
    }

    /// Takes the sessions of a text, one after another. On an error: what is wrong, or nothing where the text just ends early,
    /// and the line within the text.
    fn sessions_of(&mut self, text: &[u8]) -> Result<(), (Option<String>, u64)> {
        for session in serde_json::Deserializer::from_slice(text).into_iter::<Session>() {
            let session = session.map_err(|error| {
                self.ready.clear();
                let reason = (!error.is_eof()).then(|| json_reason(&error));
                (reason, error.line() as u64)
            })?;
            self.session(&session).map_err(|reason| {
                self.ready.clear();
                (Some(reason), 1)
            })?;
        }
        Ok(())
    }
}

/// Of files that do not say.
const BLOCK_TOKENS: u32 = 64;

fn finish(stop: &str) -> Option<FinishReason> {
    Some(match stop {
        "" => return None,
        "end_turn" | "stop_sequence" | "stop" => FinishReason::Stop,
        "max_tokens" | "length" => FinishReason::Length,
        "tool_use" | "tool_calls" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    })
}

impl Rows for WekaRows {
    fn next_row(&mut self) -> Option<Result<Row, RowError>> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                let line = self.lines.number();
                return Some(Ok(Row { line, ..row }));
            }
            if let Err(error) = self.read()? {
                return Some(Err(error));
            }
        }
    }

    fn about(&self) -> About {
        About::new(Source::Weka, self.blocks.spec())
    }

    fn blocks(&mut self) -> Option<&mut Blocks> {
        Some(&mut self.blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::BlockId;

    const SESSION: &str = r#"{"id": "x", "models": ["m"], "block_size": 64, "hash_id_scope": "local", "requests": [
        {"t": 0.0, "type": "s", "model": "m", "in": 130, "out": 5, "hash_ids": [0, 1], "stop": "tool_use", "api_time": 2.5, "ttft": 0.5},
        {"t": 4.5, "type": "subagent", "agent_id": "a", "requests": [{"t": 1.0, "type": "n", "model": "n", "in": 64, "out": 1, "hash_ids": [9]}]},
        {"t": 9.0, "type": "n", "model": "m", "in": 200, "out": 0, "hash_ids": [0, 1, 2], "stop": ""}]}"#;

    fn rows(text: &str) -> Vec<Result<Row, (u64, String)>> {
        let lines = Lines::new(Box::new(std::io::Cursor::new(text.to_owned())));
        let mut rows = WekaRows::new(lines, 1_000_000);
        std::iter::from_fn(|| rows.next_row())
            .map(|row| {
                row.map_err(|error| match error {
                    RowError::Bad { line, reason } => (line, reason),
                    _ => unreachable!(),
                })
            })
            .collect()
    }

    fn seen(rows: &[Result<Row, (u64, String)>]) -> Vec<(u64, u32, Vec<u32>)> {
        rows.iter()
            .map(|row| {
                let exchange = &row.as_ref().ok().unwrap().exchange;
                let ids = exchange.request.blocks.iter().map(|BlockId(id)| *id);
                (exchange.at.us(), exchange.session.unwrap().0, ids.collect())
            })
            .collect()
    }

    #[test]
    fn sessions_begin_apart_and_sub_agents_run_their_own_clock() {
        let line = SESSION.replace('\n', " ");
        let expected = [
            (0, 0, vec![0, 1]),
            (5_500_000, 1, vec![2]),
            (9_000_000, 0, vec![0, 1, 3]),
            (1_000_000, 2, vec![4, 5]),
            (6_500_000, 3, vec![6]),
            (10_000_000, 2, vec![4, 5, 7]),
        ];
        assert_eq!(seen(&rows(&format!("{line}\n{line}\n"))), expected);
        assert_eq!(
            seen(&rows(&format!("{line}{line}"))),
            expected,
            "two in a line"
        );
        assert_eq!(
            seen(&rows(&format!("{SESSION}\n{SESSION}"))),
            expected,
            "over lines"
        );
    }

    #[test]
    fn what_is_told_of_an_answer_is_kept() {
        let rows = rows(SESSION);
        let first = &rows[0].as_ref().ok().unwrap();
        let response = &first.exchange.response;
        assert_eq!(response.first_token_us, Some(500_000));
        assert_eq!(response.end_us, Some(2_500_000));
        assert_eq!(response.finish, Some(FinishReason::ToolCalls));
        assert!(first.exchange.request.params.stream);
        let last = &rows[2].as_ref().ok().unwrap().exchange;
        assert!(!last.request.params.stream && last.response.finish.is_none());
    }

    #[test]
    fn malformed_sessions_are_named_and_not_quoted() {
        let line = SESSION.replace('\n', " ");
        let read = rows(&format!(
            "{line}\nsecret\n{{\"requests\": [{{\"t\": \"secret\"}}]}}\n{}\n{line}\n",
            line.replace("\"block_size\": 64", "\"block_size\": 32")
        ));
        let errors: Vec<_> = read.iter().filter_map(|row| row.as_ref().err()).collect();
        assert_eq!(
            errors.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [2, 3, 4]
        );
        assert!(errors.iter().all(|(_, reason)| !reason.contains("secret")));
        assert_eq!(read.len(), 9);
        let cut = rows(&SESSION[..200]);
        assert!(matches!(&cut[0], Err((_, reason)) if reason.contains("ends early")));
    }
}
