use serde::Serialize;

/// In which order several targets, and several runs of each, follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// A B A B …: one after another.
    Serial,
    /// A B B A A B B A …: as serial, with every second round backwards, so that what drifts with time (a machine that warms up, a busy
    /// hour) falls on all targets alike.
    Abba,
    /// All targets at once, each request to each at the same instant.
    Interleaved,
}

/// One run of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) target: usize,
    /// Which of the target's runs, from 0.
    pub(super) repeat: u32,
}

impl Schedule {
    /// Its name in results and on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Abba => "abba",
            Self::Interleaved => "interleaved",
        }
    }

    /// How many rounds follow one another.
    pub fn count(self, targets: usize, repeats: u32) -> usize {
        self.rounds(targets, repeats).len()
    }

    /// The runs, in order; those of one inner list happen at the same time.
    pub(super) fn rounds(self, targets: usize, repeats: u32) -> Vec<Vec<Slot>> {
        let mut rounds = Vec::new();
        for repeat in 0..repeats {
            let mut slots: Vec<Slot> = (0..targets).map(|target| Slot { target, repeat }).collect();
            if self == Self::Abba && repeat % 2 == 1 {
                slots.reverse();
            }
            match self {
                Self::Interleaved => rounds.push(slots),
                Self::Serial | Self::Abba => {
                    rounds.extend(slots.into_iter().map(|slot| vec![slot]));
                }
            }
        }
        rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(schedule: Schedule, targets: usize, repeats: u32) -> String {
        let rounds = schedule.rounds(targets, repeats);
        let round = |round: &Vec<Slot>| -> String {
            round
                .iter()
                .map(|slot| format!("{}{}", ["A", "B", "C"][slot.target], slot.repeat + 1))
                .collect::<Vec<_>>()
                .join("+")
        };
        rounds.iter().map(round).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_schedule_runs_every_target_as_often() {
        assert_eq!(order(Schedule::Serial, 2, 2), "A1 B1 A2 B2");
        assert_eq!(order(Schedule::Abba, 2, 4), "A1 B1 B2 A2 A3 B3 B4 A4");
        assert_eq!(order(Schedule::Abba, 3, 2), "A1 B1 C1 C2 B2 A2");
        assert_eq!(order(Schedule::Interleaved, 2, 2), "A1+B1 A2+B2");
        assert_eq!(order(Schedule::Serial, 1, 1), "A1");
    }
}
