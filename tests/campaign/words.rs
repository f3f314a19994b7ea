//! The words of a campaign's runs: which targets are sent the same bytes, and which runs have words of their own.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::mpsc::Receiver;

use serde_json::Value;

use crate::support::Server;
use crate::support::terse::{self, Heard};
use crate::{replay, trace};

const REQUESTS: usize = 30;

/// Replays against upstreams that note what they are sent, and gives the bodies that each was. `NAME=0` is target NAME at the first of them.
fn sent(trace: &Path, upstreams: usize, targets: &[&str], args: &[&str]) -> Vec<Vec<String>> {
    let upstreams: Vec<_> = { 0..upstreams }
        .map(|_| terse::noting(terse::brief()))
        .collect();
    let targets = targets.iter().flat_map(|target| {
        let (name, at) = target.split_once('=').unwrap();
        let (url, _) = &upstreams[at.parse::<usize>().unwrap()];
        ["--target".to_owned(), format!("{name}={url}")]
    });
    let targets: Vec<String> = targets.collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    replay(trace, &[&targets[..], args].concat());
    let bodies = |heard: &Receiver<Heard>| {
        let bodies = heard.try_iter().filter(Heard::is_replayed);
        let mut bodies: Vec<String> = bodies.map(|it| it.body).collect();
        bodies.sort_unstable();
        bodies
    };
    upstreams.iter().map(|(_, heard)| bodies(heard)).collect()
}

fn different(bodies: &[String]) -> usize {
    bodies.iter().collect::<HashSet<_>>().len()
}

#[test]
fn interleaved_targets_are_sent_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), REQUESTS as u64, 10, 4);
    let interleaved = ["--schedule", "interleaved"];
    let both = sent(&trace, 2, &["a=0", "b=1"], &interleaved);
    assert_eq!(different(&both[0]), REQUESTS);
    assert_eq!(both[0], both[1]);
    // The second time they are other bytes, and again the same to both.
    let again = [&interleaved[..], &["--repeat", "2"]].concat();
    let twice = sent(&trace, 2, &["a=0", "b=1"], &again);
    assert_eq!(different(&twice[0]), 2 * REQUESTS);
    assert_eq!(twice[0], twice[1]);
}

#[test]
fn two_names_at_one_address_do_not_warm_each_others_cache() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), REQUESTS as u64, 10, 4);
    let interleaved = ["--schedule", "interleaved"];
    // The third is at another address, and is sent what one of the others is.
    let bodies = sent(&trace, 2, &["a=0", "b=0", "c=1"], &interleaved);
    assert_eq!(different(&bodies[0]), 2 * REQUESTS);
    assert!(bodies[1].iter().all(|body| bodies[0].contains(body)));
    let keep = [&interleaved[..], &["--cache", "keep"]].concat();
    let bodies = sent(&trace, 1, &["a=0", "b=0"], &keep);
    assert_eq!(
        (bodies[0].len(), different(&bodies[0])),
        (2 * REQUESTS, REQUESTS)
    );
}

#[test]
fn each_target_repeat_and_step_has_words_of_its_own_unless_the_cache_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), REQUESTS as u64, 10, 4);
    for (targets, args) in [
        (&["a=0"][..], &["--repeat", "2"][..]),
        (&["a=0"], &["--sweep", "1,2"]),
        (&["a=0", "b=0"], &["--schedule", "serial"]),
    ] {
        let fresh = sent(&trace, 1, targets, args);
        let counts = |bodies: &[String]| (bodies.len(), different(bodies));
        assert_eq!(counts(&fresh[0]), (2 * REQUESTS, 2 * REQUESTS), "{args:?}");
        let kept = sent(&trace, 1, targets, &[args, &["--cache", "keep"]].concat());
        assert_eq!(counts(&kept[0]), (2 * REQUESTS, REQUESTS), "{args:?}");
    }
    // One after the other at addresses of their own, too.
    let apart = sent(&trace, 2, &["a=0", "b=1"], &["--schedule", "serial"]);
    assert!(apart[0].iter().all(|body| !apart[1].contains(body)));
}

/// The share of each run's prompt tokens that its server says came from its cache.
fn cached(out: &Path) -> Vec<f64> {
    let log = std::fs::read(out.join("requests.jsonl.zst")).unwrap();
    let log = String::from_utf8(zstd::decode_all(&log[..]).unwrap()).unwrap();
    let mut runs: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for row in log.lines() {
        let row: Value = serde_json::from_str(row).unwrap();
        let (hit, all) = runs.entry(row["run"].as_u64().unwrap_or(0)).or_default();
        *hit += row["cached_tokens"].as_f64().unwrap();
        *all += row["prompt_tokens"].as_f64().unwrap();
    }
    runs.values().map(|(hit, all)| hit / all).collect()
}

#[test]
fn no_run_finds_the_words_of_another_in_the_targets_cache_unless_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), REQUESTS as u64, 10, 4);
    let sim = Server::sim(&["--profile", "fast"]);
    for (number, runs) in [["--repeat", "2"], ["--sweep", "1,2"]].iter().enumerate() {
        let shares = |cache: &str| {
            let out = dir.path().join(format!("{cache}{number}"));
            let args = ["--target", &sim.url, "--cache", cache, "--seed"];
            // No number that another of these replays has.
            let seed = (2 * number + usize::from(cache == "keep")).to_string();
            let out_arg = [seed.as_str(), "--out", out.to_str().unwrap()];
            let (_, document) = replay(&trace, &[&args[..], &out_arg, runs].concat());
            let told = document["targets"][0]["fidelity"]["prefix_share_cached"].as_f64();
            (cached(&out), told.unwrap())
        };
        let (fresh, told) = shares("fresh");
        assert_eq!(fresh.len(), 2);
        assert!(
            fresh.iter().all(|share| *share < 0.3),
            "{runs:?}: {fresh:?}"
        );
        assert!(told < 0.3, "{runs:?}: {told}");
        let (kept, _) = shares("keep");
        assert!(kept[0] < 0.3 && kept[1] > 0.6, "{runs:?}: {kept:?}");
    }
}
