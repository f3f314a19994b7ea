use super::sse::SseSplitter;
use super::tally::Tally;
use super::{ResponseHead, ResponseSight, anthropic_messages, openai};
use crate::shape::{Dialect, Endpoint};

/// Watches one response go by, in whatever pieces it comes. Holds at most one event of a stream, or a plain JSON body of up
/// to 64 MiB; never the answer of a stream.
pub struct ResponseObserver {
    form: Form,
    reader: &'static dyn Reader,
    tally: Tally,
}

/// One wire API's reading of answers.
pub(super) trait Reader: Sync {
    /// One event of a stream.
    fn event(&self, at_us: u64, name: &[u8], data: &[u8], tally: &mut Tally);

    /// A whole plain body.
    fn body(&self, body: &[u8], tally: &mut Tally);
}

enum Form {
    Stream(SseSplitter),
    Plain(Vec<u8>),
    /// Not read: no dialect, an error, or a coding that hides it.
    Opaque,
    /// A plain body larger than is kept.
    TooLarge,
}

impl ResponseObserver {
    /// An observer for one response. `keep_gaps` also keeps every gap in order.
    ///
    /// Whether it is a stream is told by the response's media type, not by what was asked for.
    pub fn new(endpoint: Endpoint, head: ResponseHead<'_>, keep_gaps: bool) -> Self {
        let reader: &'static dyn Reader = match endpoint.dialect() {
            Dialect::OpenAiChat | Dialect::OpenAiCompletions | Dialect::Generic => &openai::Answers,
            Dialect::AnthropicMessages => &anthropic_messages::Answers,
        };
        let mut tally = Tally::new(keep_gaps);
        let encoded = head
            .content_encoding
            .is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"));
        tally.sight.encoded = encoded;
        let is = |kind: &str| {
            let media = head.content_type.unwrap_or_default();
            media
                .get(..kind.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(kind))
        };
        let form = if encoded
            || endpoint.dialect() == Dialect::Generic
            || !(200..300).contains(&head.status)
        {
            Form::Opaque
        } else if is("text/event-stream") {
            Form::Stream(SseSplitter::default())
        } else {
            Form::Plain(Vec::new())
        };
        Self {
            form,
            reader,
            tally,
        }
    }

    /// Takes the next piece of the body, which arrived at `at_us`.
    pub fn data(&mut self, at_us: u64, bytes: &[u8]) {
        let (reader, tally) = (self.reader, &mut self.tally);
        match &mut self.form {
            Form::Stream(splitter) => splitter.feed(bytes, |event| {
                read_event(reader, at_us, event.name, event.data, tally);
            }),
            Form::Plain(body) if body.len() + bytes.len() <= MAX_BODY => {
                body.extend_from_slice(bytes);
            }
            Form::Plain(_) => self.form = Form::TooLarge,
            Form::Opaque | Form::TooLarge => {}
        }
    }

    /// Stream events with at least one token so far.
    pub fn token_events(&self) -> u32 {
        self.tally.sight.token_events
    }

    /// What was seen.
    pub fn finish(self) -> ResponseSight {
        let Self {
            form,
            reader,
            mut tally,
        } = self;
        match form {
            Form::Stream(mut splitter) => {
                let at_us = tally.sight.last_token_us.unwrap_or(0);
                splitter
                    .finish(|event| read_event(reader, at_us, event.name, event.data, &mut tally));
            }
            Form::Plain(body) => reader.body(&body, &mut tally),
            Form::TooLarge => tally.sight.unparsable = true,
            Form::Opaque => {}
        }
        tally.close()
    }
}

fn read_event(
    reader: &dyn Reader,
    at_us: u64,
    name: &[u8],
    data: Option<&[u8]>,
    tally: &mut Tally,
) {
    tally.sight.events = tally.sight.events.saturating_add(1);
    match data {
        Some(data) => reader.event(at_us, name, data, tally),
        None => tally.sight.unparsable = true,
    }
}

/// A plain answer larger than this is not read: at four bytes a token, sixteen million tokens.
const MAX_BODY: usize = 64 << 20;
