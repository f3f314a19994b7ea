use super::array::ArraySplitter;
use super::coding::{Coded, Decoder, Undecodable};
use super::grpc::MessageCounter;
use super::lines::LineSplitter;
use super::repeat::{Plain, Repeat};
use super::sse::{Event, SseSplitter};
use super::tally::Tally;
use super::{
    ResponseHead, ResponseSight, anthropic_messages, cohere_chat, embeddings, gemini, ollama,
    openai, openai_responses, tgi, triton,
};
use crate::shape::{Dialect, Endpoint};

/// Watches one response go by, in whatever pieces it comes. Holds at most one event of a stream, or a plain JSON body of up
/// to 64 MiB; never the answer of a stream.
pub struct ResponseObserver {
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
}

/// One wire API's reading of answers.
pub(super) trait Reader: Sync {
    /// One event of a stream. Says what it carried, if that is all it did.
    fn event<'a>(
        &self,
        at_us: u64,
        name: &[u8],
        data: &'a [u8],
        tally: &mut Tally,
    ) -> Option<Plain<'a>>;

    /// A whole plain body.
    fn body(&self, body: &[u8], tally: &mut Tally);

    /// The stream is over.
    fn finish(&self, _tally: &mut Tally) {}
}

enum Form {
    Events(SseSplitter),
    Lines(LineSplitter),
    Array(ArraySplitter),
    Messages(MessageCounter),
    Plain(Vec<u8>),
    /// Not read: no dialect, an error, or a coding that hides it.
    Opaque,
    /// A plain body larger than is kept.
    TooLarge,
}

/// How an answer is cut into what is read at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Events,
    Lines,
    Array,
    Messages,
    Plain,
}

/// By the answer's media type, not by what was asked for. Gemini alone streams a plain array, and says so in its path.
pub(super) fn framing(endpoint: Endpoint, content_type: &str) -> Framing {
    let is = |kind: &str| {
        content_type
            .get(..kind.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(kind))
    };
    if is("text/event-stream") {
        Framing::Events
    } else if is("application/x-ndjson") {
        Framing::Lines
    } else if is("application/grpc") {
        Framing::Messages
    } else if endpoint == Endpoint::GeminiStream {
        Framing::Array
    } else {
        Framing::Plain
    }
}

/// Whether an answer of this media type is read as it comes, and not as a whole.
pub fn is_stream(endpoint: Endpoint, content_type: &str) -> bool {
    framing(endpoint, content_type) != Framing::Plain
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
            Framing::Plain => Form::Plain(Vec::new()),
        };
        Self {
            reading: Reading {
                form,
                reader: reader.unwrap_or(&openai::Answers),
                tally,
                repeat: Repeat::default(),
                last_us: 0,
                most: MAX_BODY,
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
            Form::Plain(body) => body.capacity(),
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
                reader.body(&body, &mut tally);
                if tally.sight.error {
                    tally.error_said(&body);
                }
                return tally.close();
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

/// Who reads the answers of a dialect; nobody those of tensors and frames.
fn reader(dialect: Dialect) -> Option<&'static dyn Reader> {
    Some(match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiCompletions => &openai::Answers,
        Dialect::AnthropicMessages => &anthropic_messages::Answers,
        Dialect::OpenAiResponses => &openai_responses::Answers,
        Dialect::OpenAiEmbeddings => &embeddings::Answers,
        Dialect::OllamaGenerate | Dialect::OllamaChat | Dialect::OllamaEmbed => &ollama::Answers,
        Dialect::Tgi => &tgi::Answers,
        Dialect::CohereChat => &cohere_chat::Answers,
        Dialect::Gemini => &gemini::Answers,
        Dialect::Triton => &triton::Answers,
        // Of these only messages are counted.
        Dialect::KserveGrpc => &openai::Answers,
        Dialect::Generic | Dialect::Kserve | Dialect::Realtime => return None,
    })
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
        tally.error();
        tally.error_said(data.unwrap_or_default());
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
    let failed = tally.sight.error;
    let plain = reader.event(at_us, name, data, tally);
    if tally.sight.error && !failed {
        tally.error_said(data);
    }
    repeat.remember(name, data, plain);
}

/// A plain answer larger than this is not read: at four bytes a token, sixteen million tokens.
const MAX_BODY: usize = 64 << 20;
/// A stream under a coding is read up to here: the bound on what its coding may make the observer work.
const MOST_DECODED: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::FinishReason;
    use proptest::prelude::*;

    fn observe(endpoint: Endpoint, kind: &str, pieces: &[&[u8]]) -> ResponseSight {
        let head = ResponseHead {
            status: 200,
            content_type: Some(kind),
            content_encoding: None,
        };
        let mut observer = ResponseObserver::new(endpoint, head, true);
        for (at_us, piece) in (100..).zip(pieces) {
            observer.data(at_us, piece);
        }
        observer.finish()
    }

    const SSE: &str = "text/event-stream; charset=utf-8";

    #[test]
    fn an_event_without_its_blank_line_is_stamped_with_its_last_piece() {
        let pieces: [&[u8]; 2] = [
            b"data: {\"choices\":[{\"delta\":",
            b"{\"content\":\"a\"}}]}",
        ];
        let sight = observe(Endpoint::ChatCompletions, SSE, &pieces);
        assert_eq!((sight.first_token_us, sight.ended), (Some(101), false));
    }

    #[test]
    fn errors_inside_an_answer_are_seen() {
        for (endpoint, kind, body) in [
            (
                Endpoint::ChatCompletions,
                SSE,
                &b"data: {\"error\":{\"message\":\"secret\"}}\n\n"[..],
            ),
            (
                Endpoint::ChatCompletions,
                SSE,
                b"event: error\ndata: {\"message\":\"secret\"}\n\n",
            ),
            (
                Endpoint::Completions,
                "application/json",
                b"{\"error\":{\"code\":500}}",
            ),
            (
                Endpoint::Messages,
                SSE,
                b"event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n",
            ),
            (
                Endpoint::Messages,
                SSE,
                b"event: error\ndata: {\"error\":{\"type\":\"overloaded_error\"}}\n\n",
            ),
            (
                Endpoint::Messages,
                SSE,
                b"event: error\ndata: gone away\n\n",
            ),
            (
                Endpoint::Messages,
                "application/json",
                b"{\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}",
            ),
        ] {
            let sight = observe(endpoint, kind, &[body]);
            assert!(sight.error, "{endpoint:?} {kind}");
            assert_eq!(sight.finish, Some(FinishReason::Error));
        }
    }

    #[test]
    fn memory_that_ran_out_within_an_answer_is_seen_in_every_dialect() {
        const LINES: &str = "application/x-ndjson";
        const JSON: &str = "application/json";
        let cases = [
            (
                Endpoint::ChatCompletions,
                SSE,
                "data: {\"error\":{\"message\":\"WORDS\",\"code\":500}}\n\ndata: [DONE]\n\n",
            ),
            (
                Endpoint::Completions,
                SSE,
                "data: {\"error\":{\"message\":\"WORDS\"}}\n\n",
            ),
            (
                Endpoint::ChatCompletions,
                SSE,
                "event: error\ndata: WORDS\n\n",
            ),
            (
                Endpoint::Completions,
                JSON,
                "{\"error\":{\"message\":\"WORDS\"}}",
            ),
            (
                Endpoint::Messages,
                SSE,
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"WORDS\"}}\n\n",
            ),
            (
                Endpoint::Messages,
                SSE,
                "data: {\"type\":\"error\",\"error\":{\"message\":\"WORDS\"}}\n\n",
            ),
            (
                Endpoint::Responses,
                SSE,
                "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"message\":\"WORDS\"}}}\n\n",
            ),
            (Endpoint::OllamaChat, LINES, "{\"error\":\"WORDS\"}\n"),
            (
                Endpoint::OllamaGenerate,
                LINES,
                "{\"response\":\"a\",\"done\":false}\n{\"error\":\"WORDS\"}\n",
            ),
            (
                Endpoint::TgiGenerateStream,
                SSE,
                "data:{\"error\":\"WORDS\",\"error_type\":\"generation\"}\n\n",
            ),
            (
                Endpoint::TritonGenerateStream,
                SSE,
                "data: {\"error\":\"WORDS\"}\n\n",
            ),
            (
                Endpoint::GeminiStream,
                JSON,
                "[{\"error\":{\"code\":500,\"message\":\"WORDS\"}}\n]",
            ),
            (
                Endpoint::Embeddings,
                JSON,
                "{\"error\":{\"message\":\"WORDS\"}}",
            ),
        ];
        for (endpoint, kind, stream) in cases {
            for (words, is_memory) in [
                ("CUDA out of memory. Tried to allocate 2 GiB", true),
                ("torch.OutOfMemoryError", true),
                ("overloaded", false),
            ] {
                let sight = observe(endpoint, kind, &[stream.replace("WORDS", words).as_bytes()]);
                assert!(sight.error, "{endpoint:?} {kind}");
                assert_eq!(
                    sight.out_of_memory, is_memory,
                    "{endpoint:?} {kind} {words}"
                );
            }
        }
        let said = b"data: {\"choices\":[{\"delta\":{\"content\":\"CUDA out of memory\"}}]}\n\ndata: [DONE]\n\n";
        let sight = observe(Endpoint::ChatCompletions, SSE, &[said]);
        assert!(!sight.out_of_memory, "a model may speak of it");
    }

    #[test]
    fn cached_tokens_told_at_the_start_stay_in_the_prompt() {
        let stream = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":\
            {\"input_tokens\":10,\"cache_read_input_tokens\":80,\"cache_creation_input_tokens\":5,\"output_tokens\":1}}}\n\n\
            event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\
            \"usage\":{\"input_tokens\":10,\"output_tokens\":7}}\n\n";
        let sight = observe(Endpoint::Messages, SSE, &[stream]);
        assert_eq!(
            (sight.prompt_tokens, sight.cached_tokens),
            (Some(95), Some(80))
        );
    }

    #[test]
    fn what_is_no_token_is_not_counted_as_one() {
        let chat = |delta: &str| {
            let event = format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
            observe(Endpoint::ChatCompletions, SSE, &[event.as_bytes()]).token_events
        };
        for silent in [
            r#"{"role":"assistant"}"#,
            r#"{"role":"assistant","content":""}"#,
            r#"{"content":null}"#,
            "{}",
            "null",
            r#"{"tool_calls":[]}"#,
            r#"{"tool_calls":[{"index":0,"id":"c","function":{"arguments":""}}]}"#,
        ] {
            assert_eq!(chat(silent), 0, "{silent}");
        }
        for token in [
            r#"{"content":" "}"#,
            r#"{"reasoning":"x"}"#,
            r#"{"reasoning_content":"x"}"#,
            r#"{"refusal":"no"}"#,
            r#"{"tool_calls":[{"function":{"name":"f"}}]}"#,
            r#"{"tool_calls":[{"function":{"arguments":"{"}}]}"#,
        ] {
            assert_eq!(chat(token), 1, "{token}");
        }
        let claude = |delta: &str| {
            let event = format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"delta\":{delta}}}\n\n"
            );
            let sight = observe(Endpoint::Messages, SSE, &[event.as_bytes()]);
            (sight.token_events, sight.first_answer_us.is_some())
        };
        assert_eq!(
            claude(r#"{"type":"signature_delta","signature":"abc"}"#),
            (0, false)
        );
        assert_eq!(claude(r#"{"type":"text_delta","text":""}"#), (0, false));
        assert_eq!(claude(r#"{"type":"text_delta","text":"a"}"#), (1, true));
        assert_eq!(
            claude(r#"{"type":"thinking_delta","thinking":"a"}"#),
            (1, false)
        );
        assert_eq!(
            claude(r#"{"type":"input_json_delta","partial_json":"{"}"#),
            (1, true)
        );
    }

    #[test]
    fn an_unknown_coding_hides_the_body_and_is_said() {
        let head = ResponseHead {
            status: 200,
            content_type: Some(SSE),
            content_encoding: Some("aes128gcm"),
        };
        let mut observer = ResponseObserver::new(Endpoint::ChatCompletions, head, true);
        observer.data(
            1,
            b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        );
        let expected = ResponseSight {
            encoded: true,
            ..ResponseSight::default()
        };
        assert_eq!(observer.finish(), expected);
    }

    /// What an observer sees that reads every event, and one that knows repeats.
    fn both(endpoint: Endpoint, events: &[String]) -> [ResponseSight; 2] {
        [false, true].map(|forgets| {
            let head = ResponseHead {
                status: 200,
                content_type: Some(SSE),
                content_encoding: None,
            };
            let mut observer = ResponseObserver::new(endpoint, head, true);
            for (at_us, event) in (0..).zip(events) {
                observer.data(at_us, event.as_bytes());
                if forgets {
                    observer.reading.repeat = Repeat::default();
                }
            }
            observer.finish()
        })
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(String::new()),
            Just(r#"\n"#.to_owned()),
            Just(r#"\u00e9"#.to_owned()),
            Just(r#"\ud800"#.to_owned()),
            Just(r#"","content":"x"#.to_owned()),
            Just(r#""},"finish_reason":"stop","x":{"y":""#.to_owned()),
            Just(r#""}}],"usage":{"completion_tokens":9},"x":[{"y":{"z":""#.to_owned()),
            "[a-z \u{e9}\u{4e00}]{1,8}",
        ]
    }

    fn openai_event() -> impl Strategy<Value = String> {
        let frames = prop::sample::select(vec![
            (
                r#"{"id":"a","choices":[{"index":0,"delta":{"content":""#,
                r#""},"finish_reason":null}]}"#,
            ),
            (
                r#"{"id":"b","choices":[{"index":0,"delta":{"content":""#,
                r#""},"finish_reason":null}]}"#,
            ),
            (r#"{"choices":[{"delta":{"reasoning_content":""#, r#""}}]}"#),
            (
                r#"{"choices":[{"delta":{"content":"x","reasoning":""#,
                r#""}}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"content":""#,
                r#""},"finish_reason":"stop"}]}"#,
            ),
            (
                r#"{"choices":[{"text":""#,
                r#""}],"usage":{"completion_tokens":7}}"#,
            ),
            (r#"{"choices":[{"text":""#, r#""}],"usage":null}"#),
            (
                r#"{"choices":[{"delta":{"content":"a"}},{"delta":{"content":""#,
                r#""}}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":""#,
                r#""}}]}}]}"#,
            ),
            (r#"{"error":""#, r#""}"#),
            ("[DONE]", ""),
        ]);
        (frames, text())
            .prop_map(|((before, after), text)| format!("data: {before}{text}{after}\n\n"))
    }

    fn anthropic_event() -> impl Strategy<Value = String> {
        let frames = prop::sample::select(vec![
            ("text_delta", "text"),
            ("thinking_delta", "thinking"),
            ("input_json_delta", "partial_json"),
        ]);
        let name = prop::sample::select(vec!["content_block_delta", "message_delta", "error"]);
        (name, frames, text()).prop_map(|(name, (kind, field), text)| {
            format!("event: {name}\ndata: {{\"type\":\"{name}\",\"index\":0,\"delta\":{{\"type\":\"{kind}\",\"{field}\":\"{text}\"}}}}\n\n")
        })
    }

    proptest! {
        #[test]
        fn knowing_repeats_changes_nothing(
            openai in prop::collection::vec(openai_event(), 0..12),
            anthropic in prop::collection::vec(anthropic_event(), 0..12),
        ) {
            let [with, without] = both(Endpoint::ChatCompletions, &openai);
            prop_assert_eq!(with, without);
            let [with, without] = both(Endpoint::Messages, &anthropic);
            prop_assert_eq!(with, without);
        }
    }
}
