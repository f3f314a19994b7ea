use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::Listener;
use super::PlacementError;
use crate::net::BACKLOG;

/// Listens on a unix socket. A file that nobody listens on any more, left by a crash, is replaced; one that is in use, or is no
/// socket, is an error.
///
/// The socket is made under another name, given its mode, and renamed: clients find the old one or the new one, never none and never
/// one that they may not open yet.
pub(super) fn bind(path: &Path, mode: u32) -> Result<Listener, PlacementError> {
    let wrong = |source| PlacementError::Socket {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(wrong(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(PlacementError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {
            if UnixStream::connect(path).is_ok_or_busy() {
                return Err(wrong(ErrorKind::AddrInUse.into()));
            }
            tracing::info!(path = %path.display(), "replacing a socket that nobody listens on");
        }
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    let made = listen_as(&fresh, path, mode);
    if made.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    let (listener, file) = made.map_err(wrong)?;
    Ok(Listener::Unix(listener, Some(file)))
}

fn listen_as(fresh: &Path, path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // A name with our own process's number: whatever is there is left from a process that is gone.
    let _ = fs::remove_file(fresh);
    socket.bind(&SockAddr::unix(fresh)?)?;
    fs::set_permissions(fresh, fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    let made = fs::symlink_metadata(fresh)?;
    fs::rename(fresh, path)?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: (made.dev(), made.ino()),
    };
    Ok((UnixListener::from(std::os::fd::OwnedFd::from(socket)), file))
}

trait IsInUse {
    fn is_ok_or_busy(&self) -> bool;
}

impl IsInUse for io::Result<UnixStream> {
    /// Somebody listens, if with a full queue; only a refusal says that nobody does.
    fn is_ok_or_busy(&self) -> bool {
        !matches!(self, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
    }
}

/// A socket's file, removed with this, unless another process has put its own in the place.
pub(in crate::record) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    /// Where it is; the socket itself only knows the name it was made under.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let still_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.inode);
        if still_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reenact.sock");
        (dir, path)
    }

    #[test]
    fn a_socket_has_the_mode_it_was_told_and_goes_with_its_listener() {
        let (dir, path) = path();
        let listener = bind(&path, 0o640).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        UnixStream::connect(&path).unwrap();
        drop(listener);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let (_dir, path) = path();
        drop(UnixListener::bind(&path).unwrap());
        let live = bind(&path, 0o600).unwrap();
        let second = bind(&path, 0o600);
        assert!(
            matches!(second, Err(PlacementError::Socket { source, .. }) if source.kind() == ErrorKind::AddrInUse)
        );
        UnixStream::connect(&path).unwrap();
        drop(live);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let (_dir, path) = path();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            bind(&path, 0o600),
            Err(PlacementError::NotASocket { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_successors_socket_is_not_removed() {
        let (_dir, path) = path();
        let old = bind(&path, 0o600).unwrap();
        fs::remove_file(&path).unwrap();
        let _new = bind(&path, 0o600).unwrap();
        drop(old);
        UnixStream::connect(&path).unwrap();
    }
}
