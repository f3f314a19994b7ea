//! Which of the exchanges that a file holds as in flight a block tells of: numbers as steps from the one before.

use super::OpeningsOf;
use super::columns::ColumnNumbers;
use crate::trace::varint::{Malformed, Numbers, put, unzigzag, zigzag};

/// 0 for none, else one more than the step from the opening before.
pub(super) fn put_opening(out: &mut Vec<u8>, opening: Option<u32>, before: &mut u32) {
    put(
        out,
        opening.map_or(0, |number| {
            let step = i64::from(number) - i64::from(*before);
            *before = number;
            zigzag(step) + 1
        }),
    );
}

/// Numbers of those that will not be in the file as ended.
pub(super) fn gone_as_bytes(numbers: &[u32]) -> Vec<u8> {
    let mut gone = Vec::new();
    let mut before = 0;
    for &number in numbers {
        put(&mut gone, zigzag(i64::from(number) - before));
        before = number.into();
    }
    gone
}

/// Reads the openings of a block of `count` exchanges, and of those that are gone.
pub(super) fn read_openings(
    columns: &mut ColumnNumbers<'_>,
    count: u32,
    gone: &[u8],
) -> Result<OpeningsOf, Malformed> {
    let step = |before: &mut i64, step: u64| {
        *before = before.wrapping_add(unzigzag(step));
        u32::try_from(*before).map_err(|_| Malformed("an opening is out of range"))
    };
    let mut exchanges = Vec::new();
    let mut before = 0;
    for _ in 0..count {
        let told = columns.opening.next()?.checked_sub(1);
        exchanges.push(told.map(|told| step(&mut before, told)).transpose()?);
    }
    let mut numbers = Numbers::new(gone);
    let mut gone = Vec::new();
    before = 0;
    while !numbers.is_empty() {
        gone.push(step(&mut before, numbers.next()?)?);
    }
    Ok(OpeningsOf { exchanges, gone })
}
