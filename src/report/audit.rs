//! What in a trace could identify someone, for the person who has to sign it off (text) and for programs (`reenact.audit/1`).

use std::fmt::{self, Display};
use std::path::PathBuf;

use serde::Serialize;

use crate::anonymise::{Gaps, Keys, Lengths};
use crate::measure::audit::{Audit, Classes, FEW, FieldAudit};
use crate::trace::{Damage, Source, Trace};

/// The document that `reenact audit --json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct AuditReport {
    /// `reenact.audit/1`
    pub schema: &'static str,
    /// The files, in the order in which they were read.
    pub files: Vec<PathBuf>,
    /// What was measured.
    #[serde(flatten)]
    pub audit: Audit,
    /// What follows from it and from the policy, in words.
    pub findings: Vec<Finding>,
    /// What could not be read, and so was not looked at.
    pub damage: Damage,
}

/// One thing that a reader of the trace can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it can hurt: singling out, linking, inferring (the three questions of the Article 29 Working Party's Opinion 05/2014).
    pub kind: &'static str,
    /// What can be done with the trace.
    pub says: String,
    /// What takes it away.
    pub mend: &'static str,
}

impl AuditReport {
    /// Puts together what reading a trace to its end showed. `names` are the model names in it.
    pub fn new(trace: &Trace, audit: Audit) -> Self {
        Self {
            schema: "reenact.audit/1",
            files: trace.files(),
            findings: findings(trace, &audit),
            damage: trace.damage(),
            audit,
        }
    }
}

fn findings(trace: &Trace, audit: &Audit) -> Vec<Finding> {
    let mut findings = Vec::new();
    // What was not recorded here cannot be recorded otherwise.
    let recorded = trace.headers().any(|it| it.source == Source::Recorded);
    let rounded = match recorded {
        true => "record with --quantise-lengths: what is recorded by now stays exact",
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
                "whoever has a bill or an access log with token counts finds {} of {} exchanges by them alone",
                exact.unique, audit.exchanges
            ),
            rounded,
        );
    }
    if afar.unique > 0 {
        find(
            "singling out",
            format!(
                "{} alone in their shape even from afar, as the longest prompts and the only picture of a trace are",
                exchanges_are(afar.unique)
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
            format!("{} clients have pseudonyms", links.clients),
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
    let policies: Vec<_> = trace
        .headers()
        .filter_map(|header| header.policy.as_ref())
        .collect();
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
    } else if policies.iter().any(|policy| policy.time_jitter_us == 0) || policies.is_empty() {
        find(
            "linking",
            "the pattern of arrivals is exact: who has an access log of the same minutes can lay the two over each other".to_owned(),
            match recorded {
                true => "record with --time-jitter, and --time-shift",
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
    let exact_lengths = policies.is_empty() || any(|policy| policy.lengths == Lengths::Exact);
    let short = |field: &&FieldAudit| field.name == "output tokens" && field.distinct > 1;
    if exact_lengths && audit.fields.iter().any(|field| short(&field)) {
        find(
            "inferring",
            "output tokens are exact: published attacks tell a class or a language from them where answers are short".to_owned(),
            rounded,
        );
    }
    findings
}

fn exchanges_are(count: u64) -> String {
    match count {
        1 => "1 exchange is".to_owned(),
        count => format!("{count} exchanges are"),
    }
}

impl Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audit = &self.audit;
        let files = self.files.len();
        writeln!(
            f,
            "{} exchanges in {files} file{}. There is no text in them to find; this is about what shapes and times give away.",
            audit.exchanges,
            if files == 1 { "" } else { "s" }
        )?;
        writeln!(f)?;
        write!(
            f,
            "{:<26}{:>10}{:>10}",
            "what an exchange shows", "bits", "values"
        )?;
        writeln!(f, "{:>12}{:>9}   tells", "unique", "share")?;
        for field in &audit.fields {
            field_line(f, field)?;
        }
        writeln!(f)?;
        let afar = "from afar (endpoint, model, prompt length to an eighth, messages, tools, media, streaming)";
        classes(f, afar, &audit.request_shapes)?;
        let exact = "exactly (endpoint, model, prompt and output tokens, request bytes)";
        classes(f, exact, &audit.exact_shapes)?;
        if !self.findings.is_empty() {
            writeln!(f, "\nwith this trace one can")?;
        }
        for Finding { kind, says, mend } in &self.findings {
            writeln!(f, "  {kind:<14}{says}")?;
            writeln!(f, "  {:<14}mend: {mend}", "")?;
        }
        writeln!(f)?;
        match (
            audit.missed.as_slice(),
            audit.bar == crate::measure::audit::Bar::default(),
        ) {
            ([], true) => writeln!(f, "no bar was set (--min-k, --max-unique, --max-entropy)"),
            ([], false) => writeln!(f, "within every bar that was set"),
            (missed, _) => missed
                .iter()
                .try_for_each(|miss| writeln!(f, "below the bar: {miss}")),
        }
    }
}

fn field_line(f: &mut fmt::Formatter<'_>, field: &FieldAudit) -> fmt::Result {
    let FieldAudit {
        name,
        tells,
        distinct,
        entropy_bits,
        unique,
        unique_share,
        complete,
        ..
    } = field;
    let more = if *complete { "" } else { "+" };
    let share = unique_share * 100.0;
    writeln!(
        f,
        "{name:<26}{entropy_bits:>10.2}{:>10}{unique:>12}{share:>7.1} %   {tells}",
        format!("{distinct}{more}")
    )
}

fn classes(f: &mut fmt::Formatter<'_>, what: &str, classes: &Classes) -> fmt::Result {
    let Classes {
        classes,
        smallest,
        unique,
        unique_share,
        few_share,
        complete,
        ..
    } = classes;
    writeln!(f, "alike {what}:")?;
    writeln!(
        f,
        "  {classes} classes, the smallest of {smallest} (k = {smallest}); {unique} exchanges ({:.1} %) alone in theirs, {:.1} % in classes under {FEW}{}",
        unique_share * 100.0,
        few_share * 100.0,
        match complete {
            true => "",
            false => "; too many classes to tell all apart, so these figures are the worst case",
        }
    )
}
