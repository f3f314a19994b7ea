//! The distributions of a trace: what they are called and in which words their values are shown.

use super::reading;
use crate::measure::traffic::{Quantiles, Traffic, WebSockets};
use crate::report::figures::ms;

/// A distribution of the trace, and how it is shown.
pub(super) struct Distributed {
    /// Its name in JSON.
    pub(super) key: &'static str,
    /// Its chart, where it has one.
    pub(super) chart: Option<&'static str>,
    pub(super) name: &'static str,
    /// What its values are of.
    pub(super) small: &'static str,
    pub(super) quantiles: Option<Quantiles>,
    pub(super) show: fn(f64) -> String,
}

pub(super) fn distributions(traffic: &Traffic) -> [Distributed; 11] {
    let of = |key, chart, name, small, quantiles, show| Distributed {
        key,
        chart,
        name,
        small,
        quantiles,
        show,
    };
    let frames =
        |of: fn(&WebSockets) -> Option<Quantiles>| traffic.websockets.as_ref().and_then(of);
    let whole: fn(f64) -> String = reading::whole;
    [
        of(
            "prompt_tokens",
            Some("prompt-tokens"),
            "Prompt tokens",
            "share of prompts",
            traffic.prompt_tokens,
            whole,
        ),
        of(
            "output_tokens",
            Some("output-tokens"),
            "Output tokens",
            "share of answers",
            traffic.output_tokens,
            whole,
        ),
        of(
            "request_bytes",
            None,
            "Request bytes",
            "",
            traffic.request_bytes,
            whole,
        ),
        of(
            "tensor_elements",
            None,
            "Tensor elements",
            "",
            traffic.tensor_elements,
            whole,
        ),
        of(
            "ttft_ms",
            Some("ttft"),
            "TTFT",
            "arrival to first token, of streamed answers",
            traffic.ttft_ms,
            ms,
        ),
        of(
            "gap_ms",
            Some("gap"),
            "ITL",
            "gaps between token events",
            traffic.gap_ms,
            ms,
        ),
        of(
            "e2e_ms",
            Some("e2e"),
            "E2E",
            "arrival to last byte, of completed exchanges",
            traffic.e2e_ms,
            ms,
        ),
        of(
            "longest_stall_ms",
            Some("stall"),
            "Longest stall",
            "the longest gap of each streamed answer",
            traffic.longest_stall_ms,
            ms,
        ),
        of(
            "websockets.sent_bytes",
            None,
            "Bytes of a frame sent",
            "",
            frames(|it| it.sent_bytes),
            whole,
        ),
        of(
            "websockets.sent_gap_ms",
            None,
            "Between frames sent",
            "",
            frames(|it| it.sent_gap_ms),
            ms,
        ),
        of(
            "websockets.came_gap_ms",
            None,
            "Between frames that came",
            "",
            frames(|it| it.came_gap_ms),
            ms,
        ),
    ]
}
