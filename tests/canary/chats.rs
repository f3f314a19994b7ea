//! Requests and answers of OpenAI's chats and completions and of Anthropic's messages, with a canary (`@`) in every field that can hold
//! text, known to the API or not.

/// Path and body. `STREAM` is whether a stream is asked for.
pub(crate) const REQUESTS: &[(&str, &str)] = &[
    ("/v1/chat/completions", CHAT),
    ("/v1/messages", MESSAGES),
    ("/v1/completions", COMPLETIONS),
    ("/tenants/@/v1/chat/completions", CHAT),
    ("/@/@", "@"),
    (
        "/v1/chat/completions",
        "{\"model\": \"@\", @ this does not parse",
    ),
    ("/v1/messages", "[\"@\"]"),
    // A name of a file, and what it holds.
    (
        "/v1/audio/transcriptions",
        "--@\r\nContent-Disposition: form-data; name=\"file\"; filename=\"@.wav\"\r\nContent-Type: audio/@\r\n\r\n@\r\n\
         --@\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n@\r\n--@--\r\n",
    ),
];

pub(crate) const CHAT: &str = r#"{"model":"@","messages":[
    {"role":"system","content":"@","name":"@"},
    {"role":"user","content":[{"type":"text","text":"@"},{"type":"image_url","image_url":{"url":"https://@.example/@","detail":"@"}},
      {"type":"input_audio","input_audio":{"data":"@","format":"@"}},{"type":"file","file":{"file_id":"@","filename":"@"}}]},
    {"role":"assistant","content":"@","tool_calls":[{"id":"@","type":"function","function":{"name":"@","arguments":"{\"@\":\"@\"}"}}]},
    {"role":"tool","tool_call_id":"@","content":"@"},{"role":"@","content":"@"}],
  "tools":[{"type":"function","function":{"name":"@","description":"@","parameters":{"type":"object","properties":{"@":{"type":"string","enum":["@"]}}}}}],
  "tool_choice":{"type":"function","function":{"name":"@"}},"stop":["@"],"user":"@","metadata":{"@":"@"},"response_format":{"type":"json_schema",
  "json_schema":{"name":"@","schema":{"title":"@"}}},"reasoning_effort":"@","service_tier":"@","@":"@","stream":STREAM,"max_tokens":9}"#;

const MESSAGES: &str = r#"{"model":"@","max_tokens":9,"system":[{"type":"text","text":"@","cache_control":{"type":"@","ttl":"@"}}],"cache_control":{"@":"@"},"messages":[{"role":"user","content":[
    {"type":"text","text":"@"},{"type":"image","source":{"type":"base64","media_type":"@","data":"@"}},
    {"type":"document","title":"@","source":{"type":"url","url":"https://@"}}]},
    {"role":"assistant","content":[{"type":"thinking","thinking":"@","signature":"@"},{"type":"tool_use","id":"@","name":"@","input":{"@":"@"}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"@","content":"@"}]}],
  "tools":[{"name":"@","description":"@","input_schema":{"type":"object","title":"@"},"cache_control":{"type":"ephemeral","ttl":"@"}}],"stop_sequences":["@"],"metadata":{"user_id":"@"},"stream":STREAM}"#;

const COMPLETIONS: &str = r#"{"model":"@","prompt":["@ and @"],"suffix":"@","stop":"@","user":"@","max_tokens":9,"stream":STREAM}"#;

/// Whole answers, by the path's end.
pub(crate) const ANSWERS: &[(&str, &str)] = &[
    (
        "/v1/chat/completions",
        r#"{"id":"@","object":"@","model":"@","system_fingerprint":"@","choices":[{"index":0,"message":{"role":"assistant","content":"@","refusal":"@",
        "reasoning_content":"@","tool_calls":[{"id":"@","type":"function","function":{"name":"@","arguments":"@"}}]},"finish_reason":"@","logprobs":{"content":[{"token":"@"}]}}],
        "usage":{"prompt_tokens":5,"completion_tokens":6,"@":"@"}}"#,
    ),
    (
        "/v1/messages",
        r#"{"id":"@","type":"message","model":"@","content":[{"type":"text","text":"@"},{"type":"tool_use","id":"@","name":"@","input":{"@":"@"}}],
        "stop_reason":"@","stop_sequence":"@","usage":{"input_tokens":5,"output_tokens":6,"service_tier":"@"}}"#,
    ),
    (
        "/v1/completions",
        r#"{"id":"@","choices":[{"text":"@","finish_reason":"@"}],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#,
    ),
];

/// Streams, by the path's end.
pub(crate) const STREAMS: &[(&str, &str)] = &[
    (
        "/v1/chat/completions",
        ": @\n\nevent: @\nid: @\ndata: {\"id\":\"@\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"@\",\"reasoning_content\":\"@\"}}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"@\",\"function\":{\"name\":\"@\",\"arguments\":\"@\"}}]},\"finish_reason\":\"@\"}]}\n\n\
         data: @ this is not JSON\n\ndata: [DONE]\n\n",
    ),
    (
        "/v1/messages",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"@\",\"model\":\"@\",\"usage\":{\"input_tokens\":3}}}\n\n\
         event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"@\"}}\n\n\
         event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"@\",\"message\":\"@\"}}\n\n",
    ),
    (
        "/v1/completions",
        "data: {\"choices\":[{\"text\":\"@\",\"finish_reason\":\"@\"}]}\n\ndata: {\"error\":{\"message\":\"@\"}}\n\n",
    ),
];
