//! Hugging Face's Text Generation Inference: `POST /generate`, `/generate_stream` and `/`.

mod answer;
mod request;
mod synthesise;

pub(in crate::dialect) use answer::Answers;
pub(in crate::dialect) use request::observe;
pub(in crate::dialect) use synthesise::synthesise;
