use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers that every request to a target carries beside its own; the values are shown nowhere.
#[derive(Clone, Default)]
pub struct ExtraHeaders(Vec<(HeaderName, HeaderValue)>);

/// Why a header is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// Its name is no header name.
    #[error("`{0}` is not the name of a header")]
    Name(String),
    /// Its value cannot stand in a header. It is not quoted: it may be a secret.
    #[error(
        "the value of `{0}` holds characters that cannot stand in a header (a line end, perhaps)"
    )]
    Value(HeaderName),
    /// It says how a message lies on its connection, which is the client's to say.
    #[error("`{0}` frames the message or rules its connection, and is the client's own")]
    Framing(HeaderName),
}

/// What RFC 9110 (sections 7.6.1, 7.2, 10.1.1) and RFC 9112 (sections 6.1, 6.2) leave to whoever writes the message.
const FRAMING: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl ExtraHeaders {
    /// Adds one; where a request has a header of that name, this one takes its place.
    ///
    /// # Errors
    /// When it cannot be a header, or is one that only the client may write.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), BadHeader> {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| BadHeader::Name(name.to_owned()))?;
        if FRAMING.contains(&name) {
            return Err(BadHeader::Framing(name));
        }
        let mut value =
            HeaderValue::from_str(value.trim()).map_err(|_| BadHeader::Value(name.clone()))?;
        value.set_sensitive(true);
        self.0.push((name, value));
        Ok(())
    }

    /// Puts them in. A name that was given several times stays several headers.
    pub fn put_into(&self, headers: &mut HeaderMap) {
        for (name, _) in &self.0 {
            headers.remove(name);
        }
        for (name, value) in &self.0 {
            headers.append(name.clone(), value.clone());
        }
    }
}

impl fmt::Debug for ExtraHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_takes_the_place_of_the_clients_own_and_is_not_shown() {
        let mut extra = ExtraHeaders::default();
        extra.add("User-Agent", " s3cret-1 ").unwrap();
        extra.add("x-tenant", "s3cret-2").unwrap();
        extra.add("x-tenant", "s3cret-3").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static("reenact"));
        extra.put_into(&mut headers);
        assert_eq!(headers.get("user-agent").unwrap(), "s3cret-1");
        let tenants: Vec<_> = headers.get_all("x-tenant").iter().collect();
        assert_eq!(tenants, ["s3cret-2", "s3cret-3"]);
        assert!(!format!("{extra:?}{headers:?}").contains("s3cret"));
    }

    #[test]
    fn what_frames_a_message_is_refused_and_no_value_is_quoted() {
        let mut extra = ExtraHeaders::default();
        assert!(matches!(
            extra.add("Content-Length", "3"),
            Err(BadHeader::Framing(_))
        ));
        assert!(matches!(
            extra.add("a b", "s3cret"),
            Err(BadHeader::Name(_))
        ));
        let error = extra.add("x-key", "s3cret\r\nx: y").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
