use serde::{Deserialize, Serialize};

use super::{BlockId, CacheMark, MediaType, TensorShape};

/// The shape of a request: everything about it that sets the server's load, and none of its words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestShape {
    /// Bytes of the body as they crossed the wire.
    pub bytes: u64,
    /// What its head says the body is, where no dialect reads it.
    #[serde(skip_serializing_if = "MediaType::is_unsaid", default)]
    pub media_type: MediaType,
    /// The messages in order (one, of role `User`, for a plain completion prompt; one each for a batch of them).
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub messages: Vec<MessageShape>,
    /// Tokens of the whole prompt, as the server counts them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prompt_tokens: Option<TokenCount>,
    /// The prompt as a chain of blocks (see [`BlockSpec`]).
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub blocks: Vec<BlockId>,
    /// Parameters that set the load.
    pub params: RequestParams,
    /// Tools offered to the model.
    #[serde(skip_serializing_if = "ToolsShape::is_empty", default)]
    pub tools: ToolsShape,
    /// Images, audio and documents in the prompt.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub media: Vec<MediaPart>,
    /// The input tensors of a model that takes no prompt, each of which is a message, too.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tensors: Vec<TensorShape>,
    /// Where its client marked what to keep, in the order of the prompt: tools, messages, the whole.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub cache_marks: Vec<CacheMark>,
}

impl RequestShape {
    /// Bytes of the prompt as it is rendered for its chain: a marker and the definition for each tool, a marker and the
    /// text for each message, a marker and a digest for each media part.
    pub fn rendered_bytes(&self) -> u64 {
        let tools = u64::from(self.tools.count) + u64::from(self.tools.bytes);
        let messages = self
            .messages
            .iter()
            .map(|message| 1 + u64::from(message.bytes));
        tools + messages.sum::<u64>() + 9 * self.media.len() as u64
    }
}

/// One message of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MessageShape {
    /// Who speaks.
    pub role: Role,
    /// Bytes of its text as the block chain sees them (media not counted).
    pub bytes: u32,
    /// Its tokens, where known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens: Option<u32>,
}

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// `system` or `developer`
    System,
    /// `user`
    User,
    /// `assistant` or `model`
    Assistant,
    /// `tool` or `function`: a tool's result
    Tool,
    /// Any other role.
    Other,
}

impl Role {
    /// Every role, in the order of their codes in the trace file.
    pub const ALL: [Self; 5] = [
        Self::System,
        Self::User,
        Self::Assistant,
        Self::Tool,
        Self::Other,
    ];
}

/// A number of tokens and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenCount {
    /// How many.
    pub count: u32,
    /// Who said so.
    pub source: TokenSource,
}

/// Where a token count came from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenSource {
    /// The server said so (`usage`).
    Usage,
    /// A local tokenizer counted.
    Tokenizer,
    /// The stream's token events were counted (a lower bound where an event carries several tokens).
    Counted,
    /// Estimated from bytes.
    Estimated,
}

impl TokenSource {
    /// Every source, in the order of their codes in the trace file.
    pub const ALL: [Self; 4] = [Self::Usage, Self::Tokenizer, Self::Counted, Self::Estimated];
}

/// Parameters of a request that set the load it makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestParams {
    /// `max_tokens`, `max_completion_tokens`, `max_output_tokens`: the cap on the answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_tokens: Option<u32>,
    /// `min_tokens` (vLLM, SGLang).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min_tokens: Option<u32>,
    /// `ignore_eos` (vLLM, SGLang).
    pub ignore_eos: bool,
    /// Answers asked for per prompt (`n`); 1 where not said.
    pub n: u16,
    /// `best_of`, where said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub best_of: Option<u16>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// `stream_options.include_usage`
    pub include_usage: bool,
    /// Greedy decoding (`temperature` 0, or `top_k` / `top_p` that leave one choice); `None` where not said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub greedy: Option<bool>,
    /// Constrained output.
    pub structured: Structured,
    /// Bytes of the schema or grammar, 0 where there is none.
    pub schema_bytes: u32,
    /// Alternatives per token asked for (`top_logprobs`, or `logprobs` as a number); `Some(0)` for logprobs of the chosen token only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub logprobs: Option<u8>,
    /// Number of stop sequences.
    pub stop_count: u8,
    /// `reasoning_effort`, or a thinking budget's presence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reasoning_effort: Option<ReasoningEffort>,
    /// The prompt came as token ids, not as text.
    pub token_ids: bool,
    /// `echo` (completions).
    pub echo: bool,
    /// What came is only the end of the prompt: the server keeps the rest (`previous_response_id`, `cachedContent`, …).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub continues: bool,
    /// `num_ctx`: the context that the model is loaded with (Ollama).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub context_tokens: Option<u32>,
    /// `stream_options.continuous_usage_stats`: counts in every event (vLLM).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub continuous_usage: bool,
    /// `return_token_ids`: the ids of prompt and answer beside the text (vLLM).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub return_token_ids: bool,
    /// `dimensions` of the vectors asked for (embeddings).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dimensions: Option<u32>,
    /// How vectors are written (embeddings).
    #[serde(skip_serializing_if = "VectorEncoding::is_unsaid", default)]
    pub encoding_format: VectorEncoding,
}

/// How an embedding's numbers are written, which sets the size of the answer.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VectorEncoding {
    /// As the server does it: mostly as a list of numbers.
    #[default]
    Unsaid,
    /// `float`
    Float,
    /// `base64`
    Base64,
    /// Any other.
    Other,
}

impl VectorEncoding {
    /// Every encoding, in the order of their codes in the trace file.
    pub const ALL: [Self; 4] = [Self::Unsaid, Self::Float, Self::Base64, Self::Other];

    fn is_unsaid(&self) -> bool {
        *self == Self::Unsaid
    }
}

/// How the output is constrained.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Structured {
    /// Free text.
    #[default]
    None,
    /// Any JSON object.
    JsonObject,
    /// A JSON schema.
    JsonSchema,
    /// A grammar, regular expression or choice list.
    Grammar,
}

impl Structured {
    /// Every kind, in the order of their codes in the trace file.
    pub const ALL: [Self; 4] = [
        Self::None,
        Self::JsonObject,
        Self::JsonSchema,
        Self::Grammar,
    ];
}

/// How hard a reasoning model was asked to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReasoningEffort {
    /// Not at all.
    None,
    /// `minimal`
    Minimal,
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// Any other word, or a budget in tokens.
    Other,
}

impl ReasoningEffort {
    /// Every effort, in the order of their codes in the trace file.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Minimal,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Other,
    ];
}

/// The tools offered to the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ToolsShape {
    /// How many.
    pub count: u16,
    /// Bytes of their definitions as the block chain sees them.
    pub bytes: u32,
}

impl ToolsShape {
    /// Whether none were offered.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One image, clip or document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MediaPart {
    /// Index of the message that holds it.
    pub message: u16,
    /// What it is.
    pub kind: MediaKind,
    /// How a picture is coded, where its first bytes told.
    #[serde(skip_serializing_if = "PictureFormat::is_other", default)]
    pub format: PictureFormat,
    /// Its bytes after base64 is undone; 0 where it was given by reference.
    pub bytes: u64,
    /// Width and height in pixels, where the header told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pixels: Option<(u32, u32)>,
}

/// How a picture is coded, which sets what it costs to read it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PictureFormat {
    /// Another, or unknown, as of what is no picture.
    #[default]
    Other,
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// GIF.
    Gif,
    /// WebP.
    Webp,
}

impl PictureFormat {
    /// Every format, in the order of their codes in the trace file.
    pub const ALL: [Self; 5] = [Self::Other, Self::Png, Self::Jpeg, Self::Gif, Self::Webp];

    fn is_other(&self) -> bool {
        *self == Self::Other
    }
}

/// What the first bytes of a picture tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureHead {
    /// How it is coded.
    pub format: PictureFormat,
    /// Its width and height.
    pub pixels: (u32, u32),
}

/// What a media part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MediaKind {
    /// A picture.
    Image,
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
    /// A document or file.
    Document,
}

impl MediaKind {
    /// Every kind, in the order of their codes in the trace file.
    pub const ALL: [Self; 4] = [Self::Image, Self::Audio, Self::Video, Self::Document];
}

/// What one block of a prompt chain covers, for a whole trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockSpec {
    /// What is counted.
    pub unit: BlockUnit,
    /// How many of it make a block.
    pub size: u32,
    /// Whether a last, part-filled block has an id too (Mooncake) or only full blocks do (live recordings, as engines hash).
    pub partial_last: bool,
}

impl BlockSpec {
    /// Live recordings without a tokenizer: 64 bytes of the rendered prompt, about 16 tokens of English.
    pub const LIVE: Self = Self {
        unit: BlockUnit::Bytes,
        size: 64,
        partial_last: false,
    };
    /// Live recordings with a tokenizer: 16 tokens, which divides the blocks of every engine in use.
    pub const TOKENS: Self = Self {
        unit: BlockUnit::Tokens,
        size: 16,
        partial_last: false,
    };
    /// Mooncake traces: 512 tokens, the last block part-filled.
    pub const MOONCAKE: Self = Self {
        unit: BlockUnit::Tokens,
        size: 512,
        partial_last: true,
    };
}

/// What a block is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlockUnit {
    /// Bytes of the rendered prompt.
    Bytes,
    /// Tokens of the rendered prompt.
    Tokens,
}
