//! Parsers of option values: durations, sizes, rates. Each error says what would have been right.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::failure::Failure;
use crate::anonymise::PromptTokenizer;

/// Holds that `--from` is before `--to`.
///
/// # Errors
/// When it is not, and nothing would be in between.
pub(super) fn span(from: Option<Duration>, to: Option<Duration>) -> Result<(), Failure> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => Err(Failure::usage(anyhow::anyhow!(
            "--from {from:?} is not before --to {to:?}"
        ))
        .hint("--to is where the slice ends, counted from the trace's start like --from")),
        _ => Ok(()),
    }
}

/// Holds that `--out` is none of the directories in which these results lie; `what` says whose they are.
///
/// # Errors
/// When it is one of them, and what lies there would be written over.
pub(super) fn writes_over_none<'a>(
    out: &Path,
    results: impl IntoIterator<Item = &'a Path>,
    what: &str,
) -> Result<(), Failure> {
    let Ok(ours) = out.canonicalize() else {
        // It is not there yet, or nothing can be written there, which is told when it is tried.
        return Ok(());
    };
    let lies_there = |result: &Path| {
        let theirs = result.canonicalize();
        theirs.is_ok_and(|it| it == ours || it.is_file() && it.parent() == Some(&ours))
    };
    match results.into_iter().any(lies_there) {
        true => Err(Failure::usage(anyhow::anyhow!(
            "--out {} is where {what} lies, which would be written over",
            out.display()
        ))
        .hint("give --out a directory of its own")),
        false => Ok(()),
    }
}

/// A duration: `250ms`, `1.5s`, `10m`, `1h30m`; a bare `0` is zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|signed| Duration::try_from(signed).ok())
        .ok_or_else(|| "not a duration; write 250ms, 1.5s, 10m or 2h".to_owned())
}

/// A duration above 0.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("nothing happens in no time; write 30s, 10m or 2h".to_owned()),
        some => Ok(some),
    }
}

/// A size in bytes: `64MiB`, `10MB`, `4096`.
pub fn size(text: &str) -> Result<u64, String> {
    text.parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "not a size; write 64MiB, 10MB or 4096".to_owned())
}

/// A whole number, which the type has room for.
pub fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().map_err(|_| match digits(text) {
        true => "too large a number".to_owned(),
        false => "not a whole number; write 5".to_owned(),
    })
}

/// A share from 0 to 1: `5%` or `0.05`.
pub fn rate(text: &str) -> Result<f64, String> {
    let parsed = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|value| value / 100.0),
        None => text.trim().parse::<f64>(),
    };
    match parsed {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("not a share; write 5% or 0.05".to_owned()),
    }
}

/// In microseconds; a duration that is too long for them is the longest.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A factor above 0: `2`, `0.5`, `20x`.
pub fn factor(text: &str) -> Result<f64, String> {
    match text.trim().trim_end_matches(['x', 'X', '×']).parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("not a factor above 0; write 2, 0.5 or 20x".to_owned()),
    }
}

/// The tokenizer in a file.
pub(super) fn tokenizer(path: &Path) -> Result<PromptTokenizer, Failure> {
    let hint = "--tokenizer takes the tokenizer.json that lies beside the model's weights";
    let failed = |error: anyhow::Error| {
        Failure::could_not_run(error.context(format!("--tokenizer {}", path.display()))).hint(hint)
    };
    let json = std::fs::read(path).map_err(|error| failed(error.into()))?;
    PromptTokenizer::from_json(&json).map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_rates_and_factors_read_as_documented() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(positive_duration("0").is_err() && positive_duration("1s").is_ok());
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(rate("5%"), Ok(0.05));
        assert_eq!(rate("0.05"), Ok(0.05));
        assert_eq!(factor("20x"), Ok(20.0));
        assert_eq!(whole("20"), Ok(20_u64));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        assert!(duration("-5s").unwrap_err().contains("250ms"));
        assert!(duration("soon").is_err());
        assert!(size("big").unwrap_err().contains("64MiB"));
        assert!(rate("150%").unwrap_err().contains("5%"));
        assert!(whole::<u64>("five").unwrap_err().contains("write 5"));
        assert!(
            whole::<u32>("5000000000")
                .unwrap_err()
                .contains("too large")
        );
        for bad in ["0", "-1", "nan", "inf", "fast"] {
            assert!(factor(bad).is_err(), "{bad}");
        }
    }
}
