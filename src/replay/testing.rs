//! Small builders for this room's tests.

use super::client::Envelope;
use super::synthesise::{LengthPolicy, Prepared, Synthesiser};
use super::{
    BaseUrl, Cache, Calibration, Credentials, ExtraHeaders, HttpVersion, PlannedRequest,
    PromptOptions, Salt, Target, Turn,
};
use crate::shape::{
    Endpoint, Exchange, Method, RequestShape, ResponseShape, TokenCount, TokenSource, TraceTime,
};

/// A candidate at `url`.
pub(super) fn target(url: &str) -> Target {
    Target {
        name: "candidate".to_owned(),
        url: BaseUrl::parse(url).unwrap(),
        model: Some("m".to_owned()),
        credentials: Credentials::by_dialect("sk-test").unwrap(),
        ca: None,
        headers: ExtraHeaders::default(),
        keep_alive: true,
        http: HttpVersion::default(),
    }
}

/// Makes exact requests for nobody.
pub(super) fn synthesiser(calibration: &Calibration) -> Synthesiser<'_> {
    Synthesiser::new(
        Salt::new(1, Cache::Fresh, 0),
        None,
        calibration,
        Envelope::new(&target("http://127.0.0.1:1")),
        LengthPolicy::Exact,
        PromptOptions::default(),
    )
}

/// That exchange, ready to be sent to nobody.
pub(super) fn prepared() -> Prepared {
    let calibration = Calibration::assumed("m");
    let mut synthesiser = synthesiser(&calibration);
    let settled = synthesiser.settle(PlannedRequest {
        index: 0,
        intended_us: 0,
        turn: Turn::default(),
        exchange: exchange(0),
    });
    synthesiser.write(&settled)
}

/// A plain chat exchange that arrived at `at_us`: 100 prompt tokens, 10 output tokens, streamed.
pub(super) fn exchange(at_us: u64) -> Exchange {
    let usage = |count| {
        Some(TokenCount {
            count,
            source: TokenSource::Usage,
        })
    };
    let mut request = RequestShape {
        bytes: 1000,
        prompt_tokens: usage(100),
        ..RequestShape::default()
    };
    request.params.stream = true;
    request.params.n = 1;
    Exchange {
        request,
        response: ResponseShape {
            status: 200,
            output_tokens: usage(10),
            ..ResponseShape::default()
        },
        ..Exchange::bare(
            TraceTime::from_us(at_us),
            Endpoint::ChatCompletions,
            Method::Post,
        )
    }
}
