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
        let left = left.trim();
        let (metric, statistic) = name(left).map_err(|what| wrong(0, what))?;
        let value = rest.get(length..).unwrap_or_default();
        let unit = unit(metric, statistic);
        let bound = bound(value.trim(), unit)
            .and_then(|bound| match more_than_all(bound, unit) {
                true => Err(beyond(
                    value.trim(),
                    &format!("{left}{}", operator.symbol()),
                    unit,
                )),
                false => Ok(bound),
            })
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
        (Unit::Share | Unit::Distance, "%") => 0.01,
        (Unit::Milliseconds, "ms")
        | (Unit::Share | Unit::Distance | Unit::Count | Unit::Number, "") => 1.0,
        (Unit::Bytes, size) => bytes(size).ok_or_else(|| wrong_unit(suffix, unit))?,
        (Unit::BytesPerSecond, rate) => rate
            .strip_suffix("/s")
            .and_then(|size| bytes(size.trim()))
            .ok_or_else(|| wrong_unit(suffix, unit))?,
        _ => return Err(wrong_unit(suffix, unit)),
    };
    Ok(Bound::Absolute(value * factor))
}

/// Whether a bound is more than all there is, as where a percent sign was forgotten. One that is all there is stays: it says that nothing is
/// asked.
fn more_than_all(bound: Bound, unit: Unit) -> bool {
    let at_most_one = matches!(unit, Unit::Share | Unit::Distance);
    matches!(bound, Bound::Absolute(value) if at_most_one && value > 1.0)
}

/// What to write instead of such a value: the same in percent, where that was forgotten.
fn beyond(value: &str, left: &str, unit: Unit) -> String {
    match value.parse::<f64>() {
        Ok(percent) if percent <= 100.0 && unit == Unit::Share => {
            format!("{value} is not a share, which is at most 1; write {left}{value}%")
        }
        _ => format!("{value} is more than all there is; {}", example(unit)),
    }
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
        Unit::Distance => "write a number from 0 to 1, such as 0.02",
        Unit::Count | Unit::Number => "write a plain number, or +10% against the first target",
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
            ("errors.rate<=1", Bound::Absolute(1.0)),
            ("kv_cache.peak<=100%", Bound::Absolute(1.0)),
            ("kv_cache.peak<+150%", Bound::Relative(1.5)),
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
            ("errors.rate<5", 13, "write errors.rate<5%"),
            ("kv_cache.peak < 90", 17, "write kv_cache.peak<90%"),
            ("goodput.rate>=1.01", 15, "write goodput.rate>=1.01%"),
            ("errors.rate<500", 13, "500 is more than all"),
            ("errors.rate<100.1%", 13, "write 0.1% or 0.001"),
            ("quality.pass_rate>=980%", 20, "more than all"),
            ("quality.canary.distance<=2", 26, "a number from 0 to 1"),
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
            let bound = match relative {
                true => Bound::Relative(value / 100.0),
                false if more_than_all(Bound::Absolute(value), unit(metric, *statistic.get(statistics))) => {
                    Bound::Absolute(value / 1e6)
                }
                false => Bound::Absolute(value),
            };
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
