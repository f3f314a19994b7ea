//! What is written in a dialect reads back as it was meant, and what a dialect cannot say is named.

use proptest::prelude::*;

use crate::anonymise::ChainKey;
use crate::dialect::{
    Draft, DraftMedia, Forcing, OutputLength, RequestSight, endpoint_of, observe_request,
    synthesise,
};
use crate::shape::{
    CacheLife, CacheMark, CachePlace, Dialect, Endpoint, MediaKind, ReasoningEffort, RequestParams,
    Role, Structured, ToolsShape,
};

const KEY: ChainKey = ChainKey::from_bytes([3; 16]);
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAABgAAAAQCAIAAACDRijCAAAAEklEQVR4nGOoJwAYRhUMTQUAWD+R4Sp6dgUAAAAASUVORK5CYII=";

fn inference() -> impl Iterator<Item = Endpoint> {
    Endpoint::ALL
        .into_iter()
        .filter(|endpoint| endpoint.is_inference())
}

/// As the recorder keeps it: what the endpoint says for itself is in the parameters.
fn params_at(endpoint: Endpoint, params: RequestParams) -> RequestParams {
    RequestParams {
        stream: match endpoint {
            Endpoint::TgiGenerateStream
            | Endpoint::GeminiStream
            | Endpoint::TritonGenerateStream => true,
            Endpoint::TgiGenerate | Endpoint::GeminiGenerate | Endpoint::TritonGenerate => false,
            _ => params.stream,
        },
        ..params
    }
}

#[derive(Debug, Clone)]
struct Said {
    messages: Vec<(Role, String)>,
    media: Vec<DraftMedia>,
    tools: ToolsShape,
    marks: Vec<CacheMark>,
    params: RequestParams,
}

fn said() -> impl Strategy<Value = Said> {
    let roles = prop_oneof![
        Just(Role::User),
        Just(Role::Assistant),
        Just(Role::Tool),
        Just(Role::System)
    ];
    let messages = prop::collection::vec((roles, "[ -~é🦀\n\"]{1,40}"), 0..8);
    let tools = (0_u16..4, 0_u32..500).prop_map(|(count, extra)| ToolsShape {
        count,
        bytes: if count == 0 {
            0
        } else {
            u32::from(count) * 130 + extra
        },
    });
    let pictures = prop::collection::vec((0_usize..8, any::<bool>()), 0..3);
    let load = (
        any::<bool>(),
        proptest::option::of(any::<bool>()),
        1_u16..4,
        0_u8..9,
        proptest::option::of(1_u32..5000),
    );
    let efforts = prop::sample::select(ReasoningEffort::ALL.to_vec());
    let forms = prop::sample::select(Structured::ALL.to_vec());
    let form = (
        forms,
        300_u32..900,
        proptest::option::of(0_u8..6),
        proptest::option::of(efforts),
    );
    let extras = (
        proptest::option::of(1_u32..100_000),
        any::<bool>(),
        any::<bool>(),
    );
    let lives = prop::sample::select(CacheLife::ALL.to_vec());
    let marks = prop::collection::vec((any::<bool>(), 0_u16..8, lives), 0..4);
    let params = (load, form, extras).prop_map(
        |(
            (stream, greedy, n, stop_count, max_tokens),
            (structured, schema, logprobs, effort),
            (context_tokens, continuous_usage, return_token_ids),
        )| {
            RequestParams {
                stream,
                include_usage: stream,
                greedy,
                n,
                stop_count,
                max_tokens,
                structured,
                schema_bytes: match structured {
                    Structured::JsonSchema => schema,
                    _ => 0,
                },
                logprobs,
                reasoning_effort: effort,
                context_tokens,
                continuous_usage,
                return_token_ids,
                ..RequestParams::default()
            }
        },
    );
    (messages, pictures, tools, marks, params).prop_map(
        |(mut messages, mut pictures, tools, marks, params)| {
            messages.insert(0, (Role::System, "be brief".to_owned()));
            messages.insert(1, (Role::User, "hello".to_owned()));
            pictures.sort_unstable();
            let media = pictures
                .into_iter()
                .filter(|&(message, _)| {
                    let role = messages.get(message).map(|(role, _)| *role);
                    matches!(role, Some(Role::User | Role::Assistant))
                })
                .map(|(message, sounds)| DraftMedia {
                    message,
                    kind: if sounds {
                        MediaKind::Audio
                    } else {
                        MediaKind::Image
                    },
                    base64: PNG.to_owned(),
                });
            Said {
                media: media.collect(),
                marks: marks_of(marks, messages.len(), tools),
                messages,
                tools,
                params,
            }
        },
    )
}

/// Marks behind whole tools and messages, at most one behind each.
fn marks_of(
    said: Vec<(bool, u16, CacheLife)>,
    messages: usize,
    tools: ToolsShape,
) -> Vec<CacheMark> {
    let mut marks: Vec<CacheMark> = (said.into_iter())
        .filter_map(|(is_tool, index, life)| {
            let place = match is_tool {
                true => (index < tools.count).then_some(CachePlace::Tool { index }),
                false => (usize::from(index) < messages).then_some(CachePlace::Message {
                    index,
                    bytes: u32::MAX,
                }),
            };
            place.map(|place| CacheMark { place, life })
        })
        .collect();
    let place = |mark: &CacheMark| match mark.place {
        CachePlace::Request => (2, 0),
        CachePlace::Tool { index } => (0, index),
        CachePlace::Message { index, .. } => (1, index),
    };
    marks.sort_by_key(place);
    marks.dedup_by_key(|mark| place(mark));
    marks
}

impl Said {
    fn at(&self, endpoint: Endpoint) -> (Draft<'_>, RequestParams) {
        let params = params_at(endpoint, self.params);
        let draft = Draft {
            endpoint,
            model: "m/1",
            messages: &self.messages,
            batch: false,
            ids: None,
            media: &self.media,
            tools: self.tools,
            cache_marks: &self.marks,
            adapter: None,
            params,
            output: OutputLength::Free,
            forcing: Forcing::Both,
        };
        (draft, params)
    }
}

/// What was read, beside what was meant: every difference must be named by what was altered.
fn check(
    endpoint: Endpoint,
    meant: &Said,
    params: RequestParams,
    sight: &RequestSight,
    altered: &[&str],
) {
    let names = |names: &[&str]| names.iter().any(|name| altered.contains(name));
    let assert_same = |same: bool, may: &[&str], what: &str| {
        assert!(
            same || names(may),
            "{endpoint:?}: {what} differs; altered are {altered:?}"
        );
    };
    // System messages go before the others in some dialects; whose they are is kept.
    let roles = |role: Role| match role {
        Role::Tool if names(&["tool_messages"]) => Role::User,
        role => role,
    };
    let mut sent: Vec<_> = meant
        .messages
        .iter()
        .map(|(role, text)| (roles(*role), text.len()))
        .collect();
    let mut seen: Vec<_> = sight
        .prompt
        .messages
        .iter()
        .map(|it| (it.role, it.bytes as usize))
        .collect();
    sent.sort_by_key(|(role, _)| *role != Role::System);
    seen.sort_by_key(|(role, _)| *role != Role::System);
    if matches!(
        endpoint.dialect(),
        Dialect::AnthropicMessages | Dialect::Gemini
    ) {
        // These have one system prompt.
        let merge = |messages: &mut Vec<(Role, usize)>| {
            let system = messages
                .iter()
                .filter(|it| it.0 == Role::System)
                .map(|it| it.1)
                .sum();
            messages.retain(|it| it.0 != Role::System);
            messages.insert(0, (Role::System, system));
        };
        merge(&mut sent);
        merge(&mut seen);
    }
    assert_same(
        sent == seen,
        &["roles", "batch", "first_message"],
        "messages",
    );
    let bytes = |messages: &[(Role, usize)]| messages.iter().map(|it| it.1).sum::<usize>();
    let joins = meant.messages.len();
    assert!(
        (bytes(&sent)..=bytes(&sent) + joins + 3).contains(&bytes(&seen)),
        "{endpoint:?}"
    );
    assert_same(sight.prompt.tools == meant.tools, &["tools"], "tools");
    let kinds = |kind: MediaKind| {
        let sent = meant.media.iter().filter(|it| it.kind == kind).count();
        (
            sent,
            sight
                .prompt
                .media
                .iter()
                .filter(|it| it.kind == kind)
                .count(),
        )
    };
    let (sent, seen) = kinds(MediaKind::Image);
    assert_same(sent == seen, &["media", "images"], "pictures");
    let (sent, seen) = kinds(MediaKind::Audio);
    assert_same(sent == seen, &["media", "audio"], "sound");
    let pixels =
        |it: &crate::shape::MediaPart| it.kind != MediaKind::Image || it.pixels == Some((24, 16));
    assert!(sight.prompt.media.iter().all(pixels), "{endpoint:?}");

    // Where they stand may differ by what stands between texts; how many there are and for how long may not.
    let lives = |marks: &[CacheMark]| {
        let mut lives: Vec<_> = marks.iter().map(|mark| mark.life).collect();
        lives.sort();
        lives
    };
    assert_same(
        lives(&meant.marks) == lives(&sight.prompt.cache_marks),
        &["cache_control"],
        "marks",
    );

    let (seen, meant) = (sight.params, params);
    assert_same(
        seen.context_tokens == meant.context_tokens,
        &["num_ctx"],
        "context",
    );
    assert_same(
        !seen.stream || seen.continuous_usage == meant.continuous_usage,
        &["continuous_usage_stats"],
        "counts in every event",
    );
    assert_same(
        seen.return_token_ids == meant.return_token_ids,
        &["return_token_ids"],
        "ids",
    );
    assert_eq!(seen.stream, meant.stream, "{endpoint:?}");
    assert_same(seen.n == meant.n, &["n"], "n");
    assert_same(seen.greedy == meant.greedy, &["temperature"], "greedy");
    assert_same(seen.stop_count == meant.stop_count, &["stop"], "stop");
    assert_same(
        seen.structured == meant.structured,
        &["response_format"],
        "structured",
    );
    assert_same(
        seen.schema_bytes == meant.schema_bytes,
        &["response_format", "schema_bytes"],
        "schema",
    );
    let without = |logprobs: Option<u8>| logprobs.filter(|&count| count > 0);
    assert_same(
        without(seen.logprobs) == without(meant.logprobs),
        &["logprobs"],
        "logprobs",
    );
    // Where leaving it out says "none", it is left out.
    let effort = |effort: Option<ReasoningEffort>| effort.filter(|it| *it != ReasoningEffort::None);
    assert_same(
        effort(seen.reasoning_effort) == effort(meant.reasoning_effort),
        &["reasoning_effort"],
        "effort",
    );
    if meant.max_tokens.is_some() {
        assert_eq!(seen.max_tokens, meant.max_tokens, "{endpoint:?}");
    }
}

/// A shape that was read, as a replay would say it again.
fn again(sight: &RequestSight) -> Said {
    let messages = sight.prompt.messages.iter();
    let mut media: Vec<DraftMedia> = (sight.prompt.media.iter())
        .map(|part| DraftMedia {
            message: usize::from(part.message),
            kind: part.kind,
            base64: PNG.to_owned(),
        })
        .collect();
    media.sort_by_key(|part| part.message);
    Said {
        messages: messages
            .map(|it| (it.role, "w".repeat(it.bytes as usize)))
            .collect(),
        media,
        tools: sight.prompt.tools,
        marks: sight.prompt.cache_marks.clone(),
        params: sight.params,
    }
}

proptest! {
    #[test]
    fn every_dialect_reads_back_what_it_wrote_but_for_what_it_names(said in said()) {
        for endpoint in inference().filter(|endpoint| endpoint.generates()) {
            let (draft, params) = said.at(endpoint);
            let wire = synthesise(&draft);
            let sight = observe_request(endpoint, &wire.body, &KEY).unwrap();
            check(endpoint, &said, params, &sight, &wire.altered);
        }
    }

    #[test]
    fn a_trace_of_one_dialect_is_carried_into_any_other(said in said()) {
        let chats = || inference().filter(|endpoint| endpoint.generates() && *endpoint != Endpoint::Completions);
        for from in chats() {
            let (draft, _) = said.at(from);
            let recorded = observe_request(from, &synthesise(&draft).body, &KEY).unwrap();
            let recorded = again(&recorded);
            for to in chats() {
                let (draft, params) = recorded.at(to);
                let wire = synthesise(&draft);
                let sight = observe_request(to, &wire.body, &KEY).unwrap();
                check(to, &recorded, params, &sight, &wire.altered);
            }
        }
    }

    #[test]
    fn any_draft_can_be_written_for_any_endpoint(said in said(), tokens in 1_u32..500) {
        for endpoint in inference() {
            let (draft, params) = said.at(endpoint);
            let wire = synthesise(&Draft { output: OutputLength::Exact(tokens), batch: !endpoint.has_roles(), ..draft });
            let detected = endpoint_of(crate::shape::Method::Post, wire.path.split('?').next().unwrap());
            prop_assert_eq!(detected.endpoint, endpoint, "{}", wire.path);
            let sight = observe_request(endpoint, &wire.body, &KEY).unwrap();
            if endpoint.generates() {
                prop_assert_eq!(sight.params.max_tokens, Some(tokens), "{:?}", endpoint);
                prop_assert_eq!(sight.params.stream, params.stream, "{:?}", endpoint);
            }
            let forced = matches!(
                endpoint.dialect(),
                Dialect::OpenAiChat | Dialect::OpenAiCompletions | Dialect::AnthropicMessages
                    | Dialect::OpenAiResponses | Dialect::Triton
            );
            let least = forced && params.structured == Structured::None;
            prop_assert_eq!(sight.params.min_tokens, least.then_some(tokens), "{:?}", endpoint);
            prop_assert_eq!(sight.params.ignore_eos, forced, "{:?}", endpoint);
        }
    }
}

#[test]
fn texts_go_out_as_ids_where_they_are_given() {
    let messages = [
        (Role::User, "one".to_owned()),
        (Role::User, "two".to_owned()),
    ];
    let ids = [vec![5, 6], vec![7]];
    let draft = Draft {
        endpoint: Endpoint::Completions,
        model: "m",
        messages: &messages,
        batch: true,
        ids: Some(&ids),
        media: &[],
        tools: ToolsShape::default(),
        cache_marks: &[],
        adapter: None,
        params: RequestParams {
            token_ids: true,
            ..RequestParams::default()
        },
        output: OutputLength::Free,
        forcing: Forcing::None,
    };
    for (ids, expected) in [(&ids[..], "[[5,6],[7]]"), (&ids[..1], "[5,6]")] {
        let wire = synthesise(&Draft {
            ids: Some(ids),
            ..draft.clone()
        });
        let body: serde_json::Value = serde_json::from_slice(&wire.body).unwrap();
        assert_eq!(body["prompt"].to_string(), expected);
        assert!(wire.altered.is_empty());
    }
}
