use crate::replay::survey::text_bytes;
use crate::shape::{RequestShape, TokenSource};

/// Replaces an estimated count of prompt tokens by one that goes by `bytes_per_token`.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an estimate, and the cast saturates"
)]
pub(super) fn recount(request: &mut RequestShape, bytes_per_token: f64) {
    let bytes = text_bytes(request);
    if let Some(tokens) = &mut request.prompt_tokens
        && tokens.source == TokenSource::Estimated
        && bytes > 0
    {
        tokens.count = (bytes as f64 / bytes_per_token).ceil() as u32;
    }
}
