use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Server, reenact, run, skipped};
use crate::{replay, trace};

/// By index: which target and run, when it was planned, and what came of it. What a target makes of a request depends on the moment, but not
/// what it was sent.
fn sent(out: &Path) -> BTreeMap<(String, u64, u64), [Value; 5]> {
    let log = std::fs::read(out.join("requests.jsonl.zst")).unwrap();
    let log = String::from_utf8(zstd::decode_all(&log[..]).unwrap()).unwrap();
    let rows = log.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        let key = (
            row["target"].as_str().unwrap().to_owned(),
            row["run"].as_u64().unwrap_or(0),
            row["index"].as_u64().unwrap(),
        );
        let kept = [
            "planned_us",
            "result",
            "prompt_tokens",
            "output_tokens",
            "token_events",
        ];
        (key, kept.map(|field| row[field].clone()))
    });
    let rows: Vec<_> = rows.collect();
    let count = rows.len();
    let sent: BTreeMap<_, _> = rows.into_iter().collect();
    assert_eq!(sent.len(), count, "a request was sent twice");
    sent
}

fn document(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("result.json")).unwrap()).unwrap()
}

/// Two processes that share a load, and their results merged; `None` where one was not ready in time.
fn shared(dir: &Path, trace: &Path, args: &[&str], lead_s: i64) -> Option<Output> {
    let out = |shard: u32| dir.join(format!("shard-{shard}"));
    // The machine's clock is all that they have in common.
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(lead_s);
    let (at, every) = (at.to_string(), format!("{lead_s}s"));
    let shards: Vec<_> = (0..2)
        .map(|shard| {
            reenact(["replay"])
                .arg(trace)
                .args(args)
                .args(["--shard", &format!("{shard}/2"), "--start-at", &at])
                .args(["--start-every", &every, "--out"])
                .arg(out(shard))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let ended = shards
        .into_iter()
        .map(|shard| shard.wait_with_output().unwrap());
    for output in ended.collect::<Vec<_>>() {
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(1) && said.contains("--start-every longer") {
            return None;
        }
        assert!(matches!(output.status.code(), Some(0 | 4)), "{said}");
    }
    let merge = [PathBuf::from("merge"), "-o".into(), dir.join("merged")];
    Some(run(merge.into_iter().chain((0..2).map(out))))
}

#[test]
fn two_processes_send_what_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 120, 20, 6);
    let sims = [
        Server::sim(&["--profile", "fast"]),
        Server::sim(&["--profile", "fast"]),
    ];
    let [a, b] =
        [("a", &sims[0]), ("b", &sims[1])].map(|(name, sim)| format!("{name}={}", sim.url));
    let args = ["--target", &a, "--target", &b];
    let single = dir.path().join("single");
    let out = ["--out", single.to_str().unwrap()];
    replay(&trace, &[&args[..], &out].concat());
    // One target after the other: the second round begins for both processes at the same moment, too. A busy machine may take longer than
    // the first of these to be ready.
    let output = [6, 20, 60]
        .into_iter()
        .find_map(|lead_s| shared(dir.path(), &trace, &args, lead_s));
    let Some(output) = output else {
        return skipped("this machine is too busy to be ready in a minute");
    };
    let merged = dir.path().join("merged");
    assert!(
        matches!(output.status.code(), Some(0 | 4)),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(sent(&merged), sent(&single));
    let (one, whole) = (document(&single), document(&merged));
    for target in 0..2 {
        let (one, whole) = (&one["targets"][target], &whole["targets"][target]);
        assert_eq!(whole["requests"], one["requests"]);
        for latency in ["ttft_ms", "itl_ms", "tpot_ms", "e2e_ms"] {
            let count = |target: &Value| target["latency"][latency]["count"].clone();
            assert_eq!(count(whole), count(one), "{latency}");
        }
    }
    // The gaps of both shards lie beside each other as those of the one do.
    for result in [&one, &whole] {
        let compared = &result["comparison"][0]["metrics"];
        assert!(compared["itl.p50"].is_object(), "{compared:#}");
    }
    // What the merged histograms hold is what the shards' held, value by value (tests/campaign/shards.rs), and both were under way at once.
    if output.status.code() == Some(4) {
        return skipped("this machine is too busy to begin two processes at one moment");
    }
    let parts = [0, 1].map(|shard| sent(&dir.path().join(format!("shard-{shard}"))));
    assert_eq!(parts[0].len() + parts[1].len(), 240);
}

#[test]
fn what_several_processes_would_not_do_together_is_refused() {
    let refused = |args: &[&str]| {
        let common = [
            "replay",
            "x.rt",
            "--target",
            "http://127.0.0.1:9",
            "--shard",
            "0/2",
        ];
        let output = run([&common[..], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        said
    };
    let said = refused(&["--repeat", "3"]);
    assert!(
        said.contains("3 runs") && said.contains("hint: give --start-at and --start-every"),
        "{said}"
    );
    let said = refused(&["--target", "b=http://127.0.0.1:8"]);
    assert!(
        said.contains("2 runs") && said.contains("interleaved"),
        "{said}"
    );
    assert!(refused(&["--sweep", "1,2"]).contains("steps of its own"));
    assert!(refused(&["--start-every", "1m"]).contains("--start-at"));
}
