//! Files of each format version, which must read the same for ever.

use std::fs;
use std::path::PathBuf;

use super::{chat, header};
use crate::anonymise::{
    Anonymiser, Chain, ChainKey, Policy, Private, PromptRender, Recordable, Sighting,
};
use crate::shape::{
    BlockId, BlockSpec, CacheLife, CacheMark, CachePlace, ClientId, Dimensions, Endpoint, Exchange,
    FinishReason, FrameShape, FrameSizes, GapSketch, GapTrail, MediaKind, MediaPart, MediaType,
    MessageShape, Method, Outcome, PictureFormat, ReasoningEffort, RequestParams, RequestShape,
    ResponseShape, Role, SessionId, ShapeStatus, Structured, TensorShape, TensorType, TokenCount,
    TokenSource, ToolsShape, TraceTime, VectorEncoding,
};
use crate::trace::{Header, Totals, Trace, TraceWriter, WriterOptions};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/traces")
        .join(name)
}

fn tokens(count: u32, source: TokenSource) -> Option<TokenCount> {
    Some(TokenCount { count, source })
}

/// An answer with a bit of everything.
fn rich() -> Exchange {
    let mut gaps = GapSketch::default();
    for gap in [0, 3, 3, 31, 32, 20_000, 20_100, 25_000, 1_000_000] {
        gaps.record(gap);
    }
    let message = |role, bytes, tokens| MessageShape {
        role,
        bytes,
        tokens,
    };
    Exchange {
        at: TraceTime::from_us(1_000_000),
        endpoint: Endpoint::Messages,
        method: Method::Post,
        model: None,
        session: Some(SessionId(0)),
        client: Some(ClientId(1)),
        in_flight: 3,
        new_connection: None,
        shape: ShapeStatus::Known,
        request: RequestShape {
            bytes: 5_000,
            media_type: MediaType::Unsaid,
            messages: vec![
                message(Role::System, 90, Some(20)),
                message(Role::User, 200, None),
                message(Role::Assistant, 0, Some(0)),
                message(Role::Tool, 12, None),
                message(Role::Other, 1, None),
            ],
            prompt_tokens: tokens(110, TokenSource::Usage),
            blocks: [0, 1, 2, 3, 4, 5, 6].map(BlockId).to_vec(),
            params: RequestParams {
                max_tokens: Some(1000),
                min_tokens: Some(0),
                ignore_eos: true,
                n: 2,
                best_of: Some(3),
                stream: true,
                include_usage: true,
                greedy: Some(false),
                structured: Structured::JsonSchema,
                schema_bytes: 77,
                logprobs: Some(5),
                stop_count: 4,
                reasoning_effort: Some(ReasoningEffort::High),
                token_ids: false,
                echo: true,
                ..RequestParams::default()
            },
            tools: ToolsShape {
                count: 2,
                bytes: 150,
            },
            media: vec![
                MediaPart {
                    message: 1,
                    kind: MediaKind::Image,
                    format: PictureFormat::Other,
                    bytes: 12_345,
                    pixels: Some((640, 480)),
                },
                MediaPart {
                    message: 1,
                    kind: MediaKind::Audio,
                    format: PictureFormat::Other,
                    bytes: 0,
                    pixels: None,
                },
            ],
            tensors: Vec::new(),
            cache_marks: Vec::new(),
        },
        response: ResponseShape {
            status: 200,
            headers_us: Some(1_500),
            first_byte_us: Some(1_600),
            first_token_us: Some(300_000),
            first_answer_us: Some(400_000),
            last_token_us: Some(1_400_000),
            end_us: Some(1_400_900),
            reader_wait_us: None,
            gaps,
            trail: GapTrail::default(),
            output_tokens: tokens(12, TokenSource::Counted),
            cached_tokens: Some(64),
            reasoning_tokens: Some(4),
            finish: Some(FinishReason::ToolCalls),
            tool_calls: 1,
            bytes: 4_321,
            media_type: MediaType::Unsaid,
            events: 14,
            token_events: 10,
        },
        frames: None,
        outcome: Outcome::Completed,
    }
}

/// Exchanges that between them use every field, every outcome and every kind of prediction.
fn exchanges() -> Vec<Exchange> {
    let mut out = vec![rich()];
    let outcomes = [
        Outcome::ClientCancelled { at_us: 10 },
        Outcome::UpstreamRefused { at_us: 20 },
        Outcome::UpstreamReset { at_us: 600 },
        Outcome::UpstreamTimeout { at_us: 30_000_000 },
        Outcome::Truncated { at_us: 499 },
        Outcome::Rejected,
        Outcome::Completed,
    ];
    for (i, outcome) in (0_u32..).zip(outcomes) {
        // A chain that branches off the first, and goes on as the one before it did.
        let ids = [0, 1, 2].into_iter().chain((7..8 + i).skip(i as usize / 2));
        let mut exchange = chat(900_000 + u64::from(i) * 70_000, 500, ids);
        exchange.outcome = outcome;
        exchange.method = Method::ALL[i as usize];
        exchange.endpoint = Endpoint::ALL[i as usize];
        exchange.session = (i % 2 == 0).then_some(SessionId(i / 2));
        exchange.in_flight = i;
        out.push(exchange);
    }
    let mut bare = chat(u64::from(u32::MAX), 0, []);
    bare.request = RequestShape::default();
    bare.response = ResponseShape::default();
    bare.shape = ShapeStatus::Shed;
    out.push(bare);
    out
}

fn golden_header() -> Header {
    Header {
        block: Some(BlockSpec::LIVE),
        epoch_unix_us: Some(1_700_000_000_000_000),
        sample_ppm: 250_000,
        policy: None,
        envelope: None,
        ..header(0x0123_4567_89ab_cdef)
    }
}

fn totals() -> Totals {
    Totals {
        seen: 12,
        recorded: 9,
        sampled_out: 1,
        dropped: [("probe".to_owned(), 2)].into(),
        simulated: 9,
    }
}

#[test]
fn golden_files_of_1_0_read_as_ever() {
    let trace = check("1.0", &golden_header());
    assert_eq!(
        (trace.damage().bad_blocks, trace.damage().lost_exchanges),
        (1, 4)
    );
}

#[test]
fn golden_files_of_1_1_read_as_ever() {
    check_1_1("1.1");
}

/// What came to 1.1 when there were files of it: how pictures are coded.
#[test]
fn golden_files_of_1_1_with_pictures_read_as_ever() {
    check_1_1("1.1-pictures");
    let lines = fs::read_to_string(fixture("golden-1.1-pictures.jsonl")).unwrap();
    for format in ["png", "jpeg", "gif", "webp"] {
        assert!(lines.contains(&format!("\"format\":\"{format}\"")));
    }
}

/// And what came after them: datatype and dimensions of tensors.
#[test]
fn golden_files_of_1_1_with_tensors_read_as_ever() {
    if std::env::var_os("REENACT_WRITE_GOLDEN").is_some() {
        write_golden("1.1-tensors", &exchanges_with_tensors());
    }
    check_1_1("1.1-tensors");
    let lines = fs::read_to_string(fixture("golden-1.1-tensors.jsonl")).unwrap();
    assert!(lines.contains("\"datatype\":\"other\"}"));
    assert!(lines.contains("\"datatype\":\"bytes\",\"dimensions\":[1,2,3,4,5,6,7,4294967295]}"));
}

/// What came after them: which requests were the first on their connections.
#[test]
fn golden_files_of_1_1_with_connections_read_as_ever() {
    if std::env::var_os("REENACT_WRITE_GOLDEN").is_some() {
        write_golden("1.1-connections", &exchanges_with_connections());
    }
    check_1_1("1.1-connections");
    let lines = fs::read_to_string(fixture("golden-1.1-connections.jsonl")).unwrap();
    for told in [true, false] {
        assert!(lines.contains(&format!("\"new_connection\":{told}")));
    }
}

/// And after that: how long an answer waited for its client.
#[test]
fn golden_files_of_1_1_with_slow_readers_read_as_ever() {
    if std::env::var_os("REENACT_WRITE_GOLDEN").is_some() {
        write_golden("1.1-readers", &exchanges_with_slow_readers());
    }
    check_1_1("1.1-readers");
    let lines = fs::read_to_string(fixture("golden-1.1-readers.jsonl")).unwrap();
    for told in [0, 1_000, 1_u64 << 40] {
        assert!(lines.contains(&format!("\"reader_wait_us\":{told},")));
    }
}

/// What came after them: what some servers only take, and marks of what to keep.
#[test]
fn golden_files_of_1_1_with_marks_read_as_ever() {
    if std::env::var_os("REENACT_WRITE_GOLDEN").is_some() {
        write_golden("1.1-marks", &exchanges_with_marks());
    }
    check_1_1("1.1-marks");
    let lines = fs::read_to_string(fixture("golden-1.1-marks.jsonl")).unwrap();
    for told in [
        r#"{"on":"request","life":"other"}"#,
        r#"{"on":"tool","index":1,"life":"five_minutes"}"#,
        r#"{"on":"message","index":0,"bytes":90,"life":"one_hour"}"#,
        r#"{"on":"message","index":1,"bytes":7}"#,
        r#""context_tokens":131072"#,
        r#""dimensions":256,"encoding_format":"base64""#,
        r#""continuous_usage":true,"return_token_ids":true"#,
    ] {
        assert!(lines.contains(told), "{told}");
    }
}

/// What came after them: kinds of bodies that no dialect reads.
#[test]
fn golden_files_of_1_1_with_media_types_read_as_ever() {
    if std::env::var_os("REENACT_WRITE_GOLDEN").is_some() {
        write_golden("1.1-media-types", &exchanges_with_media_types());
    }
    check_1_1("1.1-media-types");
    let lines = fs::read_to_string(fixture("golden-1.1-media-types.jsonl")).unwrap();
    for kind in &MediaType::ALL[1..] {
        let told = format!(r#""media_type":{}"#, serde_json::to_string(kind).unwrap());
        assert_eq!(lines.matches(&told).count(), 2, "{told}");
    }
}

/// And after that: when a client sent its frames, and about how large a server's were.
#[test]
fn golden_files_of_1_1_with_frames_read_as_ever() {
    if std::env::var_os("REENACT_WRITE_GOLDEN").is_some() {
        write_golden("1.1-frames", &exchanges_with_frames());
    }
    check_1_1("1.1-frames");
    let lines = fs::read_to_string(fixture("golden-1.1-frames.jsonl")).unwrap();
    for told in [
        r#""frames":{"first_sent_us":150000,"sent_gaps":{"buckets":[[0,1],[5,2],"#,
        r#""longest_us":1000000},"sent_gaps_in_order_us":[0,5,"#,
        r#""came_sizes":[[0,40],[1024,2],[9223372036854775808,1]]}"#,
        r#""frames":{"came_sizes":[[0,1]]}"#,
        r#""frames":{"first_sent_us":0}"#,
    ] {
        assert!(lines.contains(told), "{told}");
    }
}

fn check_1_1(version: &str) {
    let mut trace = check(version, &header_of_1_1());
    let left_open = trace
        .exchanges()
        .flatten()
        .filter(|exchange| matches!(exchange.outcome, Outcome::InFlight { .. }));
    assert_eq!(left_open.count(), 1);
}

/// Holds a version's files against what they must read as; gives the unfinished one.
fn check(version: &str, header: &Header) -> Trace {
    let lines = fs::read_to_string(fixture(&format!("golden-{version}.jsonl"))).unwrap();
    let read = |name: &str| {
        let mut trace = Trace::open(&[fixture(&format!("golden-{version}{name}.rt"))]).unwrap();
        let exchanges: Vec<_> = trace
            .exchanges()
            .map(|exchange| serde_json::to_string(&exchange.unwrap()).unwrap() + "\n")
            .collect();
        (trace, exchanges)
    };
    let (trace, exchanges) = read("");
    assert_eq!(exchanges.concat(), lines);
    assert_eq!(trace.header(), header);
    assert_eq!(trace.totals(), totals());
    assert_eq!(trace.damage(), crate::trace::Damage::default());
    let names: Vec<_> = [0, 1]
        .map(|id| trace.model_name(crate::shape::ModelId(id)))
        .into();
    assert_eq!(names, [None, Some("meta/llama")]);
    let (trace, exchanges) = read("-unfinished");
    let ended: Vec<_> = exchanges
        .iter()
        .filter(|line| !line.contains("in_flight\",\"at_us"))
        .collect();
    assert_eq!(ended.len(), 5, "one of its blocks");
    assert!(ended.iter().all(|line| lines.contains(line.as_str())));
    assert_eq!(trace.damage().unfinished_files, 1);
    trace
}

fn header_of_1_1() -> Header {
    Header {
        policy: Some(policy()),
        ..golden_header()
    }
}

fn policy() -> Policy {
    Policy {
        keep_models: ["meta/llama".into()].into(),
        ..Policy::default()
    }
}

/// Beside those of 1.0: every endpoint, and what 1.1 brought.
fn exchanges_of_1_1() -> Vec<Exchange> {
    let mut out = exchanges();
    for (i, endpoint) in (0_u32..).zip(Endpoint::ALL) {
        let mut exchange = chat(2_000_000 + u64::from(i) * 1_000, 500, [0, 1]);
        exchange.endpoint = endpoint;
        exchange.session = Some(SessionId(i % 3));
        exchange.request.params.continues = i % 4 == 0;
        for gap in (0..u64::from(i) * 3).step_by(3) {
            exchange.response.trail.record(gap * gap * 100);
        }
        out.push(exchange);
    }
    out
}

/// And one with a picture of every coding.
fn exchanges_with_pictures() -> Vec<Exchange> {
    let mut out = exchanges_of_1_1();
    let mut exchange = chat(3_000_000, 500, [0, 1]);
    exchange.request.media = (1..)
        .zip(PictureFormat::ALL)
        .map(|(n, format)| MediaPart {
            message: 0,
            kind: MediaKind::Image,
            format,
            bytes: n * 1_000,
            pixels: Some((64, 48)),
        })
        .collect();
    out.push(exchange);
    out
}

/// And one with a tensor of every type, and of every number of dimensions.
fn exchanges_with_tensors() -> Vec<Exchange> {
    let mut out = exchanges_with_pictures();
    let mut exchange = chat(4_000_000, 500, [0, 1]);
    exchange.endpoint = Endpoint::Infer;
    exchange.request.tensors = (0..)
        .zip(TensorType::ALL)
        .map(|(message, datatype)| TensorShape {
            message,
            datatype,
            dimensions: match datatype {
                TensorType::Other => None,
                TensorType::Bytes => Dimensions::of((1..8).chain([u32::MAX])),
                _ => Dimensions::of(1..u32::from(message) % 8),
            },
        })
        .collect();
    out.push(exchange);
    out
}

/// All of them, of which some tell whether they were the first on their connections.
fn exchanges_with_connections() -> Vec<Exchange> {
    let mut out = exchanges_with_pictures();
    for (exchange, i) in out.iter_mut().zip(0..) {
        exchange.new_connection = [Some(true), Some(false), None, Some(false)][i % 4];
    }
    out
}

/// All of them, of which some tell how long they waited for their clients.
fn exchanges_with_slow_readers() -> Vec<Exchange> {
    let mut out = exchanges_with_connections();
    for (exchange, i) in out.iter_mut().zip(0..) {
        exchange.response.reader_wait_us =
            [Some(0), Some(1_000), None, Some(0), Some(1 << 40)][i % 5];
    }
    out
}

/// And some with what only some servers take.
fn exchanges_with_marks() -> Vec<Exchange> {
    let mut out = exchanges_with_connections();
    let last = Exchange {
        at: TraceTime::from_us(5_000_000),
        ..rich()
    };
    let mut marked = last.clone();
    let in_message = |index, bytes| CachePlace::Message { index, bytes };
    marked.request.cache_marks = [
        (CachePlace::Tool { index: 1 }, CacheLife::FiveMinutes),
        (in_message(0, 90), CacheLife::OneHour),
        (in_message(1, 7), CacheLife::Unsaid),
        (in_message(9, 5), CacheLife::Unsaid),
        (CachePlace::Request, CacheLife::Other),
    ]
    .map(|(place, life)| CacheMark { place, life })
    .to_vec();
    let mut vectors = last.clone();
    vectors.endpoint = Endpoint::Embeddings;
    vectors.request.params.dimensions = Some(256);
    vectors.request.params.encoding_format = VectorEncoding::Base64;
    let mut loaded = last.clone();
    loaded.endpoint = Endpoint::OllamaEmbed;
    loaded.request.params.context_tokens = Some(131_072);
    loaded.request.params.encoding_format = VectorEncoding::Other;
    let mut told = last.clone();
    told.endpoint = Endpoint::ChatCompletions;
    told.request.params.continuous_usage = true;
    told.request.params.return_token_ids = true;
    out.extend([marked, vectors, loaded, told, last]);
    out
}

/// And bodies of every kind that no dialect reads.
fn exchanges_with_media_types() -> Vec<Exchange> {
    let mut out = exchanges_with_marks();
    let kinds = &MediaType::ALL[1..];
    for (i, (asked, answered)) in kinds.iter().zip(kinds.iter().rev()).enumerate() {
        let mut exchange = chat(6_000_000 + i as u64 * 1_000, 500, []);
        exchange.endpoint = Endpoint::Other;
        exchange.shape = ShapeStatus::Generic;
        exchange.request.media_type = *asked;
        exchange.response.media_type = *answered;
        out.push(exchange);
    }
    out
}

/// And WebSockets.
fn exchanges_with_frames() -> Vec<Exchange> {
    let mut out = exchanges_with_media_types();
    let of = |at_us, frames: FrameShape| {
        let mut exchange = chat(at_us, 500, []);
        exchange.endpoint = Endpoint::Realtime;
        exchange.method = Method::Get;
        exchange.frames = Some(Box::new(frames));
        exchange
    };
    let mut all = FrameShape {
        first_sent_us: Some(150_000),
        ..FrameShape::default()
    };
    for gap_us in [0, 5, 5, 20_000, 20_100, 1_000_000] {
        all.sent_gaps.record(gap_us);
        all.sent_trail.record(gap_us);
    }
    for (bytes, frames) in [(200, 40), (1_500, 2), (u64::MAX, 1)] {
        all.came_sizes.record(bytes, frames);
    }
    let mut came = FrameShape::default();
    came.came_sizes.record(0, 1);
    let sent = FrameShape {
        first_sent_us: Some(0),
        ..FrameShape::default()
    };
    let silent = FrameShape {
        came_sizes: FrameSizes::default(),
        ..all.clone()
    };
    out.extend([
        of(7_000_000, all),
        of(7_001_000, came),
        of(7_002_000, sent),
        of(7_003_000, silent),
    ]);
    out
}

/// Text whose blocks are the same where the numbers are.
fn chain_of(key: &ChainKey, ids: &[BlockId]) -> Chain {
    let mut prompt = PromptRender::new(key);
    for id in ids {
        prompt.text(&[b'a' + u8::try_from(id.0).unwrap(); 64]);
    }
    prompt.finish().chain
}

/// Writes the files of the current version. Those of the ones before cannot be written any more.
fn write_golden(version: &str, exchanges: &[Exchange]) {
    let name = |rest: &str| fixture(&format!("golden-{version}{rest}"));
    let lines_of = |path: &PathBuf| -> Vec<String> {
        let mut trace = Trace::open(std::slice::from_ref(path)).unwrap();
        trace
            .exchanges()
            .map(|exchange| serde_json::to_string(&exchange.unwrap()).unwrap() + "\n")
            .collect()
    };
    for (file, finished) in [(".rt", true), ("-unfinished.rt", false)] {
        let path = name(file);
        drop(fs::remove_file(&path));
        let mut gate = Anonymiser::with_key(policy(), ChainKey::from_bytes([1; 16]));
        let options = WriterOptions {
            // The last block of the finished one is large enough for columns to be laid out in planes.
            block_exchanges: if finished { 64 } else { 5 },
            ..WriterOptions::default()
        };
        let mut writer = TraceWriter::create(&path, &header_of_1_1(), options).unwrap();
        writer.account(&totals());
        let some = if finished { usize::MAX } else { 5 };
        for (i, exchange) in exchanges.iter().take(some).cloned().enumerate() {
            let key = i as u64;
            if i % 3 == 1 && i < 9 {
                writer.open(key, Recordable::content_free(in_flight(&exchange)));
                writer.flush().unwrap();
            }
            let chain = chain_of(gate.key(), &exchange.request.blocks);
            let named = gate.admit(Sighting {
                model: Some(Private::new(["a secret", "meta/llama"][i % 2])),
                chain,
                ..Sighting::of(exchange)
            });
            writer.close(key, named).unwrap();
        }
        if finished {
            writer.finish().unwrap();
            fs::write(name(".jsonl"), lines_of(&path).concat()).unwrap();
        } else {
            for key in [98, 99] {
                let open = in_flight(&chat(key - 98, 0, [0, 1]));
                writer.open(key, Recordable::content_free(open));
            }
            writer.flush().unwrap();
            // It will not be told how this one ended.
            writer.forget(98);
            writer.flush().unwrap();
        }
    }
}

fn in_flight(exchange: &Exchange) -> Exchange {
    Exchange {
        outcome: Outcome::InFlight { at_us: 1_000 },
        response: ResponseShape::default(),
        ..exchange.clone()
    }
}
