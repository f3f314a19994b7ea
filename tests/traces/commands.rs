//! `reenact trace …` by its exit codes and its output.

use std::path::Path;

use super::support::{exchanges, reenact, run, stdout_of};
use super::{exchange, header, names, write};
use reenact::trace::Header;

fn stderr_of(args: &[&str]) -> (bool, String) {
    let output = run(args);
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.success(), text)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn clocked(run: u64, epoch_unix_us: u64) -> Header {
    Header {
        epoch_unix_us: Some(epoch_unix_us),
        ..header(run)
    }
}

#[test]
fn recorders_are_merged_and_the_offsets_told() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    for (path, epoch_us) in [(&a, 1_000_000), (&b, 3_500_000)] {
        std::fs::create_dir(path).unwrap();
        let exchanges = (0..5).map(|second| exchange(second * 1_000_000, [0]));
        write(
            &path.join("trace-000001.rt"),
            &clocked(epoch_us, epoch_us),
            exchanges,
        );
    }
    let out = dir.path().join("all.rt");
    let args = ["trace", "merge", text(&a), text(&b), "-o", text(&out)];
    let (ok, told) = stderr_of(&[&args[..], &["--skew", "b=-250ms"]].concat());
    assert!(ok, "{told}");
    assert!(
        told.contains("a/trace-000001.rt: its clock begins at 0.000000 s"),
        "{told}"
    );
    assert!(
        told.contains("b/trace-000001.rt: its clock begins at 2.250000 s"),
        "{told}"
    );
    assert!(told.contains("all.rt: 10 exchanges, "), "{told}");
    let times: Vec<_> = exchanges(&out)
        .iter()
        .map(|e| e["at_us"].as_u64().unwrap())
        .collect();
    assert!(times.is_sorted());
    assert_eq!(times[2..5], [2_000_000, 2_250_000, 3_000_000]);
    let (ok, told) = stderr_of(&args);
    assert!(
        !ok && told.contains("there is a file of that name already"),
        "{told}"
    );
    let (ok, told) = stderr_of(&[&args[..], &["--skew", "c=1s"]].concat());
    assert!(!ok && told.contains("hint: name one of"), "{told}");
}

#[test]
fn recorders_of_one_time_are_not_read_one_after_another_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, later, last] =
        ["a.rt", "b.rt", "later.rt", "last.rt"].map(|name| dir.path().join(name));
    write(&a, &clocked(1, 1_000_000), [exchange(5_000_000, [])]);
    write(&b, &clocked(2, 3_000_000), [exchange(5_000_000, [])]);
    write(&later, &clocked(3, 9_000_000), [exchange(3_000_000, [])]);
    write(&last, &clocked(4, 10_000_000), [exchange(0, [])]);
    let warned = |with: &[&Path], command: &[&str]| {
        let with: Vec<&str> = with.iter().map(|path| text(path)).collect();
        let (ok, told) = stderr_of(&[command, &[text(&a)], &with].concat());
        assert!(ok, "{told}");
        told.contains("these recorders ran at one time") && told.contains("reenact trace merge")
    };
    let csv = text(dir.path()).to_owned() + "/a.jsonl";
    assert!(warned(&[&b], &["inspect"]));
    assert!(warned(&[&b], &["export", "jsonl", "-o", &csv]));
    // One that began when the other was over did follow it.
    assert!(!warned(&[&later], &["inspect"]));
    // Two of one time are found behind a pause, too.
    assert!(warned(&[&later, &last], &["inspect"]));
}

#[test]
fn recorders_without_clocks_are_told_of_the_option() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, out] = ["a.rt", "b.rt", "out.rt"].map(|name| dir.path().join(name));
    write(&a, &header(1), [exchange(0, [])]);
    write(&b, &header(2), [exchange(0, [])]);
    let (ok, told) = stderr_of(&["trace", "merge", text(&a), text(&b), "-o", text(&out)]);
    assert!(!ok, "{told}");
    assert!(
        told.contains("a.rt: its recorder's wall clock was not kept"),
        "{told}"
    );
    assert!(
        told.contains("hint: record with --keep-wall-clock"),
        "{told}"
    );
    assert!(!out.exists());
    let args = ["trace", "merge", text(&a), text(&b), "-o", text(&out)];
    let (ok, told) = stderr_of(&[&args[..], &["--in-sequence"]].concat());
    assert!(
        ok && told.contains("b.rt: its clock begins at 0.000000 s"),
        "{told}"
    );
    assert_eq!(exchanges(&out).len(), 2);
    // One run has one clock, and nothing to skew.
    let args = [
        "trace",
        "merge",
        text(&a),
        "-o",
        text(&out),
        "--skew",
        "a.rt=1s",
    ];
    let (ok, told) = stderr_of(&args);
    assert!(!ok && told.contains("of one clock"), "{told}");
}

#[test]
fn options_below_trace_come_from_environment_and_file_too() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("a.rt");
    write(&trace, &header(1), (0..50).map(|at| exchange(at, [])));
    let config = dir.path().join("reenact.toml");
    let lines = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    let head = || reenact(["trace", "head", text(&trace)]);
    assert_eq!(lines(&mut head()), 10);
    std::fs::write(&config, "[trace.head]\nlimit = 3\n").unwrap();
    let from_file = || {
        let mut command = head();
        command.arg("--config").arg(&config);
        command
    };
    assert_eq!(lines(&mut from_file()), 3);
    assert_eq!(lines(from_file().env("REENACT_LIMIT", "4")), 4);
    assert_eq!(
        lines(from_file().env("REENACT_LIMIT", "4").args(["-n", "5"])),
        5
    );
    std::fs::write(&config, "[trace.head]\nlimits = 3\n").unwrap();
    let refused = String::from_utf8(from_file().output().unwrap().stderr).unwrap();
    assert!(
        refused.contains("[trace.head] has no option limits"),
        "{refused}"
    );
    std::fs::write(&config, "[trace]\nlimit = 3\n").unwrap();
    let refused = String::from_utf8(from_file().output().unwrap().stderr).unwrap();
    assert!(refused.contains("tables named [trace.X]"), "{refused}");
}

#[test]
fn a_part_is_cut_and_chosen_by_what_inspect_shows() {
    let dir = tempfile::tempdir().unwrap();
    let [a, slice, chosen] = ["a.rt", "slice.rt", "chosen.rt"].map(|name| dir.path().join(name));
    let all = (0..100).map(|second| {
        let mut exchange = exchange(second * 1_000_000, [0]);
        exchange.response.status = if second % 10 == 0 { 503 } else { 200 };
        exchange
    });
    write(&a, &header(1), all);
    let args = [
        "trace",
        "slice",
        text(&a),
        "-o",
        text(&slice),
        "--from",
        "30s",
        "--to",
        "1m",
    ];
    assert!(run(args).status.success());
    assert_eq!(exchanges(&slice).len(), 30);
    let args = [
        "trace",
        "filter",
        text(&slice),
        "-o",
        text(&chosen),
        "--status",
        "5xx",
    ];
    assert!(run(args).status.success());
    let times: Vec<_> = exchanges(&chosen)
        .iter()
        .map(|e| e["at_us"].clone())
        .collect();
    assert_eq!(times, [30_000_000, 40_000_000, 50_000_000]);
    let (ok, told) = stderr_of(&["trace", "filter", text(&a), "-o", text(&chosen)]);
    assert!(!ok && told.contains("no condition is given"), "{told}");
    let args = [
        "trace",
        "filter",
        text(&a),
        "-o",
        text(&chosen),
        "--endpoint",
        "chat",
    ];
    let (ok, told) = stderr_of(&args);
    assert!(!ok && told.contains("chat_completions"), "{told}");
    let none = dir.path().join("none.rt");
    let args = [
        "trace",
        "filter",
        text(&a),
        "-o",
        text(&none),
        "--model",
        "nobodys",
    ];
    let (ok, told) = stderr_of(&args);
    assert!(ok && told.contains("no exchange is in this part"), "{told}");
}

#[test]
fn damage_is_an_exit_code_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let [a, mended] = ["a.rt", "mended.rt"].map(|name| dir.path().join(name));
    write(&a, &header(1), (0..3000).map(|at| exchange(at, [0, 1])));
    let told = stdout_of(["trace", "verify", text(&a)]);
    assert!(
        told.contains("a.rt: whole: 3 blocks, 3000 exchanges"),
        "{told}"
    );
    let mut bytes = std::fs::read(&a).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&a, bytes).unwrap();
    let output = run(["trace", "verify", "--json", text(&a)]);
    assert_eq!(output.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["ok"], &told["lost_exchanges"]),
        (&false.into(), &1024.into())
    );
    assert_eq!(told["files"][0]["faults"].as_array().unwrap().len(), 1);
    let (ok, said) = stderr_of(&["trace", "repair", text(&a), "-o", text(&mended)]);
    assert!(ok && said.contains("lost: 1 block and "), "{said}");
    assert!(said.contains("mended.rt: 1976 exchanges"), "{said}");
    assert!(run(["trace", "verify", text(&mended)]).status.success());
    let inspected = stdout_of(["inspect", text(&mended)]);
    assert!(inspected.contains("1024 of 3000 exchanges"), "{inspected}");
    assert!(inspected.contains("damaged 1024"), "{inspected}");
    // Nothing else was left beside them.
    assert_eq!(names(dir.path()), ["a.rt", "mended.rt"]);
}
