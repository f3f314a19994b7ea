use crate::anonymise::{MARKER_BYTES, MEDIA_BYTES};
use crate::shape::{BlockSpec, BlockUnit, RequestShape};

/// What a prompt is measured in, and how long everything in its rendered stream is by that: see
/// [`crate::anonymise::PromptRender`].
pub(super) struct Ruler {
    pub(super) block: u64,
    pub(super) tools: u64,
    pub(super) marker: u64,
    pub(super) media: u64,
    pub(super) messages: Vec<u64>,
    /// Bytes of text to 1,024 units.
    pub(super) bytes_per_1024: u64,
}

impl Ruler {
    /// By bytes.
    pub(super) fn bytes(block: u64, request: &RequestShape, messages: Vec<u64>) -> Self {
        Self {
            block: block.max(1),
            tools: u64::from(request.tools.count) * MARKER_BYTES + u64::from(request.tools.bytes),
            marker: MARKER_BYTES,
            media: MEDIA_BYTES,
            messages,
            bytes_per_1024: 1024,
        }
    }

    /// By tokens; `None` where blocks are of no tokens, or the tokens of a message are not known. How many bytes a token's text takes
    /// must be the same in all prompts, so that a block's text is.
    pub(super) fn tokens(
        spec: Option<BlockSpec>,
        request: &RequestShape,
        bytes_per_1024: &mut Option<u64>,
    ) -> Option<Self> {
        let spec = spec.filter(|spec| spec.unit == BlockUnit::Tokens)?;
        let tokens = request.messages.iter().map(|it| it.tokens.map(u64::from));
        let messages: Vec<u64> = tokens.collect::<Option<_>>()?;
        if messages.is_empty() {
            return None;
        }
        let block = u64::from(spec.size).max(1);
        let media = 3;
        let text: u64 = messages.iter().sum();
        let bytes: u64 = request.messages.iter().map(|it| u64::from(it.bytes)).sum();
        let told = text + messages.len() as u64 + media * request.media.len() as u64;
        // The tokens of tools are not told, but those of all blocks are.
        let tools = (request.blocks.len() as u64 * block).saturating_sub(told);
        Some(Self {
            block,
            tools: if request.tools.is_empty() { 0 } else { tools },
            marker: 1,
            media,
            messages,
            bytes_per_1024: *bytes_per_1024.get_or_insert_with(|| {
                let usual = bytes.saturating_mul(1024) / text.max(1);
                usual.clamp(2 << 10, 8 << 10)
            }),
        })
    }

    /// How many messages there are.
    pub(super) fn messages(&self) -> usize {
        self.messages.len()
    }

    /// Whether so many blocks hold all tools.
    pub(super) fn is_past_tools(&self, blocks: usize) -> bool {
        blocks as u64 * self.block >= self.tools
    }
}
