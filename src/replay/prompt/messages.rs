//! The messages of a prompt to write, and what their text is measured by.

use crate::shape::{
    BlockId, BlockSpec, BlockUnit, Dialect, Endpoint, MessageShape, RequestShape, Role,
};

use super::ruler::Ruler;

/// A damaged or hostile trace can ask for any length; beyond it a prompt is cut.
const MOST_BYTES: u64 = 32 << 20;

/// The messages to write: at least one, within [`MOST_BYTES`] in all, and none empty where the dialect refuses that.
pub(super) fn bounded(endpoint: Endpoint, request: &RequestShape) -> (Vec<MessageShape>, bool) {
    let mut left = MOST_BYTES;
    let mut was_cut = false;
    let mut messages = request.messages.clone();
    if messages.is_empty() {
        messages.push(MessageShape {
            role: Role::User,
            bytes: 0,
            tokens: None,
        });
        return (messages, false);
    }
    for message in &mut messages {
        let bytes = u64::from(message.bytes).min(left);
        was_cut |= bytes < u64::from(message.bytes);
        left -= bytes;
        message.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    }
    let all_empty = messages.iter().all(|m| m.bytes == 0);
    let refuses_empty = matches!(
        endpoint.dialect(),
        Dialect::AnthropicMessages | Dialect::CohereChat | Dialect::Gemini
    );
    if refuses_empty && !all_empty {
        for message in &mut messages {
            message.bytes = message.bytes.max(1);
        }
    }
    (messages, was_cut)
}

/// Bytes of the messages' text.
pub(super) fn text_bytes(messages: &[MessageShape]) -> u64 {
    messages.iter().map(|m| u64::from(m.bytes)).sum()
}

/// What the messages of a prompt in tokens weigh against each other: their tokens, else their bytes, else all the same.
pub(super) fn weights(messages: &[MessageShape]) -> Vec<u64> {
    let tokens: Option<Vec<u64>> = messages.iter().map(|m| m.tokens.map(u64::from)).collect();
    let weights = tokens.unwrap_or_else(|| messages.iter().map(|m| u64::from(m.bytes)).collect());
    if weights.iter().all(|&weight| weight == 0) {
        return vec![1; messages.len()];
    }
    weights
}

/// What a prompt's text is measured by; `None` where nothing tells how long its messages are.
pub(super) fn ruler(
    spec: Option<BlockSpec>,
    request: &RequestShape,
    messages: &[MessageShape],
    bytes_per_1024: &mut Option<u64>,
) -> Option<Ruler> {
    if text_bytes(messages) == 0 {
        return None;
    }
    let size = match spec {
        Some(spec) if spec.unit == BlockUnit::Tokens => {
            return Ruler::tokens(Some(spec), request, bytes_per_1024);
        }
        Some(spec) => spec.size,
        None => BlockSpec::LIVE.size,
    };
    let bytes = messages.iter().map(|m| u64::from(m.bytes)).collect();
    Some(Ruler::bytes(u64::from(size), request, bytes))
}

/// The chain of a trace whose blocks are of tokens, and their size.
pub(super) fn blocks_of_tokens(
    spec: Option<BlockSpec>,
    request: &RequestShape,
) -> (&[BlockId], u64) {
    match spec {
        Some(spec) if spec.unit == BlockUnit::Tokens => {
            (request.blocks.as_slice(), u64::from(spec.size))
        }
        _ => (&[], 1),
    }
}
