//! A request for tensors, in JSON with data behind it or over gRPC, is read or refused, whatever it is; what is read of it is in
//! proportion; and a call of the same messages twice has twice as many tensors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reenact::anonymise::{ChainKey, RenderedPrompt};
use reenact::dialect::observe_request;
use reenact::shape::{Dimensions, Endpoint};

fuzz_target!(|body: &[u8]| {
    let key = ChainKey::from_bytes([3; 16]);
    for endpoint in [
        Endpoint::Infer,
        Endpoint::GrpcInfer,
        Endpoint::GrpcStreamInfer,
    ] {
        let Ok(sight) = observe_request(endpoint, body, &key) else {
            continue;
        };
        let prompt = &sight.prompt;
        assert!(shown(prompt) <= body.len() as u64);
        assert!(
            sight.held_bytes() <= 4096 + 256 * body.len(),
            "{} bytes for {}",
            sight.held_bytes(),
            body.len()
        );
        assert!(prompt.tensors.len() <= prompt.messages.len());
        for tensor in &prompt.tensors {
            assert!(usize::from(tensor.message) < prompt.messages.len());
            let rank = tensor.dimensions.map_or(0, |it| it.sizes().len());
            assert!(rank <= Dimensions::MOST);
        }
        let again = observe_request(endpoint, body, &key).expect("it was read before");
        assert_eq!(again.prompt.messages, prompt.messages);
        if endpoint != Endpoint::Infer {
            let twice = observe_request(endpoint, &[body, body].concat(), &key).expect("it is two");
            assert_eq!(twice.prompt.tensors.len(), 2 * prompt.tensors.len());
            assert_eq!(shown(&twice.prompt), 2 * shown(prompt));
        }
    }
});

fn shown(prompt: &RenderedPrompt) -> u64 {
    let messages = prompt.messages.iter();
    messages.map(|message| u64::from(message.bytes)).sum()
}
