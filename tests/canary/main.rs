//! Promise 3: random strings in every text field of requests and answers, in headers, paths, queries, frames and trailers, occur nowhere in
//! what the recorder leaves behind, nor in its memory: raw, reversed, in hex or in base64.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chats;
mod dialects;
mod grpc;
mod http1;
mod http2;
mod http2_frames;
#[path = "../support/mod.rs"]
mod support;
mod upstream;
mod watched;
mod websocket;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::canaries::{Canaries, base64};
use support::http::refusing;
use watched::Watched;

/// Those whose requests are read, over whichever HTTP they come.
const ENDPOINTS: &[&str] = &[
    "chat_completions",
    "completions",
    "messages",
    "responses",
    "embeddings",
    "ollama_chat",
    "ollama_generate",
    "ollama_embed",
    "tgi_generate",
    "tgi_generate_stream",
    "cohere_chat",
    "gemini_generate",
    "gemini_stream",
    "triton_generate",
    "triton_generate_stream",
    "infer",
];

/// One recorder, all that it can be asked for, and then one look at everything, its memory as well.
#[test]
fn no_canary_is_found_in_trace_log_metrics_or_memory() {
    let canaries = Arc::new(Canaries::new());
    let runtime = support::http2::runtime();
    let plain = upstream::start(Arc::clone(&canaries));
    let http2 = http2::start(&runtime, &canaries);
    let leaving = http2_frames::leaving(Arc::clone(&canaries));
    let calls = grpc::start(&canaries);
    let (_held, gone) = refusing();
    let upstreams = [&plain, &http2, &leaving, &calls.url, &gone].map(String::as_str);
    // What is mirrored is held in memory, and nowhere else.
    let mirror = format!("next={plain}");
    let results = tempfile::tempdir().unwrap();
    let out = results.path().to_str().unwrap();
    let mirror = [
        "--mirror",
        &mirror,
        "--mirror-share",
        "100%",
        "--mirror-out",
        out,
    ];
    let mut watched = Watched::launch(&canaries, &upstreams, &mirror);

    let plain = watched.url(&plain);
    let mut sent = http1::exchange(&plain, &canaries, upstream::MANNERS_OF_HTTP1);
    sent += websocket::exchange(&plain, &canaries);
    http1::go_wrong(&plain, &canaries);
    http1::go_wrong(&watched.url(&gone), &canaries);
    let http2 = watched.url(&http2);
    sent += http2::exchange(&runtime, &http2, &canaries);
    http2_frames::go_wrong(&http2, &canaries);
    sent += http2::be_left(&runtime, &watched.url(&leaving), &canaries);
    sent += grpc::exchange(&watched.url(&calls.url), &canaries);
    support::wire::metric_reaches(
        watched.admin(),
        "reenact_mirror_duration_seconds_count{target=\"production\",code=\"200\"}",
        1,
    );
    // Tables of header fields live as long as a connection of HTTP/2.
    drop((runtime, calls));
    watched.finish(
        sent,
        &[ENDPOINTS, &["realtime", "grpc_infer", "grpc_stream_infer"]].concat(),
    );
    let files = files_below(&results.path().join("mirror-000001"));
    let log = files
        .iter()
        .find(|(path, _)| path.ends_with("requests.jsonl.zst"));
    assert!(log.unwrap().1.starts_with(b"{"), "something was mirrored");
    assert!(
        files
            .iter()
            .any(|(path, _)| path.extension().is_some_and(|it| it == "hgrm"))
    );
    let search = canaries.search();
    for (path, bytes) in &files {
        search.assert_absent(bytes, &path.display().to_string());
    }
}

/// All files below a directory, as they read once they are unpacked.
fn files_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                return files_below(&path);
            }
            let bytes = std::fs::read(&path).unwrap();
            let bytes = match path.extension().is_some_and(|it| it == "zst") {
                true => zstd::decode_all(&bytes[..]).unwrap(),
                false => bytes,
            };
            vec![(path, bytes)]
        })
        .collect()
}

/// Where the recorder speaks another HTTP to the upstream than the client does to it.
#[test]
fn nor_is_one_where_one_http_becomes_the_other() {
    for (protocol, to_http2) in [("http1", false), ("http2", true)] {
        let runtime = support::http2::runtime();
        let canaries = Arc::new(Canaries::new());
        let upstream = match to_http2 {
            true => http2::start(&runtime, &canaries),
            false => upstream::start(Arc::clone(&canaries)),
        };
        let protocol = ["--upstream-protocol", protocol];
        let mut watched = Watched::launch(&canaries, &[&upstream], &protocol);
        let url = watched.url(&upstream);
        let sent = match to_http2 {
            true => http1::exchange(&url, &canaries, &[]),
            false => http2::exchange(&runtime, &url, &canaries),
        };
        drop(runtime);
        watched.finish(sent, ENDPOINTS);
    }
}

#[test]
fn the_search_finds_a_canary_in_every_disguise() {
    let canaries = Canaries::new();
    let canary = canaries.next();
    for disguised in [
        canary.clone(),
        canary.to_uppercase(),
        canary.chars().rev().collect(),
        canary.bytes().map(|byte| format!("{byte:02x}")).collect(),
        base64(format!("..{canary}..").as_bytes()),
        base64(format!(".{canary}..").as_bytes()),
        base64(format!("{canary}..").as_bytes()),
    ] {
        let found = std::panic::catch_unwind(|| {
            let search = canaries.search();
            search.assert_absent(format!("x{disguised}x").as_bytes(), "here");
        });
        assert!(found.is_err(), "{disguised} went unseen");
    }
}
