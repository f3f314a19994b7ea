//! What makes the recorder a daemon: signals and the drain, the service manager, the admin endpoint, the sandbox, memory, `--check`.

pub(super) mod admin;
pub(super) mod check;
pub(super) mod notify;
pub(super) mod pages;
pub(super) mod pause;
pub(super) mod pulse;
pub(super) mod sandbox;
pub(super) mod signals;
