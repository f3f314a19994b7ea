use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::record::options::ListenAddr;
use crate::record::{RecordError, listen};

/// Where the admin endpoint listens: an address, or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddr {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A socket file, for this user and group.
    Unix(PathBuf),
}

impl FromStr for AdminAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some("") => Err("a path is missing; write unix:/run/reenact/admin.sock".to_owned()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text
                .parse()
                .map(|ListenAddr(addr)| Self::Tcp(addr))
                .map_err(|error: String| format!("{error}, or unix:PATH")),
        }
    }
}

impl fmt::Display for AdminAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl AdminAddr {
    /// Whether only this machine, or whoever the socket file's permissions let in, can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(addr) => addr.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// A bound socket of the admin endpoint.
pub(in crate::record) enum AdminListener {
    Tcp(StdTcpListener),
    Unix(StdUnixListener, SocketFile),
}

impl AdminListener {
    /// Binds it.
    ///
    /// # Errors
    /// When the address is taken or not ours, or the socket file cannot be made.
    pub(in crate::record) fn bind(addr: &AdminAddr) -> Result<Self, RecordError> {
        match addr {
            AdminAddr::Tcp(addr) => listen::bind(*addr).map(Self::Tcp),
            AdminAddr::Unix(path) => SocketFile::bind(path)
                .map(|(listener, file)| Self::Unix(listener, file))
                .map_err(|source| RecordError::AdminSocket {
                    path: path.clone(),
                    source,
                }),
        }
    }

    /// Where it listens now, port 0 resolved.
    pub(in crate::record) fn local_addr(&self) -> io::Result<AdminAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(AdminAddr::Tcp),
            Self::Unix(_, file) => Ok(AdminAddr::Unix(file.path.clone())),
        }
    }
}

/// A socket's file, removed when dropped if it is still ours.
pub(in crate::record) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    fn bind(path: &Path) -> io::Result<(StdUnixListener, Self)> {
        clear_the_way(path)?;
        let listener = StdUnixListener::bind(path)?;
        // Connecting takes write permission: this user and the group, nobody else.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        listener.set_nonblocking(true)?;
        let inode = std::fs::symlink_metadata(path)?.ino();
        Ok((
            listener,
            Self {
                path: path.to_owned(),
                inode,
            },
        ))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket file of a process that is gone. One that is listened on stays, and so does anything that is no socket.
fn clear_the_way(path: &Path) -> io::Result<()> {
    let left_behind = std::fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.file_type().is_socket())
        && StdUnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if left_behind {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_documented() {
        let tcp: AdminAddr = ":9464".parse().unwrap();
        assert!(!tcp.is_local());
        assert!("[::1]:9464".parse::<AdminAddr>().unwrap().is_local());
        let unix: AdminAddr = "unix:/run/reenact/admin.sock".parse().unwrap();
        assert!(unix.is_local());
        assert_eq!(unix.to_string(), "unix:/run/reenact/admin.sock");
        for bad in ["unix:", "9464"] {
            assert!(bad.parse::<AdminAddr>().unwrap_err().contains("unix:"));
        }
    }

    #[test]
    fn a_dead_sockets_file_gives_way_and_a_live_ones_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let addr = AdminAddr::Unix(path.clone());
        drop(StdUnixListener::bind(&path).unwrap());
        let listener = AdminListener::bind(&addr).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o660
        );
        let error = AdminListener::bind(&addr).err().unwrap();
        assert!(error.to_string().contains("in use"), "{error}");
        drop(listener);
        assert!(!path.exists(), "the file goes with its listener");
        std::fs::write(&path, "precious").unwrap();
        assert!(AdminListener::bind(&addr).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
