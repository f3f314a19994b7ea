//! The page that `inspect --html` draws, in a real browser.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use reenact::anonymise::Recordable;
use reenact::shape::{
    BlockId, BlockSpec, Dimensions, Endpoint, Exchange, FrameShape, MediaType, Method, Outcome,
    SessionId, TensorShape, TensorType, TokenCount, TokenSource, TraceTime,
};
use reenact::trace::{Header, Source, Trace, TraceWriter, WriterOptions};
use support::browser::{self, Page};
use support::{Server, http, reenact, stdout_of};

/// A recorded trace of these exchanges.
fn trace(path: &Path, exchanges: impl IntoIterator<Item = Exchange>) {
    let header = Header {
        source: Source::Recorded,
        block: Some(BlockSpec::MOONCAKE),
        sample_ppm: 1_000_000,
        ..Trace::open(&[golden("golden-1.0.rt")])
            .unwrap()
            .header()
            .clone()
    };
    let mut writer = TraceWriter::create(path, &header, WriterOptions::default()).unwrap();
    for exchange in exchanges {
        writer.push(Recordable::content_free(exchange)).unwrap();
    }
    writer.finish().unwrap();
}

fn tokens(count: u32) -> Option<TokenCount> {
    Some(TokenCount {
        count,
        source: TokenSource::Usage,
    })
}

/// A streamed answer to a prompt of these blocks.
fn exchange(at_us: u64, session: u32, blocks: &[u32]) -> Exchange {
    let mut exchange = Exchange::bare(
        TraceTime::from_us(at_us),
        Endpoint::ChatCompletions,
        Method::Post,
    );
    exchange.session = Some(SessionId(session));
    exchange.request.prompt_tokens = tokens(blocks.iter().map(|_| 512).sum());
    exchange.request.blocks = blocks.iter().copied().map(BlockId).collect();
    exchange.request.params.stream = true;
    let response = &mut exchange.response;
    response.status = 200;
    response.output_tokens = tokens(20 + session % 50);
    response.first_token_us = Some(30_000 + u64::from(session) * 1_000);
    response.end_us = Some(900_000);
    response.token_events = 21;
    for gap in 0..20 {
        response.gaps.record(10_000 + gap * 500);
    }
    exchange
}

/// Forty conversations of three turns each under one system prompt, some of which fail.
fn conversations() -> Vec<Exchange> {
    let mut all = Vec::new();
    for session in 0..40_u32 {
        let own = 1 + session * 3;
        for turn in 0..3_u32 {
            let mut blocks = vec![0];
            blocks.extend(own..=own + turn);
            let at_us = u64::from(session) * 400_000 + u64::from(turn) * 5_000_000;
            let mut exchange = exchange(at_us, session, &blocks);
            if (session + turn) % 13 == 0 {
                exchange.outcome = Outcome::UpstreamReset { at_us: 200_000 };
                exchange.response.end_us = None;
            } else if turn == 2 && session % 4 == 0 {
                exchange.endpoint = Endpoint::Messages;
            }
            all.push(exchange);
        }
    }
    all.sort_by_key(|exchange| exchange.at);
    all
}

/// Draws a trace and looks at it.
fn page_of(trace: &Path, options: &[&str]) -> Page {
    let html = trace.with_extension("html");
    stdout_of([
        "inspect".as_ref(),
        "--html".as_ref(),
        html.as_os_str(),
        trace.as_os_str(),
    ]);
    browser::open_with(&html, options)
}

fn trace_path(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("t.rt")
}

const SECTIONS: [&str; 9] = [
    "summary",
    "figures",
    "arrivals",
    "load",
    "tokens",
    "latencies",
    "sharing",
    "sessions",
    "file",
];

/// Every section is there, under a heading that names it; nothing comes from elsewhere; no chart is blank.
fn sound(page: &Page) {
    assert_eq!(page.console, "");
    for id in SECTIONS {
        assert!(
            page.dom.contains(&format!("aria-labelledby=\"{id}\"")),
            "{id}"
        );
        assert!(page.dom.contains(&format!(" id=\"{id}\"")), "{id}");
    }
    let (content, _scripts) = page.dom.split_once("</main>").unwrap();
    for elsewhere in ["http://", "https://", "@import", "<link rel=\"stylesheet"] {
        assert!(!content.contains(elsewhere), "{elsewhere}");
    }
    assert!(!page.dom.contains("<script src"));
    for (id, colours) in &page.charts {
        assert!(*colours > 3, "{id} is blank");
    }
    let drawn = page.dom.matches("<canvas").count();
    assert_eq!(drawn, page.charts.len());
    let described = page.dom.matches("class=\"chart\" id=").count();
    assert_eq!(drawn, described, "every chart that has a place is drawn");
    let labels = page.dom.matches("role=\"img\" aria-label=\"").count();
    assert!(labels >= drawn, "every chart says in words what it shows");
}

#[test]
fn every_chart_of_a_rich_trace_is_drawn_in_light_and_dark_wide_and_narrow() {
    let directory = tempfile::tempdir().unwrap();
    let path = trace_path(&directory);
    trace(&path, conversations());
    let looks: [&[&str]; 2] = [
        &[
            "--window-size=1280,1000",
            "--blink-settings=preferredColorScheme=1",
        ],
        &[
            "--window-size=500,1000",
            "--blink-settings=preferredColorScheme=0",
        ],
    ];
    for look in looks {
        let page = page_of(&path, look);
        sound(&page);
        let ids: Vec<&str> = page.charts.keys().map(String::as_str).collect();
        assert_eq!(
            ids,
            [
                "arrivals-time",
                "dispersion",
                "e2e",
                "failed-time",
                "gap",
                "in-flight-time",
                "output-tokens",
                "prompt-tokens",
                "stall",
                "think",
                "tokens-time",
                "ttft",
                "turns",
            ]
        );
        assert!(page.dom.contains("class=\"icicle\""));
        // 120 prompts begin alike, and the turns of each conversation go on alike.
        assert!(page.dom.contains("120 prompts share 1 block (512 tokens)"));
        assert!(page.dom.contains("40 sessions: 3.00 turns each"));
        assert!(page.dom.contains("upstream reset"));
    }
}

#[test]
fn the_figures_of_the_page_are_in_the_json() {
    let directory = tempfile::tempdir().unwrap();
    let path = trace_path(&directory);
    trace(&path, conversations());
    let json = stdout_of(["inspect".as_ref(), "--json".as_ref(), path.as_os_str()]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let sum = |column: &serde_json::Value| -> u64 {
        let values = column.as_array().unwrap();
        values.iter().map(|value| value.as_u64().unwrap()).sum()
    };
    let timeline = &json["timeline"];
    assert_eq!(sum(&timeline["arrivals"]["chat_completions"]), 111);
    assert_eq!(sum(&timeline["arrivals"]["messages"]), 9);
    assert_eq!(
        sum(&timeline["outcomes"]["upstream_reset"]),
        json["errors"]["count"]
    );
    let tokens = json["prompt_tokens"]["mean"].as_f64().unwrap() * 120.0;
    assert_eq!(sum(&timeline["prompt_tokens"]) as f64, tokens);
    assert!(!json["dispersion"].as_array().unwrap().is_empty());
    for name in [
        "prompt_tokens",
        "output_tokens",
        "ttft_ms",
        "e2e_ms",
        "gap_ms",
    ] {
        let buckets = json["histograms"][name].as_array().unwrap();
        let values: u64 = buckets
            .iter()
            .map(|bucket| bucket[1].as_u64().unwrap())
            .sum();
        assert_eq!(values, json[name]["count"], "{name}");
    }
    let tree = &json["prefix_tree"];
    assert_eq!(tree["repeated_blocks"], json["prefix"]["blocks_repeated"]);
    assert_eq!(tree["branches"][0]["prompts"], 120);
    let turns = &json["session_turns"];
    assert_eq!(turns["turns"]["count"], json["sessions"]);
    // A turn lasts 0.9 s (one that was reset 0.2 s), and they are 5 s apart.
    assert_eq!(turns["think_ms"]["p50"].as_f64().unwrap().round(), 4100.0);
}

#[test]
fn one_exchange_or_none_makes_a_page_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = trace_path(&directory);
    trace(&path, []);
    let none = page_of(&path, &[]);
    sound(&none);
    assert!(none.dom.contains("No exchanges") && none.charts.is_empty());
    std::fs::remove_file(&path).unwrap();
    trace(&path, [exchange(5, 0, &[0])]);
    let one = page_of(&path, &[]);
    sound(&one);
    assert!(one.dom.contains(">1 exchange</h1>"));
    assert!(one.dom.contains("no two prompts begin alike"));
    assert!(one.dom.contains("Everything arrived within 10 ms"));
}

#[test]
fn names_that_traffic_chose_are_text_on_the_page() {
    let directory = tempfile::tempdir().unwrap();
    let traces = directory.path().join("<img src=x onerror=console.log(1)>");
    let model = "</script><script>console.log(2)</script>";
    let sim = Server::sim(&["--profile", "null"]);
    let recorder = Server::recorder(&sim.url, &traces, &["--keep-model", model]);
    let body = serde_json::json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    let request = http::post("/v1/chat/completions", &[], &body.to_string());
    assert_eq!(http::status(&http::send(&recorder.url, &request)), 200);
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    let html = directory.path().join("page.html");
    stdout_of([
        "inspect".as_ref(),
        "--html".as_ref(),
        html.as_os_str(),
        traces.as_os_str(),
    ]);
    let page = browser::open(&html);
    sound(&page);
    assert!(page.dom.contains("&lt;img src=x") && !page.dom.contains("<img"));
    assert!(
        page.dom
            .contains("&lt;/script&gt;&lt;script&gt;console.log(2)")
    );
    assert!(page.dom.contains("<strong>Simulated.</strong>"));
}

#[test]
fn a_page_that_cannot_be_written_is_an_error_that_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = trace_path(&directory);
    trace(&path, []);
    let nowhere = directory.path().join("missing/page.html");
    let output = reenact(["inspect", "--html"])
        .args([&nowhere, &path])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("missing/page.html") && said.contains("hint: "),
        "{said}"
    );
    // The environment sets it as it sets any option.
    let page = directory.path().join("page.html");
    let output = reenact(["inspect"])
        .arg(&path)
        .env("REENACT_HTML", &page)
        .output()
        .unwrap();
    assert!(output.status.success() && page.exists());
}

#[test]
fn tensors_are_summed_up_where_there_are_any() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let tensor = |datatype, sizes: Option<&[u32]>| TensorShape {
        message: 0,
        datatype,
        dimensions: sizes.and_then(|sizes| Dimensions::of(sizes.iter().copied())),
    };
    let mut infer = Exchange::bare(TraceTime::from_us(5), Endpoint::Infer, Method::Post);
    infer.request.tensors = vec![
        tensor(TensorType::Fp32, Some(&[1, 3, 224, 224])),
        tensor(TensorType::Int64, Some(&[7])),
        tensor(TensorType::Fp32, None),
    ];
    trace(&at("with.rt"), [exchange(0, 0, &[0]), infer]);
    trace(&at("without.rt"), [exchange(0, 0, &[0])]);
    let (text, json, page) = told(&at("with.rt"), dir.path());
    assert!(text.contains("1 (50.00 %), of: fp32 2, int64 1"), "{text}");
    assert!(text.contains("tensor elements"), "{text}");
    assert_eq!(json["with_tensors"]["count"], 1);
    assert_eq!(
        json["tensor_datatypes"],
        serde_json::json!({"fp32": 2, "int64": 1})
    );
    assert_eq!(json["tensor_elements"]["count"], 2);
    assert_eq!(json["tensor_elements"]["max"], 150_528.0);
    for told in ["2 fp32", "1 int64", "1 with tensors", "Tensor elements"] {
        assert!(page.contains(told), "{told}");
    }
    let (text, json, page) = told(&at("without.rt"), dir.path());
    assert!(!text.contains("tensor") && json.get("with_tensors").is_none());
    assert!(!page.to_lowercase().contains("tensor"));
}

#[test]
fn frames_of_websockets_are_summed_up_where_there_are_any() {
    let dir = tempfile::tempdir().unwrap();
    let (text, json, page) = told(&golden("golden-1.1-frames.rt"), dir.path());
    let line = "websockets        4 with 15 frames from clients and 44 from servers (41 below 1 KiB, 2 from 1 KiB, 1 from 8 EiB)\n";
    assert!(text.contains(line), "{text}");
    for row in ["sent frame bytes", "sent frame gap ms"] {
        assert!(text.contains(row), "{row}: {text}");
    }
    // None of these servers' frames came after another.
    assert!(!text.contains("came frame gap ms"), "{text}");
    let websockets = &json["websockets"];
    assert_eq!(
        (
            &websockets["exchanges"],
            &websockets["frames_sent"],
            &websockets["frames_came"]
        ),
        (&4.into(), &15.into(), &44.into())
    );
    let sizes = serde_json::json!([[0, 41], [1024, 2], [1_u64 << 63, 1]]);
    assert_eq!(websockets["came_sizes"], sizes);
    assert_eq!(websockets["sent_bytes"]["count"], 4);
    assert_eq!(websockets["sent_gap_ms"]["count"], 12);
    for told in [
        "15 from clients · 44 from servers · 41 of these below 1 KiB",
        "Bytes of a frame sent",
        "Between frames sent",
    ] {
        assert!(page.contains(told), "{told}");
    }
    let (text, json, page) = told(&golden("golden-1.1-media-types.rt"), dir.path());
    assert!(!text.contains("frame") && json.get("websockets").is_none());
    assert!(!page.contains("WebSocket"));
}

#[test]
fn gaps_between_a_servers_frames_are_told_and_are_no_gaps_between_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let path = trace_path(&dir);
    let mut spoken = Exchange::bare(TraceTime::from_us(5), Endpoint::Realtime, Method::Get);
    let mut frames = FrameShape::default();
    for gap_us in [20_000, 30_000] {
        frames.came_sizes.record(100, 1);
        spoken.response.gaps.record(gap_us);
    }
    spoken.frames = Some(Box::new(frames));
    trace(&path, [spoken]);
    let (text, json, page) = told(&path, dir.path());
    assert!(text.contains("came frame gap ms") && json.get("gap_ms").is_none());
    assert_eq!(json["websockets"]["came_gap_ms"]["count"], 2);
    assert!(page.contains("Between frames that came"));
}

#[test]
fn media_types_are_counted_where_no_dialect_reads_a_body() {
    let dir = tempfile::tempdir().unwrap();
    let path = trace_path(&dir);
    let types = [
        (MediaType::Multipart, MediaType::Json),
        (MediaType::Multipart, MediaType::EventStream),
        (MediaType::None, MediaType::Unsaid),
    ];
    let others = (0..).zip(types).map(|(at_us, (asked, answered))| {
        let mut other = Exchange::bare(TraceTime::from_us(at_us), Endpoint::Other, Method::Post);
        other.request.media_type = asked;
        other.response.media_type = answered;
        other
    });
    trace(&path, others.chain([exchange(9, 0, &[0])]));
    let (text, json, page) = told(&path, dir.path());
    let line =
        "media types       of requests: multipart 2, none 1; of answers: json 1, event_stream 1\n";
    assert!(text.contains(line), "{text}");
    let of = |types: &[(&str, u64)]| {
        let types = types
            .iter()
            .map(|&(name, count)| (name.to_owned(), count.into()));
        serde_json::Value::Object(types.collect())
    };
    assert_eq!(
        json["request_media_types"],
        of(&[("multipart", 2), ("none", 1)])
    );
    assert_eq!(
        json["response_media_types"],
        of(&[("json", 1), ("event_stream", 1)])
    );
    for told in ["2 multipart · 1 none", "1 json · 1 event stream"] {
        assert!(page.contains(told), "{told}");
    }
    let (text, json, page) = told(&golden("golden-1.1-marks.rt"), dir.path());
    assert!(!text.contains("media types") && !page.contains("Media types"));
    assert!(
        json.get("request_media_types").is_none() && json.get("response_media_types").is_none()
    );
}

/// What is said of a trace as text, in JSON and on its page.
fn told(trace: &Path, dir: &Path) -> (String, serde_json::Value, String) {
    let html = dir.join("told.html");
    let word = Path::new;
    let text = stdout_of([word("inspect"), word("--html"), &html, trace]);
    let json = stdout_of([word("inspect"), word("--json"), trace]);
    let json = serde_json::from_str(&json).unwrap();
    (text, json, std::fs::read_to_string(html).unwrap())
}

fn golden(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/traces");
    fixtures.join(name)
}
