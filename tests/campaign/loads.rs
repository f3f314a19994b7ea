//! What a step plans, and whether two were under the same load.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, OnceLock};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use super::conversations::conversations;
use super::limit::ANY_PACE;
use super::support::{Server, http, reenact, stdout_of};
use super::{replay, trace};

/// The plan at a speed, and the instants of its requests.
fn planned(trace: &Path, speed: &str) -> (Value, Vec<u64>) {
    let args = ["--target", "http://127.0.0.1:9", "--dry-run", "--json"];
    let printed = stdout_of(
        ["replay".as_ref(), trace.as_os_str()]
            .into_iter()
            .chain(args.iter().map(AsRef::as_ref))
            .chain(["--speed".as_ref(), speed.as_ref()]),
    );
    let mut lines = printed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let plan = lines.next().unwrap()["plan"].clone();
    let instants = lines.map(|line| line["at_us"].as_u64().unwrap());
    (plan, instants.collect())
}

fn steps(document: &Value) -> &Vec<Value> {
    document["targets"][0]["steps"].as_array().unwrap()
}

fn near(one: f64, other: f64) -> bool {
    (one / other - 1.0).abs() < 1e-6
}

#[test]
fn conversations_that_keep_their_think_times_do_not_come_as_much_faster_as_the_speed_says() {
    let dir = tempfile::tempdir().unwrap();
    let trace = conversations(dir.path(), 8);
    let sim = Server::sim(&["--profile", "null"]);
    let sweep = ["--target", &sim.url, "--sweep", "1,8"];
    let (_, document) = replay(&trace, &[&sweep[..], &ANY_PACE].concat());
    for (step, speed) in steps(&document).iter().zip(["1", "8"]) {
        let (plan, instants) = planned(&trace, speed);
        assert_eq!(plan["planned"], 32);
        let last_us = *instants.last().unwrap() as f64;
        let offered = step["offered_per_s"].as_f64().unwrap();
        assert!(near(offered, 32e6 / last_us), "{step:#}");
        assert!(step.get("looped").is_none(), "{step:#}");
    }
    let offered = |i: usize| steps(&document)[i]["offered_per_s"].as_f64().unwrap();
    assert!(offered(1) < 2.0 * offered(0), "{document:#}");

    // Longer than the plan at that speed, whose think times alone are 120 ms.
    let sweep = [&sweep[..2], &["--sweep", "8", "--step", "400ms"]].concat();
    let (_, document) = replay(&trace, &[&sweep[..], &ANY_PACE].concat());
    let step = &steps(&document)[0];
    assert_eq!(step["looped"], true, "{step:#}");
    // Conversations begin for so long; their last turns end it.
    let planned = step["requests"]["planned"].as_f64().unwrap();
    let lasts = planned / step["offered_per_s"].as_f64().unwrap();
    assert!((0.4..=0.521).contains(&lasts), "{step:#}");
}

#[test]
fn a_step_of_a_search_offers_what_its_own_requests_are_planned_at() {
    let dir = tempfile::tempdir().unwrap();
    let trace = conversations(dir.path(), 400);
    let sim = Server::sim(&["--profile", "null"]);
    let find = ["--target", &sim.url, "--speed", "8", "--find-max"];
    let ends = ["--slo", "errors.rate<10%", "--find-max-up-to", "16"];
    let args = [&find[..], &ends, &["--step", "0s"], &ANY_PACE].concat();
    let (output, document) = replay(&trace, &args);
    assert_eq!(output.status.code(), Some(0), "{document:#}");
    for step in steps(&document) {
        let (_, instants) = planned(&trace, &step["speed"].to_string());
        // A look at 64 requests, at twice and at four times as many, after a tenth of them to warm up.
        assert_eq!(step["warm_up"], 6, "{step:#}");
        let most = 6 + 4 * 64;
        let per_s = most as f64 * 1e6 / instants[most - 1] as f64;
        let offered = step["offered_per_s"].as_f64().unwrap();
        assert!(near(offered, per_s), "{offered} of {per_s}");
    }
    let limit = &document["targets"][0]["limit"];
    assert_eq!(limit["value"], 16.0, "{limit:#}");
    let at_16 = steps(&document).iter().find(|step| step["speed"] == 16.0);
    assert_eq!(limit["requests_per_s"], at_16.unwrap()["offered_per_s"]);
}

#[test]
fn a_machine_that_has_no_connections_left_measures_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 40, 10, 2);
    let sim = Server::sim(&["--profile", "fast"]);
    let replays = Arc::new(OnceLock::<Pid>::new());
    let (pid, to) = (Arc::clone(&replays), sim.url.clone());
    let (url, _) = http::upstream(move |mut client| {
        let Some(request) = http::read_request(&mut client) else {
            return;
        };
        let request = String::from_utf8(request).unwrap();
        if !request.contains("x-reenact-probe") {
            // From here on it opens no file, and so no connection.
            let none = Rlimit {
                current: Some(3),
                maximum: Some(3),
            };
            prlimit(Some(*pid.wait()), Resource::Nofile, none).unwrap();
        }
        let request = request.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
        let _ = client.write_all(&http::send(&to, request.as_bytes()));
    });
    let mut command = reenact(["replay", "--json", "--no-keep-alive", "--target", &url]);
    let child = command
        .arg(&trace)
        .args(["--slo", "errors.rate<10%"])
        .args(ANY_PACE)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    replays
        .set(Pid::from_raw(child.id() as i32).unwrap())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let document: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(output.status.code(), Some(4), "{document:#}");
    let reasons = document["verdict"]["reasons"].to_string();
    assert!(reasons.contains("for want of a port"), "{reasons}");
}

/// Requests that a slow target holds up: it is asked for less, and fails less of it.
#[test]
fn a_target_that_slowed_its_own_conversations_passes_no_relative_objective() {
    let dir = tempfile::tempdir().unwrap();
    let trace = conversations(dir.path(), 8);
    let fast = Server::sim(&["--profile", "null"]);
    let slow = Server::sim(&["--profile", "fast", "--step-base", "20000"]);
    let targets = [
        "--target".to_owned(),
        format!("fast={}", fast.url),
        "--target".to_owned(),
        format!("slow={}", slow.url),
    ];
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let bound = ["--slo", "e2e.p99<10s"];
    let relative = ["errors.rate<+1%", "goodput.rate>-1%", "ttft.p50<+9999999%"];
    let relative: Vec<&str> = relative.iter().flat_map(|it| ["--slo", it]).collect();
    let (output, document) = replay(
        &trace,
        &[&targets[..], &bound, &relative, &ANY_PACE].concat(),
    );
    assert_eq!(output.status.code(), Some(3), "{document:#}");
    let objectives = document["verdict"]["objectives"].as_array().unwrap();
    let judged: Vec<&Value> = { objectives.iter() }
        .filter(|one| one["expr"] != bound[1])
        .collect();
    assert_eq!(judged.len(), 3, "{objectives:#?}");
    for one in judged {
        assert_eq!(one["status"], "not_measured", "{one:#}");
        let why = one["reason"].as_str().unwrap();
        assert!(why.contains("--sessions independent"), "{why}");
    }
    let independent = ["--sessions", "independent"];
    let args = [&targets[..], &bound, &relative, &independent, &ANY_PACE].concat();
    let (_, document) = replay(&trace, &args);
    let objectives = document["verdict"]["objectives"].as_array().unwrap();
    assert!(
        objectives.iter().all(|one| one["status"] == "pass"),
        "{objectives:#?}"
    );
}
