use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process open as many files as it may without privileges, and says how many, as [`limit`] does. The usual one of 1,024 is kept for programs that use `select(2)`, which this is not.
pub(crate) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // Not fatal: a refusal leaves the limit as it was, and callers count with what there is.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    self::limit()
}

/// How many files this process may have open; `None` where there is no limit.
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
