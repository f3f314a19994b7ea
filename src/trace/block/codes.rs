use crate::shape::{
    CacheLife, Endpoint, FinishReason, MediaKind, MediaType, Method, Outcome, PictureFormat,
    ReasoningEffort, Role, ShapeStatus, Structured, TensorType, TokenSource, VectorEncoding,
};

/// A closed enum as a number: its place in its `ALL`. A code that this version does not know was written by a later one
/// and reads as the enum's catch-all, so that one new finish reason does not make a file unreadable.
pub(super) trait Coded: Sized {
    fn code(self) -> u64;
    fn from_code(code: u64) -> Self;
}

macro_rules! coded {
    ($($type:ident else $unknown:ident,)*) => {
        $(impl Coded for $type {
            #[inline]
            fn code(self) -> u64 {
                self as u64
            }

            #[inline]
            fn from_code(code: u64) -> Self {
                usize::try_from(code)
                    .ok()
                    .and_then(|code| Self::ALL.get(code).copied())
                    .unwrap_or(Self::$unknown)
            }
        })*

        #[cfg(test)]
        #[test]
        fn codes_are_places_in_all() {
            $(for (place, value) in $type::ALL.into_iter().enumerate() {
                assert_eq!(value.code(), place as u64);
                assert_eq!($type::from_code(place as u64), value);
            }
            assert_eq!($type::from_code(u64::MAX), $type::$unknown);)*
        }
    };
}

coded! {
    Endpoint else Other,
    Method else Other,
    ShapeStatus else Generic,
    Role else Other,
    TokenSource else Estimated,
    Structured else Grammar,
    ReasoningEffort else Other,
    MediaKind else Document,
    PictureFormat else Other,
    TensorType else Other,
    VectorEncoding else Other,
    CacheLife else Other,
    FinishReason else Other,
    MediaType else Other,
}

/// The code of how an exchange ended; the moment goes in a column of its own.
pub(super) fn outcome_code(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Completed => 0,
        Outcome::ClientCancelled { .. } => 1,
        Outcome::UpstreamRefused { .. } => 2,
        Outcome::UpstreamReset { .. } => 3,
        Outcome::UpstreamTimeout { .. } => 4,
        Outcome::Rejected => 5,
        Outcome::Truncated { .. } => 6,
        Outcome::InFlight { .. } => 7,
    }
}

/// The outcome of a code; `at_us` is asked for where the outcome has a moment.
pub(super) fn outcome_of<E>(
    code: u64,
    at_us: impl FnOnce() -> Result<u64, E>,
) -> Result<Outcome, E> {
    Ok(match code {
        0 => Outcome::Completed,
        5 => Outcome::Rejected,
        1 => Outcome::ClientCancelled { at_us: at_us()? },
        2 => Outcome::UpstreamRefused { at_us: at_us()? },
        3 => Outcome::UpstreamReset { at_us: at_us()? },
        4 => Outcome::UpstreamTimeout { at_us: at_us()? },
        7 => Outcome::InFlight { at_us: at_us()? },
        // Later versions' outcomes carry a moment, as all early endings do.
        _ => Outcome::Truncated { at_us: at_us()? },
    })
}
