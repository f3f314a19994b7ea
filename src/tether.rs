//! Programs that end with this one, also where it is killed (`kill -9`, out of memory) and can end nothing itself.
//!
//! The kernel's own way, `PR_SET_PDEATHSIG`, is asked for between fork and exec, which takes unsafe code; and it ends one process, not what
//! that has started. So a shell joins the program's group and reads from a pipe whose other end this process alone holds: when it closes, it
//! kills the group. Not reached is what has left the group (`setsid`), and a program whose starter is killed before the shell stands.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Holds on to a program and to what it starts: all of it ends, at the latest, when this is dropped.
#[derive(Debug)]
pub(crate) struct Tether {
    watch: Option<Child>,
}

impl Tether {
    /// Ties a program that leads a process group of its own. Where there is no shell (an image of nothing but a binary), it is not tied.
    pub(crate) fn to(leader: &Child) -> Self {
        let group = i32::try_from(leader.id()).ok();
        let watch = group.and_then(|group| {
            Command::new("sh")
                .args(["-c", WATCH])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(group)
                .spawn()
                .ok()
        });
        Self { watch }
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            drop(watch.stdin.take());
            let _ = watch.wait();
        }
    }
}

/// Scripts clean up after themselves with `kill 0`, which is not meant for it. As long as it stands in the group, the group's number is nobody
/// else's.
const WATCH: &str = "trap '' HUP INT TERM; read -r _; kill -s KILL 0";
