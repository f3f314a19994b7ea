//! What the recorder and a replay watch go by of an answer.

use super::repeat::Repeat;
use super::tally::Tally;
use super::text::TextCounter;
use super::{Reader, reader};
use crate::anonymise::PromptTokenizer;
use crate::dialect::framing::array::ArraySplitter;
use crate::dialect::framing::grpc::MessageCounter;
use crate::dialect::framing::lines::LineSplitter;
use crate::dialect::framing::sse::{Event, SseSplitter};
use crate::dialect::framing::{Coded, Decoder, Framing, Undecodable, framing};
use crate::dialect::{ResponseHead, ResponseSight, openai};
use crate::pieced::Pieced;
use crate::shape::{Dialect, Endpoint};

/// Watches one response go by, in whatever pieces it comes. Holds at most one event of a stream, or a plain JSON body of up
/// to 64 MiB; never the answer of a stream.
pub struct ResponseObserver {
    dialect: Dialect,
    reading: Reading,
    /// Undoes the body's coding.
    decoder: Option<Box<Decoder>>,
}

struct Reading {
    form: Form,
    reader: &'static dyn Reader,
    tally: Tally,
    repeat: Repeat,
    /// When the last piece arrived.
    last_us: u64,
    /// Bytes that a plain body may have.
    most: usize,
    /// What counts the text of a plain body whose server did not.
    counter: Option<TextCounter>,
}

enum Form {
    Events(SseSplitter),
    Lines(LineSplitter),
    Array(ArraySplitter),
    Messages(MessageCounter),
    Plain(Pieced<u8>),
    /// Not read: no dialect, an error, or a coding that hides it.
    Opaque,
    /// A plain body larger than is kept.
    TooLarge,
}

impl ResponseObserver {
    /// An observer for one response. `keep_gaps` also keeps every gap in order.
    pub fn new(endpoint: Endpoint, head: ResponseHead<'_>, keep_gaps: bool) -> Self {
        let mut tally = Tally::new(keep_gaps);
        let reader = reader(endpoint.dialect());
        let opaque = reader.is_none() || !(200..300).contains(&head.status);
        let coded = Coded::named(head.content_encoding.unwrap_or_default());
        let decoder = match coded {
            Coded::By(coding) if !opaque => Decoder::new(coding, MOST_DECODED).map(Box::new),
            _ => None,
        };
        tally.sight.encoded = coded != Coded::Plain && decoder.is_none();
        let form = match framing(endpoint, head.content_type.unwrap_or_default()) {
            _ if opaque || tally.sight.encoded => Form::Opaque,
            Framing::Events => Form::Events(SseSplitter::default()),
            Framing::Lines => Form::Lines(LineSplitter::default()),
            Framing::Array => Form::Array(ArraySplitter::default()),
            Framing::Messages => Form::Messages(MessageCounter::default()),
            Framing::Plain => Form::Plain(Pieced::default()),
        };
        Self {
            dialect: endpoint.dialect(),
            reading: Reading {
                form,
                reader: reader.unwrap_or(&openai::Answers),
                tally,
                repeat: Repeat::default(),
                last_us: 0,
                most: MAX_BODY,
                counter: None,
            },
            decoder,
        }
    }

    /// The same, with room for a plain body of at most this.
    #[must_use]
    pub fn within(mut self, most_bytes: u64) -> Self {
        let most = usize::try_from(most_bytes).unwrap_or(usize::MAX);
        self.reading.most = most.min(MAX_BODY);
        self
    }

    /// The same, which counts the tokens of a plain answer where its server does not. (Those of a stream are counted by its events:
    /// of a stream no text is kept.)
    #[must_use]
    pub fn counting_with(mut self, tokenizer: Option<PromptTokenizer>) -> Self {
        self.reading.counter = tokenizer.map(|tokenizer| TextCounter::new(self.dialect, tokenizer));
        self
    }

    /// Takes the next piece of the body, which arrived at `at_us`.
    pub fn data(&mut self, at_us: u64, bytes: &[u8]) {
        let reading = &mut self.reading;
        let Some(decoder) = &mut self.decoder else {
            return reading.take(at_us, bytes);
        };
        let decoded = decoder.feed(bytes, |plain| reading.take(at_us, plain));
        let Err(why) = decoded else { return };
        reading.form = match why {
            Undecodable::TooLarge => Form::TooLarge,
            Undecodable::Malformed => {
                reading.tally.sight.unparsable = true;
                Form::Opaque
            }
        };
        self.decoder = None;
    }

    /// Stream events with at least one token so far.
    pub fn token_events(&self) -> u32 {
        self.reading.tally.sight.token_events
    }

    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        let reading = &self.reading;
        let form = match &reading.form {
            Form::Events(splitter) => splitter.held_bytes(),
            Form::Lines(splitter) => splitter.held_bytes(),
            Form::Array(splitter) => splitter.held_bytes(),
            Form::Plain(body) => body.held_bytes(),
            Form::Messages(_) | Form::Opaque | Form::TooLarge => 0,
        };
        let decoder = self
            .decoder
            .as_ref()
            .map_or(0, |decoder| decoder.held_bytes());
        form + decoder + reading.tally.held_bytes() + reading.repeat.held_bytes()
    }

    /// What was seen.
    pub fn finish(self) -> ResponseSight {
        self.reading.finish()
    }
}

impl Reading {
    fn take(&mut self, at_us: u64, bytes: &[u8]) {
        self.last_us = at_us;
        let (reader, tally, repeat) = (self.reader, &mut self.tally, &mut self.repeat);
        match &mut self.form {
            Form::Events(splitter) => splitter.feed(bytes, |event| {
                read_event(reader, at_us, &event, tally, repeat);
            }),
            Form::Lines(splitter) => splitter.feed(bytes, |event| {
                read_event(reader, at_us, &event, tally, repeat);
            }),
            Form::Array(splitter) => splitter.feed(bytes, |event| {
                read_event(reader, at_us, &event, tally, repeat);
            }),
            Form::Messages(counter) => counter.feed(bytes, || tally.message(at_us)),
            Form::Plain(body) if body.len() + bytes.len() <= self.most => {
                body.extend_from_slice(bytes);
            }
            Form::Plain(_) => self.form = Form::TooLarge,
            Form::Opaque | Form::TooLarge => {}
        }
    }

    fn finish(self) -> ResponseSight {
        let Self {
            form,
            reader,
            mut tally,
            mut repeat,
            last_us,
            counter,
            ..
        } = self;
        let mut read = |event: Event<'_>| {
            read_event(reader, last_us, &event, &mut tally, &mut repeat);
        };
        match form {
            Form::Events(mut splitter) => splitter.finish(&mut read),
            Form::Lines(mut splitter) => splitter.finish(&mut read),
            Form::Array(mut splitter) => splitter.finish(&mut read),
            Form::Plain(body) => {
                let body = body.into_whole(&mut Vec::new());
                reader.body(&body, &mut tally);
                let mut sight = tally.close();
                if sight.output_tokens.is_none() && sight.answer_bytes > 0 {
                    let count = |counter: TextCounter| counter.count(&body, sight.answer_bytes);
                    sight.answer_tokens = counter.and_then(count);
                }
                return sight;
            }
            Form::TooLarge => {
                tally.sight.too_large = true;
                return tally.close();
            }
            Form::Messages(_) | Form::Opaque => return tally.close(),
        }
        reader.finish(&mut tally);
        tally.close()
    }
}

fn read_event(
    reader: &dyn Reader,
    at_us: u64,
    event: &Event<'_>,
    tally: &mut Tally,
    repeat: &mut Repeat,
) {
    tally.sight.events = tally.sight.events.saturating_add(1);
    let &Event { name, data } = event;
    // Its data may be a line of prose.
    if name == b"error" {
        tally.error(data.unwrap_or_default());
        return;
    }
    let Some(data) = data else {
        tally.sight.unparsable = true;
        return;
    };
    if let Some((carried, said)) = repeat.carried(name, data) {
        tally.token(at_us, carried);
        tally.said(said);
        return;
    }
    let plain = reader.event(at_us, data, tally);
    repeat.remember(name, data, plain);
}

/// A plain answer larger than this is not read: at four bytes a token, sixteen million tokens.
const MAX_BODY: usize = 64 << 20;
/// A stream under a coding is read up to here: the bound on what its coding may make the observer work.
const MOST_DECODED: u64 = 1 << 30;

#[cfg(test)]
mod tests;
