//! What passed over WebSockets, in words.

use crate::measure::traffic::WebSockets;

/// `2 with 15 frames from clients and 44 from servers (41 below 1 KiB, 3 from 2 KiB)`
pub(super) fn in_a_line(websockets: &WebSockets) -> String {
    let sizes: Vec<_> = sizes(websockets)
        .map(|(size, frames)| format!("{frames} {size}"))
        .collect();
    let sizes = match sizes.is_empty() {
        true => String::new(),
        false => format!(" ({})", sizes.join(", ")),
    };
    format!(
        "{} with {} frames from clients and {} from servers{sizes}",
        websockets.exchanges, websockets.frames_sent, websockets.frames_came
    )
}

/// About how large the servers' frames are, and how many are.
pub(super) fn sizes(websockets: &WebSockets) -> impl Iterator<Item = (String, u64)> {
    let sizes = websockets.came_sizes.iter();
    sizes.map(|&(least_bytes, frames)| (size(least_bytes), frames))
}

/// Where a bucket of sizes begins, in the largest unit: each is the double of the one before.
fn size(least_bytes: u64) -> String {
    let Some(bits) = least_bytes.checked_ilog2() else {
        return "below 1 KiB".to_owned();
    };
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = units.get(bits as usize / 10).copied().unwrap_or("EiB");
    format!("from {} {unit}", 1_u64 << (bits % 10))
}
