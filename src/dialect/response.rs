use super::repeat::{Plain, Repeat};
use super::sse::{Event, SseSplitter};
use super::tally::Tally;
use super::{ResponseHead, ResponseSight, anthropic_messages, openai};
use crate::shape::{Dialect, Endpoint};

/// Watches one response go by, in whatever pieces it comes. Holds at most one event of a stream, or a plain JSON body of up
/// to 64 MiB; never the answer of a stream.
pub struct ResponseObserver {
    form: Form,
    reader: &'static dyn Reader,
    tally: Tally,
    repeat: Repeat,
    /// When the last piece arrived.
    last_us: u64,
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
            repeat: Repeat::default(),
            last_us: 0,
        }
    }

    /// Takes the next piece of the body, which arrived at `at_us`.
    pub fn data(&mut self, at_us: u64, bytes: &[u8]) {
        self.last_us = at_us;
        let (reader, tally, repeat) = (self.reader, &mut self.tally, &mut self.repeat);
        match &mut self.form {
            Form::Stream(splitter) => splitter.feed(bytes, |event| {
                read_event(reader, at_us, &event, tally, repeat);
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

    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        let form = match &self.form {
            Form::Stream(splitter) => splitter.held_bytes(),
            Form::Plain(body) => body.capacity(),
            Form::Opaque | Form::TooLarge => 0,
        };
        form + self.tally.held_bytes() + self.repeat.held_bytes()
    }

    /// What was seen.
    pub fn finish(self) -> ResponseSight {
        let Self {
            form,
            reader,
            mut tally,
            mut repeat,
            last_us,
        } = self;
        match form {
            Form::Stream(mut splitter) => {
                splitter.finish(|event| {
                    read_event(reader, last_us, &event, &mut tally, &mut repeat);
                });
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
    event: &Event<'_>,
    tally: &mut Tally,
    repeat: &mut Repeat,
) {
    tally.sight.events = tally.sight.events.saturating_add(1);
    let &Event { name, data } = event;
    // Its data may be a line of prose.
    if name == b"error" {
        tally.error();
        return;
    }
    let Some(data) = data else {
        tally.sight.unparsable = true;
        return;
    };
    if let Some(carried) = repeat.carried(name, data) {
        tally.token(at_us, carried);
        return;
    }
    let plain = reader.event(at_us, name, data, tally);
    repeat.remember(name, data, plain);
}

/// A plain answer larger than this is not read: at four bytes a token, sixteen million tokens.
const MAX_BODY: usize = 64 << 20;

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
    fn a_coding_hides_the_body_and_is_said() {
        let head = ResponseHead {
            status: 200,
            content_type: Some(SSE),
            content_encoding: Some("gzip"),
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
                    observer.repeat = Repeat::default();
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
