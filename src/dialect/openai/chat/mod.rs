//! OpenAI chat completions: `POST /v1/chat/completions`.

mod message;
mod request;
mod synthesise;

pub(in crate::dialect) use message::Message;
pub(in crate::dialect) use request::observe;
pub(in crate::dialect) use synthesise::synthesise;
