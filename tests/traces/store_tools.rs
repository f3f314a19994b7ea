//! Commands that read and write traces in a store, over moto's S3.

use std::path::Path;
use std::process::Output;

use super::stores::S3;
use super::support::{Server, exchanges, reenact};
use super::{exchange, header, write};

impl S3 {
    fn output_of(&self, args: &[&str]) -> Output {
        self.with(&mut reenact(args)).output().unwrap()
    }

    /// What it says as it fails.
    fn refusal_of(&self, args: &[&str]) -> String {
        let output = self.output_of(args);
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn local(dir: &Path) -> String {
    let chat = (0..40).map(|at| exchange(at * 1_000, [0, 1, at as u32 + 2]));
    let path = write(&dir.join("a.rt"), &header(1), chat);
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_the_tools_write_may_go_to_a_store_whole_and_never_over_another() {
    let s3 = S3::start();
    let dir = tempfile::tempdir().unwrap();
    let here = local(dir.path());
    let merged = "s3://bucket/out/merged.rt";
    s3.stdout_of(&["trace", "merge", &here, "-o", merged]);
    assert_eq!(s3.keys(), ["out/merged.rt"]);
    s3.stdout_of(&[
        "trace",
        "slice",
        merged,
        "--limit",
        "5",
        "-o",
        "s3://bucket/cut/5.rt",
    ]);
    s3.stdout_of(&[
        "trace",
        "filter",
        merged,
        "--status",
        "200",
        "-o",
        "s3://bucket/cut/f.rt",
    ]);
    s3.stdout_of(&[
        "trace",
        "head",
        merged,
        "-n",
        "2",
        "-o",
        "s3://bucket/cut/h.rt",
    ]);
    s3.stdout_of(&["trace", "repair", merged, "-o", "s3://bucket/cut/r.rt"]);
    s3.stdout_of(&[
        "export",
        "jsonl",
        merged,
        "-o",
        "s3://bucket/out/a.jsonl.zst",
    ]);
    s3.stdout_of(&[
        "export",
        "parquet",
        merged,
        "-o",
        "s3://bucket/out/a.parquet",
    ]);
    let rows = dir.path().join("a.jsonl");
    let rows = rows.to_str().unwrap();
    s3.stdout_of(&["export", "jsonl", merged, "-o", rows]);
    s3.stdout_of(&["import", "jsonl", rows, "-o", "s3://bucket/out/again.rt"]);
    for (url, count) in [
        (merged, 40),
        ("s3://bucket/out/again.rt", 40),
        ("s3://bucket/cut/5.rt", 5),
        ("s3://bucket/cut/f.rt", 40),
        ("s3://bucket/cut/h.rt", 2),
        ("s3://bucket/cut/r.rt", 40),
    ] {
        let told = s3.stdout_of(&["inspect", "--exchanges", url]);
        assert_eq!(told.lines().count(), count, "{url}");
    }
    assert!(s3.ask("GET", "/bucket/out/a.parquet").contains("PAR1"));
    let before = s3.keys();
    let said = s3.refusal_of(&["trace", "slice", &here, "--limit", "1", "-o", merged]);
    assert!(
        said.contains("s3://bucket/out/merged.rt: there is a file of that name already")
            && said.contains("hint: remove it or choose another name"),
        "{said}"
    );
    let said = s3.refusal_of(&["trace", "merge", &here, "-o", "s3://bucket/out/merged"]);
    assert!(
        said.contains("a trace's name ends in .rt") && said.contains("hint: name an object"),
        "{said}"
    );
    let said = s3.refusal_of(&["export", "jsonl", &here, "-o", "s3://bucket"]);
    assert!(said.contains("it names no object"), "{said}");
    // Of a command that fails midway nothing is there.
    std::fs::write(rows, "{\"at_us\":0,").unwrap();
    s3.refusal_of(&["import", "jsonl", rows, "-o", "s3://bucket/out/broken.rt"]);
    assert_eq!(s3.keys(), before);
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 2, "nothing is left beside the trace and the rows");
}

#[test]
fn a_store_that_is_away_is_told_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let here = local(dir.path());
    let output = reenact(["trace", "merge", &here, "-o", "s3://bucket/a.rt"])
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("error: s3://bucket/a.rt: ") && said.contains("hint: credentials"),
        "{said}"
    );
}

#[test]
fn a_trace_is_replayed_from_a_store() {
    let s3 = S3::start();
    let dir = tempfile::tempdir().unwrap();
    let here = local(dir.path());
    s3.stdout_of(&["trace", "merge", &here, "-o", "s3://bucket/day/one.rt"]);
    let sim = Server::sim(&[]);
    let out = dir.path().join("result");
    let args = ["replay", "s3://bucket/day", "--target", &sim.url, "--out"];
    let mut command = reenact(args);
    let output = s3.with(command.arg(&out)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Whether so few requests make a valid measurement is not asked here.
    assert!(out.join("result.json").exists(), "{said}");
    let result = std::fs::read(out.join("result.json")).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&result).unwrap();
    assert_eq!(result["trace"]["files"][0], "s3://bucket/day/one.rt");
    let target = result["targets"]
        .as_array()
        .unwrap()
        .iter()
        .find(|target| target["name"] != "recorded")
        .unwrap();
    assert_eq!(target["requests"]["ok"], 40, "{said}");
    let told = s3.stdout_of(&["audit", "s3://bucket/day", "--json"]);
    assert!(told.contains("exchanges"), "{told}");
}

#[test]
fn files_that_were_not_recorded_alike_are_not_read_as_one() {
    let dir = tempfile::tempdir().unwrap();
    local(dir.path());
    let sampled = reenact::trace::Header {
        sample_ppm: 100_000,
        ..header(2)
    };
    write(&dir.path().join("b.rt"), &sampled, [exchange(0, [])]);
    let both = dir.path().to_str().unwrap();
    for command in [
        &["inspect", both][..],
        &[
            "replay",
            both,
            "--target",
            "http://127.0.0.1:9",
            "--dry-run",
        ],
    ] {
        let output = reenact(command).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(
                "b.rt: another share of the conversations was sampled than in the files before it"
            ) && said.contains("hint: "),
            "{said}"
        );
    }
    // They are apart from each other what they were.
    assert_eq!(exchanges(&dir.path().join("b.rt")).len(), 1);
}
