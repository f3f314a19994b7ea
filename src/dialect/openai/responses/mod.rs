//! OpenAI responses: `POST /v1/responses`.

mod answer;
mod request;
mod synthesise;

pub(in crate::dialect) use answer::Answers;
pub(in crate::dialect) use request::observe;
pub(in crate::dialect) use synthesise::synthesise;
