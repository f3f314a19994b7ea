use super::message::Message;
use crate::anonymise::{ChainKey, PromptRender};
use crate::dialect::json::{List, Refused, Text, Tools};
use crate::dialect::openai::body;
use crate::dialect::openai::body::{OwnFields, once};
use crate::dialect::{RequestSight, Unparsable};
use crate::shape::Dialect;

use serde::de::MapAccess;

/// Reads a request's body.
pub(in crate::dialect) fn observe(body: &[u8], key: &ChainKey) -> Result<RequestSight, Unparsable> {
    let wrong = |refused| Unparsable::new(Dialect::OpenAiChat, refused);
    let (request, parameters) = body::read::<Request<'_>>(body).map_err(wrong)?;
    let messages = request.messages.ok_or(wrong(Refused::Malformed))?;
    let mut render = PromptRender::new(key);
    for tools in [&request.tools, &request.functions].into_iter().flatten() {
        tools.render(&mut render);
    }
    for message in messages.iter() {
        message.render(&mut render);
    }
    let model = request.model.flatten();
    Ok(RequestSight::new(parameters.shape(), model, render))
}

#[derive(Default)]
struct Request<'a> {
    model: Option<Option<Text<'a>>>,
    messages: Option<List<Message<'a>>>,
    tools: Option<Tools<'a>>,
    /// The form before tools.
    functions: Option<Tools<'a>>,
}

impl<'a> OwnFields<'a> for Request<'a> {
    fn take<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "model" => once(&mut self.model, map),
            "messages" => once(&mut self.messages, map),
            "tools" => once(&mut self.tools, map),
            "functions" => once(&mut self.functions, map),
            _ => Ok(false),
        }
    }
}
