//! A request's body is read or refused, whatever it is; what is read of it is in proportion; a part of one is not one, nor is one with
//! more behind it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reenact::anonymise::ChainKey;
use reenact::dialect::observe_request;
use reenact::shape::Endpoint;

fuzz_target!(|body: &[u8]| {
    let key = ChainKey::from_bytes([3; 16]);
    for endpoint in Endpoint::ALL
        .into_iter()
        .filter(|endpoint| endpoint.is_inference())
    {
        let Ok(sight) = observe_request(endpoint, body, &key) else {
            continue;
        };
        let shown: u64 = sight
            .prompt
            .messages
            .iter()
            .map(|message| u64::from(message.bytes))
            .sum();
        // A token id takes two bytes at least, and counts four.
        assert!(shown + u64::from(sight.prompt.tools.bytes) <= 4 * body.len() as u64);
        assert!(
            sight.held_bytes() <= 4096 + 256 * body.len(),
            "{} bytes for {}",
            sight.held_bytes(),
            body.len()
        );
        let trimmed = body.trim_ascii_end();
        let part = &trimmed[..trimmed.len() - 1];
        for other in [part, &[trimmed, b"x"].concat(), &[trimmed, b"{}"].concat()] {
            assert!(observe_request(endpoint, other, &key).is_err());
        }
        let again = observe_request(endpoint, body, &key).expect("it was read before");
        assert_eq!(
            (again.params, again.prompt.messages),
            (sight.params, sight.prompt.messages)
        );
    }
});
