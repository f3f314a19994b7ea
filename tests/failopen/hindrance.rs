//! Troubles for a recorder that begin and end when a test says so: a library preloaded into it, and mounts of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::support::{PATIENCE, RECORD, Server, reenact, skipped};

/// The preloaded library and the directory by which it is told what to do.
pub struct Hindrance {
    dir: tempfile::TempDir,
}

impl Hindrance {
    pub fn build() -> Self {
        let hindrance = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(hindrance.library())
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/failopen/hindrance.c"
            ))
            .status()
            .unwrap();
        assert!(status.success());
        hindrance
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("hindrance.so")
    }

    /// A recorder that can be hindered.
    pub fn recorder(&self, upstream: &str, dir: &Path, args: &[&str]) -> Server {
        Server::launch(
            record(reenact([""; 0]), upstream, dir, args)
                .env("LD_PRELOAD", self.library())
                .env("HINDRANCE", self.dir.path()),
        )
    }

    pub fn begin(&self, trouble: &str) {
        self.tell(trouble, "");
    }

    /// As `begin`, with what the trouble needs to know.
    pub fn tell(&self, trouble: &str, word: &str) {
        let draft = self.dir.path().join("draft");
        std::fs::write(&draft, word).unwrap();
        std::fs::rename(draft, self.dir.path().join(trouble)).unwrap();
    }

    pub fn end(&self, trouble: &str) {
        std::fs::remove_file(self.dir.path().join(trouble)).unwrap();
    }

    /// Makes the observer's thread stand still.
    pub fn hold_observer(&self) {
        self.begin("hold");
        let held = self.dir.path().join("held");
        let deadline = Instant::now() + PATIENCE;
        while !held.exists() {
            assert!(Instant::now() < deadline, "the observer does not stop");
            std::thread::yield_now();
        }
    }

    pub fn release_observer(&self) {
        self.end("hold");
        self.end("held");
    }
}

/// Completes a command line with the arguments of a recorder.
fn record(mut command: Command, upstream: &str, dir: &Path, args: &[&str]) -> Command {
    command
        .args(RECORD)
        .args(["--upstream", upstream])
        .arg("--trace-dir")
        .arg(dir)
        .args(args);
    command
}

/// A place where the recorder alone sees what is mounted.
pub struct Mounts {
    recorder: u32,
    as_root: bool,
}

impl Mounts {
    /// A recorder that sees mounts of its own, beginning with `first` (a shell command); `None` where the system lets nobody
    /// mount anything.
    pub fn recorder(first: &str, upstream: &str, dir: &Path) -> Option<(Server, Self)> {
        let as_root = rustix::process::geteuid().is_root();
        let flags = if as_root { "-m" } else { "-rm" };
        let allowed = Command::new("unshare")
            .args([flags, "mount", "-t", "tmpfs", "none", "/mnt"])
            .stderr(Stdio::null())
            .status();
        if !allowed.is_ok_and(|status| status.success()) {
            skipped("mounting needs root or user namespaces");
            return None;
        }
        let mut command = Command::new("unshare");
        command
            .args([flags, "sh", "-c"])
            .arg(format!("{first} && exec \"$@\""))
            .args(["sh", env!("CARGO_BIN_EXE_reenact")])
            .env_remove("RUST_LOG")
            .env("NO_COLOR", "1");
        let recorder = Server::launch(&mut record(command, upstream, dir, &[]));
        let pid = recorder.pid();
        Some((
            recorder,
            Self {
                recorder: pid,
                as_root,
            },
        ))
    }

    /// A path as the recorder sees it.
    pub fn path(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.recorder));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// Runs a command among the recorder's mounts.
    pub fn run(&self, command: &[&str]) {
        let pid = self.recorder.to_string();
        let mut enter = Command::new("nsenter");
        enter.args(["-t", &pid, "-m"]);
        if !self.as_root {
            enter.args(["-U", "--preserve-credentials"]);
        }
        let status = enter.args(command).status().unwrap();
        assert!(status.success(), "{command:?}");
    }
}
