//! What a chart shows, in a sentence: for those who cannot see it, and for those who want to be told.

use crate::measure::traffic::picture::{Dispersion, Picture, PrefixTree, SessionTurns};
use crate::measure::traffic::{Arrivals, PrefixSharing, Quantiles, Traffic};
use crate::report::figures::{count, ms, number, percent, seconds};
use crate::shape::{BlockSpec, BlockUnit};
use crate::wording::plural;

/// `14 blocks (7,168 tokens)`
pub(super) fn blocks(blocks: f64, spec: BlockSpec) -> String {
    let unit = match spec.unit {
        BlockUnit::Bytes => "bytes",
        BlockUnit::Tokens => "tokens",
    };
    let held = whole(blocks * f64::from(spec.size));
    let blocks = match blocks {
        1.0 => "1 block".to_owned(),
        many if many.fract() == 0.0 => format!("{} blocks", whole(many)),
        mean => format!("{mean:.1} blocks"),
    };
    format!("{blocks} ({held} {unit})")
}

/// A number that has no decimals to show, in groups of three digits.
pub(super) fn whole(value: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "for display; a float saturates"
    )]
    let value = value.round() as u64;
    count(value)
}

/// A window's length in the largest unit that it is a whole number of: `500 ms`, `100 s`, `5 min`.
pub(super) fn window(window_s: f64) -> String {
    if window_s < 1.0 {
        return format!("{} ms", whole(window_s * 1000.0));
    }
    let units = [(86_400.0, "d"), (3600.0, "h"), (60.0, "min")];
    let fits = units.into_iter().find(|(unit, _)| window_s % unit == 0.0);
    let (unit, name) = fits.unwrap_or((1.0, "s"));
    format!("{} {name}", whole(window_s / unit))
}

pub(super) fn arrivals(arrivals: &Arrivals) -> Option<String> {
    let mean = arrivals.mean_per_s?;
    let mut text = format!("{}/s on average", number(mean));
    if let Some(peak) = arrivals.peak_1s_per_s {
        text += &format!("; {}/s in the busiest second", number(peak));
    }
    if let Some(peak) = arrivals.peak_10s_per_s {
        text += &format!(", {}/s in the busiest ten", number(peak));
    }
    Some(text + ".")
}

/// Where arrivals stand to Poisson's, at the scales at both ends.
pub(super) fn burstiness(scales: &[Dispersion]) -> Option<String> {
    let (first, last) = (scales.first()?, scales.last()?);
    let above: Vec<_> = scales
        .iter()
        .filter(|scale| scale.index > scale.poisson_95.1)
        .collect();
    let below = scales
        .iter()
        .filter(|scale| scale.index < scale.poisson_95.0);
    let range = |at: &[&Dispersion]| match at {
        [only] => format!("in windows of {}", window(only.window_s)),
        [from, .., to] => format!(
            "in windows of {} to {}",
            window(from.window_s),
            window(to.window_s)
        ),
        [] => String::new(),
    };
    let below: Vec<_> = below.collect();
    let mut text = if above.is_empty() && below.is_empty() {
        "At every scale within what Poisson arrivals show by chance".to_owned()
    } else if above.is_empty() {
        format!("More regular than Poisson arrivals {}", range(&below))
    } else {
        let worst = above
            .iter()
            .max_by(|a, b| a.index.total_cmp(&b.index))
            .map_or(0.0, |scale| scale.index);
        format!(
            "Burstier than Poisson arrivals {}, where counts vary up to {} times as much",
            range(&above),
            number(worst)
        )
    };
    text += &format!(
        ". Index at {}: {}; at {}: {}.",
        window(first.window_s),
        number(first.index),
        window(last.window_s),
        number(last.index)
    );
    Some(text)
}

pub(super) fn in_flight(traffic: &Traffic, picture: &Picture) -> Option<String> {
    let columns = picture.timeline.in_flight.as_ref()?;
    let mut text = match traffic.in_flight {
        Some(recorded) => format!(
            "The recorder had {} open at most; an arriving one met {} on average.",
            exchanges(recorded.peak),
            number(recorded.mean)
        ),
        None => format!(
            "{} open at most.",
            exchanges(columns.peak.iter().copied().max().unwrap_or(0))
        ),
    };
    if columns.unknown_ends > 0 {
        text += &format!(
            " {} of unknown end not counted in the chart.",
            exchanges(columns.unknown_ends)
        );
    }
    Some(text)
}

pub(super) fn failures(traffic: &Traffic) -> String {
    match traffic.errors.count {
        0 => "Every exchange completed.".to_owned(),
        failed => {
            let kinds: Vec<_> = traffic
                .by_outcome
                .iter()
                .filter(|(kind, _)| **kind != "completed")
                .map(|(kind, n)| format!("{} {}", count(*n), kind.replace('_', " ")))
                .collect();
            format!(
                "{} of {} exchanges did not complete ({}): {}.",
                count(failed),
                count(traffic.exchanges),
                percent(traffic.errors.share),
                kinds.join(", ")
            )
        }
    }
}

/// A distribution by its quantiles, each in the words of `show`.
pub(super) fn quantiles(quantiles: &Quantiles, show: impl Fn(f64) -> String) -> String {
    format!(
        "Half are at most {}, 90 % at most {}, 99 % at most {}; the largest is {}.",
        show(quantiles.p50),
        show(quantiles.p90),
        show(quantiles.p99),
        show(quantiles.max)
    )
}

pub(super) fn sharing(sharing: &PrefixSharing, tree: &PrefixTree, spec: BlockSpec) -> String {
    let mut text = match sharing.prefix_share {
        Some(share) => format!(
            "{} of prompt tokens repeat the beginning of an earlier prompt: what a prefix cache without limits would spare.",
            percent(share)
        ),
        None => format!(
            "{} of prompt blocks repeat the beginning of an earlier prompt: what a prefix cache without limits would spare.",
            percent(sharing.block_share)
        ),
    };
    let largest = tree.bands.iter().max_by(|a, b| a.share.total_cmp(&b.share));
    if let Some(band) = largest {
        let by = match (band.from, band.to) {
            (2, 2) => "2 prompts each".to_owned(),
            (from, to) => format!("{} to {} prompts each", count(from), count(to)),
        };
        text += &format!(
            " The largest part of it ({}) lies in blocks that are shared by {by}.",
            percent(band.share)
        );
    }
    if let Some(first) = tree.heaviest.first() {
        text += &format!(
            " The heaviest beginning is {} long, in {} prompts.",
            blocks(float(first.blocks), spec),
            count(first.prompts)
        );
    }
    if tree.let_go > 0 {
        text += &format!(
            " The tree was larger than its bound: {} rare runs of blocks were let go, and a count can be short by {}.",
            count(tree.let_go),
            count(tree.short_by_at_most)
        );
    }
    text
}

pub(super) fn sessions(turns: &SessionTurns) -> String {
    let mut text = format!(
        "{} sessions: {} turns each on average, half have at most {}, the longest {}.",
        count(turns.turns.count),
        number(turns.turns.mean),
        whole(turns.turns.p50),
        whole(turns.turns.max)
    );
    if let Some(think) = &turns.think_ms {
        text += &format!(
            " Between the end of a turn and the next, half wait at most {}, 90 % at most {}.",
            ms(think.p50),
            ms(think.p90)
        );
    } else if let Some(gap) = &turns.between_arrivals_ms {
        text += &format!(
            " Ends of turns are unknown; from arrival to arrival, half wait at most {}, 90 % at most {}.",
            ms(gap.p50),
            ms(gap.p90)
        );
    }
    if turns.overlapping > 0 {
        text += &format!(
            " {} turns arrived before the one before them had ended.",
            count(turns.overlapping)
        );
    }
    if turns.without_session > 0 {
        text += &format!(" {} of no known session.", exchanges(turns.without_session));
    }
    if turns.let_go > 0 {
        text += &format!(
            " {} idle sessions were let go to keep memory bounded; if one went on, it counts as two.",
            count(turns.let_go)
        );
    }
    text
}

pub(super) fn headline(traffic: &Traffic) -> String {
    match traffic.exchanges {
        0 => "No exchanges".to_owned(),
        1 => exchanges(1),
        many => format!("{} over {}", exchanges(many), seconds(traffic.span_s)),
    }
}

fn exchanges(n: u64) -> String {
    format!("{} exchange{}", count(n), plural(n))
}

#[allow(clippy::cast_precision_loss, reason = "for display")]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(window_s: f64, index: f64) -> Dispersion {
        Dispersion {
            window_s,
            windows: 100,
            index,
            poisson_95: (0.75, 1.3),
        }
    }

    #[test]
    fn burstiness_is_called_so_only_beyond_chance() {
        let text = |scales: &[Dispersion]| burstiness(scales).unwrap();
        assert!(text(&[scale(0.01, 1.1), scale(1.0, 0.9)]).starts_with("At every scale within"));
        let bursty = text(&[scale(0.01, 1.0), scale(1.0, 4.0), scale(60.0, 12.0)]);
        assert!(
            bursty.starts_with("Burstier than Poisson arrivals in windows of 1 s to 1 min, where counts vary up to 12.00"),
            "{bursty}"
        );
        assert!(text(&[scale(1.0, 0.1)]).starts_with("More regular"));
        assert_eq!(burstiness(&[]), None);
    }

    #[test]
    fn lengths_are_named_in_units_that_people_use() {
        assert_eq!(
            [0.01, 0.5, 1.0, 10.0, 60.0, 1800.0, 7200.0, 100_000.0].map(window),
            [
                "10 ms",
                "500 ms",
                "1 s",
                "10 s",
                "1 min",
                "30 min",
                "2 h",
                "100,000 s"
            ]
        );
        assert_eq!(blocks(1.0, BlockSpec::LIVE), "1 block (64 bytes)");
        assert_eq!(
            blocks(14.0, BlockSpec::MOONCAKE),
            "14 blocks (7,168 tokens)"
        );
    }
}
