//! An answer reads the same to the replay wherever it is cut, and ends in one place.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reenact::fuzzing::answer;

fuzz_target!(|input: &[u8]| {
    let Some((bytes, pieces)) = pieces::cut(input) else {
        return;
    };
    let whole = answer(&[bytes]);
    let cut = answer(&pieces);
    // What is wrong may be found in another place where the end of a piece hid it.
    assert_eq!(whole.is_ok(), cut.is_ok(), "{whole:?} {cut:?}");
    let Ok(whole) = whole else { return };
    assert_eq!(Ok(&whole), cut.as_ref());
    assert!(whole.taken <= bytes.len() && whole.data.len() <= whole.taken);
    assert!(whole.over || !whole.keeps);
    if !whole.over {
        return;
    }
    // No part of an answer is one, and nothing behind it changes it.
    let parts = [0, whole.taken / 2, whole.taken - 1];
    for end in parts {
        assert!(answer(&[&bytes[..end]]).is_ok_and(|part| !part.over), "{end}");
    }
    let taken = whole.taken;
    assert_eq!(answer(&[&bytes[..taken]]), Ok(whole));
});
