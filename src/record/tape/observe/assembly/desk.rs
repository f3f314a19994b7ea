use std::sync::Arc;

use crate::record::tape::capture::Capture;

/// What assemblies share: the recorder's bounds, and room to put a body together in, used again as large ones need fresh pages
/// of the system otherwise.
pub(in crate::record::tape::observe) struct Desk {
    pub(in crate::record::tape::observe) capture: Arc<Capture>,
    /// Whether gaps are kept one by one.
    pub(super) every_gap: bool,
    pub(super) spare: Vec<u8>,
}

impl Desk {
    pub(in crate::record::tape::observe) fn new(capture: Arc<Capture>, every_gap: bool) -> Self {
        Self {
            capture,
            every_gap,
            spare: Vec::new(),
        }
    }

    /// Keeps a body's room, within what there is for it.
    pub(super) fn put_back(&mut self, mut body: Vec<u8>) {
        if body.capacity() > self.spare.capacity()
            && body.capacity() as u64 <= self.capture.body_bytes
        {
            // What was said is not kept longer than it is needed.
            body.fill(0);
            body.clear();
            self.spare = body;
        }
    }
}
