//! Generated traffic, and a client that sends it at its instants.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::http;

/// Words as people use them: of many lengths, so that bytes and tokens do not simply follow each other.
const WORDS: &[&str] = &[
    "harbour", "the", "of", "morning", "ship", "an", "lantern", "quiet", "against", "market",
    "river", "to", "and", "windows", "bread", "over", "children", "slow", "bridge", "in",
    "weather", "letter", "garden", "a", "stone", "evening", "through",
];

/// `count` words, different for each `seed`, the same for the same.
pub fn words(seed: u64, count: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::new();
    for i in 0..count {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if i > 0 {
            text.push(' ');
        }
        text.push_str(WORDS[(state >> 33) as usize % WORDS.len()]);
    }
    text
}

/// One request of the generated traffic.
pub struct Call {
    pub at: Duration,
    pub path: &'static str,
    pub body: Value,
}

/// Sends the traffic at its instants, each request on a thread of its own, and waits for every answer.
pub fn drive(url: &str, calls: Vec<Call>) {
    let began = Instant::now();
    let threads: Vec<_> = calls
        .into_iter()
        .map(|call| {
            let url = url.to_owned();
            std::thread::spawn(move || {
                let bytes = http::post(call.path, &[], &call.body.to_string());
                std::thread::sleep(call.at.saturating_sub(began.elapsed()));
                let answer = http::send(&url, &bytes);
                assert_eq!(
                    http::status(&answer),
                    200,
                    "{}",
                    String::from_utf8_lossy(&answer)
                );
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// A trace of one short stream every 20 ms.
pub fn short_requests(dir: &std::path::Path, requests: u64) -> std::path::PathBuf {
    requests_at(dir, (0..requests).map(|i| i * 20), (32, 8))
}

/// A trace of streams at these milliseconds, each with words of its own: so many tokens of prompt and of answer.
pub fn requests_at(
    dir: &std::path::Path,
    at_ms: impl IntoIterator<Item = u64>,
    (input, output): (u32, u32),
) -> std::path::PathBuf {
    let rows: String = at_ms
        .into_iter()
        .enumerate()
        .map(|(i, at)| {
            format!(
                r#"{{"timestamp":{at},"input_length":{input},"output_length":{output},"hash_ids":[{i}]}}"#
            ) + "\n"
        })
        .collect();
    let (file, trace) = (dir.join("rows.jsonl"), dir.join("trace.rt"));
    std::fs::write(&file, rows).unwrap();
    let import = ["import".as_ref(), "mooncake".as_ref(), file.as_os_str()];
    super::stdout_of(import.into_iter().chain(["-o".as_ref(), trace.as_os_str()]));
    trace
}
