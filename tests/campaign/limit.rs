use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::Value;

use crate::support::{Server, http, reenact};
use crate::{imported, paced, paced_anew, replay, trace};

/// Two sequences at once, each of ten steps of 4 ms: it carries 50 requests a second.
const SLOW: [&str; 8] = [
    "--profile",
    "fast",
    "--max-num-seqs",
    "2",
    "--step-base",
    "4000",
    "--step-per-sequence",
    "0",
];

fn steps(document: &Value) -> Vec<(f64, String)> {
    document["targets"][0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let verdict = step["verdict"].as_str().unwrap().to_owned();
            (step["speed"].as_f64().unwrap(), verdict)
        })
        .collect()
}

/// A server in front of `sim` that takes 50 requests a second, and 15 at once beyond that; the others it turns away, as fast as it can. So its
/// limit is one of counts, and a slow machine does not move it.
fn fifty_a_second(sim: &str) -> String {
    let (began, taken, sim) = (Instant::now(), Mutex::new(0.0_f64), sim.to_owned());
    let (url, _) = http::upstream(move |mut client| {
        let Some(request) = http::read_request(&mut client) else {
            return;
        };
        let takes = {
            let mut taken = taken.lock().unwrap();
            let earned = began.elapsed().as_secs_f64() * 50.0;
            *taken = taken.max(earned - 15.0);
            let takes = *taken < earned;
            *taken += f64::from(u8::from(takes));
            takes
        };
        let answer = if takes {
            let request = String::from_utf8(request).unwrap();
            let request = request.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
            http::send(&sim, request.as_bytes())
        } else {
            BUSY.as_bytes().to_vec()
        };
        let _ = client.write_all(&answer);
    });
    url
}

const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

#[test]
fn the_limit_of_a_server_of_known_capacity_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 400, 50, 4);
    let sim = Server::sim(&["--profile", "fast"]);
    let args = [
        "--find-max",
        "--slo",
        "errors.rate<10%",
        "--step",
        "0s",
        "--precision",
        "20%",
    ];
    let Some((output, document)) = paced_anew(|| {
        let url = fifty_a_second(&sim.url);
        replay(&trace, &[&args[..], &["--target", &url]].concat())
    }) else {
        return;
    };
    assert_eq!(output.status.code(), Some(0), "{document:#}");
    let limit = &document["targets"][0]["limit"];
    // 20 requests a second at 1x, 50 that it takes and 15 beyond, with one in ten that may fail: 2.5x, and somewhat more for a short step.
    let value = limit["value"].as_f64().unwrap();
    assert!((1.6..=4.0).contains(&value), "{limit:#}");
    let steps = steps(&document);
    assert_eq!(limit["confirmed"], true, "{limit:#}");
    let above = limit["above"].as_f64().unwrap();
    assert!(value < above && above <= value * 1.21, "{limit:#}");
    assert_eq!(steps[0], (1.0, "pass".to_owned()));
    assert!(
        steps.iter().any(|(_, verdict)| verdict == "fail"),
        "{steps:?}"
    );
    assert_eq!(
        document["verdict"]["objectives"][0]["expr"],
        "find-max speed"
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("requests/s"), "{said}");
}

#[test]
fn a_start_that_misses_the_objectives_ends_in_3() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 400, 10, 10);
    let sim = Server::sim(&SLOW);
    let args = [
        "--target",
        &sim.url,
        "--find-max",
        "--slo",
        "e2e.p90<30ms",
        "--step",
        "0s",
    ];
    let Some((output, document)) = paced(&trace, &args) else {
        return;
    };
    assert_eq!(output.status.code(), Some(3), "{document:#}");
    assert!(document["targets"][0]["limit"].get("value").is_none());
    assert_eq!(steps(&document), [(1.0, "fail".to_owned())]);
}

#[test]
fn a_sweep_judges_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 100, 50, 10);
    let sim = Server::sim(&SLOW);
    let args = [
        "--target",
        &sim.url,
        "--sweep",
        "1,2,8",
        "--slo",
        "e2e.p90<1ms",
    ];
    let Some((output, document)) = paced(&trace, &args) else {
        return;
    };
    assert_eq!(output.status.code(), Some(3), "{document:#}");
    let steps = steps(&document);
    let loads: Vec<f64> = steps.iter().map(|(load, _)| *load).collect();
    assert_eq!(loads, [1.0, 2.0, 8.0]);
    assert!(
        steps.iter().all(|(_, verdict)| verdict != "pass"),
        "{steps:?}"
    );
    let told = document["verdict"]["objectives"].to_string();
    assert!(told.contains("every objective at 8× speed"), "{told}");
}

#[test]
fn a_search_raises_the_rate_where_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 600, 10, 2);
    let sim = Server::sim(&["--profile", "null"]);
    let find = ["--target", &sim.url, "--find-max", "--find-max-by", "rate"];
    let ends = [
        "--slo",
        "errors.rate<10%",
        "--find-max-up-to",
        "2",
        "--step",
        "0s",
    ];
    let (output, document) = replay(&trace, &[&find[..], &ends, &ANY_PACE].concat());
    assert_eq!(output.status.code(), Some(0), "{document:#}");
    let target = &document["targets"][0];
    let raised: Vec<(f64, f64)> = { target["steps"].as_array().unwrap().iter() }
        .map(|step| {
            ["rate_scale", "speed"]
                .map(|of| step[of].as_f64().unwrap())
                .into()
        })
        .collect();
    assert_eq!(raised, [(1.0, 1.0), (2.0, 1.0), (2.0, 1.0)]);
    let limit = &target["limit"];
    assert_eq!(limit["by"], "rate");
    assert_eq!(limit["value"], 2.0);
    assert_eq!(limit["confirmed"], true, "{limit:#}");
    // Twice as many conversations are twice as many requests a second, as they are here each one of them.
    let offered = |i: usize| target["steps"][i]["offered_per_s"].as_f64().unwrap();
    assert!(
        (offered(1) / offered(0) - 2.0).abs() < 0.2,
        "{} {}",
        offered(0),
        offered(1)
    );
    let judged = &document["verdict"]["objectives"][0];
    assert_eq!(judged["expr"], "find-max rate");
    let why = judged["reason"].as_str().unwrap();
    assert!(why.contains("2× rate"), "{why}");
}

#[test]
fn a_step_whose_queue_only_grows_is_saturated_however_loose_the_objective_is() {
    let dir = tempfile::tempdir().unwrap();
    // 80 requests a second, for a server that carries 50.
    let trace = trace(dir.path(), 1800, 12, 10);
    let sim = Server::sim(&SLOW);
    let find = ["--target", &sim.url, "--find-max", "--slo", "e2e.p90<1000s"];
    let (output, document) = replay(&trace, &[&find[..], &["--step", "11s"], &ANY_PACE].concat());
    assert_eq!(output.status.code(), Some(3), "{document:#}");
    assert_eq!(steps(&document), [(1.0, "saturated".to_owned())]);
    let step = &document["targets"][0]["steps"][0];
    let why = step["reason"].as_str().unwrap();
    assert!(
        why.starts_with("saturated: ") && why.contains("in flight"),
        "{why}"
    );
    // All that was counted met it.
    assert_eq!(step["misses"][0]["missed"], 0, "{step:#}");
    assert!(document["targets"][0]["limit"].get("value").is_none());
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_sent() {
    let refused = |args: &[&str]| {
        let output = reenact(["replay", "x.rt", "--target", "http://127.0.0.1:9"])
            .args(args)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("hint: "), "{said}");
        said
    };
    assert!(refused(&["--find-max"]).contains("needs an objective"));
    let relative = [
        "--target",
        "b=http://127.0.0.1:8",
        "--find-max",
        "--slo",
        "ttft.p99<+10%",
    ];
    assert!(refused(&relative).contains("absolute"));
    let slo = ["--find-max", "--slo", "ttft.p99<1s"];
    assert!(refused(&[&slo[..], &["--sweep", "1,2"]].concat()).contains("cannot be used with"));
    assert!(refused(&[&slo[..], &["--precision", "0.1%"]].concat()).contains("0.5%"));
    assert!(
        refused(&[&slo[..], &["--speed", "4", "--find-max-up-to", "2"]].concat()).contains("below")
    );
    assert!(refused(&["--repeat", "0"]).contains("1..=1000"));
    assert!(refused(&["--sweep", "1,fast"]).contains("not a factor"));
    let swept = [&relative[..2], &["--sweep", "1,2"], &relative[3..]].concat();
    assert!(refused(&swept).contains("each judged by themselves"));
    assert!(refused(&["--step", "3s"]).contains("--find-max"));
    let goodput = ["--slo", "goodput.rate>=95%", "--slo", "ttft.p99<+10%"];
    assert!(refused(&[&relative[..2], &goodput].concat()).contains("none on ttft, tpot or e2e"));
    let recorded = ["--baseline", "recorded"];
    assert!(refused(&[&slo[..], &recorded].concat()).contains("only whole runs"));
}

#[test]
fn a_trace_that_is_too_short_for_a_step_is_replayed_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 20, 20, 2);
    let sim = Server::sim(&["--profile", "fast"]);
    let to = ["--target", &sim.url];
    let search = ["--find-max", "--slo", "errors.rate<10%", "--step", "0s"];
    let bound = ["--find-max-up-to", "2", "--precision", "50%"];
    let Some((output, document)) = paced(&trace, &[&to[..], &search, &bound].concat()) else {
        return;
    };
    assert_eq!(
        document["targets"][0]["limit"]["value"], 2.0,
        "{document:#}"
    );
    let said = String::from_utf8_lossy(&output.stderr);
    let told = "it is replayed again and again, each pass with words of its own";
    assert_eq!(said.matches(told).count(), 1, "{said}");
    for step in document["targets"][0]["steps"].as_array().unwrap() {
        assert_eq!(step["looped"], true);
        assert!(step["requests"]["ok"].as_u64().unwrap() > 20, "{step:#}");
    }

    let sweep = ["--sweep", "1,4", "--step", "700ms"];
    let Some((_, document)) = paced(&trace, &[&to[..], &sweep].concat()) else {
        return;
    };
    let steps = document["targets"][0]["steps"].as_array().unwrap();
    let sent = |step: &Value| step["requests"]["ok"].as_u64().unwrap();
    // 50 and 200 requests a second for 700 ms.
    assert_eq!([sent(&steps[0]), sent(&steps[1])], [35, 140], "{steps:#?}");
}

#[test]
fn a_trace_that_was_cut_too_short_for_a_step_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 40, 10, 2);
    let sim = Server::sim(&[]);
    let output = reenact(["replay"])
        .arg(&trace)
        .args(["--target", &sim.url, "--find-max", "--slo", "ttft.p99<1s"])
        .args(["--limit", "20"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("20 requests") && said.contains("hint: leave --limit out"),
        "{said}"
    );
}

/// No bar but those of what is sent: how late it is sent is this machine's business.
pub(super) const ANY_PACE: [&str; 2] = ["--fidelity", "lateness=1h,cpu=100%,ks=100%"];

#[test]
fn a_step_is_held_to_the_sharing_of_the_requests_that_it_sends() {
    let dir = tempfile::tempdir().unwrap();
    // The prompts of the first steps share nothing; those after them all begin alike.
    let rows = (0..300).map(|i| {
        let first = if i < 100 { i + 1000 } else { 0 };
        format!(
            r#"{{"timestamp":{},"input_length":1024,"output_length":2,"hash_ids":[{first},{}]}}"#,
            i * 10,
            i + 2000
        )
    });
    let trace = imported(dir.path(), &rows.collect::<Vec<_>>().join("\n"));
    let sim = Server::sim(&["--profile", "null"]);
    let find = [
        "--target",
        &sim.url,
        "--find-max",
        "--slo",
        "errors.rate<10%",
    ];
    let ends = ["--step", "0s", "--find-max-up-to", "2"];
    let (output, document) = replay(&trace, &[&find[..], &ends, &ANY_PACE].concat());
    assert_eq!(output.status.code(), Some(0), "{document:#}");
    assert_eq!(
        document["targets"][0]["limit"]["value"], 2.0,
        "{document:#}"
    );
    let fidelity = &document["targets"][0]["fidelity"];
    assert_eq!(fidelity["prefix_share_recorded"], 0.0, "{fidelity:#}");
    // So is a step of a sweep that leaves conversations out.
    let sweep = [
        "--target",
        &sim.url,
        "--speed",
        "8",
        "--sweep",
        "0.3,1",
        "--sweep-by",
        "rate",
    ];
    let (output, document) = replay(&trace, &[&sweep[..], &ANY_PACE].concat());
    assert_eq!(output.status.code(), Some(0), "{document:#}");
}

#[test]
fn a_step_of_a_generator_that_is_late_is_no_limit_of_the_target() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 200, 10, 2);
    let sim = Server::sim(&["--profile", "null"]);
    // No send is that punctual, and no answer that fast.
    let (output, document) = replay(
        &trace,
        &[
            "--target",
            &sim.url,
            "--find-max",
            "--slo",
            "e2e.p90<1us",
            "--step",
            "0s",
            "--fidelity",
            "lateness=0ms",
        ],
    );
    assert_eq!(output.status.code(), Some(4), "{document:#}");
    let verdicts: Vec<String> = steps(&document)
        .into_iter()
        .map(|(_, verdict)| verdict)
        .collect();
    assert_eq!(verdicts, ["invalid", "invalid"]);
}

#[test]
fn a_search_that_outgrows_its_trace_keeps_what_it_found() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 100, 20, 2);
    let sim = Server::sim(&["--profile", "null"]);
    // 50 requests a second: a step of a third of a second is 17 of them, and from eight times as fast on more than there are.
    let find = [
        "--target",
        &sim.url,
        "--speed",
        "2",
        "--find-max",
        "--slo",
        "errors.rate<10%",
        "--step",
        "330ms",
        "--limit",
        "100",
    ];
    let (output, document) = replay(&trace, &[&find[..], &ANY_PACE].concat());
    assert_eq!(output.status.code(), Some(0), "{document:#}");
    let limit = &document["targets"][0]["limit"];
    assert_eq!(limit["value"], 4.0, "{limit:#}");
    let reason = limit["reason"].as_str().unwrap();
    assert!(reason.contains("the trace holds 100 requests"), "{reason}");
}

#[test]
fn a_sweep_of_the_rate_sends_more_conversations_and_not_the_same_ones_sooner() {
    let dir = tempfile::tempdir().unwrap();
    let trace = trace(dir.path(), 200, 20, 2);
    let sim = Server::sim(&["--profile", "fast"]);
    let args = [
        "--target",
        &sim.url,
        "--sweep",
        "0.5,2",
        "--sweep-by",
        "rate",
        "--copy-shift",
        "1s",
    ];
    let Some((_, document)) = paced(&trace, &args) else {
        return;
    };
    let steps = document["targets"][0]["steps"].as_array().unwrap();
    let planned: Vec<u64> = steps
        .iter()
        .map(|step| step["requests"]["planned"].as_u64().unwrap())
        .collect();
    assert!((60..140).contains(&planned[0]), "{planned:?}");
    assert_eq!(planned[1], 400);
    assert_eq!(steps[1]["speed"], 1.0);
    assert_eq!(steps[1]["rate_scale"], 2.0);
}
