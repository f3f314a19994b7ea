//! What the trace and the metrics say.

use reenact::anonymise::PromptTokenizer;
use reenact::shape::{Endpoint, MediaType, Method, TokenSource};
use reenact::trace::Trace;
use serde_json::json;

use super::support::wire::{Wire, get, metric_reaches};
use super::{Between, GET};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn every_exchange_is_accounted_for() {
    let mut between = Between::start(&["--sample", "50%"]);
    let admin = between.recorder.wait_for_url("admin on ");
    let mut client = between.client();
    client.send(GET);
    let mut server = between.upstream.accept();
    for _ in 0..100 {
        server.read_head();
        server.send(OK);
        client.read_until("hi");
        client.send(GET);
    }
    server.read_head();
    drop((client, server));
    let metric = |page: &str, name: &str| -> u64 {
        page.lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum()
    };
    // What was accepted is on its way to the disk for at most a second.
    loop {
        let page = get(&admin, "/metrics");
        let settled = metric(&page, "reenact_recorded_total")
            + metric(&page, "reenact_sampled_out_total")
            + metric(&page, "reenact_dropped_total");
        if settled == 101 {
            assert_eq!(metric(&page, "reenact_seen_total"), 101);
            break;
        }
    }
    let (status, log) = between.recorder.terminate();
    assert!(status.success(), "{log}");
    let trace = Trace::open(&[between.dir.path().to_owned()]).unwrap();
    let totals = trace.totals();
    assert_eq!(totals.seen, 101);
    assert_eq!(totals.recorded + totals.sampled_out, 101);
    assert!((20..80).contains(&totals.recorded), "{totals:?}");
    assert_eq!(trace.header().sample_ppm, 500_000);
}

#[test]
fn exchanges_of_no_dialect_keep_sizes_times_and_status() {
    let between = Between::start(&[]);
    let (mut client, mut server, _) =
        between.exchange("PUT /own/thing HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    server.read_exact(3);
    server.send(OK);
    client.read_until("hi");
    let recorded = between.finish();
    let exchange = &recorded[0];
    assert_eq!(
        (exchange.endpoint, exchange.method),
        (Endpoint::Other, Method::Put)
    );
    assert_eq!((exchange.request.bytes, exchange.response.bytes), (3, 2));
    let response = &exchange.response;
    assert_eq!(response.status, 200);
    assert!(response.headers_us <= response.first_byte_us);
    assert!(response.first_byte_us <= response.end_us);
    assert!(response.end_us.unwrap() > 0);
}

#[test]
fn the_media_types_of_bodies_of_no_dialect_are_kept() {
    let between = Between::start(&[]);
    let ask = |head: &str, answer: &str| {
        let (mut client, mut server, _) = between.exchange(&format!(
            "POST {head}\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        ));
        server.read_exact(3);
        server.send(format!(
            "HTTP/1.1 200 OK\r\n{answer}Content-Length: 2\r\n\r\nhi"
        ));
        client.read_until("hi");
    };
    ask(
        "/v1/audio/transcriptions HTTP/1.1\r\nContent-Type: Multipart/Form-Data; boundary=abc",
        "Content-Type: text/plain; charset=utf-8\r\n",
    );
    ask(
        "/v1/audio/speech HTTP/1.1\r\ncontent-type: application/json",
        "content-type: audio/mpeg\r\n",
    );
    ask("/own HTTP/1.1", "Content-Type: application/x-own\r\n");
    let chat = "/v1/chat/completions HTTP/1.1\r\nContent-Type: application/json";
    ask(chat, "Content-Type: application/json\r\n");
    // Nobody answers.
    let (client, server, _) = between.exchange("GET /own HTTP/1.1\r\nHost: a\r\n\r\n");
    drop((server, client));
    let recorded = between.finish();
    let told: Vec<_> = recorded
        .iter()
        .map(|it| (it.request.media_type, it.response.media_type))
        .collect();
    assert_eq!(
        told,
        [
            (MediaType::Multipart, MediaType::Text),
            (MediaType::Json, MediaType::Audio),
            (MediaType::None, MediaType::Other),
            // Its dialect tells.
            (MediaType::Unsaid, MediaType::Unsaid),
            (MediaType::None, MediaType::Unsaid),
        ]
    );
}

#[test]
fn the_pace_of_a_body_of_no_dialect_is_kept() {
    for (options, in_order) in [(&[][..], 0), (&["--gaps", "full"][..], 2)] {
        let between = Between::start(options);
        let (mut client, mut server, _) =
            between.exchange("GET /own/thing HTTP/1.1\r\nHost: a\r\n\r\n");
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
        // Each has come before the next is sent, so that none is read with another.
        for piece in ["one", "two", "six"] {
            server.send(piece);
            client.read_until(piece);
        }
        let recorded = between.finish();
        let response = &recorded[0].response;
        assert_eq!((response.bytes, response.gaps.count()), (9, 2));
        assert_eq!(response.trail.values().count(), in_order);
        assert_eq!((response.events, response.token_events), (0, 0));
        assert!(response.token_gaps().is_none());
    }
}

#[test]
fn a_header_that_usually_names_a_conversation_does() {
    let between = Between::start(&[]);
    let ask = |header: &str, said: &str| {
        let body = format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{said}\"}}]}}");
        let (mut client, mut server, _) = between.exchange(&format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{header}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        server.read_exact(body.len());
        server.send(OK);
        client.read_until("hi");
    };
    ask("X-Conversation-Id: a\r\n", "what one asks");
    ask("X-Conversation-Id: b\r\n", "what one asks");
    ask("", "what nobody names");
    ask("x-conversation-id: a\r\n", "and another thing");
    ask("X-Session-Id: a\r\n", "of the same batch");
    ask("X-Session-Id: a\r\n", "and nothing else");
    let recorded = between.finish();
    let sessions: Vec<_> = recorded
        .iter()
        .map(|it| it.session.map(|it| it.0))
        .collect();
    assert_eq!(sessions, [0, 1, 2, 0, 3, 4].map(Some));
}

#[test]
fn tokens_that_no_server_counts_are_the_tokenizers() {
    let between = Between::start(&["--tokenizer", "fixtures/tokenizer/small.json"]);
    let (asked, said) = ("the river runs by the old mill", "it runs over the stones");
    let request = json!({"model": "m", "messages": [{"role": "user", "content": asked}]});
    let answer = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}]});
    let (request, answer) = (request.to_string(), answer.to_string());
    let (mut client, mut server, _) = between.exchange(&format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{request}",
        request.len()
    ));
    server.read_exact(request.len());
    server.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
        answer.len()
    ));
    client.read_until("}]}");
    let recorded = between.finish();
    let tokenizer =
        PromptTokenizer::from_json(include_bytes!("../../fixtures/tokenizer/small.json")).unwrap();
    let tokens = tokenizer.tokens(said).unwrap().len();
    let output = recorded[0].response.output_tokens.unwrap();
    assert_eq!(
        (output.count as usize, output.source),
        (tokens, TokenSource::Tokenizer)
    );
    let prompt = recorded[0].request.prompt_tokens.unwrap();
    assert_eq!(prompt.source, TokenSource::Tokenizer);
}

#[test]
fn it_is_kept_which_requests_were_the_first_on_their_connection() {
    let between = Between::start(&[]);
    let mut client = between.client();
    let answered = |client: &mut Wire, request: &str| {
        client.send(request);
        let mut server = between.upstream.accept();
        server.read_head();
        // The upstream's connections are none of the clients'.
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        client.read_until("hi");
    };
    answered(&mut client, GET);
    answered(&mut client, GET);
    let mut another = between.client();
    answered(&mut another, GET);
    answered(&mut client, GET);
    // What is not recorded began it all the same.
    let mut unrecorded = between.client();
    answered(
        &mut unrecorded,
        "GET / HTTP/1.1\r\nHost: a\r\nx-reenact-record: off\r\n\r\n",
    );
    answered(&mut unrecorded, GET);
    let recorded = between.finish();
    let began: Vec<_> = recorded.iter().map(|it| it.new_connection).collect();
    assert_eq!(
        began,
        [true, false, true, false, false].map(Some),
        "{recorded:?}"
    );
}

#[test]
fn probes_are_forwarded_and_not_recorded() {
    let mut between = Between::start(&[]);
    let (mut client, mut server, head) =
        between.exchange("GET / HTTP/1.1\r\nHost: a\r\nx-reenact-probe: 1\r\n\r\n");
    assert!(head.contains("x-reenact-probe: 1\r\n"));
    server.send(OK);
    client.read_until("hi");
    let admin = between.recorder.wait_for_url("admin on ");
    metric_reaches(&admin, "reenact_dropped_total{reason=\"probe\"}", 1);
    assert_eq!(between.finish().len(), 0);
}

#[test]
fn what_its_client_opts_out_of_is_forwarded_and_not_recorded() {
    let mut between = Between::start(&[]);
    let admin = between.recorder.wait_for_url("admin on ");
    for (number, value) in ["off", "Off ", "no", ""].into_iter().enumerate() {
        let (mut client, mut server, head) = between.exchange(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Reenact-Record: {value}\r\n\r\n"
        ));
        assert!(head.contains("X-Reenact-Record: "), "{head}");
        server.send(OK);
        client.read_until("hi");
        let dropped = "reenact_dropped_total{reason=\"opt_out\"}";
        metric_reaches(&admin, dropped, number as u64 + 1);
    }
    let page = get(&admin, "/metrics");
    assert!(!page.contains("inference_duration_seconds_count"), "{page}");
    let (mut client, mut server, _) =
        between.exchange("GET / HTTP/1.1\r\nHost: a\r\nx-reenact-record: on\r\n\r\n");
    server.send(OK);
    client.read_until("hi");
    metric_reaches(&admin, "reenact_recorded_total", 1);
    assert_eq!(between.finish().len(), 1);
}

#[test]
fn metrics_have_their_documented_names_and_type() {
    let mut between = Between::start(&[]);
    let admin = between.recorder.wait_for_url("admin on ");
    let (mut client, mut server, _) = between.exchange(CHAT);
    let page = get(&admin, "/metrics");
    assert!(page.contains("inference_in_flight 1\n"), "{page}");
    server.send(STREAM);
    client.read_until("[DONE]");
    let mut page = String::new();
    while !page.contains("inference_duration_seconds_count") {
        page = get(&admin, "/metrics");
    }
    assert!(
        page.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{page}"
    );
    for line in [
        "inference_duration_seconds_count{route=\"/v1/chat/completions\",model=\"model-0\",code=\"200\"} 1\n",
        "inference_in_flight 0\n",
        "reenact_seen_total 1\n",
        "reenact_dropped_total{reason=\"queue_full\"} 0\n",
        "reenact_proxy_overhead_seconds_count 1\n",
        "inference_time_to_first_token_seconds_count{route=\"/v1/chat/completions\",model=\"model-0\"} 1\n",
        "inference_inter_token_seconds_count{route=\"/v1/chat/completions\",model=\"model-0\"} 1\n",
        "# TYPE reenact_recorded_total counter\n",
        "# TYPE reenact_queue_bytes gauge\n",
        "reenact_trace_bytes_total ",
        "le=\"0.0025\"",
    ] {
        assert!(page.contains(line), "no {line:?} in\n{page}");
    }
    assert!(!page.contains("_total_total"));
}

#[test]
fn files_are_rotated_and_read_as_one_trace() {
    let mut between = Between::start(&["--rotate-age", "1ms"]);
    let admin = between.recorder.wait_for_url("admin on ");
    let files = |between: &Between| std::fs::read_dir(between.dir.path()).unwrap().count();
    let mut sent = 0;
    while files(&between) < 3 {
        let (mut client, mut server, _) = between.exchange(GET);
        server.send(OK);
        client.read_until("hi");
        sent += 1;
        let recorded = format!("reenact_recorded_total {sent}\n");
        while !get(&admin, "/metrics").contains(&recorded) {}
    }
    assert_eq!(between.finish().len(), sent);
}

const CHAT: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n\
    {\"model\":\"m\",\"messages\":[]}";
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 113\r\n\r\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\" two\"}}]}\n\ndata: [DONE]\n\n";
