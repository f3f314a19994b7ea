use std::collections::BTreeMap;
use std::time::Duration;

use super::shard::{Shard, ShardTarget};
use crate::measure::GeneratorEvidence;

/// What the shards' generators have to show for themselves, the worst of each; what makes one shard invalid makes the whole so.
pub(super) fn evidence(parts: &[(&Shard, &ShardTarget)], run: u64) -> GeneratorEvidence {
    let each = || parts.iter().map(|(_, target)| &target.fidelity);
    let heartbeat = each()
        .filter_map(|fidelity| fidelity.heartbeat_p99_ms)
        .reduce(f64::max);
    let (mut faults, mut remarks) = (Vec::new(), Vec::new());
    for (shard, target) in parts {
        let (valid, reasons) = told(target, run);
        let place = shard.place().map_or_else(
            |_| String::new(),
            |(index, count)| format!("shard {index}/{count}: "),
        );
        for reason in reasons {
            if valid {
                // What is true of every shard (a damaged trace) is said once.
                let of_all = parts
                    .iter()
                    .all(|(_, other)| told(other, run).1.contains(&reason));
                let remark = if of_all {
                    reason
                } else {
                    format!("{place}{reason}")
                };
                if !remarks.contains(&remark) {
                    remarks.push(remark);
                }
            } else {
                faults.push(format!("{place}{reason}"));
            }
        }
    }
    if !together(parts) {
        faults.push(
            "the shards were not started at one instant (--start-at), so the target never had the load of the whole"
                .to_owned(),
        );
    }
    GeneratorEvidence {
        heartbeat_p99: heartbeat.map(|ms| Duration::from_secs_f64(ms / 1000.0)),
        cpu_share: each()
            .filter_map(|fidelity| fidelity.cpu_share)
            .reduce(f64::max),
        prefix_share_recorded: prefix_share(parts),
        // Each shard knows its own.
        template_tokens: None,
        alterations: alterations(each().flat_map(|fidelity| &fidelity.alterations)),
        faults,
        remarks,
    }
}

/// Whether a shard's run was faithful, and what it said of it.
fn told(target: &ShardTarget, run: u64) -> (bool, Vec<String>) {
    let of_run = usize::try_from(run)
        .ok()
        .and_then(|run| target.runs.get(run));
    let Some(of_run) = of_run else {
        return (target.fidelity.valid, target.fidelity.reasons.clone());
    };
    let valid = of_run.get("valid").and_then(serde_json::Value::as_bool);
    let reasons = of_run.get("reasons").cloned().unwrap_or_default();
    (
        valid.unwrap_or(false),
        serde_json::from_value(reasons).unwrap_or_default(),
    )
}

/// Whether all shards were told the same moment to start at.
fn together(parts: &[(&Shard, &ShardTarget)]) -> bool {
    let moments = || parts.iter().map(|(shard, _)| shard.plan.get("start_at"));
    let first = moments().next().flatten();
    parts.len() == 1 || (first.is_some() && moments().all(|moment| moment == first))
}

/// The recorded share of repeated prompt tokens, weighted by what each shard planned.
#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn prefix_share(parts: &[(&Shard, &ShardTarget)]) -> Option<f64> {
    let weighted = parts.iter().filter_map(|(_, target)| {
        let share = target.fidelity.prefix_share_recorded?;
        Some((share, target.requests.planned as f64))
    });
    let (sum, weight) = weighted.fold((0.0, 0.0), |(sum, weight), (share, planned)| {
        (sum + share * planned, weight + planned)
    });
    (weight > 0.0).then(|| sum / weight)
}

/// Alterations of all shards, with their counts added up: each is a sentence with `(N requests)` at its end.
fn alterations<'a>(each: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for told in each {
        let parsed = told.strip_suffix(" requests)").and_then(|told| {
            let (what, n) = told.rsplit_once(" (")?;
            Some((what, n.parse::<u64>().ok()?))
        });
        let (what, n) = parsed.unwrap_or((told, 0));
        *counts.entry(what).or_default() += n;
    }
    let sentence = |(what, n): (&str, u64)| match n {
        0 => what.to_owned(),
        n => format!("{what} ({n} requests)"),
    };
    counts.into_iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alterations_of_shards_add_up() {
        let told = [
            "media left out (3 requests)",
            "media left out (4 requests)",
            "odd",
        ];
        let told = told.map(str::to_owned);
        assert_eq!(
            alterations(told.iter()),
            ["media left out (7 requests)", "odd"]
        );
    }
}
