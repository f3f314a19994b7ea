//! Where the curve of a sweep bends.

use serde::Serialize;

use super::steps::{Step, StepVerdict};

/// Fewer loads than these have no bend between them.
const FEWEST: usize = 3;

/// The knee: the load with the most *power*, which is answers a second over the time that an answer takes (Kleinrock, "Power and
/// deterministic rules of thumb for probabilistic problems in computer communications", ICC 1979). Below it, more load brings more
/// answers than it costs time; above it, less. It needs no objective.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Knee {
    /// Requests a second that were offered there; absent where it lies outside the loads that were tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_s: Option<f64>,
    /// Where it is, in a sentence.
    pub reason: String,
}

/// A step as a knee needs it.
#[derive(Debug, Clone, Copy)]
struct Load {
    /// Requests a second that were offered.
    offered: f64,
    /// Answers a second over the median E2E in seconds; 0 where that lies among the failures.
    power: f64,
}

/// The knee among the steps that were measured faithfully; none of fewer than three different loads.
pub fn knee(steps: &[Step]) -> Option<Knee> {
    let usable = |step: &&Step| step.verdict != StepVerdict::Invalid;
    of_loads(steps.iter().filter(usable).filter_map(load).collect())
}

/// `None` where no E2E was measured.
fn load(step: &Step) -> Option<Load> {
    let e2e = step.latency.get("e2e_ms")?;
    let power = match e2e.p50 {
        Some(ms) if ms > 0.0 => step.throughput.requests_per_s / (ms / 1000.0),
        Some(_) => return None,
        None => 0.0,
    };
    Some(Load {
        offered: step.offered_per_s,
        power,
    })
}

fn of_loads(mut loads: Vec<Load>) -> Option<Knee> {
    loads.sort_by(|a, b| a.offered.total_cmp(&b.offered));
    loads.dedup_by(|a, b| a.offered.total_cmp(&b.offered).is_eq());
    if loads.len() < FEWEST {
        return None;
    }
    let (first, last) = (loads.first()?.offered, loads.last()?.offered);
    let at = loads.iter().max_by(|a, b| a.power.total_cmp(&b.power))?;
    let (requests_per_s, reason) = if at.power <= 0.0 {
        return None;
    } else if at.offered >= last {
        let reason = format!(
            "no knee up to {last:.1} requests/s: answers a second grew faster than the time that each takes"
        );
        (None, reason)
    } else if at.offered <= first {
        let reason = format!(
            "the knee is at {first:.1} requests/s or below: from there on, the time that an answer takes grew faster than answers a second"
        );
        (None, reason)
    } else {
        let reason = format!(
            "the knee of these loads is at {:.1} requests/s: beyond it, the time that an answer takes grew faster than answers a second",
            at.offered
        );
        (Some(at.offered), reason)
    };
    Some(Knee {
        requests_per_s,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads on a single server with exponential service at one answer a second (M/M/1): an answer takes 1 / (1 − load).
    fn queue(loads: &[f64]) -> Vec<Load> {
        let load = |&offered: &f64| Load {
            offered,
            power: offered * (1.0 - offered),
        };
        loads.iter().map(load).collect()
    }

    #[test]
    fn a_single_server_has_its_knee_at_half_of_what_it_carries() {
        let found = of_loads(queue(&[0.9, 0.1, 0.3, 0.5, 0.7])).unwrap();
        assert_eq!(found.requests_per_s, Some(0.5));
        assert!(found.reason.contains("is at 0.5 requests/s"), "{found:?}");
    }

    #[test]
    fn a_knee_outside_the_loads_is_not_made_up() {
        let below = of_loads(queue(&[0.1, 0.2, 0.4])).unwrap();
        assert_eq!(below.requests_per_s, None);
        assert!(below.reason.starts_with("no knee up to 0.4 "), "{below:?}");
        let above = of_loads(queue(&[0.6, 0.7, 0.9])).unwrap();
        assert_eq!(above.requests_per_s, None);
        assert!(
            above.reason.contains("0.6 requests/s or below"),
            "{above:?}"
        );
        assert_eq!(of_loads(queue(&[0.1, 0.5, 0.5])), None);
    }
}
