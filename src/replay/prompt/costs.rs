use serde::Serialize;

use super::media::MediaShape;
use crate::shape::{MediaPart, Role, ToolsShape};

/// What a target counts for a prompt beside its words, as calibration found it for one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenCosts {
    /// Tokens of any prompt (begin mark, generation prompt).
    pub fixed: i64,
    /// Tokens of each message (role header, end mark).
    pub per_message: i64,
    /// Tokens that a system message adds beyond an ordinary one: negative where the chat template puts a default system
    /// prompt in when there is none.
    pub system: i64,
    /// Tokens of each word: 1 unless the target's vocabulary splits some.
    pub per_word: f64,
    /// Tokens of the tools, for each shape that was probed.
    pub tools: Vec<(ToolsShape, i64)>,
    /// Tokens of a picture or a clip, for each shape that was probed.
    pub media: Vec<(MediaShape, i64)>,
    /// Whether the target told its counts; otherwise all of this is assumed.
    pub measured: bool,
}

impl Default for TokenCosts {
    /// What is assumed of a target that does not tell.
    fn default() -> Self {
        Self {
            fixed: 0,
            per_message: 0,
            system: 0,
            per_word: 1.0,
            tools: Vec::new(),
            media: Vec::new(),
            measured: false,
        }
    }
}

impl TokenCosts {
    /// Tokens of a prompt of these messages beside its words.
    pub(super) fn around(&self, roles: impl Iterator<Item = Role>, tools: ToolsShape) -> i64 {
        let mut messages = 0_i64;
        let mut system = false;
        for role in roles {
            messages += 1;
            system |= role == Role::System;
        }
        self.fixed
            .saturating_add(self.per_message.saturating_mul(messages))
            .saturating_add(if system { self.system } else { 0 })
            .saturating_add(self.of_tools(tools))
    }

    /// Tokens around a system message and a user's, with the system prompt that the template puts in by itself where it does.
    pub(in crate::replay) fn of_template(&self) -> u64 {
        let messages = self.per_message.saturating_mul(2);
        let most = self
            .fixed
            .saturating_add(messages)
            .saturating_add(self.system.max(0));
        u64::try_from(most).unwrap_or(0)
    }

    /// Tokens of the tools; estimated where this shape was not probed.
    pub(super) fn of_tools(&self, tools: ToolsShape) -> i64 {
        if tools.is_empty() {
            return 0;
        }
        self.tools
            .iter()
            .find(|(shape, _)| *shape == tools)
            .map_or_else(
                || i64::from(tools.bytes) / 4 + 8 * i64::from(tools.count),
                |&(_, tokens)| tokens,
            )
    }

    /// Tokens of pictures and clips: as probed; those of another size in proportion to the nearest one of their kind. Without a
    /// probe, none: what an engine makes of them is its own.
    pub(super) fn of_media(&self, media: &[MediaPart]) -> i64 {
        let of_one = |part: &MediaPart| {
            let shape = MediaShape::of(part);
            let alike = self.media.iter().filter(|(it, _)| it.kind == shape.kind);
            let (nearest, tokens) = alike.min_by_key(|(it, _)| it.size().abs_diff(shape.size()))?;
            let size = i128::from(shape.size());
            i64::try_from(i128::from(*tokens) * size / i128::from(nearest.size())).ok()
        };
        media.iter().filter_map(of_one).fold(0, i64::saturating_add)
    }

    /// Words that make a prompt of `tokens` tokens, `around` of which are not words.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "token counts are far below 2^53 and the quotient is not negative"
    )]
    pub(super) fn words(&self, tokens: u32, around: i64) -> u64 {
        let left = i64::from(tokens).saturating_sub(around).max(0);
        if self.per_word > 0.0 {
            (left as f64 / self.per_word).round() as u64
        } else {
            left.unsigned_abs()
        }
    }

    /// Tokens of that many words.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "word counts are far below 2^53"
    )]
    pub(super) fn of_words(&self, words: u64) -> u64 {
        (words as f64 * self.per_word).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_add_up() {
        let costs = TokenCosts {
            fixed: 3,
            per_message: 4,
            system: -10,
            per_word: 1.0,
            tools: vec![(
                ToolsShape {
                    count: 1,
                    bytes: 90,
                },
                33,
            )],
            media: Vec::new(),
            measured: true,
        };
        let roles = [Role::System, Role::User].into_iter();
        let around = costs.around(
            roles,
            ToolsShape {
                count: 1,
                bytes: 90,
            },
        );
        assert_eq!(around, 3 + 8 - 10 + 33);
        assert_eq!(costs.words(100, around), 66);
        assert_eq!(costs.words(10, around), 0);
        let unprobed = ToolsShape {
            count: 2,
            bytes: 80,
        };
        assert_eq!(costs.of_tools(unprobed), 36);
    }
}
