use serde::Serialize;

/// Requests that missed an objective which is about single requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Misses {
    /// The objective.
    pub expr: String,
    /// Requests that count: measured, and with the figure that the objective speaks of, or failed.
    pub requests: u64,
    /// Of them, missed.
    pub missed: u64,
    /// The share that may miss: one in a hundred for a P99.
    pub allowed: f64,
}

/// Adds the counts of another run, objective by objective.
pub(super) fn add(sum: &mut Vec<Misses>, run: &[Misses]) {
    for misses in run {
        match sum.iter_mut().find(|known| known.expr == misses.expr) {
            Some(known) => {
                known.requests += misses.requests;
                known.missed += misses.missed;
            }
            None => sum.push(misses.clone()),
        }
    }
}
