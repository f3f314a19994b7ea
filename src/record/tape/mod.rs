//! Everything behind the tap: what passes is noted, queued within one bound on memory, observed, anonymised and written; what is
//! lost on the way is counted.

pub(super) mod accounts;
pub(super) mod buffers;
pub(super) mod capture;
pub(super) mod current_file;
mod frames;
pub(super) mod ledger;
pub(super) mod metrics;
pub(super) mod observe;
pub(super) mod parcel;
pub(super) mod passage;
pub(super) mod session_headers;
pub(super) mod tap;
pub(super) mod unheard;
pub(super) mod uploads;
pub(super) mod write;
