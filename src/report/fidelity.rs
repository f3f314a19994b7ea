//! How true replays were to their trace, as rows: in brief beside the other figures, and whole with the bars that they were held to.

use super::figures::{Row, ms, number, percent};
use crate::measure::{ArrivalProcess, ErrorQuantiles, Fidelity, RECORDED, TargetSummary};

/// Production was sent nothing: its figures have no generator behind them.
pub(super) fn replayed(target: &TargetSummary) -> bool {
    target.name != RECORDED
}

/// Rows for the table of targets.
pub(super) fn brief(targets: &[TargetSummary]) -> Vec<Row> {
    let all = [
        row("Offered requests / s", targets, |fidelity| {
            let arrivals = fidelity.arrivals.as_ref()?;
            Some(format!(
                "{} (sent {})",
                number(arrivals.offered_per_s),
                number(arrivals.achieved_per_s)
            ))
        }),
        row("Send lateness p99", targets, |fidelity| {
            Some(ms(fidelity.lateness_ms.p99))
        }),
        row("Gaps between sends, KS distance", targets, distance),
        row("Prompt tokens off by", targets, |fidelity| {
            fidelity.prompt_tokens_error.map(percent)
        }),
        row("Output tokens off by", targets, |fidelity| {
            fidelity.output_tokens_error.map(percent)
        }),
        row("Prefix share recorded", targets, |fidelity| {
            fidelity.prefix_share_recorded.map(percent)
        }),
        row("Prefix share sent", targets, |fidelity| {
            fidelity.prefix_share_sent.map(percent)
        }),
        row("Prefix share from cache", targets, |fidelity| {
            fidelity.prefix_share_cached.map(percent)
        }),
    ];
    all.into_iter().flatten().collect()
}

/// A row of the whole table.
pub(super) struct HeldRow {
    pub(super) row: Row,
    /// The bar that it is held to, where it is.
    pub(super) allowed: Option<String>,
}

/// Everything that is known of how true the replays were. `targets` without production itself.
pub(super) fn table(targets: &[TargetSummary]) -> Vec<HeldRow> {
    let Some(bar) = targets.first().map(|target| &target.fidelity.bar) else {
        return Vec::new();
    };
    let lateness = ms(bar.lateness.as_secs_f64() * 1000.0);
    let lateness = match bar.lateness_of_ttft > 0.0 {
        true => format!(
            "{lateness} or {} of median TTFT",
            percent(bar.lateness_of_ttft)
        ),
        false => lateness,
    };
    let held = |row: Option<Row>, allowed: Option<String>| row.map(|row| HeldRow { row, allowed });
    let told = |label, cell: fn(&Fidelity) -> Option<String>| held(row(label, targets, cell), None);
    let bound = |label, cell: fn(&Fidelity) -> Option<String>, allowed| {
        held(row(label, targets, cell), Some(allowed))
    };
    let all = [
        told("Sends late, median", |f| Some(ms(f.lateness_ms.p50))),
        bound("Sends late, P99", |f| Some(ms(f.lateness_ms.p99)), lateness),
        told("Sends late, most", |f| Some(ms(f.lateness_ms.max))),
        bound(
            "Gaps between sends, KS distance",
            distance,
            format!("{:.2}", bar.ks_distance),
        ),
        told("Sends a second off by, mean", |f| {
            arrivals(f, |a| Some(percent(a.rate_error_mean)))
        }),
        told("Sends a second off by, most", |f| {
            arrivals(f, |a| Some(percent(a.rate_error_max)))
        }),
        told("Requests / s, offered", |f| {
            arrivals(f, |a| Some(number(a.offered_per_s)))
        }),
        told("Requests / s, sent", |f| {
            arrivals(f, |a| Some(number(a.achieved_per_s)))
        }),
        told("Tokens / s, offered", |f| {
            arrivals(f, |a| a.offered_tokens_per_s.map(number))
        }),
        told("Tokens / s, sent", |f| {
            arrivals(f, |a| a.achieved_tokens_per_s.map(number))
        }),
        told("Slip behind the trace, mean", |f| {
            arrivals(f, |a| Some(format!("{:+.2} s", a.slip_mean_s)))
        }),
        bound(
            "Prompt tokens off by, mean",
            |f| f.prompt_tokens_error.map(percent),
            percent(bar.prompt_tokens_error),
        ),
        told("– P50, P99, most", |f| errors(f.prompt_tokens_errors)),
        told("Output tokens off by, mean", |f| {
            f.output_tokens_error.map(percent)
        }),
        told("– P50, P99, most", |f| errors(f.output_tokens_errors)),
        told("Prefix share recorded", |f| {
            f.prefix_share_recorded.map(percent)
        }),
        bound(
            "Prefix share sent",
            |f| f.prefix_share_sent.map(percent),
            format!("{} off", percent(bar.prefix_share_error)),
        ),
        told("Prefix share from cache", |f| {
            f.prefix_share_cached.map(percent)
        }),
        bound(
            "Generator's share of its cores",
            |f| f.cpu_share.map(percent),
            percent(bar.cpu_share),
        ),
        told("1 ms heartbeat late, P99", |f| f.heartbeat_p99_ms.map(ms)),
    ];
    all.into_iter().flatten().collect()
}

fn distance(fidelity: &Fidelity) -> Option<String> {
    arrivals(fidelity, |arrivals| {
        Some(format!("{:.3}", arrivals.ks_distance))
    })
}

fn arrivals(
    fidelity: &Fidelity,
    cell: impl Fn(&ArrivalProcess) -> Option<String>,
) -> Option<String> {
    cell(fidelity.arrivals.as_ref()?)
}

fn errors(quantiles: Option<ErrorQuantiles>) -> Option<String> {
    let quantiles = quantiles?;
    let [p50, p99, max] = [quantiles.p50, quantiles.p99, quantiles.max].map(percent);
    Some(format!("{p50}, {p99}, {max}"))
}

fn row(
    label: &'static str,
    targets: &[TargetSummary],
    cell: impl Fn(&Fidelity) -> Option<String>,
) -> Option<Row> {
    let of = |target: &TargetSummary| cell(&target.fidelity).filter(|_| replayed(target));
    let cells: Vec<_> = targets.iter().map(of).collect();
    cells
        .iter()
        .any(Option::is_some)
        .then_some(Row { label, cells })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{
        GeneratorEvidence, MeasureOptions, Observed, TargetIdentity, TargetMeasure,
    };

    fn target(name: &str) -> TargetSummary {
        let identity = TargetIdentity {
            name: name.to_owned(),
            ..TargetIdentity::default()
        };
        let evidence = GeneratorEvidence {
            cpu_share: Some(0.5),
            ..GeneratorEvidence::default()
        };
        TargetMeasure::new(MeasureOptions::default()).finish(
            identity,
            evidence,
            Observed::default(),
        )
    }

    #[test]
    fn production_has_no_fidelity() {
        let rows = brief(&[target("a"), target(RECORDED)]);
        let late = rows
            .iter()
            .find(|row| row.label == "Send lateness p99")
            .unwrap();
        assert!(late.cells[0].is_some() && late.cells[1].is_none());
        assert!(brief(&[target(RECORDED)]).is_empty());
    }

    #[test]
    fn figures_stand_beside_the_bars_in_force() {
        let mut changed = target("a");
        changed.fidelity.bar.cpu_share = 0.8;
        changed.fidelity.bar.lateness_of_ttft = 0.0;
        let rows = table(&[changed]);
        let allowed = |label| {
            let held = rows.iter().find(|held| held.row.label == label).unwrap();
            held.allowed.clone()
        };
        assert_eq!(
            allowed("Generator's share of its cores").as_deref(),
            Some("80 %")
        );
        assert_eq!(allowed("Sends late, P99").as_deref(), Some("2.00 ms"));
        assert_eq!(allowed("Sends late, most"), None);
    }
}
