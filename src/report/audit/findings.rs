use std::time::Duration;

use super::Finding;
use crate::anonymise::{Gaps, Keys, Lengths, Policy};
use crate::measure::audit::{Audit, FEW, FieldAudit};
use crate::trace::{Source, Trace};
use crate::wording::{counted, counted_are};

/// What can be done with a trace, from what was measured and what its policies say.
pub(super) fn of(trace: &Trace, audit: &Audit) -> Vec<Finding> {
    let mut findings = Vec::new();
    if audit.exchanges == 0 {
        return findings;
    }
    // What was not recorded here cannot be recorded otherwise.
    let recorded = trace.headers().any(|it| it.source == Source::Recorded);
    let policies: Vec<_> = trace
        .headers()
        .filter_map(|header| header.policy.as_ref())
        .collect();
    let rounded = match recorded {
        true => "record with --quantise-lengths log: what is recorded by now stays as it is",
        false => {
            "round the lengths at the source, before the import: only what is recorded can be rounded here"
        }
    };
    let mut find = |kind, says: String, mend| findings.push(Finding { kind, says, mend });
    let (exact, afar) = (&audit.exact_shapes, &audit.request_shapes);
    if exact.unique > 0 {
        find(
            "singling out",
            format!(
                "whoever has a bill or an access log with token counts finds {} of {} by them alone",
                exact.unique,
                counted(audit.exchanges, "exchange")
            ),
            match are_rounded(&policies) {
                true => {
                    "none by rounding, which this trace has; record fewer with --sample, or share a part of it (reenact trace filter)"
                }
                false => rounded,
            },
        );
    }
    if afar.unique > 0 {
        find(
            "singling out",
            format!(
                "{} alone in their shape even from afar, as the longest prompts and the only picture of a trace are",
                counted_are(afar.unique, "exchange")
            ),
            "leave them out of what you share (reenact trace filter, with --max-prompt-tokens, --endpoint or --model); long ones weigh most on memory, so replays will differ",
        );
    }
    let links = &audit.links;
    if links.in_sessions > 0 {
        find(
            "linking",
            format!(
                "{} exchanges share one of {} sessions with another: who knows one turn has the conversation's shape",
                links.in_sessions, links.shared_sessions
            ),
            "record fewer conversations with --sample or --drop-sessions; a replay needs the turns of those it has",
        );
    }
    if links.continuing > 0 || links.sharing_with_few > 0 {
        find(
            "linking",
            format!(
                "{} prompts go on where an earlier one ended, and {} begin like fewer than {FEW} others: turns of one conversation, questions about one text, or users of one small application",
                links.continuing, links.sharing_with_few
            ),
            "none without losing prefix sharing, which decides how caches behave",
        );
    }
    if links.clients > 0 {
        find(
            "linking",
            match links.clients {
                1 => "1 client has a pseudonym".to_owned(),
                many => format!("{many} clients have pseudonyms"),
            },
            "reenact records none: they are the source's",
        );
    }
    if links.rare_models > 0 {
        find(
            "linking",
            format!(
                "{} of {} models were asked for fewer than {FEW} times: somebody's own",
                links.rare_models, links.models
            ),
            "leave them out when you share the trace (reenact trace filter --model, with the others' names)",
        );
    }
    let any = |holds: fn(&&&crate::anonymise::Policy) -> bool| policies.iter().any(|p| holds(&p));
    if any(|policy| policy.keys != Keys::PerFile) {
        find(
            "linking",
            "files of one run were recorded under an operator's key and share their numbers"
                .to_owned(),
            "record without --key-file",
        );
    }
    if trace.headers().any(|header| header.epoch_unix_us.is_some()) {
        find(
            "linking",
            "the date and time of day are kept: every exchange can be joined with any log"
                .to_owned(),
            "record without the wall clock",
        );
    } else if let Some(says) = pattern_of_arrivals(&policies, audit.typical.arrival_gap_us) {
        find(
            "linking",
            says,
            match recorded {
                true => {
                    "record with --time-jitter, of ten times what lies between two arrivals or more, and --time-shift"
                }
                false => "blur the times at the source, before the import",
            },
        );
    }
    if any(|policy| policy.gaps != Gaps::Sketch) {
        find(
            "inferring",
            "gaps between tokens are kept in order: published attacks tell topics and words from them".to_owned(),
            "record without --gaps full",
        );
    }
    let told = |field: &FieldAudit| field.name == "output tokens" && field.distinct > 1;
    if audit.fields.iter().any(told)
        && let Some(says) = lengths_of_answers(&policies, audit.typical.output_tokens)
    {
        find("inferring", says, rounded);
    }
    findings
}

/// Whether every length is rounded already: what is still found by lengths is then found by rounded ones.
fn are_rounded(policies: &[&Policy]) -> bool {
    let exact = |policy: &&Policy| policy.lengths == Lengths::Exact;
    !policies.is_empty() && !policies.iter().any(exact)
}

/// What the times of arrivals give away, where they are not blurred by enough. One that is put off by up to ten times what usually
/// lies between two is among ten that it could be.
fn pattern_of_arrivals(policies: &[&Policy], typical_gap_us: Option<u64>) -> Option<String> {
    let least_us = policies.iter().map(|policy| policy.time_jitter_us).min();
    let jitter_us = match least_us {
        None | Some(0) => return Some(
            "the pattern of arrivals is exact: who has an access log of the same minutes can lay the two over each other".to_owned(),
        ),
        Some(jitter_us) => jitter_us,
    };
    let gap_us = typical_gap_us?;
    (jitter_us < gap_us.saturating_mul(FEW.into())).then(|| {
        format!(
            "arrivals are put off by less than {:?}, and {:?} usually lie between two: who has an access log of the same minutes can tell which is which, of fewer than {FEW}",
            Duration::from_micros(jitter_us),
            Duration::from_micros(gap_us),
        )
    })
}

/// What the lengths of answers give away, where a policy rounds them less than `log` does at the usual length.
fn lengths_of_answers(policies: &[&Policy], typical_tokens: Option<u64>) -> Option<String> {
    const ATTACKS: &str =
        "published attacks tell a class or a language from them where answers are short";
    if policies.is_empty() {
        return Some(format!("output tokens are exact: {ATTACKS}"));
    }
    let enough = typical_tokens.map_or(0, |tokens| tokens / 16).max(16);
    let told = policies.iter().filter_map(|policy| match policy.lengths {
        Lengths::Exact => Some(1),
        Lengths::Steps(step) => Some(step).filter(|&step| u64::from(step) < enough),
        _ => None,
    });
    match told.min()? {
        1 => Some(format!("output tokens are exact: {ATTACKS}")),
        step => Some(format!(
            "output tokens are rounded to {step}, which at the usual {} hides little: {ATTACKS}",
            typical_tokens.unwrap_or(0)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jitter(time_jitter_us: u64) -> Policy {
        Policy {
            time_jitter_us,
            ..Policy::default()
        }
    }

    fn rounded(lengths: Lengths) -> Policy {
        Policy {
            lengths,
            ..Policy::default()
        }
    }

    #[test]
    fn a_jitter_counts_by_what_lies_between_arrivals() {
        let says = |policies: &[&Policy], gap_us| pattern_of_arrivals(policies, gap_us);
        let (none, little, much) = (jitter(0), jitter(1), jitter(200_000));
        assert!(says(&[], None).is_some(), "imported");
        assert!(says(&[&none], None).unwrap().contains("is exact"));
        let says_little = says(&[&much, &little], Some(20_000)).unwrap();
        assert!(
            says_little.contains("less than 1µs, and 20ms"),
            "{says_little}"
        );
        assert_eq!(says(&[&much], Some(20_000)), None);
        assert!(says(&[&much], Some(20_001)).is_some());
        assert_eq!(says(&[&little], None), None, "of one arrival");
    }

    #[test]
    fn what_is_rounded_is_not_to_be_rounded_again() {
        let (log, steps) = (rounded(Lengths::Log), rounded(Lengths::Steps(16)));
        let exact = rounded(Lengths::Exact);
        assert!(are_rounded(&[&log, &steps]));
        assert!(!are_rounded(&[&log, &exact]));
        assert!(!are_rounded(&[]), "imported");
    }

    #[test]
    fn a_rounding_counts_by_how_long_answers_are() {
        let says = |lengths, typical| lengths_of_answers(&[&rounded(lengths)], typical);
        assert!(lengths_of_answers(&[], Some(5)).is_some(), "imported");
        assert!(says(Lengths::Exact, Some(5)).unwrap().contains("are exact"));
        assert!(
            says(Lengths::Steps(2), Some(200))
                .unwrap()
                .contains("rounded to 2, which at the usual 200")
        );
        assert!(says(Lengths::Steps(15), Some(5)).is_some());
        assert_eq!(says(Lengths::Steps(16), Some(200)), None);
        assert!(says(Lengths::Steps(16), Some(2000)).is_some());
        assert_eq!(says(Lengths::Steps(125), Some(2000)), None);
        assert_eq!(says(Lengths::Log, Some(2000)), None);
    }
}
