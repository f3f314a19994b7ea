//! How an input says where it is cut.

/// Splits an input into a plan of cuts and what is cut by it. The first byte's low bits say how many bytes the plan has; each is
/// the length of a piece, and they are taken in turn. Without a plan, every byte comes alone.
pub fn cut(input: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let (first, rest) = input.split_first()?;
    let (plan, body) = rest.split_at_checked(usize::from(first & 7))?;
    let mut lengths = plan.iter().map(|&byte| usize::from(byte).max(1)).cycle();
    let mut left = body;
    let mut pieces = Vec::new();
    while !left.is_empty() {
        let length = lengths.next().unwrap_or(1).min(left.len());
        let (piece, after) = left.split_at(length);
        pieces.push(piece);
        left = after;
    }
    Some((body, pieces))
}
