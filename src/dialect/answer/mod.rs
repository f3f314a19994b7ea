//! Answers as they go by: what the recorder counts of them, and, behind a door of its own, their text.

mod observer;
mod repeat;
mod tally;
mod text;

pub use observer::ResponseObserver;
pub use text::{AnswerReader, AnswerText};

pub(in crate::dialect) use repeat::Plain;
pub(in crate::dialect) use tally::{Carried, Tally};

use super::{anthropic, cohere, gemini, kserve, ollama, openai, tgi};
use crate::shape::Dialect;

/// One wire API's reading of answers.
pub(in crate::dialect) trait Reader: Sync {
    /// One event of a stream. Says what it carried, if that is all it did.
    fn event<'a>(&self, at_us: u64, data: &'a [u8], tally: &mut Tally) -> Option<Plain<'a>>;

    /// A whole plain body.
    fn body(&self, body: &[u8], tally: &mut Tally);

    /// The stream is over.
    fn finish(&self, _tally: &mut Tally) {}
}

/// Who reads the answers of a dialect; nobody those of tensors and frames.
fn reader(dialect: Dialect) -> Option<&'static dyn Reader> {
    Some(match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiCompletions => &openai::Answers,
        Dialect::AnthropicMessages => &anthropic::Answers,
        Dialect::OpenAiResponses => &openai::responses::Answers,
        Dialect::OpenAiEmbeddings => &openai::embeddings::Answers,
        Dialect::OllamaGenerate | Dialect::OllamaChat | Dialect::OllamaEmbed => &ollama::Answers,
        Dialect::Tgi => &tgi::Answers,
        Dialect::CohereChat => &cohere::Answers,
        Dialect::Gemini => &gemini::Answers,
        Dialect::Triton => &kserve::triton::Answers,
        // Of these only messages are counted.
        Dialect::KserveGrpc => &openai::Answers,
        Dialect::Generic | Dialect::Kserve | Dialect::Realtime => return None,
    })
}
