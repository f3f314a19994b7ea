//! Text Generation Inference.

use super::{JSON, KEY, SSE, read, told};
use crate::dialect::observe_request;
use crate::shape::{Endpoint, FinishReason, Structured};

#[test]
fn tgi_counts_its_tokens_itself() {
    let stream = "data:{\"index\":1,\"token\":{\"id\":1,\"text\":\"a\",\"logprob\":-0.1,\"special\":false},\"generated_text\":null,\"details\":null}\n\n\
        data:{\"index\":2,\"token\":{\"id\":2,\"text\":\"</s>\",\"logprob\":-0.1,\"special\":true},\"generated_text\":\"a\",\"details\":{\"finish_reason\":\"eos_token\",\"generated_tokens\":2,\"seed\":null,\"input_length\":5}}\n\n";
    for (endpoint, stream) in [
        (Endpoint::TgiGenerateStream, stream),
        (Endpoint::TgiGenerate, stream),
    ] {
        let sight = read(endpoint, SSE, stream);
        assert_eq!((sight.events, sight.token_events), (2, 2));
        assert_eq!(
            (sight.prompt_tokens, sight.output_tokens),
            (Some(5), told(2))
        );
        assert_eq!(
            (sight.finish, sight.ended),
            (Some(FinishReason::Stop), true)
        );
    }
    let body = r#"[{"generated_text":"a","details":{"finish_reason":"length","generated_tokens":3,"prefill":[{"id":1},{"id":2}],"tokens":[]}}]"#;
    let sight = read(Endpoint::TgiGenerate, JSON, body);
    assert_eq!(
        (sight.prompt_tokens, sight.output_tokens),
        (Some(2), told(3))
    );
    assert_eq!(sight.finish, Some(FinishReason::Length));
    let error = "data:{\"error\":\"overloaded\",\"error_type\":\"overloaded\"}\n\n";
    assert!(read(Endpoint::TgiGenerateStream, SSE, error).error);
    let asked = r#"{"inputs":"hello","parameters":{"max_new_tokens":9,"do_sample":true,"best_of":2,"stop":["x"],"top_n_tokens":3,"grammar":{"type":"json","value":{}}},"stream":true}"#;
    let sight = observe_request(Endpoint::TgiGenerate, asked.as_bytes(), &KEY).unwrap();
    let params = sight.params;
    assert_eq!(
        (params.max_tokens, params.greedy, params.best_of),
        (Some(9), Some(false), Some(2))
    );
    assert_eq!(
        (params.logprobs, params.structured),
        (Some(3), Structured::JsonSchema)
    );
    assert!(params.stream);
    for others in [r#"{"text":"of SGLang"}"#, r#"["inputs"]"#] {
        assert!(observe_request(Endpoint::TgiGenerate, others.as_bytes(), &KEY).is_err());
    }
}
