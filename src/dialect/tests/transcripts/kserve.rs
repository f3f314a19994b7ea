//! KServe's protocol, Triton's addition to it, and both over gRPC.

use super::{JSON, KEY, SSE, messages, observe, read};
use crate::anonymise::Private;
use crate::dialect::observe_request;
use crate::shape::{Endpoint, Role, TokenCount, TokenSource};

#[test]
fn triton_streams_text_until_it_ends() {
    let stream = "data: {\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"a\"}\n\n\
        data: {\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"b\"}\n\n\
        data: {\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"\"}\n\n";
    let sight = read(Endpoint::TritonGenerateStream, SSE, stream);
    let counted = Some(TokenCount {
        count: 2,
        source: TokenSource::Counted,
    });
    assert_eq!((sight.output_tokens, sight.ended), (counted, true));
    let error = "data: {\"error\":\"gone\"}\n\n";
    assert!(read(Endpoint::TritonGenerateStream, SSE, error).error);
    let whole = r#"{"model_name":"m","text_output":"ab"}"#;
    assert!(read(Endpoint::TritonGenerate, JSON, whole).ended);
    for body in [
        r#"{"text_input":"hello","max_tokens":9,"temperature":0}"#,
        r#"{"text_input":"hello","parameters":{"max_tokens":9,"temperature":0,"stream":false}}"#,
    ] {
        let sight = observe_request(Endpoint::TritonGenerate, body.as_bytes(), &KEY).unwrap();
        assert_eq!(
            (sight.params.max_tokens, sight.params.greedy),
            (Some(9), Some(true))
        );
        assert_eq!(messages(Endpoint::TritonGenerate, body), [(Role::User, 5)]);
    }
}

#[test]
fn tensors_are_in_json_or_behind_it() {
    let json = r#"{"inputs":[{"name":"x","shape":[2],"datatype":"INT32","data":[1,2]},{"name":"y","shape":[1],"datatype":"BYTES","data":["a"]}]}"#;
    assert_eq!(
        messages(Endpoint::Infer, json),
        [(Role::Other, 5), (Role::Other, 5)]
    );
    let head = r#"{"inputs":[{"name":"x","shape":[2],"datatype":"INT32","parameters":{"binary_data_size":8}},{"name":"y","data":[1]},{"name":"z","parameters":{"binary_data_size":3}}]}"#;
    let mut body = head.as_bytes().to_vec();
    body.extend_from_slice(b"\xff\0\0\0{}\"\x80abc");
    let sight = observe_request(Endpoint::Infer, &body, &KEY).unwrap();
    let sizes: Vec<u32> = sight.prompt.messages.iter().map(|it| it.bytes).collect();
    assert_eq!(sizes, [8, 3, 3]);
    body.pop();
    assert!(observe_request(Endpoint::Infer, &body, &KEY).is_err());
}

/// A field that has a length.
fn field(tag: u8, data: &[u8]) -> Vec<u8> {
    let mut field = vec![tag << 3 | 2, u8::try_from(data.len()).unwrap()];
    field.extend_from_slice(data);
    field
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

#[test]
fn tensors_of_calls_are_found_and_nothing_is_stored_for_the_rest() {
    let tensor = [
        field(1, b"x"),
        field(2, b"INT32"),
        field(3, &[2]),
        field(5, b"\x12\x02\x01\x02"),
    ]
    .concat();
    let bare = [field(1, b"y"), field(2, b"BYTES")].concat();
    let message = [
        field(1, b"llama"),
        field(5, &tensor),
        field(5, &bare),
        field(7, b"raw bytes"),
        vec![9 << 3, 1],
    ]
    .concat();
    let body = [framed(&message), framed(&message)].concat();
    let sight = observe_request(Endpoint::GrpcStreamInfer, &body, &KEY).unwrap();
    let sizes: Vec<u32> = sight.prompt.messages.iter().map(|it| it.bytes).collect();
    assert_eq!(sizes, [4, 9, 4, 9]);
    assert_eq!(sight.model, Some(Private::new("llama")));
    for cut in 1..body.len() {
        let whole = cut == body.len() / 2;
        let read = observe_request(Endpoint::GrpcInfer, &body[..cut], &KEY).is_ok();
        assert_eq!(read, whole, "cut at {cut}");
    }
    let wrong = framed(&[field(1, b"llama"), vec![5 << 3 | 2, 100]].concat());
    assert!(observe_request(Endpoint::GrpcInfer, &wrong, &KEY).is_err());
    // Two bytes a tensor: as many as there can be, and no more memory than they take.
    let flood = framed(&[5 << 3 | 2, 0].repeat(1 << 20));
    let sight = observe_request(Endpoint::GrpcInfer, &flood, &KEY).unwrap();
    assert!(sight.prompt.messages.is_empty());
}

#[test]
fn calls_answers_are_counted_by_their_messages() {
    let answers = [framed(b"abc"), framed(b""), framed(b"d")].concat();
    for cut in 0..=answers.len() {
        let (head, tail) = answers.split_at(cut);
        let sight = observe(
            Endpoint::GrpcStreamInfer,
            "application/grpc+proto",
            &[head, tail],
        );
        assert_eq!((sight.events, sight.token_events), (3, 0), "cut at {cut}");
        assert_eq!(sight.gaps.count(), 2);
    }
}
