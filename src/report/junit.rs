use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::directory::ReportError;
use super::document::ResultDocument;
use super::fidelity::replayed;
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
        if let Some(why) = &target.saturated {
            let mut status = TestCaseStatus::skipped();
            status.set_message(why.as_str());
            suite.add_test_case(TestCase::new("the target kept up", status));
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
                    status.set_message(objective.reason.as_str());
                    status
                }
                None if objective.status == ObjectiveStatus::Pass && !invalid => {
                    TestCaseStatus::success()
                }
                None => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(objective.reason.as_str());
                    status
                }
            };
            suite.add_test_case(TestCase::new(objective.expr.as_str(), status));
        }
        report.add_test_suite(suite);
    }
    report.to_string().map_err(|error| ReportError::Render {
        what: "junit.xml",
        why: error.to_string(),
    })
}
