//! Fields that few dialects have, told here for all the others.

use super::{Draft, Forcing, unsaid};
use crate::shape::{Dialect, VectorEncoding};

impl Draft<'_> {
    /// Names of what was asked for and is not to be had in the dialect that it is written in.
    pub(in crate::dialect) fn foreign(&self) -> Vec<&'static str> {
        let (params, dialect) = (&self.params, self.endpoint.dialect());
        let among = |dialects: &[Dialect]| dialects.contains(&dialect);
        let ollama = among(&[
            Dialect::OllamaGenerate,
            Dialect::OllamaChat,
            Dialect::OllamaEmbed,
        ]);
        let vectors = among(&[Dialect::OpenAiEmbeddings, Dialect::OllamaEmbed]);
        let extras =
            among(&[Dialect::OpenAiChat, Dialect::OpenAiCompletions]) && self.takes_extras();
        let encoded = match params.encoding_format {
            VectorEncoding::Unsaid | VectorEncoding::Float => false,
            VectorEncoding::Base64 => dialect != Dialect::OpenAiEmbeddings,
            // Which it was nobody kept.
            VectorEncoding::Other => true,
        };
        let marked = !self.cache_marks.is_empty();
        unsaid([
            (params.context_tokens.is_some() && !ollama, "num_ctx"),
            (
                params.continuous_usage && params.stream && !extras,
                "continuous_usage_stats",
            ),
            (params.return_token_ids && !extras, "return_token_ids"),
            (params.dimensions.is_some() && !vectors, "dimensions"),
            (encoded, "encoding_format"),
            (
                marked && dialect != Dialect::AnthropicMessages,
                "cache_control",
            ),
        ])
    }

    /// Whether the target takes fields that only engines have. Closed APIs refuse what they do not know; one that takes another such
    /// field is none.
    pub(in crate::dialect) fn takes_extras(&self) -> bool {
        match self.forcing {
            Forcing::Both | Forcing::MinTokens | Forcing::IgnoreEos => true,
            Forcing::None | Forcing::LogitBias(_) => false,
        }
    }
}
