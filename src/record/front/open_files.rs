use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process open as many files as it may: the usual limit of 1,024 is kept for programs that use `select(2)`, and each
/// client takes two.
pub(in crate::record) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // Not fatal: fewer clients fit then, which `clients` tells.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

/// How many clients the limit on open files has room for, each with a connection to its upstream. One more would wait
/// unheard in the listener's queue; known beforehand, it can be told.
pub(in crate::record) fn clients(threads: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    limit.saturating_sub(own(threads)) / 2
}

/// What the recorder itself has open: listeners, trace file, admin clients, and what each thread's runtime needs.
fn own(threads: usize) -> usize {
    64 + 8 * threads
}
