use super::{Draft, Forcing, unsaid};
use crate::shape::{CacheMark, VectorEncoding};

/// What of a draft few dialects can say. The one that writes it takes it, and what is left then is told as altered, for all the others.
pub(in crate::dialect) struct Rare<'a> {
    pub(in crate::dialect) context_tokens: Option<u32>,
    pub(in crate::dialect) dimensions: Option<u32>,
    pub(in crate::dialect) encoding_format: VectorEncoding,
    pub(in crate::dialect) cache_marks: &'a [CacheMark],
    continuous_usage: bool,
    return_token_ids: bool,
    takes_extras: bool,
}

impl<'a> Rare<'a> {
    pub(in crate::dialect) fn of(draft: &Draft<'a>) -> Self {
        let params = &draft.params;
        Self {
            context_tokens: params.context_tokens,
            dimensions: params.dimensions,
            encoding_format: params.encoding_format,
            cache_marks: draft.cache_marks,
            continuous_usage: params.continuous_usage && params.stream,
            return_token_ids: params.return_token_ids,
            takes_extras: takes_extras(draft.forcing),
        }
    }

    /// `continuous_usage_stats`, where the target takes it.
    pub(in crate::dialect) fn take_continuous_usage(&mut self) -> Option<bool> {
        taken(&mut self.continuous_usage, self.takes_extras)
    }

    /// `return_token_ids`, where the target takes it.
    pub(in crate::dialect) fn take_return_token_ids(&mut self) -> Option<bool> {
        taken(&mut self.return_token_ids, self.takes_extras)
    }

    /// Names of what nobody has taken.
    pub(in crate::dialect) fn left(self) -> Vec<&'static str> {
        let encoded = match self.encoding_format {
            VectorEncoding::Unsaid | VectorEncoding::Float => false,
            VectorEncoding::Base64 | VectorEncoding::Other => true,
        };
        unsaid([
            (self.context_tokens.is_some(), "num_ctx"),
            (self.continuous_usage, "continuous_usage_stats"),
            (self.return_token_ids, "return_token_ids"),
            (self.dimensions.is_some(), "dimensions"),
            (encoded, "encoding_format"),
            (!self.cache_marks.is_empty(), "cache_control"),
        ])
    }
}

fn taken(wanted: &mut bool, takes_extras: bool) -> Option<bool> {
    (takes_extras && std::mem::take(wanted)).then_some(true)
}

/// Whether the target takes fields that only engines have. Closed APIs refuse what they do not know; one that takes another such
/// field is none.
fn takes_extras(forcing: Forcing<'_>) -> bool {
    match forcing {
        Forcing::Both | Forcing::MinTokens | Forcing::IgnoreEos => true,
        Forcing::None | Forcing::LogitBias(_) => false,
    }
}
