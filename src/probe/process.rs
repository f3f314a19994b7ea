//! A program that is run to its end, or to the end of patience.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::tether::Tether;

/// What a program came to.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// What it printed.
    pub(super) printed: String,
    /// The end of what it complained; empty where it did not.
    pub(super) complained: String,
}

impl Ended {
    /// What came of it, with what it complained, where it did.
    pub(super) fn told(&self, what: &str) -> String {
        match self.complained.as_str() {
            "" => what.to_owned(),
            complained => format!("{what}: {complained}"),
        }
    }
}

/// Why there is no end to tell of.
#[derive(Debug)]
pub(super) enum Unended {
    /// It could not be started.
    Unstarted(io::Error),
    /// It took longer than that, and was ended with all that it had started.
    Hung(Duration),
    /// It printed more than anyone reads.
    Flooded,
    /// Nobody waits for it any more.
    GivenUp,
    /// Nobody knows.
    Lost(io::Error),
}

impl Unended {
    /// In words, for `evaluator`.
    pub(super) fn told(&self, evaluator: &str) -> String {
        match self {
            Self::Unstarted(error) | Self::Lost(error) => format!("{evaluator}: {error}"),
            Self::Hung(after) => format!(
                "{evaluator}: no end after {after:?}, so it was ended; --probe-timeout gives it more time"
            ),
            Self::Flooded => format!(
                "{evaluator}: it printed more than {} MiB, so it was ended",
                MOST >> 20
            ),
            Self::GivenUp => format!("{evaluator}: ended, since the replay was stopped"),
        }
    }
}

/// Runs it, with no input and in a group of its own, so that what it starts ends with it: also what it leaves behind when it has ended by
/// itself, which would go on to ask the target. It ends with this process, too, however that ends.
pub(super) fn run(
    command: &mut Command,
    patience: Duration,
    give_up: &dyn Fn() -> bool,
) -> Result<Ended, Unended> {
    // Into files: a pipe that nobody reads would stop it when full.
    let mut printed = tempfile::tempfile().map_err(Unended::Lost)?;
    let mut complained = tempfile::tempfile().map_err(Unended::Lost)?;
    let stream = |file: &File| file.try_clone().map(Stdio::from).map_err(Unended::Lost);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stream(&printed)?)
        .stderr(stream(&complained)?)
        .process_group(0)
        .spawn()
        .map_err(Unended::Unstarted)?;
    let _tether = Tether::to(&child);
    let deadline = Instant::now().checked_add(patience);
    let ended = loop {
        match has_ended(&child) {
            Ok(true) => break Ok(()),
            Ok(false) if give_up() => break Err(Unended::GivenUp),
            Ok(false) if is_flood(&printed) || is_flood(&complained) => {
                break Err(Unended::Flooded);
            }
            Ok(false) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                std::thread::sleep(LOOK);
            }
            Ok(false) => break Err(Unended::Hung(patience)),
            Err(error) => break Err(Unended::Lost(error)),
        }
    };
    let status = end(&mut child, ended.is_ok());
    ended?;
    let status = status.map_err(Unended::Lost)?;
    if is_flood(&printed) {
        return Err(Unended::Flooded);
    }
    Ok(Ended {
        status,
        printed: whole(&mut printed).map_err(Unended::Lost)?,
        complained: last_lines(&mut complained).map_err(Unended::Lost)?,
    })
}

/// Whether it has ended. It is left as it is, so that its number, and its group's, are nobody else's yet.
fn has_ended(child: &Child) -> io::Result<bool> {
    let Some(pid) = pid(child) else {
        return Ok(true);
    };
    let looking = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(pid), looking) {
        Ok(ended) => Ok(ended.is_some()),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Ends what it started, and itself where it has not ended.
fn end(child: &mut Child, has_ended: bool) -> io::Result<ExitStatus> {
    if let Some(group) = pid(child) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    if !has_ended {
        let _ = child.kill();
    }
    child.wait()
}

fn is_flood(file: &File) -> bool {
    file.metadata().is_ok_and(|it| it.len() > MOST)
}

fn whole(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last words, for a message: evaluators say at their end what went wrong.
fn last_lines(file: &mut File) -> io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(LAST)))?;
    let mut bytes = Vec::new();
    file.take(LAST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let from = lines.len().saturating_sub(3);
    Ok(lines.get(from..).unwrap_or_default().join(" / "))
}

/// How often it is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// So much may it print; beyond, it would fill the disk.
const MOST: u64 = 64 << 20;
const LAST: u64 = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    }

    /// Holds that the process whose number stands in the file is gone, or a zombie until someone looks after it.
    fn is_gone(pid: &std::path::Path) {
        let child = std::fs::read_to_string(pid).unwrap();
        // A signal is delivered when its receiver runs next.
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
            if state.map_or(true, |state| state.contains(") Z ")) {
                return;
            }
            assert!(Instant::now() < deadline, "it goes on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_it_says_and_how_it_ends_is_told() {
        let ended = run(
            &mut shell("echo out; echo a >&2; echo b >&2; exit 3"),
            Duration::from_secs(60),
            &|| false,
        );
        let ended = ended.ok().unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(
            (ended.printed.as_str(), ended.complained.as_str()),
            ("out\n", "a / b")
        );
    }

    #[test]
    fn one_that_hangs_is_ended_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let line = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let began = Instant::now();
        let hung = run(&mut shell(&line), Duration::from_millis(500), &|| false);
        assert!(matches!(hung, Err(Unended::Hung(_))));
        assert!(began.elapsed() < Duration::from_secs(60));
        is_gone(&pid);
    }

    #[test]
    fn what_it_leaves_behind_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let line = format!("sleep 1000 & echo $! > {}; exit 0", pid.display());
        let ended = run(&mut shell(&line), Duration::from_secs(60), &|| false).ok();
        assert_eq!(ended.unwrap().status.code(), Some(0));
        is_gone(&pid);
    }

    #[test]
    fn one_that_prints_without_end_is_ended() {
        let flooded = run(&mut shell("exec yes"), Duration::from_secs(60), &|| false);
        assert!(matches!(flooded, Err(Unended::Flooded)));
    }

    #[test]
    fn one_that_is_not_there_cannot_be_started() {
        let missing = run(
            &mut Command::new("/nowhere/evaluator"),
            Duration::from_secs(1),
            &|| false,
        );
        assert!(matches!(missing, Err(Unended::Unstarted(_))));
    }

    #[test]
    fn one_that_nobody_waits_for_is_ended() {
        let given_up = run(&mut shell("sleep 1000"), Duration::from_secs(1000), &|| {
            true
        });
        assert!(matches!(given_up, Err(Unended::GivenUp)));
    }
}
