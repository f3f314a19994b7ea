use std::fmt;
use std::path::Path;

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What a request to the admin endpoint must carry as `Authorization: Bearer …`. Never shown.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Token(String);

/// What is wrong with a token. Never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the admin token from {path}: {source}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It could be guessed, or not be sent.
    #[error(
        "the admin token is no good: it must have at least {MIN_CHARS} characters, all of them printable ASCII without spaces"
    )]
    Weak,
}

/// Enough for 64 random bits in hexadecimal.
const MIN_CHARS: usize = 16;

impl Token {
    /// A token from its text, without the white space around it.
    ///
    /// # Errors
    /// When it is too short, or cannot stand in a header.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() < MIN_CHARS || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Weak);
        }
        Ok(Self(text.to_owned()))
    }

    /// A token from a file that holds nothing else.
    ///
    /// # Errors
    /// When it cannot be read or is no token.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let mut text = std::fs::read_to_string(path).map_err(|source| TokenError::Read {
            path: path.to_owned(),
            source,
        })?;
        let token = Self::new(&text);
        text.zeroize();
        token
    }

    /// Whether a request carries it. Takes the same time whichever character is wrong.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return false;
        };
        let Some((scheme, given)) = value.as_bytes().split_at_checked(SCHEME.len()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(SCHEME) && bool::from(given.ct_eq(self.0.as_bytes()))
    }
}

const SCHEME: &[u8] = b"bearer ";

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn carried(authorization: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        Token::new(SECRET).unwrap().is_in(&headers)
    }

    #[test]
    fn only_the_whole_token_lets_in() {
        assert!(carried(&format!("Bearer {SECRET}")));
        assert!(carried(&format!("bearer {SECRET}")));
        for wrong in [
            SECRET,
            "Bearer ",
            "Bearer",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcdef0",
        ] {
            assert!(!carried(wrong), "{wrong}");
        }
        assert!(!Token::new(SECRET).unwrap().is_in(&HeaderMap::new()));
    }

    #[test]
    fn tokens_are_not_short_and_not_shown() {
        assert!(Token::new(" 0123456789abcdef\n").is_ok());
        for weak in ["", "short", "0123456789 abcdef", "0123456789abcdé…"] {
            let error = Token::new(weak).unwrap_err().to_string();
            assert!(weak.is_empty() || !error.contains(weak), "{error}");
        }
        assert_eq!(format!("{:?}", Token::new(SECRET).unwrap()), "Token(…)");
        let missing = Token::read(Path::new("/nonexistent/token")).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/token"));
    }
}
