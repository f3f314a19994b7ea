//! What runs of the simulator show of memory: where it ends, leaks, failed allocations, preemptions.

use std::path::{Path, PathBuf};

use super::support::Server;
use super::support::traffic::requests_at;
use super::{objective, replay};

#[test]
fn where_the_cache_runs_out_is_told_from_sixty_percent_of_the_load() {
    let dir = tempfile::tempdir().unwrap();
    // Bursts of 24 streams of 320 tokens every four seconds: some 7,000 tokens in flight, of 12,000 that the cache holds.
    let bursts = (0..96).map(|i| i / 24 * 4000 + i % 24 * 60);
    let trace = requests_at(dir.path(), bursts, (256, 64));
    let sim = Server::sim(&["--kv-capacity-tokens", "12000", "--step-base", "30000"]);
    let (_, document) = replay(&trace, &["--target", &sim.url]);
    let memory = &document["targets"][0]["memory"]["kv_cache"];
    let full = memory["in_flight_tokens"]
        .as_f64()
        .unwrap_or_else(|| panic!("{memory:#}"));
    assert!((full / 12_000.0 - 1.0).abs() < 0.1, "{memory:#}");
    assert!(memory["seen_share"].as_f64().unwrap() < 0.75, "{memory:#}");
}

/// A trace of `seconds`, of such a stream every quarter of a second.
pub(super) fn steady(dir: &Path, seconds: u64) -> PathBuf {
    requests_at(dir, (0..seconds * 4).map(|i| i * 250), (256, 64))
}

#[test]
fn a_leak_is_told_from_an_engine_that_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let trace = steady(dir.path(), 40);
    let (leaks, sound) = (
        Server::sim(&["--vram", "80GiB", "--memory-leak", "4MiB"]),
        Server::sim(&["--vram", "80GiB"]),
    );
    let (_, document) = replay(
        &trace,
        &[
            "--target",
            &format!("leaks={}", leaks.url),
            "--target",
            &format!("sound={}", sound.url),
            "--schedule",
            "interleaved",
            "--slo",
            "vram.growth<1MiB/s",
            "--slo",
            "oom.count<=0",
        ],
    );
    let status = |target: &str, expr: &str| {
        let all = document["verdict"]["objectives"].as_array().unwrap();
        let one = all
            .iter()
            .find(|one| one["expr"] == expr && one["target"] == target)
            .unwrap();
        one["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        status("leaks", "vram.growth<1MiB/s"),
        "fail",
        "{document:#}"
    );
    assert_eq!(
        status("sound", "vram.growth<1MiB/s"),
        "pass",
        "{document:#}"
    );
    assert_eq!(status("sound", "oom.count<=0"), "pass");
    let gpu = &document["targets"][0]["gpu"][0];
    assert_eq!(
        (&gpu["source"], &gpu["growth"]["leak"]),
        (&"sim".into(), &true.into())
    );
    let per_s = gpu["growth_bytes_per_s"].as_f64().unwrap() / 1_048_576.0;
    assert!((per_s / 4.0 - 1.0).abs() < 0.1, "{gpu:#}");
    let fragmentation = &document["targets"][1]["engine"]["fragmentation_peak"];
    assert!(
        fragmentation.as_f64().is_some_and(|share| share < 0.01),
        "{fragmentation}"
    );
}

#[test]
fn memory_that_runs_out_is_counted_with_the_load_at_that_instant() {
    let dir = tempfile::tempdir().unwrap();
    let trace = steady(dir.path(), 8);
    // 1.2 GiB are left at start: gone after three seconds, and after each new start.
    let sim = Server::sim(&[
        "--vram",
        "8GiB",
        "--memory-leak",
        "400MiB",
        "--slowdown",
        "20",
    ]);
    let (output, document) = replay(&trace, &["--target", &sim.url, "--slo", "oom.count<=0"]);
    let target = &document["targets"][0];
    assert_eq!(
        objective(&document, "oom.count<=0")["status"],
        "fail",
        "{document:#}"
    );
    let first = &target["oom"]["events"][0];
    assert!(first["answers"].as_u64().unwrap() >= 1, "{first:#}");
    assert!(first["vram"].as_f64().unwrap() > 0.9, "{first:#}");
    assert!(
        first["in_flight_tokens"].as_f64().unwrap() > 0.0,
        "{first:#}"
    );
    assert!(
        target["engine"]["restarts"].as_u64().unwrap() >= 1,
        "{target:#}"
    );
    let errors = &target["requests"]["errors"];
    let failed = |kind: &str| errors[kind].as_u64().unwrap_or(0);
    assert!(failed("server_error") >= 1, "{errors}");
    assert!(
        failed("truncated") >= 1,
        "streams of 1.3 s were open when it ran out: {errors}"
    );
    let answers = target["oom"]["events"].as_array().unwrap().iter();
    let answers: u64 = answers.map(|one| one["answers"].as_u64().unwrap()).sum();
    assert_eq!(
        answers,
        failed("server_error") + failed("truncated"),
        "what broke off says why, too: {target:#}"
    );
    let _ = output;
}

#[test]
fn the_load_from_which_on_an_engine_preempts_is_told() {
    let dir = tempfile::tempdir().unwrap();
    // Each takes two seconds. Of the calm ones some thirteen are open at once, half grown, for which there is room; then twice as many.
    let calm = (0..110).map(|i| i * 150);
    let busy = (0..110).map(|i| 16_500 + i * 75);
    let trace = requests_at(dir.path(), calm.chain(busy), (64, 192));
    let sim = Server::sim(&["--kv-capacity-tokens", "2880", "--step-base", "10000"]);
    let out = dir.path().join("out");
    let (_, document) = replay(
        &trace,
        &["--target", &sim.url, "--out", out.to_str().unwrap()],
    );
    let target = &document["targets"][0];
    let cliffs = target["cliffs"].as_array().unwrap();
    let cliff = cliffs
        .iter()
        .find(|cliff| cliff["metric"] == "preemptions_per_s")
        .unwrap_or_else(|| panic!("{target:#}"));
    let [from, before, after] =
        ["in_flight_tokens", "before", "after"].map(|figure| cliff[figure].as_f64().unwrap());
    // The cache is full with 2,880 tokens in flight.
    assert!((2_000.0..4_000.0).contains(&from), "{cliffs:#?}");
    assert!(before < 0.5 && after > 1.0, "{cliffs:#?}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("preemptions / s"), "the report tells of it");
}

/// A trace of two minutes in bursts, another for each seed.
fn bursts(dir: &Path, seed: u64) -> PathBuf {
    let dir = dir.join(seed.to_string());
    std::fs::create_dir(&dir).unwrap();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let (mut burst, mut at_ms) = (0, Vec::new());
    while burst < 119_000 {
        let requests = 1 + next(12);
        at_ms.extend((0..requests).map(|_| burst + next(1_000)));
        burst += 500 + next(4_000);
    }
    at_ms.push(120_000);
    at_ms.sort_unstable();
    let shape = (256 + 64 * next(16) as u32, 64 + 16 * next(8) as u32);
    requests_at(&dir, at_ms, shape)
}

/// How many of so many runs of two minutes, all at once, are called a leak.
fn leaks_found(dir: &Path, seeds: std::ops::Range<u64>, options: &[&str]) -> usize {
    let found = |seed: u64| {
        let trace = bursts(dir, seed);
        let seeded = ["--vram", "80GiB", "--step-base", "20000", "--seed"];
        let sim = Server::sim(&[&seeded[..], &[seed.to_string().as_str()], options].concat());
        let (_, document) = replay(&trace, &["--target", &sim.url, "--gpu", "off"]);
        let growth = &document["targets"][0]["gpu"][0]["growth"];
        eprintln!("{options:?}, {seed}: {growth}");
        growth["leak"].as_bool().unwrap()
    };
    std::thread::scope(|scope| {
        let runs: Vec<_> = seeds.map(|seed| scope.spawn(move || found(seed))).collect();
        runs.into_iter()
            .filter_map(|run| run.join().unwrap().then_some(()))
            .count()
    })
}

#[test]
#[ignore = "takes two minutes"]
fn a_leak_of_a_mebibyte_a_second_is_found_in_two_minutes_and_none_where_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (leaking, clean) = std::thread::scope(|scope| {
        let leaking = scope.spawn(|| leaks_found(dir, 1..5, &["--memory-leak", "1MiB"]));
        let clean = scope.spawn(|| leaks_found(dir, 5..17, &[]));
        (leaking.join().unwrap(), clean.join().unwrap())
    });
    assert_eq!(
        (leaking, clean),
        (4, 0),
        "of 4 that leak, and of 12 that do not"
    );
}
