use std::fmt::{self, Write};

use anstyle::{AnsiColor, Style};

use super::columns::aligned;
use super::comparison::{bounded_ms, change, heads, metric_words};
use super::document::ResultDocument;
use super::fidelity::replayed;
use super::figures::{intervals, mark, objective_word, rows, stamp};
use super::findings::{
    aside, beside_the_requests, changes, compared, notes, order, reason, saturations, scope,
    spreads, unlike_load, validity, window,
};
use super::loads;
use super::quality::{ASSERTIONS, assertions, flipped};
use crate::measure::Comparison;
use crate::verdict::{ObjectiveStatus, Status};

/// The summary for a terminal, with colours; print it through `anstream`, which takes them out where they do not belong.
pub fn summary(document: &ResultDocument) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_summary(&mut text, document);
    text
}

fn write_summary(text: &mut String, document: &ResultDocument) -> fmt::Result {
    let yellow = colour(AnsiColor::Yellow);
    if document.simulated {
        writeln!(
            text,
            "{yellow}simulated{yellow:#}: a simulated server answered; no figure is true of a real one\n"
        )?;
    }
    believed(text, document)?;
    figures(text, document)?;
    known(text, document)?;
    quality(text, document)?;
    spread(text, document)?;
    steps(text, document)?;
    for comparison in &document.comparison {
        against(text, comparison)?;
    }
    objectives(text, document)?;
    let style = match document.verdict.status {
        Status::Pass if document.verdict.objectives.is_empty() => Style::new(),
        status => status_colour(status),
    };
    let style = style.bold();
    writeln!(text, "{style}{}{style:#}", stamp(&document.verdict))
}

/// Whether the figures can be believed comes before them.
fn believed(text: &mut String, document: &ResultDocument) -> fmt::Result {
    let style = match document.verdict.status {
        Status::Invalid => status_colour(Status::Invalid),
        Status::Pass | Status::Fail => DIM,
    };
    writeln!(text, "{style}{}{style:#}", validity(document))?;
    for reason in &document.verdict.reasons {
        writeln!(text, "{style}·{style:#} {reason}")?;
    }
    writeln!(text)
}

fn figures(text: &mut String, document: &ResultDocument) -> fmt::Result {
    let bold = Style::new().bold();
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
        write!(text, "{DIM}{:label_width$}{DIM:#}", row.label)?;
        for (cell, width) in row.cells.iter().zip(&widths) {
            write!(text, "  {:>width$}", cell.as_deref().unwrap_or("–"))?;
        }
        writeln!(text)?;
    }
    if let Some(told) = intervals(document) {
        writeln!(text, "{DIM}{told}{DIM:#}")?;
    }
    writeln!(text)
}

/// What must be known with the figures.
fn known(text: &mut String, document: &ResultDocument) -> fmt::Result {
    let yellow = colour(AnsiColor::Yellow);
    for saturation in saturations(&document.targets) {
        writeln!(text, "{yellow}!{yellow:#} {saturation}")?;
    }
    for changed in changes(&document.targets) {
        writeln!(text, "{yellow}~{yellow:#} {changed}")?;
    }
    for memory in beside_the_requests(&document.targets) {
        writeln!(text, "{DIM}·{DIM:#} {memory}")?;
    }
    for target in document.targets.iter().filter(|target| replayed(target)) {
        writeln!(text, "{DIM}· {}: {}{DIM:#}", target.name, window(target))?;
        for note in notes(target) {
            writeln!(text, "{DIM}· {}: {note}{DIM:#}", target.name)?;
        }
    }
    writeln!(text)
}

fn quality(text: &mut String, document: &ResultDocument) -> fmt::Result {
    let (flipped, assertions) = (flipped(&document.targets), assertions(&document.targets));
    for flipped in &flipped {
        writeln!(text, "{}", flipped.told(NAMED))?;
    }
    if assertions.is_empty() {
        return match flipped.is_empty() {
            true => Ok(()),
            false => writeln!(text),
        };
    }
    writeln!(text, "{ASSERTIONS}:")?;
    let names = document.targets.iter().map(|target| target.name.clone());
    let header: Vec<String> = std::iter::once(String::new()).chain(names).collect();
    let rows = assertions.into_iter().map(|row| {
        let cells = std::iter::once(format!("  {}", row.kind)).chain(row.cells);
        cells.collect::<Vec<String>>()
    });
    table(text, std::iter::once(header).chain(rows))
}

fn spread(text: &mut String, document: &ResultDocument) -> fmt::Result {
    let spreads = spreads(&document.targets);
    if spreads.is_empty() {
        return Ok(());
    }
    let order = document.schedule.as_ref().map(order);
    writeln!(text, "run to run: {}", order.unwrap_or_default())?;
    let header = ["", "from – to", "mean", "95 % over runs", ""].map(str::to_owned);
    let rows = spreads.into_iter().map(|row| {
        let name = format!("{} {}", row.target, row.figure);
        vec![name, row.range, row.mean, row.interval, String::new()]
    });
    table(text, std::iter::once(header.to_vec()).chain(rows))
}

fn steps(text: &mut String, document: &ResultDocument) -> fmt::Result {
    let judged = loads::judged(document);
    let rows = loads::rows(document, &judged);
    if rows.is_empty() {
        return Ok(());
    }
    let mut header = vec![String::new(), "requests / s".to_owned()];
    header.extend(judged.iter().map(|judged| judged.label.clone()));
    header.extend(["goodput", "errors", "objectives"].map(str::to_owned));
    let rows = rows.into_iter().map(|row| {
        let mut cells = vec![format!("{} {}", row.target, row.load), row.offered];
        cells.extend(row.latencies);
        cells.extend([row.goodput, row.errors, row.verdict.to_owned()]);
        cells
    });
    table(text, std::iter::once(header).chain(rows))?;
    let knees = document.targets.iter().filter_map(|target| {
        let knee = target.knee.as_ref()?;
        Some(format!("· {}: {}.", target.name, knee.reason))
    });
    let knees: Vec<_> = knees.collect();
    if knees.is_empty() {
        return Ok(());
    }
    writeln!(text, "{}\n", knees.join("\n"))
}

fn against(text: &mut String, comparison: &Comparison) -> fmt::Result {
    writeln!(text, "{}", scope(comparison))?;
    for sentence in aside(comparison) {
        writeln!(text, "{sentence}")?;
    }
    if unlike_load(comparison).is_some() {
        return writeln!(text);
    }
    let told = comparison.metrics.iter().filter(|(metric, _)| {
        // The whole table is in the report.
        !metric.starts_with("stall")
            && !metric.starts_with("itl")
            && (metric.ends_with("p50") || metric.ends_with("p99"))
    });
    let rows = told.map(|(metric, figures)| {
        vec![
            format!("  {}", metric_words(metric)),
            bounded_ms(figures.baseline_ms),
            bounded_ms(figures.target_ms),
            change(figures.ratio, figures.ratio_ci95),
            compared(comparison, figures),
        ]
    });
    let header = heads(comparison).map(str::to_owned).to_vec();
    table(text, std::iter::once(header).chain(rows))
}

fn objectives(text: &mut String, document: &ResultDocument) -> fmt::Result {
    for objective in &document.verdict.objectives {
        let style = colour(match objective.status {
            ObjectiveStatus::Pass => AnsiColor::Green,
            ObjectiveStatus::Fail | ObjectiveStatus::NotMeasured => AnsiColor::Red,
            ObjectiveStatus::Inconclusive => AnsiColor::Yellow,
        });
        writeln!(
            text,
            "{style}{}{style:#} {} {DIM}on{DIM:#} {}  {DIM}{}: {}{DIM:#}",
            mark(objective.status),
            objective.expr,
            objective.target,
            objective_word(objective.status),
            reason(document, objective)
        )?;
    }
    Ok(())
}

fn table(text: &mut String, rows: impl Iterator<Item = Vec<String>>) -> fmt::Result {
    let rows: Vec<_> = rows.collect();
    for line in aligned(&rows) {
        writeln!(text, "{line}")?;
    }
    writeln!(text)
}

fn status_colour(status: Status) -> Style {
    colour(match status {
        Status::Pass => AnsiColor::Green,
        Status::Fail => AnsiColor::Red,
        Status::Invalid => AnsiColor::Magenta,
    })
}

fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(colour.into()))
}

/// Tests that are named of those that flipped; the page has all.
const NAMED: usize = 3;
const DIM: Style = Style::new().dimmed();
