//! BurstGPT's CSV, both ways. A row with 0 response tokens is a request that failed, and is kept as one.

use std::collections::VecDeque;
use std::io::Write;

use super::input::{
    About, CsvLine, LineFormat, Lines, Numbering, Row, RowError, Told, microseconds,
};
use super::output::{Cell, LeftOut, Refused, RowWriter};
use crate::anonymise::Private;
use crate::shape::{Exchange, Outcome, SessionId};
use crate::trace::Source;

/// The reader.
pub(super) struct Burstgpt {
    csv: CsvLine,
    columns: [Option<usize>; 6],
    sessions: Numbering<Private>,
}

const COLUMNS: [&str; 6] = [
    "Timestamp",
    "Session ID",
    "Elapsed time",
    "Model",
    "Request tokens",
    "Response tokens",
];
const REQUIRED: [&str; 3] = ["Timestamp", "Request tokens", "Response tokens"];

impl Burstgpt {
    /// Reads the header.
    pub(super) fn open(lines: &mut Lines) -> Result<Self, RowError> {
        let mut csv = CsvLine::new();
        let columns = csv.header(lines, COLUMNS, &REQUIRED)?;
        Ok(Self {
            csv,
            columns,
            sessions: Numbering::default(),
        })
    }

    fn seconds(&self, at: Option<usize>, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.csv.filled(at) else {
            return Ok(None);
        };
        text.parse()
            .ok()
            .and_then(|seconds| microseconds(seconds, 1_000_000))
            .map(Some)
            .ok_or_else(|| format!("`{name}` is not a number of seconds"))
    }
}

impl LineFormat for Burstgpt {
    fn read(&mut self, line: &[u8], rows: &mut VecDeque<Row>) -> Result<(), String> {
        self.csv.split(line)?;
        let [timestamp, session, elapsed, model, request, response] = self.columns;
        let at_us = self
            .seconds(timestamp, "Timestamp")?
            .ok_or("`Timestamp` is missing")?;
        let end_us = self.seconds(elapsed, "Elapsed time")?;
        let prompt_tokens = self.csv.tokens(request, "Request tokens")?;
        let output_tokens = self.csv.tokens(response, "Response tokens")?;
        let failed = output_tokens == 0;
        let session = match self.csv.filled(session).map(Private::new) {
            Some(key) => Some(SessionId(self.sessions.number(key)?)),
            None => None,
        };
        let outcome = if failed {
            Outcome::UpstreamReset {
                at_us: end_us.unwrap_or(0),
            }
        } else {
            Outcome::Completed
        };
        rows.push_back(
            Told {
                at_us,
                // 0 of a failed request says that nobody counted.
                prompt_tokens: Some(prompt_tokens).filter(|&count| !failed || count > 0),
                output_tokens: Some(output_tokens).filter(|_| !failed),
                session,
                model: self.csv.filled(model).map(Private::new),
                end_us,
                outcome,
                ..Told::default()
            }
            .into(),
        );
        Ok(())
    }

    fn about(&self) -> About {
        About::new(Source::Burstgpt, None)
    }
}

/// The writer.
#[derive(Default)]
pub(super) struct BurstgptWriter {
    begun: bool,
}

impl RowWriter for BurstgptWriter {
    fn write(
        &mut self,
        exchange: &Exchange,
        model: Option<&str>,
        out: &mut dyn Write,
    ) -> Result<(), Refused> {
        if !exchange.endpoint.generates() {
            return Err(LeftOut::NotInference.into());
        }
        let prompt = exchange.request.prompt_tokens.map(|tokens| tokens.count);
        let output = exchange.response.output_tokens.map(|tokens| tokens.count);
        let (prompt, output) = match (exchange.outcome.is_ok(), prompt, output) {
            (false, prompt, _) => (prompt.unwrap_or(0), 0),
            (true, None, _) => return Err(LeftOut::NoPromptTokens.into()),
            (true, _, None) => return Err(LeftOut::NoOutputTokens.into()),
            (true, Some(prompt), Some(output)) => (prompt, output),
        };
        if !self.begun {
            self.begun = true;
            writeln!(out, "{},Total tokens,Log Type", COLUMNS.join(","))?;
        }
        let log = if exchange.session.is_some() {
            "Conversation log"
        } else {
            "API log"
        };
        let model = model.map(Cell::csv).unwrap_or_default();
        writeln!(
            out,
            "{},{},{},{model},{prompt},{output},{},{log}",
            Cell::seconds(exchange.at.us()),
            Cell::or_empty(exchange.session.map(|session| session.0)),
            Cell::or_empty(exchange.response.end_us.map(Cell::seconds)),
            u64::from(prompt) + u64::from(output),
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::input::{LineRows, Rows};

    fn rows(text: &str) -> Vec<Row> {
        let mut lines = Lines::new(Box::new(std::io::Cursor::new(text.to_owned())));
        let format = Burstgpt::open(&mut lines).ok().unwrap();
        let mut rows = LineRows::new(lines, format);
        std::iter::from_fn(|| rows.next_row())
            .map(|row| row.ok().unwrap())
            .collect()
    }

    #[test]
    fn sessions_and_elapsed_times_are_read_where_they_stand() {
        let read = rows(
            "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
             5,17,1.25,GPT-4,472,18,490,Conversation log\n\
             5.5,,2,ChatGPT,3,0,3,API log\n",
        );
        let first = &read[0].exchange;
        assert_eq!(first.at.us(), 5_000_000);
        assert_eq!(first.session, Some(SessionId(0)));
        assert_eq!(first.response.end_us, Some(1_250_000));
        let second = &read[1].exchange;
        assert_eq!(second.session, None);
        assert_eq!(second.outcome, Outcome::UpstreamReset { at_us: 2_000_000 });
        assert_eq!(second.request.prompt_tokens.unwrap().count, 3);
        assert_eq!(second.response.output_tokens, None);
        assert_eq!(read[1].model, Some(Private::new("ChatGPT")));
    }
}
