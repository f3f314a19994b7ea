use crate::shape::MediaType;

/// The kind of a body whose head has this `content-type` (RFC 9110, section 8.3.1), whatever parameters follow; an empty one is none.
/// Asked on the traffic path: JSON comes early.
pub fn media_type(content_type: &[u8]) -> MediaType {
    let essence = content_type.split(|&byte| byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    if essence.is_empty() {
        return MediaType::None;
    }
    let Some(slash) = essence.iter().position(|&byte| byte == b'/') else {
        return MediaType::Other;
    };
    let (kind, subtype) = essence.split_at(slash);
    let subtype = subtype.get(1..).unwrap_or_default();
    let is_grpc = subtype
        .get(..GRPC.len())
        .is_some_and(|start| is(start, GRPC));
    // `application/grpc+json` is messages, too.
    if is_grpc {
        return MediaType::Grpc;
    }
    let structure = subtype.rsplit(|&byte| matches!(byte, b'/' | b'+')).next();
    if structure.is_some_and(|structure| is(structure, "json")) {
        return MediaType::Json;
    }
    let exactly = NAMES.into_iter().find(|(name, _)| is(essence, name));
    let broadly = || KINDS.into_iter().find(|(name, _)| is(kind, name));
    exactly
        .or_else(broadly)
        .map_or(MediaType::Other, |(_, media_type)| media_type)
}

fn is(said: &[u8], name: &str) -> bool {
    said.eq_ignore_ascii_case(name.as_bytes())
}

const GRPC: &str = "grpc";
const NAMES: [(&str, MediaType); 11] = [
    ("text/html", MediaType::Html),
    ("text/event-stream", MediaType::EventStream),
    ("application/octet-stream", MediaType::OctetStream),
    ("application/x-www-form-urlencoded", MediaType::Form),
    ("application/x-ndjson", MediaType::Ndjson),
    ("application/ndjson", MediaType::Ndjson),
    ("application/jsonl", MediaType::Ndjson),
    ("application/x-jsonlines", MediaType::Ndjson),
    ("application/x-protobuf", MediaType::Protobuf),
    ("application/protobuf", MediaType::Protobuf),
    ("application/vnd.google.protobuf", MediaType::Protobuf),
];
const KINDS: [(&str, MediaType); 5] = [
    ("text", MediaType::Text),
    ("audio", MediaType::Audio),
    ("image", MediaType::Image),
    ("video", MediaType::Video),
    ("multipart", MediaType::Multipart),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_is_told_by_its_names() {
        for (content_type, kind) in [
            ("", MediaType::None),
            (" ; charset=utf-8", MediaType::None),
            ("application/json", MediaType::Json),
            ("Application/JSON ; charset=utf-8", MediaType::Json),
            ("text/json", MediaType::Json),
            ("application/problem+json", MediaType::Json),
            ("text/plain; version=0.0.4", MediaType::Text),
            ("TEXT/HTML", MediaType::Html),
            ("text/event-stream;charset=utf-8", MediaType::EventStream),
            ("application/x-ndjson", MediaType::Ndjson),
            ("application/jsonl", MediaType::Ndjson),
            ("application/x-www-form-urlencoded", MediaType::Form),
            ("multipart/form-data; boundary=x/json", MediaType::Multipart),
            ("application/octet-stream", MediaType::OctetStream),
            ("application/x-protobuf", MediaType::Protobuf),
            ("application/grpc", MediaType::Grpc),
            ("application/grpc-web+proto", MediaType::Grpc),
            ("application/grpc+json", MediaType::Grpc),
            ("audio/wav", MediaType::Audio),
            ("image/svg+xml", MediaType::Image),
            ("video/mp4", MediaType::Video),
            ("application/pdf", MediaType::Other),
            ("application/jsonish", MediaType::Other),
            ("json", MediaType::Other),
            ("/", MediaType::Other),
        ] {
            assert_eq!(media_type(content_type.as_bytes()), kind, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_head_says_is_one_of_them(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_ne!(media_type(&bytes), MediaType::Unsaid);
        }
    }
}
