use std::time::Duration;

use serde::Deserialize;

use super::shard::{Shard, ShardTarget, Told};
use crate::measure::{GeneratorEvidence, altered_in_all, said_by_each};

/// What the shards' generators have to show for themselves, the worst of each; what makes one shard invalid makes the whole so. `prompt_tokens` are
/// those of each shard's requests, as recorded; `gaps_known`: whether every shard tells of the gaps between tokens that are compared.
pub(super) fn evidence(
    parts: &[(&Shard, &ShardTarget)],
    run: u64,
    prompt_tokens: &[u64],
    gaps_known: bool,
) -> GeneratorEvidence {
    let each = || parts.iter().map(|(_, target)| &target.fidelity);
    let heartbeat = each()
        .filter_map(|fidelity| fidelity.heartbeat_p99_ms)
        .reduce(f64::max);
    let told: Vec<(String, Told)> = parts
        .iter()
        .map(|(shard, target)| {
            let place = shard.place().map_or_else(
                |_| shard.path.display().to_string(),
                |(index, count)| format!("shard {index}/{count}"),
            );
            (place, told(target, run))
        })
        .collect();
    let said = |list: fn(&Told) -> &Vec<String>| {
        let each = told.iter();
        said_by_each(each.map(|(place, told)| (place.clone(), &list(told)[..])))
    };
    let mut faults = said(|told| &told.reasons);
    let mut remarks = said(|told| &told.remarks);
    if !gaps_known && parts.iter().any(|(shard, _)| shard.targets.len() > 1) {
        remarks.push(NO_GAPS.to_owned());
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
        prefix_share_recorded: prefix_share(parts, prompt_tokens),
        // Each shard knows its own.
        template_tokens: None,
        alterations: altered_in_all(each().flat_map(|fidelity| &fidelity.alterations)),
        faults,
        remarks,
    }
}

/// What one run of a shard says of its own fidelity.
fn told(target: &ShardTarget, run: u64) -> Told {
    let of_run = usize::try_from(run)
        .ok()
        .and_then(|run| target.runs.get(run));
    let told = match of_run {
        Some(of_run) => Told::deserialize(of_run).unwrap_or_default(),
        None => target.fidelity.told.clone(),
    };
    told.parted()
}

/// Whether all shards were told the same moment to start at.
fn together(parts: &[(&Shard, &ShardTarget)]) -> bool {
    let moments = || parts.iter().map(|(shard, _)| shard.plan.get("start_at"));
    let first = moments().next().flatten();
    parts.len() == 1 || (first.is_some() && moments().all(|moment| moment == first))
}

/// The recorded share of repeated prompt tokens. It is a share of tokens, and so weighs by them: a shard of few long conversations repeats more
/// than one of as many short ones.
#[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn prefix_share(parts: &[(&Shard, &ShardTarget)], prompt_tokens: &[u64]) -> Option<f64> {
    let weighted = parts.iter().zip(prompt_tokens);
    let weighted = weighted.filter_map(|((_, target), &tokens)| {
        let share = target.fidelity.prefix_share_recorded?;
        Some((share, tokens as f64))
    });
    let (sum, weight) = weighted.fold((0.0, 0.0), |(sum, weight), (share, tokens)| {
        (sum + share * tokens, weight + tokens)
    });
    (weight > 0.0).then(|| sum / weight)
}

const NO_GAPS: &str = "merged from shards: gaps between tokens (itl) are not compared, since a shard lacks gaps.json.zst and the requests tell of their longest alone";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_said_of_a_valid_run_is_a_remark() {
        let told = |json| serde_json::from_str::<Told>(json).unwrap().parted();
        let before = told(r#"{"valid": true, "reasons": ["the trace lacks a file"]}"#);
        assert_eq!(before.reasons, Vec::<String>::new());
        assert_eq!(before.remarks, ["the trace lacks a file"]);
        let now = told(r#"{"valid": false, "reasons": ["late"], "remarks": ["HTTP/2"]}"#);
        assert_eq!(
            (now.reasons, now.remarks),
            (vec!["late".to_owned()], vec!["HTTP/2".to_owned()])
        );
    }

    #[test]
    fn a_share_of_prompt_tokens_weighs_by_them() {
        let shard = |share: f64| -> Shard {
            serde_json::from_value(serde_json::json!({
                "schema": "", "started_at": "", "elapsed_s": 1.0, "trace": {}, "plan": {}, "verdict": {},
                "targets": [{
                    "name": "a", "url": "",
                    "fidelity": {"valid": true, "prefix_share_recorded": share},
                }],
            }))
            .unwrap()
        };
        let shards = [shard(0.9), shard(0.1)];
        let parts: Vec<_> = shards.iter().map(|it| (it, &it.targets[0])).collect();
        assert_eq!(prefix_share(&parts, &[3000, 1000]), Some(0.7));
        assert_eq!(prefix_share(&parts, &[0, 0]), None);
    }
}
