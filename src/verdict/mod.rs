//! Objectives and what became of them: the SLO language, and pass / fail / invalid with reasons.

mod allowance;
mod figure;
mod judge;
mod margin;
mod miss_count;
mod objective;
mod parse;
mod relative;

pub use allowance::Allowance;
pub use judge::{
    ObjectiveResult, ObjectiveStatus, Status, Verdict, boundless_goodput, judge, judge_against,
    per_request_bounds,
};
pub use margin::judge_margin;
pub use miss_count::MissCount;
pub use objective::{Bound, Metric, Objective, Operator, Statistic};
pub use parse::ObjectiveError;
pub use relative::{judge_compared, not_in_a_log};
