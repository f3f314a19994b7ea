//! Work that falls into parts that need nothing of each other, on every core.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

/// What `work` makes of each of the parts, in their order. A part is made when a thread is there for it. The threads have the priority of the
/// one that asks.
pub(super) fn each<T, R: Send>(
    parts: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    on(cores, parts, work)
}

fn on<T, R: Send>(
    threads: usize,
    parts: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    // No more threads than parts, where it is known how many these are.
    let threads = threads.min(parts.size_hint().1.unwrap_or(usize::MAX));
    let parts = Mutex::new(parts.enumerate());
    let (done, made) = mpsc::channel();
    let next = || {
        let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.next()
    };
    let all = |done: mpsc::Sender<(usize, R)>| {
        while let Some((place, part)) = next() {
            // It is taken below.
            let _ = done.send((place, work(part)));
        }
    };
    thread::scope(|scope| {
        let all = &all;
        for _ in 1..threads {
            let done = done.clone();
            // Where there is no room for another thread, the others do its work.
            let _ = thread::Builder::new()
                .name(THREAD.to_owned())
                .spawn_scoped(scope, move || all(done));
        }
        all(done);
    });
    let mut made: Vec<(usize, R)> = made.into_iter().collect();
    made.sort_unstable_by_key(|&(place, _)| place);
    made.into_iter().map(|(_, one)| one).collect()
}

const THREAD: &str = "reenact-compare";

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Condvar;
    use std::time::Duration;

    #[test]
    fn parts_are_worked_on_at_once_and_come_back_in_their_order() {
        let (there, came) = (Mutex::new(0), Condvar::new());
        let made = on(2, [1, 2].into_iter(), |part| {
            // Nobody gets on before the other is there, too.
            let mut there = there.lock().unwrap();
            *there += 1;
            came.notify_all();
            let alone = |there: &mut i32| *there < 2;
            let long = Duration::from_secs(60);
            let waited = came.wait_timeout_while(there, long, alone).unwrap();
            (part * 10, waited.1.timed_out())
        });
        assert_eq!(made, [(10, false), (20, false)]);
        assert_eq!(on(8, [3, 2, 1].into_iter(), |part| part), [3, 2, 1]);
        assert!(each(std::iter::empty::<u8>(), |part| part).is_empty());
    }
}
