//! What an evaluator found test by test, beside the figures that stand in the table of targets.

use std::collections::BTreeMap;

use super::figures::{changed, count, ms};
use crate::measure::{PairedFigure, TargetSummary};

/// Tests of a target that ended otherwise under load than idle.
pub(super) struct Flipped<'a> {
    pub(super) target: &'a str,
    /// `worsened`, `improved`
    pub(super) how: &'static str,
    /// How many; not all of very many are named.
    count: u64,
    pub(super) names: &'a [String],
}

/// Those of every target, the worsened first.
pub(super) fn flipped(targets: &[TargetSummary]) -> Vec<Flipped<'_>> {
    let mut all = Vec::new();
    for target in targets {
        let Some(quality) = &target.quality else {
            continue;
        };
        let (worsened, improved) = quality.flips;
        for (how, count, names) in [
            ("worsened", worsened, &quality.worsened[..]),
            ("improved", improved, &quality.improved[..]),
        ] {
            all.push(Flipped {
                target: &target.name,
                how,
                count,
                names,
            });
        }
    }
    all.retain(|flipped| flipped.count > 0);
    all
}

impl Flipped<'_> {
    /// `2 tests worsened under load`
    pub(super) fn what(&self) -> String {
        let tests = match self.count {
            1 => "test",
            _ => "tests",
        };
        format!("{} {tests} {} under load", count(self.count), self.how)
    }

    /// `and 20 more`, than the first `named`.
    pub(super) fn more(&self, named: usize) -> Option<String> {
        let named = self.names.len().min(named) as u64;
        let more = self.count.saturating_sub(named);
        (more > 0).then(|| format!("and {} more", count(more)))
    }

    /// In a sentence that names so many of them.
    pub(super) fn told(&self, named: usize) -> String {
        let names: Vec<&str> = self.names.iter().take(named).map(String::as_str).collect();
        let more = self.more(named);
        let told: Vec<&str> = names.into_iter().chain(more.as_deref()).collect();
        format!("{}: {}: {}.", self.target, self.what(), told.join("; "))
    }
}

/// What the answers took, idle and under load, of the tests that have one kind of assertion.
pub(super) struct AssertionRow<'a> {
    pub(super) kind: &'a str,
    /// A cell for each target, of one that has none a dash.
    pub(super) cells: Vec<String>,
}

/// A row for each kind of assertion that any target's tests have.
pub(super) fn assertions(targets: &[TargetSummary]) -> Vec<AssertionRow<'_>> {
    let mut kinds: Vec<&str> = targets
        .iter()
        .filter_map(by_check)
        .flat_map(|of| of.keys().map(String::as_str))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let cell = |target: &TargetSummary, kind: &str| {
        let figure = by_check(target).and_then(|of| of.get(kind));
        figure.map_or_else(
            || "–".to_owned(),
            |figure| format!("{} (n = {})", changed(figure, ms), figure.n),
        )
    };
    let row = |kind| AssertionRow {
        kind,
        cells: targets.iter().map(|target| cell(target, kind)).collect(),
    };
    kinds.into_iter().map(row).collect()
}

fn by_check(target: &TargetSummary) -> Option<&BTreeMap<String, PairedFigure>> {
    let quality = target.quality.as_ref()?;
    Some(&quality.latency_by_check_ms)
}

/// What heads a table of [`assertions`].
pub(super) const ASSERTIONS: &str = "test latency (median) by assertion, idle to load";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_tests_some_are_named_and_all_are_counted() {
        let names = ["test 1, prompt 1, m", "b", "c"].map(str::to_owned);
        let flipped = Flipped {
            target: "candidate",
            how: "worsened",
            count: 120,
            names: &names,
        };
        let told =
            "candidate: 120 tests worsened under load: test 1, prompt 1, m; b; and 118 more.";
        assert_eq!(flipped.told(2), told);
        assert_eq!(flipped.more(100).unwrap(), "and 117 more");
        let one = Flipped {
            count: 1,
            names: &names[1..2],
            ..flipped
        };
        assert_eq!(one.told(2), "candidate: 1 test worsened under load: b.");
    }
}
