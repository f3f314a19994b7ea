//! Through the built binary.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::fixture;
use super::support::{exchanges, reenact, run, stdout_of};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn command(format: &str, from: &Path, to: &Path, more: &[&str]) -> Command {
    let mut command = reenact(["import", format]);
    command.arg(from).arg("-o").arg(to).args(more);
    command.stdin(Stdio::null());
    command
}

fn import(format: &str, from: &Path, to: &Path, more: &[&str]) -> Output {
    command(format, from, to, more).output().unwrap()
}

fn imported(format: &str, from: &Path, to: &Path, more: &[&str]) {
    let output = import(format, from, to, more);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn inspected(trace: &Path) -> serde_json::Value {
    let text = stdout_of([Path::new("inspect"), trace, Path::new("--json")]);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn burstgpt_keeps_failures_and_names_models_only_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let source = fixture("burstgpt1_200.csv");
    let trace = directory.path().join("b.rt");
    imported("burstgpt", &source, &trace, &["--keep-model", "ChatGPT"]);
    let seen = inspected(&trace);
    assert_eq!(seen["exchanges"], 200);
    assert_eq!(seen["header"]["source"], "burstgpt");
    assert_eq!(seen["by_outcome"]["upstream_reset"], 9);
    let models: Vec<_> = seen["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| {
            (
                model["model"].as_str().unwrap(),
                model["exchanges"].as_u64(),
            )
        })
        .collect();
    assert_eq!(models, [("ChatGPT", Some(175)), ("model-1", Some(25))]);
    let tokens: u64 = exchanges(&trace)
        .iter()
        .filter_map(|e| e["request"]["prompt_tokens"]["count"].as_u64())
        .sum();
    assert_eq!(tokens, 118_792);
    let bare = directory.path().join("bare.rt");
    imported("burstgpt", &source, &bare, &[]);
    assert!(!text(&fs::read(&bare).unwrap()).contains("ChatGPT"));
    assert_eq!(inspected(&bare)["models"][0]["model"], "model-0");
}

#[test]
fn weka_sessions_are_read_with_their_sub_agents() {
    let directory = tempfile::tempdir().unwrap();
    let source = fixture("weka_sessions_3.jsonl.gz");
    let trace = directory.path().join("w.rt");
    // From the environment, as every option can be.
    let output = command("weka", &source, &trace, &[])
        .env("REENACT_SPACING", "5s")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let seen = inspected(&trace);
    assert_eq!(seen["exchanges"], 23);
    assert_eq!(seen["sessions"], 5);
    assert_eq!(seen["header"]["block"]["size"], 64);
    assert_eq!(seen["header"]["block"]["partial_last"], false);
    let all = exchanges(&trace);
    let sum = |at: &str| -> u64 { all.iter().filter_map(|e| e.pointer(at)?.as_u64()).sum() };
    assert_eq!(sum("/request/prompt_tokens/count"), 774_245);
    assert_eq!(sum("/response/output_tokens/count"), 14_713);
    let begin = |session: u64| {
        all.iter()
            .find(|e| e["session"] == session)
            .map(|e| e["at_us"].as_u64().unwrap())
    };
    assert_eq!(
        [begin(0), begin(1), begin(2), begin(3)],
        [Some(0), Some(5_000_000), Some(10_000_000), Some(89_224_000)]
    );
}

#[test]
fn a_stray_quote_costs_one_row_and_not_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    for (format, name, header_lines) in [
        ("azure", "azure2023_conv_200.csv", 1),
        ("burstgpt", "burstgpt1_200.csv", 1),
    ] {
        let rows = fs::read_to_string(fixture(name)).unwrap();
        let mut lines: Vec<_> = rows.lines().map(str::to_owned).collect();
        lines[10 + header_lines - 1].insert(0, '"');
        let broken = directory.path().join(name);
        fs::write(&broken, lines.join("\n")).unwrap();
        let trace = directory.path().join(format!("{format}.rt"));
        let refused = import(format, &broken, &trace, &[]);
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused.stderr);
        assert!(said.contains("line 11: a quote is not closed"), "{said}");
        assert!(said.contains("--skip-bad"), "{said}");
        let skipped = import(format, &broken, &trace, &["--skip-bad"]);
        assert!(skipped.status.success());
        let said = text(&skipped.stderr);
        assert!(
            said.contains("199 exchanges") && said.contains("1 malformed rows"),
            "{said}"
        );
        assert_eq!(inspected(&trace)["exchanges"], 199);
    }
}

#[test]
fn what_is_no_text_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("input");
    let trace = directory.path().join("t.rt");
    for (bytes, what) in [
        (&b"PAR1...."[..], "a Parquet file"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"\xfd7zXZ\0....", "xz"),
        (b"BZh91AY", "bzip2"),
        (b"\xff\xfet\0", "UTF-16"),
        (b"\x89RNT\r\n\x1a\n", "a trace of reenact already"),
        (b"x\0\0\0", "no text"),
    ] {
        fs::write(&input, bytes).unwrap();
        let output = import("mooncake", &input, &trace, &[]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains(what) && said.contains("hint:"), "{said}");
    }
    // Cut short within its compression.
    let whole = zstd::encode_all(&[b'x'; 100_000][..], 3).unwrap();
    fs::write(&input, &whole[..whole.len() - 3]).unwrap();
    let output = import("mooncake", &input, &trace, &["--skip-bad"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

#[test]
fn zstd_goes_both_ways_and_standard_streams_are_plain() {
    let directory = tempfile::tempdir().unwrap();
    let original = fs::read(fixture("mooncake_conversation_200.jsonl")).unwrap();
    let packed = directory.path().join("rows");
    fs::write(&packed, zstd::encode_all(original.as_slice(), 3).unwrap()).unwrap();
    let trace = directory.path().join("m.rt");
    imported("mooncake", &packed, &trace, &[]);
    let export = |to: &Path| {
        run([
            Path::new("export"),
            Path::new("mooncake"),
            &trace,
            Path::new("-o"),
            to,
        ])
    };
    let back = directory.path().join("back.jsonl.zst");
    assert!(export(&back).status.success());
    let unpacked = zstd::decode_all(fs::read(&back).unwrap().as_slice()).unwrap();
    assert!(unpacked == original);
    let streamed = export(Path::new("-"));
    assert!(streamed.stdout == original);
    // And in from a pipe.
    let again = directory.path().join("again.rt");
    let mut child = command("mooncake", Path::new("-"), &again, &[])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&streamed.stdout)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(inspected(&again)["exchanges"], 200);
}

#[test]
fn labels_units_and_blocks_come_from_every_layer() {
    let directory = tempfile::tempdir().unwrap();
    let rows = directory.path().join("rows.jsonl");
    let row = r#"{"ts": 1500, "isl": 100, "output_length": 3, "hash_ids": [1, 2]}"#;
    fs::write(&rows, format!("{row}\n{}\n", row.replace("1500", "2500"))).unwrap();
    let config = directory.path().join("reenact.toml");
    fs::write(&config, "[import]\ntime-unit = \"ms\"\nblock-tokens = 64\n").unwrap();
    let trace = directory.path().join("t.rt");
    let output = command(
        "vllm-timed-trace",
        &rows,
        &trace,
        &["--column", "input_length=isl"],
    )
    .arg("--config")
    .arg(&config)
    .env("REENACT_COLUMN", "ignored=because a flag wins")
    .arg("--column=timestamp=ts")
    .output()
    .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let seen = inspected(&trace);
    assert_eq!(seen["header"]["block"]["size"], 64);
    assert_eq!(exchanges(&trace)[0]["at_us"], 1_500_000);
    assert_eq!(
        exchanges(&trace)[0]["request"]["prompt_tokens"]["count"],
        100
    );
}

#[test]
fn an_option_that_would_do_nothing_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let azure = fixture("azure2023_conv_200.csv");
    let mooncake = fixture("mooncake_conversation_200.jsonl");
    let trace = directory.path().join("t.rt");
    for (format, file, option, said) in [
        ("azure", &azure, "--column=timestamp=ts", "vllm-timed-trace"),
        ("azure", &azure, "--block-tokens=16", "baseten"),
        ("azure", &azure, "--spacing=1s", "weka"),
        ("mooncake", &mooncake, "--column=time=ts", "timestamp"),
        ("mooncake", &mooncake, "--column=ts", "timestamp=ts"),
        ("mooncake", &mooncake, "--block-tokens=0", "block-tokens"),
    ] {
        let output = import(format, file, &trace, &[option]);
        assert_eq!(output.status.code(), Some(2), "{option}");
        let told = text(&output.stderr);
        assert!(told.contains(said), "{told}");
        assert!(!trace.exists());
    }
}

#[test]
fn of_text_nothing_but_sizes_reaches_the_trace_or_an_error() {
    const CANARY: &str = "canary-7f3a";
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let aiperf = format!(
        "{}\n{}\n{}\n",
        format_args!(
            r#"{{"text_input": "{CANARY}", "session_id": "{CANARY}", "output_length": 4}}"#
        ),
        format_args!(
            r#"{{"messages": [{{"role": "user", "content": "{CANARY}"}}], "output_length": 4}}"#
        ),
        format_args!(
            r#"{{"payload": {{"model": "{CANARY}", "prompt": "{CANARY}"}}, "extra": {{"x": "{CANARY}"}}}}"#
        ),
    );
    let evalscope = format!(
        r#"{{"body": {{"model": "{CANARY}", "messages": [{{"role": "user", "content": "{}"}}]}}, "headers": {{"authorization": "{CANARY}"}}, "request_id": "{CANARY}", "completion_tokens": 5}}"#,
        CANARY.repeat(50),
    );
    let vllm = format!(r#"{{"prompt": "{CANARY}", "output_tokens": 5}}"#);
    for (format, rows, exchanges_of) in [
        ("aiperf", &aiperf, 3),
        ("evalscope", &evalscope, 1),
        ("vllm-custom", &vllm, 1),
    ] {
        let (input, trace) = (path("rows"), path(&format!("{format}.rt")));
        fs::write(&input, rows).unwrap();
        imported(format, &input, &trace, &[]);
        let all = stdout_of([Path::new("inspect"), &trace, Path::new("--exchanges")]);
        assert_eq!(all.lines().count(), exchanges_of);
        assert!(!all.contains(CANARY), "{format}");
        let bytes = all.lines().map(|line| {
            let exchange: serde_json::Value = serde_json::from_str(line).unwrap();
            exchange["request"]["messages"][0]["bytes"]
                .as_u64()
                .unwrap()
        });
        assert!(
            bytes
                .into_iter()
                .all(|bytes| bytes % CANARY.len() as u64 == 0 && bytes > 0)
        );
        // Half a line, and one of another kind.
        for broken in [&rows[..rows.trim().len() - 5], &format!("[\"{CANARY}\"]")] {
            fs::write(&input, broken).unwrap();
            let output = import(format, &input, &path("never.rt"), &[]);
            assert_eq!(output.status.code(), Some(1));
            assert!(
                !text(&output.stderr).contains(CANARY),
                "{}",
                text(&output.stderr)
            );
        }
    }
    let seen = exchanges(&path("evalscope.rt"));
    assert!(
        !seen[0]["request"]["blocks"].as_array().unwrap().is_empty(),
        "a body gives a chain"
    );
}

#[test]
fn help_teaches_every_format_in_a_line() {
    for (command, formats) in [
        (
            "import",
            &[
                "mooncake",
                "aiperf",
                "bailian",
                "azure",
                "burstgpt",
                "weka",
                "baseten",
                "dynamo",
                "vllm-timed-trace",
                "vllm-custom",
                "evalscope",
                "jsonl",
            ][..],
        ),
        (
            "export",
            &[
                "mooncake",
                "aiperf",
                "bailian",
                "azure",
                "burstgpt",
                "vllm-timed-trace",
                "jsonl",
                "parquet",
            ],
        ),
    ] {
        let help = stdout_of([command, "--help"]);
        for format in formats {
            let line = help
                .lines()
                .find(|line| line.trim().starts_with(&format!("- {format}:")));
            assert!(
                line.is_some_and(|line| line.len() > 40),
                "{command} {format}: {help}"
            );
        }
    }
}
