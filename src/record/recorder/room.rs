use crate::net::open_files;
use crate::record::options::Options;

/// How many clients are taken: as many as were asked for, and as there is room for.
pub(super) fn most_clients(options: &Options) -> usize {
    let asked = options.placement.max_connections;
    let room = room_for(open_files::limit(), options.threads.max(1));
    if room < asked {
        tracing::warn!(
            max_connections = asked,
            room,
            "the limit on open files (ulimit -n, LimitNOFILE=) has room for fewer clients"
        );
    }
    asked.min(room)
}

/// How many clients `descriptors` have room for, each with a connection to its upstream. One more would wait unheard in the
/// listener's queue; known beforehand, it can be told.
fn room_for(descriptors: Option<u64>, threads: usize) -> usize {
    let limit = descriptors.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    // What the recorder itself has open: listeners, trace file, admin clients, and what each thread's runtime needs.
    let own = 64 + 8 * threads;
    limit.saturating_sub(own) / 2
}
