//! Percentile logs as HdrHistogram's tools write and plot them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::histograms::RunHistograms;
use crate::measure::PercentileLog;

/// The logs of every latency of every run: names below the directory of results, and what is in them.
pub(super) fn logs(runs: &[RunHistograms]) -> BTreeMap<String, String> {
    let several = |target: &str| runs.iter().filter(|run| run.target == target).count() > 1;
    let mut logs = BTreeMap::new();
    for run in runs {
        for (name, distribution) in run.latencies.named() {
            let Some(log) = distribution.percentile_log() else {
                continue;
            };
            let latency = name.trim_end_matches("_ms");
            let number = match several(&run.target) {
                true => format!(".{}", run.run + 1),
                false => String::new(),
            };
            let file = format!("{}{number}.{latency}.hgrm", plain(&run.target));
            logs.insert(file, render(&log));
        }
    }
    logs
}

/// A target's name as part of a file's.
fn plain(name: &str) -> String {
    let kept = |c: char| match c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
        true => c,
        false => '_',
    };
    name.chars().map(kept).collect()
}

fn render(log: &PercentileLog) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for line in &log.lines {
        let rest = 1.0 - line.share;
        let inverse = match rest > 1e-12 {
            true => format!("{:14.2}", 1.0 / rest),
            // HdrHistogram leaves the last one's out.
            false => String::new(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:12.3} {:14.12} {:10} {inverse}",
            line.ms, line.share, line.count
        );
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, Total count    = {:12}]",
        log.mean_ms, log.deviation_ms, log.max_ms, log.count
    );
    if log.misses > 0 {
        let _ = writeln!(
            text,
            "#[Failed  = {:12}, counted in Percentile as infinite]",
            log.misses
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Latencies;

    #[test]
    fn a_log_has_hdr_histograms_columns_and_failures_end_it_below_one() {
        let mut latencies = Latencies::default();
        (1..=90).for_each(|ms| latencies.e2e.record(ms * 1000));
        (0..10).for_each(|_| latencies.e2e.miss());
        let run = |target: &str, run| RunHistograms {
            target: target.to_owned(),
            run,
            latencies: latencies.clone(),
        };
        let logs = logs(&[run("a/b", 0), run("two", 0), run("two", 1)]);
        let names: Vec<&String> = logs.keys().collect();
        assert_eq!(names, ["a_b.e2e.hgrm", "two.1.e2e.hgrm", "two.2.e2e.hgrm"]);
        let log = &logs["a_b.e2e.hgrm"];
        let rows: Vec<Vec<&str>> = log
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().collect())
            .collect();
        let last = rows.last().unwrap();
        assert_eq!(&last[1..], ["0.900000000000", "90", "10.00"], "{log}");
        assert!((last[0].parse::<f64>().unwrap() - 90.0).abs() < 0.1);
        assert!(log.contains("Total count    =           90"), "{log}");
        assert!(log.contains("#[Failed  =           10"), "{log}");
    }
}
