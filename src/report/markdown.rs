use std::fmt::Write;

use super::comparison::{bounded_ms, change, heads, metric_words};
use super::document::ResultDocument;
use super::fidelity::replayed;
use super::figures::{count, intervals, mark, objective_word, rows, seconds, stamp};
use super::findings::{
    aside, beside_the_requests, changes, compared, headline, live, misses, notes, order,
    saturations, scope, spreads, validity, window,
};
use super::loads::{self, may};
use super::quality::{ASSERTIONS, assertions, flipped};

/// `summary.md`: for a CI's step summary, or a comment under a pull request. What decides stands open; what explains it is folded away.
pub(super) fn render(document: &ResultDocument) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_summary(&mut text, document);
    text
}

fn write_summary(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    let verdict = &document.verdict;
    let what = document.mirror.as_ref().map_or("Replay", |_| "Mirror");
    writeln!(text, "# {what}: {}\n", stamp(verdict))?;
    writeln!(text, "{} {}\n", headline(document), validity(document))?;
    for reason in &verdict.reasons {
        writeln!(text, "- {}", cell(reason))?;
    }
    if !verdict.reasons.is_empty() {
        writeln!(text)?;
    }
    if document.simulated {
        writeln!(
            text,
            "> **Simulated**: a simulated server answered; no figure here is true of a real one.\n"
        )?;
    }
    for saturation in saturations(&document.targets) {
        writeln!(text, "> **!** {}\n", cell(&saturation))?;
    }
    objectives(text, document)?;
    figures(text, document)?;
    steps(text, document)?;
    comparisons(text, document)?;
    quality(text, document)?;
    spread(text, document)?;
    known(text, document)?;
    if let Some(live) = live(document) {
        return writeln!(text, "{live}; reenact {}.", document.tool.version);
    }
    writeln!(
        text,
        "{} exchanges of {} at {}× speed, {} planned for each target; seed {}; reenact {}.",
        count(document.trace.exchanges),
        seconds(document.trace.span_s),
        document.plan.speed,
        count(document.plan.planned),
        document.plan.seed,
        document.tool.version
    )
}

fn objectives(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    let rows: Vec<Vec<String>> = document
        .verdict
        .objectives
        .iter()
        .map(|objective| {
            let missed = misses(document, objective).map_or_else(String::new, |misses| {
                format!(
                    "{} of {} ({} may)",
                    count(misses.missed),
                    count(misses.requests),
                    may(misses)
                )
            });
            vec![
                mark(objective.status).to_owned(),
                format!("`{}`", objective.expr),
                objective.target.clone(),
                format!("{}: {}", objective_word(objective.status), objective.reason),
                missed,
            ]
        })
        .collect();
    table(
        text,
        &["", "objective", "target", "result", "requests that missed"],
        &rows,
    )
}

fn figures(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    let mut header = vec![""];
    header.extend(document.targets.iter().map(|target| target.name.as_str()));
    let rows: Vec<Vec<String>> = rows(&document.targets)
        .into_iter()
        .map(|row| {
            let cells = row.cells.into_iter();
            let cells = cells.map(|value| value.unwrap_or_else(|| "–".to_owned()));
            std::iter::once(row.label.to_owned()).chain(cells).collect()
        })
        .collect();
    table(text, &header, &rows)?;
    match intervals(document) {
        Some(told) => writeln!(text, "{told}\n"),
        None => Ok(()),
    }
}

fn steps(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    let judged = loads::judged(document);
    let mut header = vec!["target", "load", "requests / s"];
    header.extend(judged.iter().map(|judged| judged.label.as_str()));
    header.extend(["goodput", "errors", "objectives", "why"]);
    let rows: Vec<Vec<String>> = loads::rows(document, &judged)
        .into_iter()
        .map(|row| {
            let mut cells = vec![row.target.to_owned(), row.load, row.offered];
            cells.extend(row.latencies);
            cells.extend([
                row.goodput,
                row.errors,
                row.verdict.to_owned(),
                row.reason.into_owned(),
            ]);
            cells
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(text, "## Load by load\n")?;
    for target in &document.targets {
        if let Some(limit) = &target.limit {
            writeln!(text, "{}: {}.\n", cell(&target.name), cell(&limit.reason))?;
        }
        if let Some(knee) = &target.knee {
            writeln!(text, "{}: {}.\n", cell(&target.name), cell(&knee.reason))?;
        }
    }
    table(text, &header, &rows)
}

fn comparisons(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    for comparison in &document.comparison {
        writeln!(
            text,
            "<details><summary>{}</summary>\n",
            cell(&format!(
                "{} against {}",
                comparison.target, comparison.baseline
            ))
        )?;
        writeln!(text, "{}.\n", cell(&scope(comparison)))?;
        for sentence in aside(comparison) {
            writeln!(text, "{}.\n", cell(&sentence))?;
        }
        let rows: Vec<Vec<String>> = comparison
            .metrics
            .iter()
            .map(|(metric, figures)| {
                vec![
                    metric_words(metric),
                    bounded_ms(figures.baseline_ms),
                    bounded_ms(figures.target_ms),
                    change(figures.ratio, figures.ratio_ci95),
                    compared(comparison, figures),
                ]
            })
            .collect();
        table(text, &heads(comparison), &rows)?;
        writeln!(text, "</details>\n")?;
    }
    Ok(())
}

fn quality(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    let (flipped, assertions) = (flipped(&document.targets), assertions(&document.targets));
    if flipped.is_empty() && assertions.is_empty() {
        return Ok(());
    }
    writeln!(text, "<details><summary>Quality, test by test</summary>\n")?;
    for flipped in &flipped {
        writeln!(text, "- {}", cell(&flipped.told(usize::MAX)))?;
    }
    writeln!(text)?;
    let mut header = vec![ASSERTIONS];
    header.extend(document.targets.iter().map(|target| target.name.as_str()));
    let rows: Vec<Vec<String>> = assertions
        .into_iter()
        .map(|row| {
            std::iter::once(format!("`{}`", row.kind))
                .chain(row.cells)
                .collect()
        })
        .collect();
    table(text, &header, &rows)?;
    writeln!(text, "</details>\n")
}

fn spread(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    let rows: Vec<Vec<String>> = spreads(&document.targets)
        .into_iter()
        .map(|row| {
            vec![
                row.target.to_owned(),
                row.figure,
                row.range,
                row.mean,
                row.interval,
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(text, "<details><summary>Run to run</summary>\n")?;
    if let Some(schedule) = &document.schedule {
        writeln!(text, "In this order: {}.\n", cell(&order(schedule)))?;
    }
    table(
        text,
        &["target", "", "from – to", "mean", "95 % over runs"],
        &rows,
    )?;
    writeln!(text, "</details>\n")
}

/// Change points, windows, remarks and alterations.
fn known(text: &mut String, document: &ResultDocument) -> std::fmt::Result {
    writeln!(text, "<details><summary>What else to know</summary>\n")?;
    for changed in changes(&document.targets) {
        writeln!(text, "- {}", cell(&changed))?;
    }
    for memory in beside_the_requests(&document.targets) {
        writeln!(text, "- {}", cell(&memory))?;
    }
    for target in document.targets.iter().filter(|target| replayed(target)) {
        writeln!(text, "- {}: {}.", cell(&target.name), window(target))?;
        for note in notes(target) {
            writeln!(text, "- {}: {}", cell(&target.name), cell(&note))?;
        }
    }
    writeln!(text, "\n</details>\n")
}

/// Nothing where there are no rows.
fn table(text: &mut String, header: &[&str], rows: &[Vec<String>]) -> std::fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells.map(cell).collect();
        format!("| {} |", cells.join(" | "))
    };
    writeln!(text, "{}", line(&mut header.iter().copied()))?;
    writeln!(text, "|{}", "---|".repeat(header.len()))?;
    for row in rows {
        writeln!(text, "{}", line(&mut row.iter().map(String::as_str)))?;
    }
    writeln!(text)
}

/// Names come from the command line, and what is between angle brackets would be markup; within code it is text already.
fn cell(text: &str) -> String {
    let text = text.replace('|', "\\|").replace('\n', " ");
    match text.starts_with('`') {
        true => text,
        false => text.replace('&', "&amp;").replace('<', "&lt;"),
    }
}
