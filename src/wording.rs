//! How figures read in a sentence.

/// What is counted, in the noun's number: `1 exchange`, `2 exchanges`.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", plural(n))
}

/// And what they are: `1 exchange is`, `2 exchanges are`.
pub(crate) fn counted_are(n: u64, noun: &str) -> String {
    format!("{} {}", counted(n, noun), if n == 1 { "is" } else { "are" })
}

/// And what became of them: `1 exchange was`, `2 exchanges were`.
pub(crate) fn counted_were(n: u64, noun: &str) -> String {
    format!(
        "{} {}",
        counted(n, noun),
        if n == 1 { "was" } else { "were" }
    )
}

/// What ends a noun of so many.
pub(crate) const fn plural(n: u64) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// Two figures that differ, with as many more digits than usual as it takes to see it: a reason that says `2.0 ms late; 2.0 ms is allowed`
/// contradicts itself. `show` writes a figure with so many more digits.
pub(crate) fn apart((a, b): (f64, f64), show: impl Fn(f64, usize) -> String) -> (String, String) {
    let shown = |more| (show(a, more), show(b, more));
    let mut all = (0..=MOST_MORE).map(shown);
    all.find(|(a, b)| a != b).unwrap_or_else(|| shown(0))
}

/// Figures that differ by less are told as the same.
const MOST_MORE: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noun_is_in_the_number_of_what_is_counted() {
        let told = [0, 1, 2].map(|n| counted(n, "exchange"));
        assert_eq!(told, ["0 exchanges", "1 exchange", "2 exchanges"]);
        assert_eq!(counted_are(1, "block"), "1 block is");
        assert_eq!(counted_were(2, "block"), "2 blocks were");
    }

    #[test]
    fn figures_that_differ_are_seen_to() {
        let told = |a, b| apart((a, b), |value, more| format!("{value:.*} ms", 1 + more));
        let both = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(told(9.04, 2.0), both("9.0 ms", "2.0 ms"));
        assert_eq!(told(2.04, 2.0), both("2.04 ms", "2.00 ms"));
        assert_eq!(told(2.000_000_4, 2.0), both("2.0000004 ms", "2.0000000 ms"));
        assert_eq!(told(2.0, 2.0), both("2.0 ms", "2.0 ms"));
    }
}
