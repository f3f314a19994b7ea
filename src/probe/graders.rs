//! Which of promptfoo's assertions a model judges, and whom they ask for it. The variables that bring the target's address to the providers
//! bring it to every other client of the process, too: a grader without an address of its own would be the target itself.

use serde_json::Value;

/// Whether an assertion of this kind, by this grader, is judged by whom the environment names: the target.
pub(super) fn asks_target(kind: &str, grader: Option<&Value>) -> bool {
    let kind = kind.strip_prefix("not-").unwrap_or(kind);
    let graded =
        GRADED.contains(&kind) || kind.starts_with("similar:") || kind.starts_with("model-graded-");
    graded && grader.is_none_or(follows_environment)
}

/// The address that a provider has by itself.
pub(super) fn own_address(provider: &Value) -> Option<&Value> {
    let of_config = ["apiBaseUrl", "baseUrl", "apiHost"]
        .iter()
        .find_map(|key| provider.get("config")?.get(*key));
    let of_env = ADDRESSES
        .iter()
        .find_map(|key| provider.get("env")?.get(*key));
    of_config.or(of_env)
}

/// Whether a provider takes its address from the variables that name the target.
fn follows_environment(provider: &Value) -> bool {
    if let Some(id) = provider.as_str() {
        return is_variables(id);
    }
    let kinds = ["text", "embedding", "classification", "moderation"];
    let of_kinds: Vec<&Value> = kinds.iter().filter_map(|kind| provider.get(kind)).collect();
    if !of_kinds.is_empty() {
        return of_kinds.into_iter().any(follows_environment);
    }
    let id = provider.get("id").and_then(Value::as_str);
    // One that promptfoo has loaded is written without its kind.
    own_address(provider).is_none() && id.is_none_or(is_variables)
}

fn is_variables(id: &str) -> bool {
    ["openai:", "anthropic:"]
        .iter()
        .any(|kind| id.starts_with(kind))
}

/// Those that ask a model, beside `model-graded-…` (promptfoo.dev, "Model-graded metrics").
const GRADED: [&str; 14] = [
    "llm-rubric",
    "g-eval",
    "similar",
    "factuality",
    "answer-relevance",
    "context-faithfulness",
    "context-recall",
    "context-relevance",
    "conversation-relevance",
    "select-best",
    "moderation",
    "search-rubric",
    "agent-rubric",
    "trajectory:goal-success",
];
const ADDRESSES: [&str; 4] = [
    "OPENAI_BASE_URL",
    "OPENAI_API_BASE_URL",
    "OPENAI_API_HOST",
    "ANTHROPIC_BASE_URL",
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_grader_is_the_target_unless_it_has_an_address_or_a_client_of_its_own() {
        for kind in [
            "llm-rubric",
            "not-similar",
            "model-graded-closedqa",
            "similar:cosine",
        ] {
            assert!(asks_target(kind, None), "{kind}");
        }
        for kind in ["latency", "javascript", "contains", "is-json"] {
            assert!(!asks_target(kind, None), "{kind}");
        }
        let own = json!({"id": "openai:chat:j", "config": {"apiBaseUrl": "https://j/v1"}});
        for (grader, is_target) in [
            (json!("openai:gpt-4o"), true),
            (json!("ollama:chat:j"), false),
            (
                json!({"id": "anthropic:messages:j", "config": {"temperature": 0}}),
                true,
            ),
            (
                json!({"id": "openai:j", "env": {"OPENAI_BASE_URL": "https://j/v1"}}),
                false,
            ),
            (json!({"provider": "gpt-4o", "config": {}}), true),
            (
                json!({"text": own, "embedding": "openai:embedding:e"}),
                true,
            ),
            (json!({"text": own}), false),
            (own.clone(), false),
        ] {
            assert_eq!(
                asks_target("llm-rubric", Some(&grader)),
                is_target,
                "{grader}"
            );
        }
    }
}
