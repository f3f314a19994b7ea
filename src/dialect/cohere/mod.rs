//! Cohere's chat, version 2: `POST /v2/chat`.

mod answer;
mod request;
mod synthesise;

pub(in crate::dialect) use answer::Answers;
pub(in crate::dialect) use request::observe;
pub(in crate::dialect) use synthesise::synthesise;
