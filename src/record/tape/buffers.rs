use std::sync::{Arc, Mutex};

use bytes::Bytes;

/// Read buffers to use again. The traffic path reads into one, lends what it read to the recorder by reference, and takes
/// another; the last reader gives the first one back. Without this each large read would need fresh pages of the system.
///
/// Nobody waits here: where another thread is at it this instant, a buffer is made anew, or let go.
pub(in crate::record) struct Buffers {
    idle: Mutex<Idle>,
    /// Idle ones that are kept.
    most: usize,
}

#[derive(Default)]
struct Idle {
    /// The latest given is the first taken: it is still in the cache.
    buffers: Vec<Box<[u8]>>,
    /// The fewest that were idle since the last [`Buffers::trim`].
    fewest: usize,
}

impl Buffers {
    /// One read's size at most, and what a reference to any part of one keeps from being used again.
    pub(in crate::record) const SIZE: usize = 32 << 10;

    /// Keeps up to `bytes` of idle ones.
    pub(in crate::record) fn within(bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::default(),
            most: usize::try_from(bytes).unwrap_or(usize::MAX) / Self::SIZE,
        })
    }

    /// A buffer, of no content that matters.
    pub(in crate::record) fn take(&self) -> Box<[u8]> {
        let idle = self.idle.try_lock().ok().and_then(|mut idle| {
            let buffer = idle.buffers.pop();
            idle.fewest = idle.fewest.min(idle.buffers.len());
            buffer
        });
        idle.unwrap_or_else(|| vec![0; Self::SIZE].into_boxed_slice())
    }

    /// The first `len` bytes of a buffer, which comes back here when nobody refers to them any more.
    pub(in crate::record) fn lend(self: &Arc<Self>, buffer: Box<[u8]>, len: usize) -> Bytes {
        let buffers = Arc::clone(self);
        Bytes::from_owner(Lent {
            buffer,
            len,
            buffers,
        })
    }

    /// Lets half of those go that nobody has needed since the last call.
    pub(in crate::record) fn trim(&self) {
        if let Ok(mut idle) = self.idle.try_lock() {
            let keep = idle.buffers.len() - idle.fewest.div_ceil(2);
            idle.buffers.truncate(keep);
            idle.fewest = idle.buffers.len();
        }
    }

    fn give(&self, buffer: Box<[u8]>) {
        if let Ok(mut idle) = self.idle.try_lock()
            && idle.buffers.len() < self.most
        {
            idle.buffers.push(buffer);
        }
    }
}

struct Lent {
    buffer: Box<[u8]>,
    len: usize,
    buffers: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        // What was said is not kept longer than it is needed.
        if let Some(used) = buffer.get_mut(..self.len) {
            used.fill(0);
        }
        self.buffers.give(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(buffers: &Buffers) -> usize {
        buffers.idle.lock().unwrap().buffers.len()
    }

    #[test]
    fn a_buffer_comes_back_empty_when_its_last_reader_is_done() {
        let buffers = Buffers::within(1 << 20);
        let mut buffer = buffers.take();
        buffer[..6].copy_from_slice(b"secret");
        let place = buffer.as_ptr();
        let lent = buffers.lend(buffer, 6);
        let part = lent.slice(2..4);
        drop(lent);
        assert_eq!((&part[..], idle(&buffers)), (&b"cr"[..], 0));
        drop(part);
        let again = buffers.take();
        assert_eq!(again.as_ptr(), place);
        assert!(again.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn no_more_are_kept_than_are_used() {
        let buffers = Buffers::within(4 * Buffers::SIZE as u64);
        let lend = |count: usize| {
            let all: Vec<_> = (0..count).map(|_| buffers.take()).collect();
            let all: Vec<_> = all.into_iter().map(|one| buffers.lend(one, 1)).collect();
            drop(all);
        };
        lend(9);
        assert_eq!(idle(&buffers), 4);
        buffers.trim(); // They have only just come.
        lend(1);
        buffers.trim(); // Three were idle all along: two go.
        assert_eq!(idle(&buffers), 2);
        for _ in 0..9 {
            buffers.trim();
        }
        assert_eq!(idle(&buffers), 0);
    }
}
