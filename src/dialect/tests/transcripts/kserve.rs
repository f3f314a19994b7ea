//! KServe's protocol, Triton's addition to it, and both over gRPC.

use super::{JSON, KEY, SSE, messages, observe, read};
use crate::anonymise::{MAX_PARTS, Private};
use crate::dialect::{RequestSight, Unparsable, observe_request};
use crate::shape::{Dialect, Dimensions, Endpoint, Role, TensorType, TokenCount, TokenSource};

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
    assert_eq!(
        tensors(&sight),
        [
            (TensorType::Int32, Some(vec![2])),
            (TensorType::Other, None),
            (TensorType::Other, None)
        ]
    );
    body.pop();
    assert!(observe_request(Endpoint::Infer, &body, &KEY).is_err());
}

/// Datatype and dimensions of the tensors, each of which must be the message of its place.
fn tensors(sight: &RequestSight) -> Vec<(TensorType, Option<Vec<u32>>)> {
    let places: Vec<u16> = sight.prompt.tensors.iter().map(|it| it.message).collect();
    assert!(
        places
            .iter()
            .copied()
            .eq(0..sight.prompt.tensors.len() as u16)
    );
    let told = |dimensions: Dimensions| dimensions.sizes().to_vec();
    let tensors = sight.prompt.tensors.iter();
    tensors
        .map(|it| (it.datatype, it.dimensions.map(told)))
        .collect()
}

#[test]
fn a_tensor_has_a_datatype_and_dimensions_or_none_that_are_known() {
    let words = [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
        "BF16", "FP32", "FP64", "BYTES",
    ];
    for (word, datatype) in words.into_iter().zip(&TensorType::ALL[1..]) {
        for (shape, sizes) in [
            ("[]", Some(vec![])),
            ("[1, 3, 224, 224]", Some(vec![1, 3, 224, 224])),
            ("[0,4294967295]", Some(vec![0, u32::MAX])),
            ("[1,1,1,1,1,1,1,1]", Some(vec![1; 8])),
            ("[1,1,1,1,1,1,1,1,1]", None),
            ("[4294967296]", None),
            ("[-1,2]", None),
            ("[\"2\"]", None),
            ("[2.5]", None),
            ("[[2]]", None),
            ("\"2\"", None),
            ("{}", None),
            ("null", None),
        ] {
            let json = format!(
                r#"{{"inputs":[{{"name":"x","datatype":"{word}","shape":{shape},"data":[1]}}]}}"#
            );
            let sight = observe_request(Endpoint::Infer, json.as_bytes(), &KEY).unwrap();
            assert_eq!(tensors(&sight), [(*datatype, sizes)], "{json}");
            assert_eq!(sight.prompt.messages[0].bytes, 3);
        }
    }
    for odd in [
        r#""fp32""#,
        r#""FP8""#,
        r#""\u0046P32""#,
        "7",
        "null",
        r#"["FP32"]"#,
    ] {
        let json = format!(r#"{{"inputs":[{{"datatype":{odd},"data":[1]}}]}}"#);
        let sight = observe_request(Endpoint::Infer, json.as_bytes(), &KEY).unwrap();
        assert_eq!(tensors(&sight), [(TensorType::Other, None)], "{json}");
    }
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
        vec![3 << 3, 0x80, 1],
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
    let pair = [
        (TensorType::Int32, Some(vec![2, 128])),
        (TensorType::Bytes, Some(vec![])),
    ];
    assert_eq!(tensors(&sight), [&pair[..], &pair[..]].concat());
    for cut in 1..body.len() {
        let whole = cut == body.len() / 2;
        let read = observe_request(Endpoint::GrpcInfer, &body[..cut], &KEY).is_ok();
        assert_eq!(read, whole, "cut at {cut}");
    }
    let wrong = framed(&[field(1, b"llama"), vec![5 << 3 | 2, 100]].concat());
    assert!(observe_request(Endpoint::GrpcInfer, &wrong, &KEY).is_err());
    // Two bytes a tensor: more than are kept of any list.
    let flood = |count| framed(&[5 << 3 | 2, 0].repeat(count));
    let read = |count| observe_request(Endpoint::GrpcInfer, &flood(count), &KEY);
    let most = read(MAX_PARTS).unwrap().prompt;
    assert_eq!(
        (most.messages.len(), most.tensors.len()),
        (MAX_PARTS, MAX_PARTS)
    );
    let more = read(1 << 20).map(|_| ());
    assert_eq!(more, Err(Unparsable::TooMany(Dialect::KserveGrpc)));
}

#[test]
fn dimensions_of_calls_are_packed_or_not_and_their_data_may_be_elsewhere() {
    let tensor =
        |fields: &[Vec<u8>]| field(5, &[&[field(2, b"FP32")][..], fields].concat().concat());
    let shared = field(
        4,
        &[field(1, b"shared_memory_region"), field(2, b"\x1a\x01r")].concat(),
    );
    let minus_one = [[0xff; 9].as_slice(), &[1]].concat();
    let message = [
        tensor(&[field(3, &[1, 3, 0x80, 2])]),
        tensor(&[shared, vec![3 << 3, 7]]),
        tensor(&[field(3, &[1, 2]), vec![3 << 3, 3], field(3, &[4])]),
        tensor(&[field(3, &[1; 9])]),
        tensor(&[field(3, &minus_one)]),
        tensor(&[vec![3 << 3, 0x80, 0x80, 0x80, 0x80, 0x10]]),
        field(7, b"a"),
        field(7, b"to"),
        field(7, b"the"),
        field(7, b"four"),
    ]
    .concat();
    let sight = observe_request(Endpoint::GrpcInfer, &framed(&message), &KEY).unwrap();
    let fp32 = |sizes: Option<&[u32]>| (TensorType::Fp32, sizes.map(<[u32]>::to_vec));
    assert_eq!(
        tensors(&sight),
        [
            fp32(Some(&[1, 3, 256])),
            fp32(Some(&[7])),
            fp32(Some(&[1, 2, 3, 4])),
            fp32(None),
            fp32(None),
            fp32(None),
        ]
    );
    // In shared memory, and one that lacks its data.
    let sizes: Vec<u32> = sight.prompt.messages.iter().map(|it| it.bytes).collect();
    assert_eq!(sizes, [1, 0, 2, 3, 4, 0]);
    let torn = framed(&tensor(&[field(3, &[0x80])]));
    assert!(observe_request(Endpoint::GrpcInfer, &torn, &KEY).is_err());
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
