//! The custom dataset of `vllm bench serve`: prompts and how long their answers shall be. Of a prompt only its length is kept;
//! nothing tells when requests arrived, so they arrive one spacing apart. (Its timed traces are of Mooncake's family.)

use std::collections::VecDeque;

use super::input::{About, Labels, LineFormat, Row, Told, message};
use crate::shape::Role;
use crate::trace::Source;

/// The reader.
pub(super) struct VllmCustom {
    spacing_us: u64,
    begun: u64,
}

const LABELS: Labels<2> = Labels::new(["prompt", "output_tokens"]);

impl VllmCustom {
    pub(super) fn new(spacing_us: u64) -> Self {
        Self {
            spacing_us,
            begun: 0,
        }
    }
}

impl LineFormat for VllmCustom {
    fn read(&mut self, line: &[u8], rows: &mut VecDeque<Row>) -> Result<(), String> {
        let labels = LABELS;
        let line = labels.read(line)?;
        let prompt = line.text(0)?.ok_or_else(|| line.wrong(0, "a text"))?;
        let output_tokens = line.tokens(1)?;
        let at_us = self.spacing_us.saturating_mul(self.begun);
        self.begun += 1;
        rows.push_back(
            Told {
                at_us,
                output_tokens,
                messages: vec![message(Role::User, prompt.len())],
                ..Told::default()
            }
            .into(),
        );
        Ok(())
    }

    fn about(&self) -> About {
        About::new(Source::Vllm, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_prompt_only_its_length_is_kept() {
        let mut format = VllmCustom::new(500_000);
        let mut rows = VecDeque::new();
        let mut read = |line: &str| format.read(line.as_bytes(), &mut rows);
        read(r#"{"prompt": "four", "output_tokens": 9}"#).unwrap();
        assert!(read(r#"{"prompt": 4}"#).unwrap_err().contains("`prompt`"));
        read(r#"{"prompt": "h\u00e9"}"#).unwrap();
        let seen: Vec<_> = rows
            .iter()
            .map(|row| {
                let exchange = &row.exchange;
                (exchange.at.us(), exchange.request.messages[0].bytes)
            })
            .collect();
        assert_eq!(seen, [(0, 4), (500_000, 3)]);
        assert_eq!(rows[1].exchange.response.output_tokens, None);
    }
}
