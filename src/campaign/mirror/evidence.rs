//! What a reader of a mirror's result must know beside its figures.

use super::{BAR, MOST_REQUESTS};
use crate::measure::GeneratorEvidence;
use crate::report::MirrorAccount;

/// What makes the result invalid beyond what was dropped, and what a reader should know of it.
pub(super) fn evidence(account: &MirrorAccount) -> GeneratorEvidence {
    let mut faults = Vec::new();
    if account.unmeasured > 0 {
        faults.push(format!(
            "{} mirrored requests are in no figure: they came faster than they could be measured, or after the {MOST_REQUESTS} that one result has, or to measure them failed",
            account.unmeasured
        ));
    }
    let late_ms = account.late_p99_ms.unwrap_or(0.0);
    if late_ms > BAR.lateness.as_secs_f64() * 1e3 {
        faults.push(format!(
            "the thread that takes the candidate's times was up to {late_ms:.1} ms late at P99, for want of a processor: they may be too long by as much"
        ));
    }
    let mut remarks = vec![format!(
        "a live mirror: requests were sent as production's clients sent them, {:.1} ms later in the mean, {:.1} ms at most, and no schedule was kept. Lateness is the wait from their hand-over to the mirror until a connection was looked for; latencies count from the hand-over; production's from its arrival, without what its client took to send it",
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
            "{} requests were still open when the recorder had ended, after production's answers: they count as timeouts, or as cancelled where their client had left",
            account.open_at_the_end
        ));
    }
    if account.slow_readers > 0 {
        remarks.push(format!(
            "{} of production's clients took their answers slowly, which is in production's times: the candidate's answers are read at once",
            account.slow_readers
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_was_late_makes_the_result_invalid_and_slow_readers_are_told_of() {
        let of = |late_p99_ms, slow_readers| {
            let evidence = evidence(&MirrorAccount {
                late_p99_ms: Some(late_p99_ms),
                slow_readers,
                ..MirrorAccount::default()
            });
            (evidence.faults.len(), evidence.remarks.len())
        };
        assert_eq!(of(49.0, 0), (0, 1));
        assert_eq!(of(51.0, 3), (1, 2));
    }
}
