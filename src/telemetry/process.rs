use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What this machine (`/proc`) says of the processes that the driver lists.
pub(super) struct Processes {
    proc: PathBuf,
}

impl Processes {
    /// `None` where they are not numbered as the driver numbers them: in a container that has numbers of its own, the same number is
    /// somebody else.
    pub(super) fn as_the_driver_counts() -> Option<Self> {
        let proc = PathBuf::from("/proc");
        let space = fs::read_link(proc.join("self/ns/pid")).ok()?;
        (space == Path::new(FIRST_SPACE)).then_some(Self { proc })
    }

    pub(super) fn name(&self, pid: u32) -> Option<String> {
        let name = fs::read_to_string(self.of(pid).join("comm")).ok()?;
        Some(name.trim_end().to_owned())
    }

    /// The processes that listen on a port of this machine, as far as they may be looked at.
    pub(super) fn listening_on(&self, port: u16) -> BTreeSet<u32> {
        let sockets: BTreeSet<String> = ["net/tcp", "net/tcp6"]
            .iter()
            .filter_map(|table| fs::read_to_string(self.proc.join(table)).ok())
            .flat_map(|table| {
                let listening = table.lines().filter_map(|line| listens_on(line, port));
                listening.collect::<Vec<_>>()
            })
            .collect();
        let all = fs::read_dir(&self.proc).into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| self.has_any(pid, &sockets)).collect()
    }

    /// Whether a process is one of these, or was begun by one, or by one that was.
    pub(super) fn descends(&self, pid: u32, from: &BTreeSet<u32>) -> bool {
        let line = std::iter::successors(Some(pid), |&pid| self.parent(pid));
        line.take(MOST_GENERATIONS).any(|pid| from.contains(&pid))
    }

    fn of(&self, pid: u32) -> PathBuf {
        self.proc.join(pid.to_string())
    }

    fn has_any(&self, pid: u32, sockets: &BTreeSet<String>) -> bool {
        let open = fs::read_dir(self.of(pid).join("fd")).into_iter().flatten();
        let open = open
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok());
        open.map(PathBuf::into_os_string)
            .filter_map(|file| file.into_string().ok())
            .any(|file| sockets.contains(&file))
    }

    fn parent(&self, pid: u32) -> Option<u32> {
        let stat = fs::read_to_string(self.of(pid).join("stat")).ok()?;
        // A name may hold spaces and brackets; behind the last one stand the state and the parent (proc_pid_stat(5)).
        let (_, behind) = stat.rsplit_once(')')?;
        behind.split_whitespace().nth(1)?.parse().ok()
    }
}

/// What an open file that is this line's socket is called, if it listens on the port (proc_net(5): the local address, the state and the
/// inode are the second, fourth and tenth field).
fn listens_on(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local) = fields.get(1)?.rsplit_once(':')?;
    let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(local, 16) == Ok(port);
    let inode = fields.get(9)?;
    listens.then(|| format!("socket:[{inode}]"))
}

/// The space of process ids that the driver lives in (`PROC_PID_INIT_INO` in the kernel's proc_ns.h).
const FIRST_SPACE: &str = "pid:[4026531836]";
const LISTEN: &str = "0A";
/// A line that goes in a circle must end: processes come and go while it is read.
const MOST_GENERATIONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// A `/proc` in which 10 listens on port 8000, 11 is its child, 12 the child's, 20 has a connection from that port, and 21 is of nobody.
    fn machine() -> (tempfile::TempDir, Processes) {
        let dir = tempfile::tempdir().unwrap();
        let proc = dir.path().to_owned();
        let row = |port: &str, state: &str, inode: u32| {
            format!(
                "   0: 0100007F:{port} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0\n"
            )
        };
        fs::create_dir(proc.join("net")).unwrap();
        fs::write(
            proc.join("net/tcp"),
            format!(
                "  sl  local_address rem_address   st tx_queue\n{}{}{}",
                row("1F40", LISTEN, 7),
                row("1F40", "01", 8),
                row("1F41", LISTEN, 9)
            ),
        )
        .unwrap();
        for (pid, parent, name, socket) in [
            (10, 1, "vllm serve", "socket:[7]"),
            (11, 10, "odd) S 99 (", "/dev/null"),
            (12, 11, "engine", "/dev/null"),
            (20, 1, "client", "socket:[8]"),
            (21, 1, "other", "socket:[9]"),
        ] {
            let at = proc.join(pid.to_string());
            fs::create_dir_all(at.join("fd")).unwrap();
            std::os::unix::fs::symlink(socket, at.join("fd/3")).unwrap();
            fs::write(at.join("comm"), format!("{name}\n")).unwrap();
            fs::write(
                at.join("stat"),
                format!("{pid} ({name}) S {parent} 1 1 0\n"),
            )
            .unwrap();
        }
        (dir, Processes { proc })
    }

    #[test]
    fn a_servers_processes_are_those_that_listen_and_what_they_began() {
        let (_dir, processes) = machine();
        let listening = processes.listening_on(8_000);
        assert_eq!(listening, BTreeSet::from([10]));
        let its: Vec<u32> = [10, 11, 12, 20, 21, 99]
            .into_iter()
            .filter(|&pid| processes.descends(pid, &listening))
            .collect();
        assert_eq!(its, [10, 11, 12]);
        assert_eq!(processes.name(10).as_deref(), Some("vllm serve"));
        assert_eq!(processes.name(99), None);
        assert!(processes.listening_on(8_002).is_empty());
    }
}
