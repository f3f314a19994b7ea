//! What few servers take is read, and written again as it was read.

use crate::anonymise::{ChainKey, Private};
use crate::dialect::{
    Draft, Forcing, OutputLength, RequestSight, WireRequest, observe_request, synthesise,
};
use crate::shape::{
    CacheLife, CacheMark, CachePlace, Endpoint, RequestParams, Role, ToolsShape, VectorEncoding,
};

const KEY: ChainKey = ChainKey::from_bytes([3; 16]);

fn read(endpoint: Endpoint, body: &str) -> RequestSight {
    observe_request(endpoint, body.as_bytes(), &KEY).unwrap()
}

/// A draft of one question with these parameters, as it is written.
fn written(endpoint: Endpoint, params: RequestParams, forcing: Forcing<'_>) -> WireRequest {
    let messages = [(Role::User, "one two".to_owned())];
    synthesise(&Draft {
        params,
        forcing,
        ..draft(endpoint, &messages)
    })
}

fn draft(endpoint: Endpoint, messages: &[(Role, String)]) -> Draft<'_> {
    Draft {
        endpoint,
        model: "m",
        messages,
        batch: false,
        ids: None,
        media: &[],
        tools: ToolsShape::default(),
        cache_marks: &[],
        adapter: None,
        params: RequestParams::default(),
        output: OutputLength::Free,
        forcing: Forcing::None,
    }
}

/// What a request's parameters become, written for an endpoint and read again.
fn again(endpoint: Endpoint, params: RequestParams) -> (RequestParams, Vec<&'static str>) {
    let wire = written(endpoint, params, Forcing::Both);
    let sight = observe_request(endpoint, &wire.body, &KEY).unwrap();
    (sight.params, wire.altered)
}

#[test]
fn extras_of_vllm_are_asked_of_engines_only() {
    let body = r#"{"messages":[],"prompt":"a","stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true},"return_token_ids":true}"#;
    for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions] {
        let params = read(endpoint, body).params;
        assert!(params.continuous_usage && params.return_token_ids);
        let (seen, altered) = again(endpoint, params);
        assert!(
            seen.continuous_usage && seen.return_token_ids,
            "{endpoint:?}"
        );
        assert!(altered.is_empty());
        let refused = written(endpoint, params, Forcing::None);
        let body = String::from_utf8(refused.body).unwrap();
        assert!(
            !body.contains("continuous") && !body.contains("return"),
            "{body}"
        );
        assert_eq!(
            refused.altered,
            ["continuous_usage_stats", "return_token_ids"]
        );
        let plain = RequestParams {
            continuous_usage: false,
            return_token_ids: false,
            ..params
        };
        let body = String::from_utf8(written(endpoint, plain, Forcing::Both).body).unwrap();
        assert!(
            !body.contains("continuous") && !body.contains("return"),
            "{body}"
        );
    }
    let (seen, altered) = again(Endpoint::Messages, read(Endpoint::Completions, body).params);
    assert!(!seen.continuous_usage && !seen.return_token_ids);
    assert_eq!(altered, ["continuous_usage_stats", "return_token_ids"]);
    let unsaid = read(
        Endpoint::ChatCompletions,
        r#"{"messages":[],"stream_options":null,"return_token_ids":null}"#,
    );
    assert!(!unsaid.params.continuous_usage && !unsaid.params.return_token_ids);
}

#[test]
fn vectors_have_a_length_and_a_form() {
    for (word, encoding) in [
        (r#""float""#, VectorEncoding::Float),
        (r#""base64""#, VectorEncoding::Base64),
        (r#""ubinary""#, VectorEncoding::Other),
        ("null", VectorEncoding::Unsaid),
    ] {
        let body = format!(r#"{{"input":"a","dimensions":256,"encoding_format":{word}}}"#);
        let params = read(Endpoint::Embeddings, &body).params;
        assert_eq!(
            (params.dimensions, params.encoding_format),
            (Some(256), encoding)
        );
        let (seen, altered) = again(Endpoint::Embeddings, params);
        assert_eq!(seen.dimensions, Some(256));
        let lost = encoding == VectorEncoding::Other;
        assert_eq!(seen.encoding_format != encoding, lost, "{word}");
        assert_eq!(altered == ["encoding_format"], lost, "{word}");
        let (seen, altered) = again(Endpoint::OllamaEmbed, params);
        assert_eq!(seen.dimensions, Some(256));
        let lost = lost || encoding == VectorEncoding::Base64;
        assert_eq!(altered == ["encoding_format"], lost, "{word}");
    }
    let params = read(Endpoint::Embeddings, r#"{"input":"a"}"#).params;
    assert_eq!(params.dimensions, None);
}

#[test]
fn a_context_is_asked_for_where_one_can() {
    for (endpoint, body) in [
        (
            Endpoint::OllamaChat,
            r#"{"messages":[],"options":{"num_ctx":8192}}"#,
        ),
        (
            Endpoint::OllamaGenerate,
            r#"{"prompt":"a","options":{"num_ctx":8192}}"#,
        ),
        (
            Endpoint::OllamaEmbed,
            r#"{"input":"a","dimensions":9,"options":{"num_ctx":8192.0}}"#,
        ),
    ] {
        let params = read(endpoint, body).params;
        assert_eq!(params.context_tokens, Some(8192), "{endpoint:?}");
        let (seen, altered) = again(endpoint, params);
        assert_eq!(seen.context_tokens, Some(8192), "{endpoint:?}");
        assert_eq!(seen.dimensions, params.dimensions);
        assert!(altered.is_empty());
    }
    let params = read(
        Endpoint::OllamaChat,
        r#"{"messages":[],"options":{"num_ctx":9}}"#,
    )
    .params;
    let (_, altered) = again(Endpoint::ChatCompletions, params);
    assert!(altered.contains(&"num_ctx"));
}

#[test]
fn an_adapter_stands_for_a_model() {
    let body = r#"{"inputs":"a","parameters":{"adapter_id":"team/lora"}}"#;
    let sight = read(Endpoint::TgiGenerate, body);
    assert_eq!(sight.model, Some(Private::new("team/lora")));
    assert!(
        read(Endpoint::TgiGenerate, r#"{"inputs":"a"}"#)
            .model
            .is_none()
    );
    let messages = [(Role::User, "a".to_owned())];
    let asked = |adapter| {
        let wire = synthesise(&Draft {
            adapter,
            ..draft(Endpoint::TgiGenerate, &messages)
        });
        observe_request(Endpoint::TgiGenerate, &wire.body, &KEY)
            .unwrap()
            .model
    };
    assert_eq!(asked(Some("team/lora")), Some(Private::new("team/lora")));
    assert_eq!(asked(None), None);
}

fn mark(place: CachePlace, life: CacheLife) -> CacheMark {
    CacheMark { place, life }
}

const fn in_message(index: u16, bytes: u32) -> CachePlace {
    CachePlace::Message { index, bytes }
}

#[test]
fn marks_are_read_where_they_stand() {
    let body = r#"{"cache_control":{"type":"ephemeral","ttl":"1d"},
        "tools":[{"name":"a"},{"name":"b","cache_control":{"type":"ephemeral","ttl":"1h"}},{"name":"c","description":"of \"cache_control\""}],
        "messages":[{"role":"user","content":[{"type":"text","text":"four","cache_control":null},{"type":"image","source":{"type":"url","url":"u"},"cache_control":{"type":"ephemeral"}},{"type":"text","text":"five!"}]},
        {"role":"assistant","content":"yes"},
        {"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"six","cache_control":{"type":"ephemeral"}},{"type":"text","text":"seven"}]}]}],
        "system":[{"type":"text","text":"be","cache_control":{"ttl":"5m"}},{"type":"text","text":"brief","cache_control":7}]}"#;
    let sight = read(Endpoint::Messages, body);
    let (unsaid, five) = (CacheLife::Unsaid, CacheLife::FiveMinutes);
    assert_eq!(
        sight.prompt.cache_marks,
        [
            mark(CachePlace::Tool { index: 1 }, CacheLife::OneHour),
            mark(in_message(0, 2), five),
            mark(in_message(0, 7), CacheLife::Other),
            mark(in_message(1, 4), unsaid),
            mark(in_message(3, 3), unsaid),
            mark(CachePlace::Request, CacheLife::Other),
        ]
    );
    assert_eq!(sight.prompt.media.len(), 1);
    let none = read(
        Endpoint::Messages,
        r#"{"messages":[],"cache_control":null}"#,
    );
    assert!(none.prompt.cache_marks.is_empty());
}

#[test]
fn marks_are_written_where_they_stood() {
    let say = |role, text: &str| (role, text.to_owned());
    let messages = [
        say(Role::System, "be brief and kind"),
        say(Role::User, "one two three"),
        say(Role::Assistant, "four"),
        say(Role::User, "five"),
    ];
    let marks = [
        mark(CachePlace::Tool { index: 1 }, CacheLife::OneHour),
        // In the middle of a word; behind all.
        mark(in_message(0, 11), CacheLife::Unsaid),
        mark(in_message(0, u32::MAX), CacheLife::FiveMinutes),
        mark(in_message(1, 8), CacheLife::Unsaid),
        mark(in_message(3, u32::MAX), CacheLife::OneHour),
        mark(CachePlace::Request, CacheLife::Unsaid),
    ];
    let whole = Draft {
        tools: ToolsShape {
            count: 2,
            bytes: 300,
        },
        cache_marks: &marks,
        ..draft(Endpoint::Messages, &messages)
    };
    let wire = synthesise(&whole);
    assert!(wire.altered.is_empty(), "{:?}", wire.altered);
    let sight = observe_request(Endpoint::Messages, &wire.body, &KEY).unwrap();
    assert_eq!(
        sight.prompt.cache_marks,
        [
            mark(CachePlace::Tool { index: 1 }, CacheLife::OneHour),
            mark(in_message(0, 8), CacheLife::Unsaid),
            mark(in_message(0, 17), CacheLife::FiveMinutes),
            mark(in_message(1, 7), CacheLife::Unsaid),
            mark(in_message(3, 4), CacheLife::OneHour),
            mark(CachePlace::Request, CacheLife::Unsaid),
        ]
    );
    assert_eq!(sight.prompt.tools, whole.tools);
    let plain = synthesise(&Draft {
        cache_marks: &[],
        ..whole.clone()
    });
    let unmarked = observe_request(Endpoint::Messages, &plain.body, &KEY).unwrap();
    assert_eq!(sight.prompt.messages, unmarked.prompt.messages);
    assert!(!String::from_utf8(plain.body).unwrap().contains("cache"));
    let elsewhere = synthesise(&Draft {
        endpoint: Endpoint::ChatCompletions,
        ..whole
    });
    assert_eq!(elsewhere.altered, ["cache_control"]);
}
