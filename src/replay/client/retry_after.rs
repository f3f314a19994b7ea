use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds to wait that a `retry-after` header asks for (RFC 9110, section 10.2.3: seconds, or a date); `None` where it says
/// neither. A date in the past is no wait.
pub(super) fn seconds(value: &str, now: SystemTime) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(seconds);
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?;
    let date_ms = i128::from(date.timestamp().as_millisecond());
    let now_ms = i128::try_from(now.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
    let wait_ms = u64::try_from((date_ms - now_ms).max(0)).ok()?;
    // Dates have whole seconds; a client that came a fraction sooner would be refused again.
    Some(wait_ms.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_nothing_else() {
        let now = UNIX_EPOCH + Duration::from_millis(784_111_767_500);
        assert_eq!(seconds(" 120 ", now), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(10));
        assert_eq!(seconds("Sat, 05 Nov 1994 08:49:37 GMT", now), Some(0));
        for odd in ["", "-1", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(seconds(odd, now), None, "{odd}");
        }
    }
}
