//! Ollama: `POST /api/generate`, `/api/chat` and `/api/embed`. Streams unless told not to.

mod answer;
mod request;
mod synthesise;

pub(in crate::dialect) use answer::Answers;
pub(in crate::dialect) use request::{observe_chat, observe_embed, observe_generate};
pub(in crate::dialect) use synthesise::{synthesise_chat, synthesise_embed, synthesise_generate};
