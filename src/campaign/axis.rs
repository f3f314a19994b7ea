use serde::Serialize;

use crate::measure::Step;
use crate::replay::PlanOptions;

/// What a sweep or a search raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// How fast arrivals come.
    Speed,
    /// How many conversations there are.
    Rate,
}

impl Axis {
    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::Rate => "rate",
        }
    }

    /// Where a plan stands.
    pub(super) fn of(self, plan: &PlanOptions) -> f64 {
        match self {
            Self::Speed => plan.speed,
            Self::Rate => plan.rate_scale,
        }
    }

    /// Where a step stood.
    pub(super) fn of_step(self, step: &Step) -> f64 {
        match self {
            Self::Speed => step.speed,
            Self::Rate => step.rate_scale,
        }
    }

    /// The plan at this load.
    pub(super) fn at(self, load: f64, plan: PlanOptions) -> PlanOptions {
        match self {
            Self::Speed => PlanOptions {
                speed: load,
                ..plan
            },
            Self::Rate => PlanOptions {
                rate_scale: load,
                ..plan
            },
        }
    }

    /// A load, for people.
    pub(super) fn words(self, load: f64) -> String {
        match self {
            Self::Speed => format!("{load}× speed"),
            Self::Rate => format!("{load}× rate"),
        }
    }
}
