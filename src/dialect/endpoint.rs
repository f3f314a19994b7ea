use crate::shape::{Endpoint, Method};

/// Which endpoint a request speaks to, from its method and path (query excluded).
///
/// By the path's end, since a gateway may mount an API anywhere (`/openai/v1/chat/completions`); one trailing slash is
/// tolerated.
pub fn endpoint_of(method: Method, path: &str) -> Endpoint {
    let path = path.strip_suffix('/').unwrap_or(path);
    TABLE
        .iter()
        .find(|(allowed, suffix, _)| allowed.contains(&method) && path.ends_with(suffix))
        .map_or(Endpoint::Other, |&(_, _, endpoint)| endpoint)
}

/// The first match counts, so longer endings stand above shorter ones.
const TABLE: &[(&[Method], &str, Endpoint)] = &[
    (
        &[Method::Post],
        "/chat/completions",
        Endpoint::ChatCompletions,
    ),
    (&[Method::Post], "/completions", Endpoint::Completions),
    (&[Method::Post], "/v1/messages", Endpoint::Messages),
    (&[Method::Get], "/v1/models", Endpoint::Models),
    (&[Method::Post], "/tokenize", Endpoint::Tokenize),
    (&[Method::Get], "/metrics", Endpoint::Metrics),
    (&[Method::Get, Method::Head], "/health", Endpoint::Health),
    (&[Method::Get, Method::Head], "/healthz", Endpoint::Health),
    (&[Method::Get, Method::Head], "/readyz", Endpoint::Health),
    (&[Method::Get, Method::Head], "/livez", Endpoint::Health),
    (&[Method::Get, Method::Head], "/ping", Endpoint::Health),
    (
        &[Method::Get, Method::Head],
        "/health/ready",
        Endpoint::Health,
    ),
    (
        &[Method::Get, Method::Head],
        "/health/live",
        Endpoint::Health,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_known_by_the_paths_end() {
        for (method, path, endpoint) in [
            (
                Method::Post,
                "/v1/chat/completions",
                Endpoint::ChatCompletions,
            ),
            (
                Method::Post,
                "/openai/v1/chat/completions/",
                Endpoint::ChatCompletions,
            ),
            (Method::Post, "/v1/completions", Endpoint::Completions),
            (Method::Post, "/anthropic/v1/messages", Endpoint::Messages),
            (Method::Post, "/v1/messages/count_tokens", Endpoint::Other),
            (Method::Get, "/v1/messages", Endpoint::Other),
            (Method::Get, "/v1/models", Endpoint::Models),
            (Method::Get, "/v1/models/abc", Endpoint::Other),
            (Method::Get, "/v2/health/ready", Endpoint::Health),
            (Method::Get, "/", Endpoint::Other),
            (Method::Other, "", Endpoint::Other),
        ] {
            assert_eq!(endpoint_of(method, path), endpoint, "{method:?} {path}");
        }
    }
}
