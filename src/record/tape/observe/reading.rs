//! Calls into the dialects. A panic in one costs the shape of one exchange, and its message, which might quote the body, is
//! never printed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::record::mirror::{MEASURE_THREAD, MIRROR_THREAD};

/// The observer's name, by which the panic hook knows it.
pub(super) const OBSERVER_THREAD: &str = "reenact-observe";

/// What was asked of a dialect, or that it panicked.
pub(super) fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| Panicked)
}

/// What is made of each, of `most` at most. One on which that panics is left out, and costs the others nothing.
pub(super) fn guarded_each<I, T>(
    of: impl Iterator<Item = I>,
    most: usize,
    mut make: impl FnMut(I) -> Option<T>,
) -> Vec<T> {
    of.filter_map(|one| guarded(|| make(one)).ok().flatten())
        .take(most)
        .collect()
}

/// Stands in for the bug that no input is known to provoke: what is named after it makes its reader panic. No text that a test draws at
/// random has a hyphen.
#[cfg(test)]
pub(super) fn trip_over(bytes: &[u8]) {
    assert!(
        memchr::memmem::find(bytes, b"TRIP-UP").is_none(),
        "tripped over a secret"
    );
}

#[cfg(not(test))]
pub(super) fn trip_over(_: &[u8]) {}

/// A dialect panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

/// Panics of the observer's thread, and of a mirror's, say where, and nothing else.
pub(super) fn hide_panic_messages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if matches!(
                std::thread::current().name(),
                Some(OBSERVER_THREAD | MIRROR_THREAD | MEASURE_THREAD)
            ) {
                let (file, line) = info
                    .location()
                    .map_or(("", 0), |place| (place.file(), place.line()));
                tracing::error!(
                    file,
                    line,
                    "reading an exchange failed; it is not recorded, or not measured"
                );
            } else {
                usual(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_panic_costs_one() {
        let made = |most| {
            let one = |it| match it {
                2 => panic!("a bug"),
                3 => None,
                it => Some(it),
            };
            guarded_each(1..8, most, one)
        };
        assert_eq!(made(9), [1, 4, 5, 6, 7]);
        assert_eq!(made(2), [1, 4]);
        assert!(made(0).is_empty());
    }

    #[test]
    fn a_panic_is_an_answer() {
        assert_eq!(guarded(|| 3), Ok(3));
        let panicked = std::thread::Builder::new()
            .name(OBSERVER_THREAD.to_owned())
            .spawn(|| {
                hide_panic_messages();
                guarded(|| panic!("a secret"))
            })
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(panicked, Err(Panicked));
    }
}
