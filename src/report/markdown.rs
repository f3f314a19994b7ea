use std::fmt::Write;

use super::document::ResultDocument;
use super::figures::{count, mark, objective_word, rows, saturations, seconds, status_word};

/// `summary.md`: for a CI's step summary.
pub(super) fn render(document: &ResultDocument) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_summary(&mut text, document);
    text
}

fn write_summary(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    let verdict = &document.verdict;
    writeln!(text, "# Replay: {}\n", status_word(verdict.status))?;
    if document.simulated {
        writeln!(
            text,
            "> **Simulated**: a simulated server answered; no figure here is true of a real one.\n"
        )?;
    }
    for saturation in saturations(&document.targets) {
        writeln!(text, "> **!** {}\n", cell(&saturation))?;
    }
    for reason in &verdict.reasons {
        writeln!(text, "- {}", cell(reason))?;
    }
    if !verdict.objectives.is_empty() {
        writeln!(
            text,
            "\n| | objective | target | result |\n|---|---|---|---|"
        )?;
        for objective in &verdict.objectives {
            writeln!(
                text,
                "| {} | `{}` | {} | {}: {} |",
                mark(objective.status),
                cell(&objective.expr),
                cell(&objective.target),
                objective_word(objective.status),
                cell(&objective.reason)
            )?;
        }
    }
    write!(text, "\n| |")?;
    document
        .targets
        .iter()
        .try_for_each(|target| write!(text, " {} |", cell(&target.name)))?;
    write!(text, "\n|---|")?;
    document
        .targets
        .iter()
        .try_for_each(|_| write!(text, "---|"))?;
    writeln!(text)?;
    for row in rows(&document.targets) {
        write!(text, "| {} |", row.label)?;
        row.cells
            .iter()
            .try_for_each(|value| write!(text, " {} |", value.as_deref().unwrap_or("–")))?;
        writeln!(text)?;
    }
    writeln!(
        text,
        "\n{} exchanges of {} at {}× speed, {} planned for each target; seed {}; reenact {}.",
        count(document.trace.exchanges),
        seconds(document.trace.span_s),
        document.plan.speed,
        count(document.plan.planned),
        document.plan.seed,
        document.tool.version
    )
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
