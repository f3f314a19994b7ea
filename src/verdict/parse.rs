use std::str::FromStr;

use super::objective::{Bound, Metric, Objective, Operator, Statistic, Unit, unit};

/// What is wrong with an objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("objective `{expr}`, column {column}: {what}")]
pub struct ObjectiveError {
    expr: String,
    column: usize,
    what: String,
}

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, ObjectiveError> {
        let wrong = |at: usize, what: String| ObjectiveError {
            expr: text.to_owned(),
            column: text.get(..at).unwrap_or(text).chars().count() + 1,
            what,
        };
        let Some(at) = text.find(['<', '>', '=']) else {
            let what = format!("no <, <=, > or >=; write {}<800ms", text.trim());
            return Err(wrong(text.len(), what));
        };
        let (left, rest) = text.split_at(at);
        let (operator, length) = match rest.as_bytes() {
            [b'<', b'=', ..] => (Operator::LessOrEqual, 2),
            [b'<', ..] => (Operator::Less, 1),
            [b'>', b'=', ..] => (Operator::GreaterOrEqual, 2),
            [b'>', ..] => (Operator::Greater, 1),
            _ => return Err(wrong(at, "= is no bound; write <= or >=".to_owned())),
        };
        let (metric, statistic) = name(left.trim()).map_err(|what| wrong(0, what))?;
        let value = rest.get(length..).unwrap_or_default();
        let bound = bound(value.trim(), unit(metric, statistic))
            .map_err(|what| wrong(at + length + (value.len() - value.trim_start().len()), what))?;
        Ok(Self {
            metric,
            statistic,
            operator,
            bound,
            expr: text.trim().to_owned(),
        })
    }
}

fn name(left: &str) -> Result<(Metric, Statistic), String> {
    let (metric, statistic) = left.split_once('.').unwrap_or((left, ""));
    let known = Metric::ALL.iter().find(|(_, name, _)| *name == metric);
    let Some((metric, metric_name, statistics)) = known else {
        let names: Vec<&str> = Metric::ALL.iter().map(|(_, name, _)| *name).collect();
        return Err(format!(
            "no metric `{metric}`{}; there are {}",
            nearest(metric, &names),
            names.join(", ")
        ));
    };
    let found = statistics
        .iter()
        .find(|known| known.name() == statistic || known.name().replace('.', "_") == statistic);
    match found {
        Some(statistic) => Ok((*metric, *statistic)),
        None => {
            let names: Vec<&str> = statistics
                .iter()
                .map(|statistic| statistic.name())
                .collect();
            let what = match statistic {
                "" => format!("of {metric_name}, which figure?"),
                _ => {
                    let near = nearest(statistic, &names);
                    format!("{metric_name} has no `{statistic}`{near};")
                }
            };
            Err(format!("{what} it has {}", names.join(", ")))
        }
    }
}

fn nearest(word: &str, names: &[&str]) -> String {
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .min()
        .filter(|(distance, name)| *distance * 2 <= name.len())
        .map_or_else(String::new, |(_, name)| format!(" (did you mean {name}?)"))
}

fn bound(text: &str, unit: Unit) -> Result<Bound, String> {
    let digits = text
        .find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let suffix = suffix.trim();
    let value: f64 = number
        .parse()
        .map_err(|_| format!("no number here; {}", example(unit)))?;
    if !value.is_finite() {
        return Err(format!("the number is out of range; {}", example(unit)));
    }
    if number.starts_with(['+', '-']) {
        return match suffix {
            "%" => Ok(Bound::Relative(value / 100.0)),
            _ => Err(
                "a sign makes it relative to the first target: write it in percent, as +10%"
                    .to_owned(),
            ),
        };
    }
    let factor = match (unit, suffix) {
        (Unit::Milliseconds, "us" | "µs") => 1e-3,
        (Unit::Milliseconds, "s") => 1e3,
        (Unit::Milliseconds, "m" | "min") => 6e4,
        (Unit::Share, "%") => 0.01,
        (Unit::Milliseconds, "ms") | (Unit::Share | Unit::Number, "") => 1.0,
        (Unit::Bytes, size) => bytes(size).ok_or_else(|| wrong_unit(suffix, unit))?,
        (Unit::BytesPerSecond, rate) => rate
            .strip_suffix("/s")
            .and_then(|size| bytes(size.trim()))
            .ok_or_else(|| wrong_unit(suffix, unit))?,
        _ => return Err(wrong_unit(suffix, unit)),
    };
    Ok(Bound::Absolute(value * factor))
}

fn bytes(size: &str) -> Option<f64> {
    Some(match size {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        "TiB" => 1_099_511_627_776.0,
        _ => return None,
    })
}

fn wrong_unit(suffix: &str, unit: Unit) -> String {
    if suffix.is_empty() {
        format!("a unit is missing; {}", example(unit))
    } else {
        format!("`{suffix}` is no unit here; {}", example(unit))
    }
}

fn example(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "write 800ms, 1.5s, or +10% against the first target",
        Unit::Share => "write 0.1% or 0.001, or -1% against the first target",
        Unit::Bytes => "write 76GiB or 80GB",
        Unit::BytesPerSecond => "write 1MiB/s",
        Unit::Number => "write a plain number, or +10% against the first target",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Objective {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_documented_examples_parse() {
        for (text, bound) in [
            ("ttft.p99<800ms", Bound::Absolute(800.0)),
            ("tpot.p95<=40ms", Bound::Absolute(40.0)),
            ("e2e.p99.9<20s", Bound::Absolute(20_000.0)),
            ("e2e.p99_9<20s", Bound::Absolute(20_000.0)),
            ("errors.rate<0.1%", Bound::Absolute(0.001)),
            ("goodput.rate>=95%", Bound::Absolute(0.95)),
            ("vram.peak<76GiB", Bound::Absolute(76.0 * 1_073_741_824.0)),
            ("vram.growth<1MiB/s", Bound::Absolute(1_048_576.0)),
            ("kv_cache.peak<90%", Bound::Absolute(0.9)),
            ("quality.pass_rate>=98%", Bound::Absolute(0.98)),
            ("quality.canary.identical>=99%", Bound::Absolute(0.99)),
            ("quality.canary.distance<=0.02", Bound::Absolute(0.02)),
            ("ttft.p99<+10%", Bound::Relative(0.1)),
            ("quality.pass_rate>-1%", Bound::Relative(-0.01)),
            (" itl.p99 <= 500 us ", Bound::Absolute(0.5)),
            ("requests.failed<=3", Bound::Absolute(3.0)),
        ] {
            let Bound::Absolute(found) = parse(text).bound else {
                assert_eq!(parse(text).bound, bound, "{text}");
                continue;
            };
            let Bound::Absolute(expected) = bound else {
                panic!("{text}")
            };
            assert!(
                (found - expected).abs() <= expected * 1e-12,
                "{text}: {found}"
            );
        }
    }

    #[test]
    fn a_slip_is_told_with_its_column_and_the_right_word() {
        for (text, column, word) in [
            ("tftt.p99<800ms", 1, "did you mean ttft?"),
            ("ttft.p98<800ms", 1, "did you mean p90?"),
            ("ttft<800ms", 1, "of ttft, which figure? it has p50"),
            ("ttft.p99", 9, "ttft.p99<800ms"),
            ("ttft.p99<", 10, "800ms"),
            ("ttft.p99<800", 10, "unit is missing"),
            ("ttft.p99<800parsecs", 10, "`parsecs` is no unit"),
            ("ttft.p99<+10ms", 10, "percent"),
            ("ttft.p99=800ms", 9, "<= or >="),
            ("errors.rate<1.2.3%", 13, "no number"),
        ] {
            let error = text.parse::<Objective>().unwrap_err();
            assert_eq!(error.column, column, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Objective>();
        }

        #[test]
        fn what_is_shown_parses_back(
            metric in 0..Metric::ALL.len(), statistic in any::<prop::sample::Index>(), operator in 0..4_usize,
            value in 0.0..1e6_f64, relative in any::<bool>(),
        ) {
            let (metric, _, statistics) = Metric::ALL[metric];
            let operator =
                [Operator::Less, Operator::LessOrEqual, Operator::Greater, Operator::GreaterOrEqual][operator];
            let value = (value * 1000.0).round() / 1000.0;
            let bound = if relative { Bound::Relative(value / 100.0) } else { Bound::Absolute(value) };
            let objective =
                Objective { metric, statistic: *statistic.get(statistics), operator, bound, expr: String::new() };
            let again = parse(&objective.to_string());
            prop_assert_eq!((again.metric, again.statistic, again.operator), (metric, objective.statistic, operator));
            let (Bound::Absolute(a) | Bound::Relative(a), Bound::Absolute(b) | Bound::Relative(b)) =
                (again.bound, bound);
            prop_assert!((a - b).abs() <= b.abs() * 1e-9, "{} {}", a, b);
        }
    }
}
