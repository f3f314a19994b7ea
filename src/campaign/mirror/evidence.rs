//! What a reader of a mirror's result must know beside its figures.

use super::MOST_REQUESTS;
use crate::measure::GeneratorEvidence;
use crate::report::MirrorAccount;

/// What makes the result invalid beyond what was dropped, and what a reader should know of it.
pub(super) fn evidence(account: &MirrorAccount) -> GeneratorEvidence {
    let mut faults = Vec::new();
    if account.unmeasured > 0 {
        faults.push(format!(
            "{} mirrored requests are in no figure: they came faster than they could be measured, or after the {MOST_REQUESTS} that one result has",
            account.unmeasured
        ));
    }
    let mut remarks = vec![format!(
        "a live mirror: requests were sent as production's clients sent them, {:.1} ms later in the mean, {:.1} ms at most, and no schedule was kept. Lateness is the wait from their hand-over to the mirror until a connection was looked for; latencies count from the hand-over, production's from the moment at which the request was whole",
        account.behind_mean_ms, account.behind_max_ms
    )];
    let dropped: Vec<String> = account
        .dropped
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if !dropped.is_empty() {
        remarks.push(format!(
            "not sent to the mirror, and counted as failed: {}",
            dropped.join(", ")
        ));
    }
    if account.open_at_the_end > 0 {
        remarks.push(format!(
            "{} requests were still open when the recorder had ended, after production's answers: they count as timeouts",
            account.open_at_the_end
        ));
    }
    if account.without_production > 0 {
        remarks.push(format!(
            "{} requests are in no figure: recording was paused, or production's end was not seen",
            account.without_production
        ));
    }
    GeneratorEvidence {
        faults,
        remarks,
        ..GeneratorEvidence::default()
    }
}
