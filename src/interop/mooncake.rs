//! Mooncake's JSON lines and their family, out.

use std::io::Write;

use super::output::{Cell, Rechain, Refused, RowWriter, counts};
use crate::shape::{BlockSpec, BlockUnit, Exchange};

/// Writes exchanges as rows of the family, spaced as the original's are.
pub(super) struct MooncakeWriter {
    chains: Rechain,
    /// Whether times are seconds, not milliseconds.
    seconds: bool,
    /// Whether rows name their session.
    sessions: bool,
}

impl MooncakeWriter {
    /// Mooncake's own rows.
    pub(super) fn mooncake(spec: Option<BlockSpec>) -> Self {
        Self {
            chains: Rechain::new(spec, BlockSpec::MOONCAKE),
            seconds: false,
            sessions: false,
        }
    }

    /// The rows that AIPerf reads.
    pub(super) fn aiperf(spec: Option<BlockSpec>) -> Self {
        Self {
            sessions: true,
            ..Self::mooncake(spec)
        }
    }

    /// The rows that `vllm bench` reads as a timed trace.
    pub(super) fn vllm(spec: Option<BlockSpec>, block_tokens: u32) -> Self {
        let target = BlockSpec {
            unit: BlockUnit::Tokens,
            size: block_tokens,
            partial_last: true,
        };
        Self {
            chains: Rechain::new(spec, target),
            seconds: true,
            sessions: false,
        }
    }
}

impl RowWriter for MooncakeWriter {
    fn write(
        &mut self,
        exchange: &Exchange,
        _: Option<&str>,
        out: &mut dyn Write,
    ) -> Result<(), Refused> {
        let (prompt, output) = counts(exchange)?;
        self.chains.check(prompt)?;
        let at_us = exchange.at.us();
        if self.seconds {
            write!(out, r#"{{"timestamp": {}"#, Cell::seconds(at_us))?;
        } else {
            write!(out, r#"{{"timestamp": {}"#, at_us / 1000)?;
        }
        write!(
            out,
            r#", "input_length": {prompt}, "output_length": {output}, "hash_ids": "#
        )?;
        self.chains.write(&exchange.request, prompt, out)?;
        if let Some(session) = exchange.session.filter(|_| self.sessions) {
            write!(out, r#", "session_id": "{session}""#)?;
        }
        out.write_all(b"}\n")?;
        Ok(())
    }
}
