//! Anthropic messages: `POST /v1/messages`.

mod answer;
mod marks;
mod request;
mod synthesise;

pub(in crate::dialect) use answer::Answers;
pub(in crate::dialect) use request::{Thinking, observe};
pub(in crate::dialect) use synthesise::synthesise;
