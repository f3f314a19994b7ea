use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use age::secrecy::ExposeSecret;

use super::support::{self, RECORD, Server, python, reenact};
use super::{ask, private};

/// A directory with a sealed trace of two exchanges in it, and the identity's file.
fn recorded(dir: &Path, arguments: impl FnOnce(&str, &mut Command)) -> (PathBuf, PathBuf) {
    let identity = age::x25519::Identity::generate();
    let path = dir.join("identity");
    private(&path, identity.to_string().expose_secret());
    let traces = dir.join("traces");
    let sim = Server::sim(&["--profile", "null"]);
    let mut command = reenact(RECORD);
    command
        .args(["--upstream", &sim.url])
        .arg("--trace-dir")
        .arg(&traces);
    arguments(&identity.to_public().to_string(), &mut command);
    let recorder = Server::launch(&mut command);
    ask(&recorder.url, "m", "one");
    ask(&recorder.url, "m", "two");
    let (status, log) = recorder.terminate();
    assert!(status.success(), "{log}");
    (traces, path)
}

#[test]
fn a_sealed_recording_is_read_with_its_identity_by_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let (traces, identity) = recorded(dir.path(), |recipient, command| {
        command.args(["--encrypt-to", recipient]);
    });
    let file = traces.join("trace-000001.rt.age");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    for command in ["inspect", "audit"] {
        let locked = reenact([command]).arg(&traces).output().unwrap();
        let error = String::from_utf8(locked.stderr).unwrap();
        assert_eq!(locked.status.code(), Some(1), "{error}");
        assert!(error.contains("sealed to age recipients"), "{error}");
        assert!(
            error.contains("hint: name the identity's file with --identity"),
            "{error}"
        );
        let by_flag = reenact([command, "--json", "--identity"])
            .arg(&identity)
            .arg(&traces)
            .output()
            .unwrap();
        let document: serde_json::Value = serde_json::from_slice(&by_flag.stdout).unwrap();
        assert_eq!(document["exchanges"], 2);
        let by_environment = reenact([command, "--json"])
            .env("REENACT_IDENTITY", &identity)
            .arg(&traces)
            .output()
            .unwrap();
        assert_eq!(by_environment.stdout, by_flag.stdout);
    }
    let policy = reenact(["inspect", "--policy"])
        .arg(&traces)
        .output()
        .unwrap();
    let policy = String::from_utf8(policy.stdout).unwrap();
    assert!(policy.contains("sealed to age recipients"), "{policy}");

    let other = dir.path().join("other");
    private(
        &other,
        age::x25519::Identity::generate()
            .to_string()
            .expose_secret(),
    );
    let wrong = reenact(["inspect", "--identity"])
        .arg(other)
        .arg(&traces)
        .output()
        .unwrap();
    let error = String::from_utf8(wrong.stderr).unwrap();
    assert!(
        error.contains("not to any of the identities given"),
        "{error}"
    );
}

#[test]
fn recipients_come_from_a_file_too_and_each_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let second = age::x25519::Identity::generate();
    let (traces, first) = recorded(dir.path(), |recipient, command| {
        let path = dir.path().join("recipients");
        let text = format!("# the team\n{recipient}\n\n{}\n", second.to_public());
        std::fs::write(&path, text).unwrap();
        command.arg("--recipients-file").arg(path);
    });
    let path = dir.path().join("second");
    private(&path, second.to_string().expose_secret());
    for identity in [first, path] {
        let read = reenact(["inspect", "--exchanges", "--identity"])
            .arg(identity)
            .arg(&traces)
            .output()
            .unwrap();
        assert_eq!(read.stdout.split(|&byte| byte == b'\n').count(), 3);
    }
}

#[test]
fn the_age_tool_opens_the_envelope() {
    #[derive(serde::Deserialize)]
    struct Header {
        envelope: Envelope,
    }
    #[derive(serde::Deserialize)]
    struct Envelope {
        #[serde(with = "serde_bytes")]
        age: Vec<u8>,
    }
    if Command::new("age").arg("--version").output().is_err() {
        return support::skipped("there is no age here");
    }
    let dir = tempfile::tempdir().unwrap();
    let (traces, identity) = recorded(dir.path(), |recipient, command| {
        command.args(["--encrypt-to", recipient]);
    });
    let bytes = std::fs::read(traces.join("trace-000001.rt.age")).unwrap();
    let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let header: Header = rmp_serde::from_slice(&bytes[16..16 + length]).unwrap();
    let mut tool = Command::new("age")
        .arg("--decrypt")
        .arg("--identity")
        .arg(identity)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin
        .take()
        .unwrap()
        .write_all(&header.envelope.age)
        .unwrap();
    let output = tool.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout.len(), 32, "the key of the file");
}

#[test]
fn a_reader_written_from_the_document_alone_opens_the_golden_files() {
    if Command::new("age").arg("--version").output().is_err() {
        return support::skipped("there is no age here");
    }
    let fixture = |name: &str| {
        let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/traces");
        traces.join(name)
    };
    let script = |name: &str, arguments: &[&Path]| {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trace_python_reader");
        let mut command = python();
        let output = command.arg(scripts.join(name)).args(arguments).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    for end in ["", "-unfinished"] {
        let sealed = fixture(&format!("golden-1.1-sealed{end}.rt.age"));
        let opened = dir.path().join(format!("opened{end}.rt"));
        let identity = fixture("golden-1.1-sealed.identity");
        script("unseal.py", &[&sealed, &identity, &opened]);
        let read = script("read_trace.py", &[&opened]);
        let clear = fixture(&format!("golden-1.1{end}.rt"));
        assert_eq!(read, script("read_trace.py", &[&clear]), "{end}");
        assert!(read.lines().count() > 5, "{read}");
        // Still sealed, they do not read.
        assert_eq!(script("read_trace.py", &[&sealed]).trim(), "");
    }
}
