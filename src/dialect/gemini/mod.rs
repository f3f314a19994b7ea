//! Google's Gemini: `POST …/models/MODEL:generateContent` and `:streamGenerateContent`. Field names come in two spellings.

mod answer;
mod request;
mod synthesise;

pub(in crate::dialect) use answer::Answers;
pub(in crate::dialect) use request::observe;
pub(in crate::dialect) use synthesise::synthesise;
