//! What in a trace could identify someone, for the person who has to sign it off (text) and for programs (`reenact.audit/1`).

mod findings;

use std::fmt::{self, Display};
use std::path::PathBuf;

use serde::Serialize;

use crate::measure::audit::{Audit, Classes, FEW, FieldAudit};
use crate::trace::{Damage, Trace};
use crate::wording::counted;

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
            findings: findings::of(trace, &audit),
            damage: trace.damage(),
            audit,
        }
    }
}

impl Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audit = &self.audit;
        let files = self.files.len();
        writeln!(
            f,
            "{} in {}. There is no text in them to find; this is about what shapes and times give away.",
            counted(audit.exchanges, "exchange"),
            counted(files as u64, "file")
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
        let afar = "from afar (endpoint, model, prompt length to an eighth, messages, tools, media, tensors, streaming)";
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
