//! What is typed on the command line is taken or refused, whatever it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reenact::record::{NamedUpstream, UpstreamUrl};
use reenact::trace::StoreUrl;
use reenact::verdict::Objective;

fuzz_target!(|word: &str| {
    // Addresses to listen on are not here: reading one may look a name up.
    let _ = word.parse::<NamedUpstream>();
    if let Ok(url) = word.parse::<UpstreamUrl>() {
        let shown = url.to_string();
        let again = shown
            .parse::<UpstreamUrl>()
            .expect("what is shown is taken");
        assert_eq!(again.to_string(), shown);
    }
    if let Ok(url) = word.parse::<StoreUrl>() {
        let shown = url.to_string();
        let again = shown.parse::<StoreUrl>().expect("what is shown is taken");
        assert_eq!(again, url);
    }
    if let Ok(objective) = word.parse::<Objective>() {
        let shown = objective.to_string();
        let again = shown.parse::<Objective>().expect("what is shown is taken");
        assert_eq!(again.to_string(), shown);
    }
});
