use std::io::{self, Write};

use super::rechain::Rechain;
use crate::interop::export::LeftOut;
use crate::shape::{BlockSpec, Exchange};

/// Writes exchanges as Mooncake rows, spaced as the original's are.
pub(in crate::interop) struct MooncakeWriter {
    chains: Rechain,
    row: Vec<u8>,
}

impl MooncakeWriter {
    pub(in crate::interop) fn new(spec: Option<BlockSpec>) -> Self {
        Self {
            chains: Rechain::new(spec),
            row: Vec::new(),
        }
    }

    /// Writes an exchange, or says why it has no row.
    pub(in crate::interop) fn write(
        &mut self,
        exchange: &Exchange,
        out: &mut impl Write,
    ) -> io::Result<Result<(), LeftOut>> {
        if !exchange.endpoint.generates() {
            return Ok(Err(LeftOut::NotInference));
        }
        let Some(prompt) = exchange.request.prompt_tokens else {
            return Ok(Err(LeftOut::NoPromptTokens));
        };
        let Some(output) = exchange.response.output_tokens else {
            return Ok(Err(LeftOut::NoOutputTokens));
        };
        let row = &mut self.row;
        row.clear();
        write!(
            row,
            r#"{{"timestamp": {}, "input_length": {}, "output_length": {}, "hash_ids": ["#,
            exchange.at.us() / 1000,
            prompt.count,
            output.count,
        )?;
        for (place, id) in self
            .chains
            .blocks(&exchange.request, prompt.count)
            .into_iter()
            .enumerate()
        {
            if place > 0 {
                row.extend_from_slice(b", ");
            }
            write!(row, "{id}")?;
        }
        row.extend_from_slice(b"]}\n");
        out.write_all(row)?;
        Ok(Ok(()))
    }
}
