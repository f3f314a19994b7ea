//! Where targets that callers name may be: a gate that sent load anywhere would be a weapon.

use std::str::FromStr;

use http::Uri;

/// One host, or the hosts under one, at any port or one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// With its leading dot where all under it are meant.
    host: String,
    port: Option<u16>,
}

/// What is no such pattern.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no host; write HOST, HOST:PORT, *.DOMAIN or *.DOMAIN:PORT")]
pub struct ReachError(String);

impl Reach {
    /// Whether a target may be there.
    pub(super) fn allows(&self, url: &Uri) -> bool {
        let Some(host) = url.host() else { return false };
        let host = host.to_ascii_lowercase();
        let within = match self.host.strip_prefix('.') {
            Some(_) => host.len() > self.host.len() && host.ends_with(&self.host),
            None => host == self.host,
        };
        let https = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
        within && self.port.is_none_or(|allowed| allowed == port)
    }
}

impl FromStr for Reach {
    type Err = ReachError;

    fn from_str(text: &str) -> Result<Self, ReachError> {
        let wrong = || ReachError(text.to_owned());
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && !port.contains(']') => {
                (host, Some(port.parse().map_err(|_| wrong())?))
            }
            _ => (text, None),
        };
        let plain = host.strip_prefix("*.").unwrap_or(host);
        let sound = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        if plain.is_empty() || plain.starts_with('.') || !plain.chars().all(sound) {
            return Err(wrong());
        }
        Ok(Self {
            host: host.strip_prefix('*').unwrap_or(host).to_ascii_lowercase(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, url: &str) -> bool {
        pattern
            .parse::<Reach>()
            .unwrap()
            .allows(&url.parse().unwrap())
    }

    #[test]
    fn a_host_is_that_host_and_no_other() {
        assert!(allows("chat", "http://chat:8000"));
        assert!(allows("chat:8000", "http://CHAT:8000/v1"));
        assert!(allows("chat:443", "https://chat"));
        assert!(allows("[::1]", "http://[::1]:8000"));
        assert!(!allows("chat:8000", "http://chat"));
        assert!(!allows("chat", "http://chat.evil.example"));
        assert!(!allows("chat", "http://evil.example/chat"));
        assert!(!allows("chat", "http://chat@evil.example"));
    }

    #[test]
    fn a_star_is_what_lies_under_a_domain() {
        assert!(allows("*.svc", "http://chat.prod.svc"));
        assert!(!allows("*.svc", "http://svc"));
        assert!(!allows("*.svc", "http://evilsvc"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for wrong in ["", "*", "*.", "http://chat", "chat:port", "a b", "..a"] {
            assert!(wrong.parse::<Reach>().is_err(), "{wrong}");
        }
    }
}
