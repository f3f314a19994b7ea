//! What a caller asks for.

use std::collections::BTreeMap;

use http::Uri;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::reach::Reach;

/// A replay that is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// Empty: one of its own.
    pub(super) key: String,
    /// `NAME=URL`, in order of the request.
    pub(super) targets: Vec<String>,
}

/// Why it is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OrderError {
    #[error(
        "the body is not what a gate reads: {0}; send {{\"key\": …, \"targets\": [{{\"name\": …, \"url\": …}}]}}, or nothing"
    )]
    Body(String),
    #[error(
        "this gate's command line names the targets; start it with --allow-target HOST to let callers do so"
    )]
    Fixed,
    #[error("no target is named, and this gate's command line has none; send \"targets\"")]
    None,
    #[error("the target's name {0:?} is none: letters, digits, `-`, `_` and `.`, 64 at most")]
    Name(String),
    #[error(
        "the target `{0}` is not where this gate may send load; --allow-target says where it may"
    )]
    OutOfReach(String),
    #[error("the key is longer than 256 bytes")]
    Key,
    #[error("there is no key, so nobody could tell whether this is asked for again; send \"key\"")]
    Keyless,
    #[error(
        "the hook has no checksum, so one roll-out cannot be told from another; let a pipeline POST /replays instead"
    )]
    Checksum,
    #[error(
        "the target `{0}` has a name or password in its URL, which would be kept; give the gate's command line --api-key-env or --header"
    )]
    Credentials(String),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Body {
    key: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    name: String,
    url: String,
}

/// What Flagger sends to a webhook.
#[derive(Deserialize)]
struct Hook {
    name: String,
    namespace: String,
    /// Of the canary's specification: the same for all hooks of one roll-out.
    #[serde(default)]
    checksum: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

impl Order {
    /// From the body of a POST; an empty one asks for what the command line says.
    pub(super) fn parse(body: &[u8], reach: &[Reach]) -> Result<Self, OrderError> {
        let body = if body.trim_ascii().is_empty() {
            Body::default()
        } else {
            // A list would be taken for the fields in their order.
            serde_json::from_slice::<Map<String, Value>>(body)
                .and_then(|fields| serde_json::from_value(Value::Object(fields)))
                .map_err(|error| OrderError::Body(error.to_string()))?
        };
        let targets = body.targets.into_iter();
        Self {
            key: body.key,
            targets: targets
                .map(|target| format!("{}={}", target.name, target.url))
                .collect(),
        }
        .checked(reach)
    }

    /// The same, of which it must be known whether it was asked for before.
    pub(super) fn parse_keyed(body: &[u8], reach: &[Reach]) -> Result<Self, OrderError> {
        let order = Self::parse(body, reach)?;
        match order.key.as_str() {
            "" => Err(OrderError::Keyless),
            _ => Ok(order),
        }
    }

    /// From Flagger's webhook: one roll-out is one key, and `metadata.targets` names the targets as `NAME=URL,NAME=URL`.
    pub(super) fn of_hook(body: &[u8], reach: &[Reach]) -> Result<Self, OrderError> {
        let hook: Hook =
            serde_json::from_slice(body).map_err(|error| OrderError::Body(error.to_string()))?;
        if hook.checksum.is_empty() {
            return Err(OrderError::Checksum);
        }
        let targets = hook.metadata.get("targets").map_or("", String::as_str);
        Self {
            key: format!("{}/{}/{}", hook.namespace, hook.name, hook.checksum),
            targets: targets
                .split(',')
                .map(str::trim)
                .filter(|target| !target.is_empty())
                .map(str::to_owned)
                .collect(),
        }
        .checked(reach)
    }

    fn checked(self, reach: &[Reach]) -> Result<Self, OrderError> {
        if self.key.len() > 256 {
            return Err(OrderError::Key);
        }
        match (self.targets.is_empty(), reach.is_empty()) {
            (false, true) => return Err(OrderError::Fixed),
            (true, false) => return Err(OrderError::None),
            _ => {}
        }
        for target in &self.targets {
            let (name, url) = target.split_once('=').unwrap_or(("", target));
            let sound = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || name.len() > 64 || !name.chars().all(sound) {
                return Err(OrderError::Name(name.chars().take(64).collect()));
            }
            let url: Option<Uri> = url.parse().ok();
            let authority = url.as_ref().and_then(Uri::authority);
            if authority.is_some_and(|authority| authority.as_str().contains('@')) {
                return Err(OrderError::Credentials(name.to_owned()));
            }
            if !url.is_some_and(|url| reach.iter().any(|each| each.allows(&url))) {
                return Err(OrderError::OutOfReach(name.to_owned()));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach() -> Vec<Reach> {
        vec!["chat".parse().unwrap(), "*.svc:8000".parse().unwrap()]
    }

    #[test]
    fn callers_name_targets_only_where_the_gate_reaches() {
        let body = br#"{"key":"r1","targets":[{"name":"stable","url":"http://chat:8000"},{"name":"canary","url":"http://b.svc:8000"}]}"#;
        let order = Order::parse(body, &reach()).unwrap();
        assert_eq!(order.key, "r1");
        assert_eq!(
            order.targets,
            ["stable=http://chat:8000", "canary=http://b.svc:8000"]
        );
        assert_eq!(Order::parse(body, &[]), Err(OrderError::Fixed));
        let outside = br#"{"targets":[{"name":"a","url":"http://169.254.169.254/"}]}"#;
        assert_eq!(
            Order::parse(outside, &reach()),
            Err(OrderError::OutOfReach("a".to_owned()))
        );
    }

    #[test]
    fn an_empty_body_asks_for_what_the_command_line_says() {
        assert_eq!(Order::parse(b" \n", &[]), Ok(Order::default()));
        assert_eq!(Order::parse(b"{}", &reach()), Err(OrderError::None));
    }

    #[test]
    fn what_is_no_order_is_told() {
        for body in ["[]", "{", r#"{"target":[]}"#, r#"{"key":1}"#] {
            let refused = Order::parse(body.as_bytes(), &[]);
            assert!(matches!(refused, Err(OrderError::Body(_))), "{body}");
        }
        let long = format!(r#"{{"key":"{}"}}"#, "k".repeat(257));
        assert_eq!(Order::parse(long.as_bytes(), &[]), Err(OrderError::Key));
        let name = br#"{"targets":[{"name":"--out x","url":"http://chat"}]}"#;
        let refused = Order::parse(name, &reach());
        assert_eq!(refused, Err(OrderError::Name("--out x".to_owned())));
    }

    #[test]
    fn what_would_be_kept_or_mistaken_is_refused() {
        let secret = br#"{"targets":[{"name":"a","url":"http://me:secret@chat"}]}"#;
        let refused = Order::parse(secret, &reach()).unwrap_err();
        assert_eq!(refused, OrderError::Credentials("a".to_owned()));
        assert!(!refused.to_string().contains("secret"));
        assert_eq!(Order::parse_keyed(b"", &[]), Err(OrderError::Keyless));
        let hook = br#"{"name":"chat","namespace":"prod","phase":"Progressing"}"#;
        assert_eq!(Order::of_hook(hook, &[]), Err(OrderError::Checksum));
    }

    #[test]
    fn a_hook_of_flagger_is_an_order_by_roll_out() {
        let hook =
            br#"{"name":"chat","namespace":"prod","phase":"Progressing","checksum":"85d557f47b",
            "metadata":{"targets":"stable=http://chat, canary=http://c.svc:8000"}}"#;
        let order = Order::of_hook(hook, &reach()).unwrap();
        assert_eq!(order.key, "prod/chat/85d557f47b");
        assert_eq!(
            order.targets,
            ["stable=http://chat", "canary=http://c.svc:8000"]
        );
    }
}
