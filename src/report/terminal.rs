use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};

use super::document::ResultDocument;
use super::figures::{mark, objective_word, rows, saturations, status_word};
use crate::verdict::{ObjectiveStatus, Status};

/// The summary for a terminal, with colours; print it through `anstream`, which takes them out where they do not belong.
pub fn summary(document: &ResultDocument) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_summary(&mut text, document);
    text
}

fn write_summary(text: &mut String, document: &ResultDocument) -> fmt::Result {
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    if document.simulated {
        let yellow = colour(AnsiColor::Yellow);
        writeln!(
            text,
            "{yellow}simulated{yellow:#}: a simulated server answered; no figure is true of a real one\n"
        )?;
    }
    let rows = rows(&document.targets);
    let label_width = rows
        .iter()
        .map(|row| row.label.chars().count())
        .max()
        .unwrap_or(0);
    let widths: Vec<usize> = document
        .targets
        .iter()
        .enumerate()
        .map(|(column, target)| {
            let cells = rows
                .iter()
                .filter_map(|row| row.cells.get(column)?.as_ref());
            cells
                .map(|cell| cell.chars().count())
                .chain([target.name.chars().count()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    write!(text, "{:label_width$}", "")?;
    for (target, width) in document.targets.iter().zip(&widths) {
        write!(text, "  {bold}{:>width$}{bold:#}", target.name)?;
    }
    writeln!(text)?;
    for row in &rows {
        write!(text, "{dim}{:label_width$}{dim:#}", row.label)?;
        for (cell, width) in row.cells.iter().zip(&widths) {
            write!(text, "  {:>width$}", cell.as_deref().unwrap_or("–"))?;
        }
        writeln!(text)?;
    }
    writeln!(text)?;
    let yellow = colour(AnsiColor::Yellow);
    for saturation in saturations(&document.targets) {
        writeln!(text, "{yellow}!{yellow:#} {saturation}")?;
    }
    for objective in &document.verdict.objectives {
        let style = colour(match objective.status {
            ObjectiveStatus::Pass => AnsiColor::Green,
            ObjectiveStatus::Fail | ObjectiveStatus::NotMeasured => AnsiColor::Red,
            ObjectiveStatus::Inconclusive => AnsiColor::Yellow,
        });
        writeln!(
            text,
            "{style}{}{style:#} {} {dim}on{dim:#} {}  {dim}{}: {}{dim:#}",
            mark(objective.status),
            objective.expr,
            objective.target,
            objective_word(objective.status),
            objective.reason
        )?;
    }
    for reason in &document.verdict.reasons {
        writeln!(text, "{dim}·{dim:#} {reason}")?;
    }
    let style = colour(match document.verdict.status {
        Status::Pass => AnsiColor::Green,
        Status::Fail => AnsiColor::Red,
        Status::Invalid => AnsiColor::Magenta,
    })
    .bold();
    writeln!(
        text,
        "{style}{}{style:#}",
        status_word(document.verdict.status)
    )
}

fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(colour.into()))
}
