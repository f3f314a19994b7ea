//! A replay as a process.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::account::LOG;
use crate::tether::Tether;

/// One that was started and whose end nobody has seen yet.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: String,
    child: Child,
    /// A replay that outlived its gate would load the target for nobody.
    _tether: Tether,
    pub(super) cancelled: bool,
}

impl Running {
    /// Starts `reenact replay` with `args` and these targets, in a process group of its own: an interrupt at the gate's terminal is the gate's to
    /// pass on. Results and what it says go to `dir`.
    ///
    /// # Errors
    /// When the process or its log cannot be made.
    pub(super) fn start(
        id: String,
        args: &[OsString],
        targets: &[String],
        dir: &Path,
    ) -> io::Result<Self> {
        let log = File::create(dir.join(LOG))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("replay").args(args);
        for target in targets {
            command.arg(format!("--target={target}"));
        }
        let child = command
            .arg("--out")
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()?;
        Ok(Self {
            id,
            _tether: Tether::to(&child),
            child,
            cancelled: false,
        })
    }

    /// Which process it is, for a gate that comes after one that was killed, where the replay could not be tied to it.
    pub(super) fn process(&self) -> Option<Process> {
        Process::of(i32::try_from(self.child.id()).ok()?)
    }

    /// Its exit code, once it has ended: `Some(None)` where a signal ended it.
    pub(super) fn ended(&mut self) -> Option<Option<i32>> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.code()),
            Err(_) => Some(None),
        }
    }

    /// Asks it to end; it still writes what it has measured. Asked twice, it leaves at once.
    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Ends it, at the latest after `patience`.
    pub(super) fn end(&mut self, patience: Duration) -> Option<i32> {
        self.cancel();
        let deadline = Instant::now() + patience;
        loop {
            if let Some(code) = self.ended() {
                return code;
            }
            if Instant::now() >= deadline {
                if let Some(group) = self.pid() {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                let _ = self.child.wait();
                return None;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }
}

/// A process, told from others that may have its number later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pid: i32,
    /// When it began, in ticks of the system's clock.
    began: u64,
}

impl Process {
    fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind its name, which may hold anything, its state and 18 more stand before its start (proc(5)).
        let (_, fields) = stat.rsplit_once(')')?;
        let began = fields.split_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, began })
    }

    /// Ends it, and what it started, if it is still there.
    pub(super) fn end(self) {
        if Self::of(self.pid) == Some(self)
            && let Some(group) = Pid::from_raw(self.pid)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// How often it is asked whether it has ended.
pub(super) const LOOK: Duration = Duration::from_millis(50);
