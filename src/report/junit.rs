use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::comparison::{change, metric_words};
use super::directory::ReportError;
use super::document::ResultDocument;
use super::fidelity::replayed;
use super::findings::{
    aside, beside_the_requests, changes, compared, notes, reason, scope, spreads, window,
};
use super::loads;
use crate::measure::TargetSummary;
use crate::verdict::{ObjectiveStatus, Status};

/// `junit.xml`: a suite for each target, a case for each objective, and one for the measurement itself. A missed objective
/// is a failure; a measurement that cannot be believed is an error.
pub(super) fn render(document: &ResultDocument) -> Result<String, ReportError> {
    let mut report = Report::new("reenact");
    for target in &document.targets {
        let mut suite = TestSuite::new(target.name.as_str());
        let validity = if target.fidelity.valid {
            TestCaseStatus::success()
        } else {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(target.fidelity.reasons.join("; "));
            status
        };
        // Production was replayed by nobody.
        if replayed(target) {
            suite.add_test_case(TestCase::new("the replay was faithful", validity));
        }
        // Objectives stand, so it is no failure; but CIs show why something was skipped.
        let kept_up = target
            .saturated
            .as_ref()
            .map_or_else(TestCaseStatus::success, |why| {
                let mut status = TestCaseStatus::skipped();
                status.set_message(why.as_str());
                status
            });
        if replayed(target) {
            suite.add_test_case(TestCase::new("the target kept up", kept_up));
        }
        let invalid = document.verdict.status == Status::Invalid;
        for objective in document
            .verdict
            .objectives
            .iter()
            .filter(|objective| objective.target == target.name)
        {
            let kind = match objective.status {
                _ if invalid => None,
                ObjectiveStatus::Pass => None,
                ObjectiveStatus::Fail => Some(NonSuccessKind::Failure),
                ObjectiveStatus::NotMeasured => Some(NonSuccessKind::Error),
                ObjectiveStatus::Inconclusive => None,
            };
            let status = match kind {
                Some(kind) => {
                    let mut status = TestCaseStatus::non_success(kind);
                    status.set_message(reason(document, objective));
                    status
                }
                None if objective.status == ObjectiveStatus::Pass && !invalid => {
                    TestCaseStatus::success()
                }
                None => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(reason(document, objective));
                    status
                }
            };
            suite.add_test_case(TestCase::new(objective.expr.as_str(), status));
        }
        suite.set_system_out(known(document, target).join("\n"));
        report.add_test_suite(suite);
    }
    report.to_string().map_err(|error| ReportError::Render {
        what: "junit.xml",
        why: error.to_string(),
    })
}

/// What explains a target's cases, a line for each thing: what is neither met nor missed has no case of its own, or a gate would be shut that
/// the exit code left open.
fn known(document: &ResultDocument, target: &TargetSummary) -> Vec<String> {
    let mut lines = vec![window(target)];
    lines.extend(changes(std::slice::from_ref(target)));
    lines.extend(beside_the_requests(std::slice::from_ref(target)));
    lines.extend(notes(target));
    let spreads = spreads(std::slice::from_ref(target));
    lines.extend(spreads.into_iter().map(|row| {
        format!(
            "{} from run to run: {}, mean {} (95 %: {})",
            row.figure, row.range, row.mean, row.interval
        )
    }));
    let judged = loads::judged(document);
    let steps = loads::rows(document, &judged).into_iter();
    lines.extend(steps.filter(|row| row.target == target.name).map(|row| {
        format!(
            "{}, {} requests / s: {}: {}",
            row.load, row.offered, row.verdict, row.reason
        )
    }));
    let mut compared_with = document.comparison.iter();
    for comparison in compared_with
        .by_ref()
        .filter(|one| one.target == target.name)
    {
        lines.push(scope(comparison));
        lines.extend(aside(comparison));
        lines.extend(comparison.metrics.iter().map(|(metric, figures)| {
            format!(
                "{}: {}: {}",
                metric_words(metric),
                change(figures.ratio, figures.ratio_ci95),
                compared(comparison, figures)
            )
        }));
    }
    lines
}
