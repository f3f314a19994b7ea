use listenfd::ListenFd;

use super::{Listener, PlacementError};

/// Listening sockets that systemd opened for us (`sd_listen_fds(3)`): they outlive a restart, and low ports need no privilege.
pub(in crate::record) struct Inherited {
    descriptors: ListenFd,
    /// Of each that is not taken yet; systemd's own default is the socket unit's name.
    names: Vec<Option<String>>,
}

impl Inherited {
    /// What this process was handed. Only the first call finds it.
    pub(in crate::record) fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let descriptors = ListenFd::from_env();
        let names = (0..descriptors.len())
            .map(|_| Some(names.next().unwrap_or_default().to_owned()))
            .collect();
        Self { descriptors, names }
    }

    /// For a process that asks for none.
    pub(in crate::record) fn none() -> Self {
        Self {
            descriptors: ListenFd::empty(),
            names: Vec::new(),
        }
    }

    /// Takes those of this name, or all that are left.
    pub(super) fn take(&mut self, name: Option<&str>) -> Result<Vec<Listener>, PlacementError> {
        if self.descriptors.len() == 0 {
            return Err(PlacementError::NoneInherited);
        }
        let mut taken = Vec::new();
        for (at, slot) in self.names.iter_mut().enumerate() {
            let wanted = |own: &mut String| name.is_none_or(|name| name == own);
            if let Some(own) = slot.take_if(wanted) {
                taken.push(take(&mut self.descriptors, at, &own)?);
            }
        }
        match (taken.is_empty(), name) {
            (true, Some(name)) => Err(PlacementError::NoSuchInherited {
                name: name.to_owned(),
            }),
            (true, None) => Err(PlacementError::NoneInherited),
            (false, _) => Ok(taken),
        }
    }

    /// The names of those that nobody took.
    pub(in crate::record) fn left(&self) -> impl Iterator<Item = &str> {
        self.names.iter().flatten().map(String::as_str)
    }
}

fn take(descriptors: &mut ListenFd, at: usize, name: &str) -> Result<Listener, PlacementError> {
    let wrong = || PlacementError::NotAListener {
        name: name.to_owned(),
    };
    if let Ok(Some(listener)) = descriptors.take_tcp_listener(at) {
        listener.set_nonblocking(true).map_err(|_| wrong())?;
        return Ok(Listener::Tcp(listener));
    }
    match descriptors.take_unix_listener(at) {
        Ok(Some(listener)) => {
            listener.set_nonblocking(true).map_err(|_| wrong())?;
            Ok(Listener::Unix(listener, None))
        }
        _ => Err(wrong()),
    }
}
