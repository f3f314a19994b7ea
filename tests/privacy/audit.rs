use std::path::{Path, PathBuf};

use super::support::{run, stdout_of};

/// A trace of a hundred prompts of one length and one that is long.
fn imported(dir: &Path) -> PathBuf {
    let mut lines = String::new();
    for number in 0..101_u32 {
        let tokens = if number == 50 { 100_000 } else { 500 };
        lines += &format!(
            "{{\"timestamp\": {}, \"input_length\": {tokens}, \"output_length\": 10, \"hash_ids\": []}}\n",
            number * 1000
        );
    }
    let (rows, trace) = (dir.join("a.jsonl"), dir.join("a.rt"));
    std::fs::write(&rows, lines).unwrap();
    let (rows, to) = (rows.to_str().unwrap(), trace.to_str().unwrap());
    stdout_of(["import", "mooncake", rows, "-o", to]);
    trace
}

#[test]
fn a_trace_below_a_bar_ends_in_3_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let trace = imported(dir.path());
    let trace = trace.to_str().unwrap();
    let audited = |bar: &[&str]| {
        let output = run([&["audit", trace], bar].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = audited(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no bar was set"), "{text}");
    for (bar, miss) in [
        (
            ["--min-k", "2"],
            "the rarest request shape is that of 1 exchange, and 2 were asked for",
        ),
        (
            ["--max-unique", "0.5%"],
            "0.99 % of exchanges have an exact shape of their own",
        ),
        (["--max-entropy", "0.05"], "prompt tokens tells 0.08 bits"),
    ] {
        let (code, text) = audited(&bar);
        assert_eq!(code, Some(3), "{text}");
        assert!(text.contains(miss), "{miss}: {text}");
    }
    let (code, text) = audited(&["--min-k", "1", "--max-unique", "1%", "--max-entropy", "1"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("within every bar"), "{text}");
}

#[test]
fn nothing_is_found_in_a_trace_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (trace, none) = (imported(dir.path()), dir.path().join("none.rt"));
    let (trace, none) = (trace.to_str().unwrap(), none.to_str().unwrap());
    let cut = ["trace", "filter", trace, "--min-prompt-tokens", "1000000"];
    stdout_of([&cut, &["-o", none][..]].concat());
    let told = stdout_of(["audit", none]);
    assert!(told.starts_with("0 exchanges in 1 file."), "{told}");
    assert!(!told.contains("pattern of arrivals"), "{told}");
}

#[test]
fn one_of_anything_is_told_in_the_singular() {
    let dir = tempfile::tempdir().unwrap();
    let (trace, one) = (imported(dir.path()), dir.path().join("one.rt"));
    let (trace, one) = (trace.to_str().unwrap(), one.to_str().unwrap());
    let cut = run(["trace", "head", trace, "-n", "1", "-o", one]);
    let said = String::from_utf8(cut.stderr).unwrap();
    assert!(said.contains("one.rt: 1 exchange, "), "{said}");
    let told = stdout_of(["trace", "verify", one]);
    assert!(told.contains("whole: 1 block, 1 exchange, "), "{told}");
    let plan = ["replay", one, "--target", "http://127.0.0.1:1", "--dry-run"];
    let told = stdout_of(plan);
    assert!(told.starts_with("1 request over "), "{told}");
    assert!(told.contains("0 sessions and 1 request without"), "{told}");
}

#[test]
fn turns_of_a_conversation_are_told_although_each_ends_inside_a_block() {
    let dir = tempfile::tempdir().unwrap();
    let (rows, trace) = (dir.path().join("a.jsonl"), dir.path().join("a.rt"));
    // All share block 1, a template. The second goes on where the first ended, inside block 3; the third is somebody else's.
    let blocks = ["1, 2, 3", "1, 2, 4, 5", "1, 6, 7", "1, 8"];
    let mut lines = String::new();
    for (number, ids) in blocks.iter().enumerate() {
        let tokens = ids.split(',').count() * 512 - 100;
        lines += &format!(
            "{{\"timestamp\": {number}, \"input_length\": {tokens}, \"output_length\": 10, \"hash_ids\": [{ids}]}}\n"
        );
    }
    std::fs::write(&rows, lines).unwrap();
    let (rows, trace) = (rows.to_str().unwrap(), trace.to_str().unwrap());
    stdout_of(["import", "mooncake", rows, "-o", trace]);
    let text = stdout_of(["audit", trace]);
    assert!(
        text.contains("1 prompts go on where an earlier one ended"),
        "{text}"
    );
    // Nothing was recorded here, so nothing can be recorded otherwise.
    assert!(!text.contains("mend: record with --"), "{text}");
}

#[test]
fn an_audit_is_a_document_too() {
    let dir = tempfile::tempdir().unwrap();
    let trace = imported(dir.path());
    let text = stdout_of(["audit", "--json", trace.to_str().unwrap()]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["schema"], "reenact.audit/1");
    assert_eq!(document["exchanges"], 101);
    assert_eq!(document["request_shapes"]["smallest"], 1);
    assert_eq!(document["exact_shapes"]["unique"], 1);
    let findings = document["findings"].as_array().unwrap();
    assert!(
        findings
            .iter()
            .any(|finding| finding["kind"] == "singling out")
    );
}
