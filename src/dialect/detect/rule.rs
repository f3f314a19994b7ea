//! What an operator says of a gateway's own paths.

use std::str::FromStr;

use super::{Detected, Told, endpoint_of};
use crate::shape::{Endpoint, Method};

/// Paths that begin so speak an endpoint's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialectRule {
    prefix: String,
    endpoint: Endpoint,
}

/// What is wrong with such a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not of the form.
    #[error("write PATH-PREFIX=ENDPOINT, with a prefix that begins with /")]
    Form,
    /// There is no such endpoint.
    #[error("`{name}` is no endpoint; there are {}", names())]
    Endpoint {
        /// What was written.
        name: String,
    },
}

fn names() -> String {
    Endpoint::ALL.map(Endpoint::name).join(", ")
}

impl FromStr for DialectRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (prefix, name) = text.rsplit_once('=').ok_or(RuleError::Form)?;
        if !prefix.starts_with('/') {
            return Err(RuleError::Form);
        }
        let endpoint = Endpoint::named(name).ok_or_else(|| RuleError::Endpoint {
            name: name.to_owned(),
        })?;
        Ok(Self {
            prefix: prefix.to_owned(),
            endpoint,
        })
    }
}

/// Which endpoint a request speaks to: the rule with the longest prefix says, else the path itself. A rule speaks of requests
/// with the method of its endpoint.
pub fn detect(rules: &[DialectRule], method: Method, path: &str) -> Detected {
    let method_fits = |endpoint: Endpoint| {
        endpoint.method() == method || endpoint.method() == Method::Get && method == Method::Head
    };
    let rule = rules
        .iter()
        .filter(|rule| path.starts_with(&rule.prefix) && method_fits(rule.endpoint))
        .max_by_key(|rule| rule.prefix.len());
    match rule {
        Some(rule) => Detected {
            endpoint: rule.endpoint,
            told: Told::ByPath,
        },
        None => endpoint_of(method, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_decides_and_other_paths_speak_for_themselves() {
        let rules = ["/llm/=chat_completions", "/llm/old/=completions"]
            .map(|rule| rule.parse::<DialectRule>().unwrap());
        let found = |method, path| detect(&rules, method, path).endpoint;
        assert_eq!(found(Method::Post, "/llm/a"), Endpoint::ChatCompletions);
        assert_eq!(found(Method::Post, "/llm/old/a"), Endpoint::Completions);
        assert_eq!(found(Method::Get, "/llm/a"), Endpoint::Other);
        assert_eq!(found(Method::Post, "/v1/messages"), Endpoint::Messages);
    }

    #[test]
    fn a_rule_settles_what_a_body_would_have_to() {
        let rules = ["/generate=tgi_generate", "/private/=other"].map(|rule| rule.parse().unwrap());
        let told = |path| detect(&rules, Method::Post, path).told;
        assert_eq!(told("/generate"), Told::ByPath);
        assert_eq!(told("/private/a"), Told::ByPath);
        assert_eq!(told("/m/generate"), Told::IfBodyFits);
    }

    #[test]
    fn wrong_rules_say_what_would_be_right() {
        let wrong = |text: &str| text.parse::<DialectRule>().unwrap_err();
        assert_eq!(wrong("/a"), RuleError::Form);
        assert_eq!(wrong("a=completions"), RuleError::Form);
        let message = wrong("/a=chat").to_string();
        assert!(message.contains("chat_completions"), "{message}");
    }
}
