//! Requests and answers of the other dialects, with a canary (`@`) in every field that can hold text.

/// Path and body. `STREAM` is whether a stream is asked for.
pub(crate) const REQUESTS: &[(&str, &str)] = &[
    (
        "/v1/responses",
        r#"{"model":"@","instructions":"@","input":[{"role":"user","content":[{"type":"input_text","text":"@"},{"type":"input_image","image_url":"https://@/@"},
        {"type":"input_file","file_id":"@","filename":"@"}]},{"type":"reasoning","id":"@","summary":[{"type":"summary_text","text":"@"}],"encrypted_content":"@"},
        {"type":"function_call","call_id":"@","name":"@","arguments":"@"},{"type":"function_call_output","call_id":"@","output":"@"},{"type":"@","@":"@"}],
        "tools":[{"type":"function","name":"@","description":"@"}],"previous_response_id":"@","conversation":"@","metadata":{"@":"@"},
        "text":{"format":{"type":"json_schema","name":"@","schema":{"title":"@"}}},"reasoning":{"effort":"@"},"stream":STREAM}"#,
    ),
    (
        "/v1/embeddings",
        r#"{"model":"@","input":["@","@ @"],"encoding_format":"@","user":"@","stream":STREAM}"#,
    ),
    (
        "/api/chat",
        r#"{"model":"@","messages":[{"role":"user","content":"@","images":["@"]},{"role":"assistant","content":"@","thinking":"@","tool_calls":[{"function":{"name":"@","arguments":{"@":"@"}}}]},
        {"role":"tool","tool_name":"@","content":"@"}],"tools":[{"function":{"name":"@"}}],"format":{"title":"@"},"think":"@","keep_alive":"@","options":{"stop":["@"]},"stream":STREAM}"#,
    ),
    (
        "/api/generate",
        r#"{"model":"@","system":"@","prompt":"@","suffix":"@","template":"@","format":"@","images":["@"],"stream":STREAM}"#,
    ),
    ("/api/embed", r#"{"model":"@","input":"@","stream":STREAM}"#),
    (
        "/generate",
        r#"{"inputs":"@","parameters":{"stop":["@"],"adapter_id":"@","grammar":{"type":"@","value":"@"}},"stream":STREAM}"#,
    ),
    (
        "/generate_stream",
        r#"{"inputs":"@","parameters":{"stop":["@"],"adapter_id":"@","grammar":{"type":"@","value":"@"}},"stream":STREAM}"#,
    ),
    ("/", r#"{"text":"@ is not TGI's","stream":STREAM}"#),
    (
        "/v2/chat",
        r#"{"model":"@","messages":[{"role":"user","content":"@"},{"role":"assistant","tool_plan":"@","tool_calls":[{"id":"@","function":{"name":"@","arguments":"@"}}]},
        {"role":"tool","tool_call_id":"@","content":[{"type":"document","document":{"data":{"@":"@"}}}]}],"documents":["@",{"id":"@","data":{"@":"@"}}],
        "tools":[{"type":"function","function":{"name":"@"}}],"response_format":{"type":"json_object","json_schema":{"title":"@"}},"stop_sequences":["@"],"stream":STREAM}"#,
    ),
    (
        "/v1beta/models/@:streamGenerateContent",
        r#"{"contents":[{"role":"user","parts":[{"text":"@"},{"inlineData":{"mimeType":"@","data":"@"}},{"fileData":{"fileUri":"@"}}]},{"role":"@","parts":[{"functionCall":{"name":"@","args":{"@":"@"}}}]}],
        "systemInstruction":{"parts":[{"text":"@"}]},"tools":[{"functionDeclarations":[{"name":"@"}]}],"cachedContent":"@","generationConfig":{"stopSequences":["@"],"responseSchema":{"title":"@"}},"@":{"stream":STREAM}}"#,
    ),
    (
        "/v1beta/models/@:generateContent",
        r#"{"contents":[{"role":"user","parts":[{"text":"@"},{"inlineData":{"mimeType":"@","data":"@"}}]}],"systemInstruction":{"parts":[{"text":"@"}]},
        "tools":[{"functionDeclarations":[{"name":"@"}]}],"generationConfig":{"stopSequences":["@"],"responseSchema":{"title":"@"}},"@":{"stream":STREAM}}"#,
    ),
    (
        "/v2/models/@/generate",
        r#"{"text_input":"@","parameters":{"stop":"@","stream":STREAM},"@":"@"}"#,
    ),
    (
        "/v2/models/@/versions/@/generate_stream",
        r#"{"text_input":"@","parameters":{"stop":"@","stream":STREAM},"@":"@"}"#,
    ),
    (
        "/v2/models/@/versions/@/infer",
        r#"{"id":"@","inputs":[{"name":"@","datatype":"@","shape":[1],"data":["@"]},{"name":"@","parameters":{"binary_data_size":20,"@":"@"}}],"stream":STREAM}@@@"#,
    ),
    (
        "/inference.GRPCInferenceService/ModelInfer",
        // A message whose first field, the model's name, has 48 bytes.
        "\0\0\0\0\u{32}\u{a}\u{30}@@",
    ),
    (
        "/inference.GRPCInferenceService/ModelInfer",
        // A tensor: its name, datatype, shape and contents, of 24 bytes each; and a raw one behind it.
        "\0\0\0\0\u{70}\u{2a}\u{54}\u{a}\u{18}@\u{12}\u{18}@\u{1a}\u{2}\u{1}\u{2}\u{2a}\u{1a}\u{42}\u{18}@\u{3a}\u{18}@",
    ),
    (
        "/rerank",
        r#"{"query":"@","documents":["@"],"stream":STREAM}"#,
    ),
    (
        "/tokenize",
        r#"{"model":"@","prompt":"@","messages":[{"role":"user","content":"@"}],"chat_template":"@","stream":STREAM}"#,
    ),
    (
        "/detokenize",
        r#"{"model":"@","tokens":[1,2,"@"],"stream":STREAM}"#,
    ),
    (
        "/v1/score",
        r#"{"model":"@","text_1":"@","text_2":["@","@"],"stream":STREAM}"#,
    ),
    (
        "/pooling",
        r#"{"model":"@","input":["@"],"messages":[{"role":"user","content":"@"}],"stream":STREAM}"#,
    ),
    (
        "/classify",
        r#"{"model":"@","input":["@"],"stream":STREAM}"#,
    ),
    (
        "/v1/responses",
        r#"{"model":"@","input":@ this does not parse "stream":STREAM"#,
    ),
    ("/api/chat", r#"["@", {"stream":STREAM}]"#),
];

/// Endpoints of these of which sizes and times are kept, and no body is read.
pub(crate) const UNREAD: &[&str] = &[
    "rerank",
    "tokenize",
    "detokenize",
    "score",
    "pooling",
    "classify",
];

/// Whole answers, by the path's end.
pub(crate) const ANSWERS: &[(&str, &str)] = &[
    (
        "/v1/responses",
        r#"{"id":"@","status":"@","model":"@","output":[{"type":"@","id":"@","content":[{"type":"output_text","text":"@"}]}],"incomplete_details":{"reason":"@"},"error":{"message":"@"},"usage":{"input_tokens":5,"output_tokens":6}}"#,
    ),
    (
        "/v1/embeddings",
        r#"{"model":"@","data":[{"embedding":"@"}],"usage":{"prompt_tokens":5}}"#,
    ),
    (
        "/api/chat",
        r#"{"model":"@","created_at":"@","message":{"role":"@","content":"@","thinking":"@","tool_calls":[{"function":{"name":"@"}}]},"done":true,"done_reason":"@","eval_count":3}"#,
    ),
    (
        "/api/generate",
        r#"{"model":"@","response":"@","done":true,"done_reason":"@","error":"@"}"#,
    ),
    (
        "/generate",
        r#"{"generated_text":"@","text_output":"@","details":{"finish_reason":"@","generated_tokens":3,"tokens":[{"text":"@"}]},"error":"@","error_type":"@"}"#,
    ),
    ("/generate_stream", r#"{"error":"@","error_type":"@"}"#),
    (
        "/v2/chat",
        r#"{"id":"@","finish_reason":"@","message":{"role":"@","content":[{"type":"text","text":"@"}],"tool_plan":"@","tool_calls":[{"id":"@"}]},"usage":{"tokens":{"input_tokens":5,"output_tokens":6}}}"#,
    ),
    (
        ":streamGenerateContent",
        r#"[{"candidates":[{"content":{"role":"@","parts":[{"text":"@"},{"functionCall":{"name":"@"}}]},"finishReason":"@"}],"modelVersion":"@"},{"error":{"message":"@","status":"@"}}]"#,
    ),
    (
        ":generateContent",
        r#"{"candidates":[{"content":{"role":"@","parts":[{"text":"@"},{"functionCall":{"name":"@"}}]},"finishReason":"@"}],"responseId":"@","modelVersion":"@"}"#,
    ),
    (
        "/tokenize",
        r#"{"count":2,"tokens":[1,2],"token_strs":["@","@"]}"#,
    ),
    ("/detokenize", r#"{"prompt":"@"}"#),
    (
        "/score",
        r#"{"id":"@","model":"@","data":[{"index":0,"object":"@","score":0.5}]}"#,
    ),
    (
        "/pooling",
        r#"{"id":"@","model":"@","data":[{"index":0,"object":"@","data":["@"]}]}"#,
    ),
    (
        "/classify",
        r#"{"id":"@","model":"@","data":[{"index":0,"label":"@","probs":[0.5]}]}"#,
    ),
    (
        "/infer",
        r#"{"model_name":"@","outputs":[{"name":"@","data":["@"]}]}@"#,
    ),
];

/// Streams, by the path's end.
pub(crate) const STREAMS: &[(&str, &str)] = &[
    (
        "/v1/responses",
        "event: @\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"@\",\"item_id\":\"@\"}\n\n\
         data: {\"type\":\"@\",\"delta\":\"@\"}\n\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"message\":\"@\"}}}\n\n",
    ),
    (
        "/api/chat",
        "{\"model\":\"@\",\"message\":{\"content\":\"@\",\"thinking\":\"@\"},\"done\":false}\n{\"error\":\"@\"}\n@ is no JSON\n",
    ),
    (
        "/api/generate",
        "{\"model\":\"@\",\"response\":\"@\",\"done\":false}\n{\"done\":true,\"done_reason\":\"@\"}\n",
    ),
    (
        "/generate",
        "data:{\"token\":{\"text\":\"@\"},\"generated_text\":null}\n\ndata:{\"text_output\":\"@\",\"error\":\"@\"}\n\ndata:@\n\n",
    ),
    (
        "/generate_stream",
        "data:{\"token\":{\"text\":\"@\"},\"generated_text\":null}\n\ndata:{\"token\":{\"text\":\"@\",\"special\":true},\"generated_text\":\"@\",\"details\":{\"finish_reason\":\"@\"}}\n\n\
         data: {\"model_name\":\"@\",\"text_output\":\"@\",\"error\":\"@\"}\n\ndata:@\n\n",
    ),
    (
        "/v2/chat",
        "event: content-delta\ndata: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"@\",\"thinking\":\"@\"}}}}\n\n\
         event: tool-call-start\ndata: {\"type\":\"tool-call-start\",\"delta\":{\"message\":{\"tool_calls\":{\"id\":\"@\",\"function\":{\"name\":\"@\"}}}}}\n\n\
         data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"@\"}}\n\n",
    ),
    (
        ":streamGenerateContent",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"@\",\"thought\":true}]},\"finishReason\":\"@\"}]}\n\n",
    ),
];
