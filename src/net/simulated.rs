/// What a simulated server calls itself, in the `server` header of every answer.
pub(crate) const SIMULATED: &str = "reenact-sim (simulated)";

/// Whether a `server` header is a simulated server's, of whatever version.
pub(crate) fn is_simulated(server: &[u8]) -> bool {
    server.starts_with(b"reenact-sim")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_server_is_told_from_others() {
        assert!(is_simulated(SIMULATED.as_bytes()));
        assert!(!is_simulated(b"uvicorn") && !is_simulated(b""));
    }
}
