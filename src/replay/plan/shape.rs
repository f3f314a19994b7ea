//! Stress shapes: how the rate of arrivals goes over a run.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A profile by which the rate of arrivals is multiplied over the run. Arrivals are moved in time (a time-warp by the profile's
/// integral); none is added or left out, and conversations keep their think times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    segments: [Segment; MOST],
    count: usize,
    kind: Kind,
}

/// A stretch of the run in which the factor goes in a straight line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Segment {
    /// Its beginning and its end as shares of the run.
    from: f64,
    to: f64,
    /// The factor at either end.
    begin: f64,
    end: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Ramp,
    Step,
    Spike,
}

/// Most steps of a profile.
const MOST: usize = 16;
/// Factors outside of this are a mistake.
const FACTORS: std::ops::RangeInclusive<f64> = 0.01..=1000.0;

impl Segment {
    /// The integral from its beginning to the share `x`.
    fn integral(&self, x: f64) -> f64 {
        let (along, width) = (x - self.from, self.to - self.from);
        self.begin * along + (self.end - self.begin) / (2.0 * width) * along * along
    }

    fn whole(&self) -> f64 {
        self.integral(self.to)
    }

    /// Where the integral from its beginning reaches `area`: the root of a quadratic in the form that does not cancel.
    fn reaches(&self, area: f64) -> f64 {
        let curve = (self.end - self.begin) / (2.0 * (self.to - self.from));
        let root = (self.begin * self.begin + 4.0 * curve * area)
            .max(0.0)
            .sqrt();
        self.from + 2.0 * area / (self.begin + root)
    }
}

impl Shape {
    fn new(kind: Kind, parts: &[Segment]) -> Option<Self> {
        let mut segments = [Segment::default(); MOST];
        segments.get_mut(..parts.len())?.copy_from_slice(parts);
        Some(Self {
            segments,
            count: parts.len(),
            kind,
        })
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().take(self.count)
    }

    /// The mean factor over the run: by so much the run is shorter than without a shape.
    pub fn mean(&self) -> f64 {
        self.segments().map(Segment::whole).sum()
    }

    /// The least and the greatest factor.
    pub(super) fn extremes(&self) -> (f64, f64) {
        let factors = self.segments().flat_map(|s| [s.begin, s.end]);
        factors.fold((f64::INFINITY, 0.0), |(least, most), factor| {
            (least.min(factor), most.max(factor))
        })
    }

    /// Where of the run (a share of its length; beyond 1 after its end) an arrival goes that comes after the share `passed` of
    /// all time without a shape.
    pub(super) fn place(&self, passed: f64) -> f64 {
        let mut area = passed * self.mean();
        let mut last = Segment::default();
        for segment in self.segments() {
            let whole = segment.whole();
            if area <= whole {
                return segment.reaches(area);
            }
            area -= whole;
            last = *segment;
        }
        // After the end the rate stays what it was there.
        1.0 + area / last.end
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share * 1e6).round() / 1e4;
        match (self.kind, self.segments) {
            (Kind::Ramp, [ramp, ..]) => write!(f, "ramp:{}..{}", ramp.begin, ramp.end),
            (Kind::Spike, _) => {
                let mut segments = self.segments().filter(|segment| segment.begin != 1.0);
                let spike = segments.next().copied().unwrap_or_default();
                let (from, long) = (percent(spike.from), percent(spike.to - spike.from));
                write!(f, "spike:{}@{from}%+{long}%", spike.begin)
            }
            (Kind::Step, _) => {
                f.write_str("step:")?;
                for (i, step) in self.segments().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    write!(f, "{comma}{}", step.begin)?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Shape {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            "not a shape; write ramp:1..4, step:1,2,4 or spike:5@50%+10% (five-fold, from half of the run on, for a tenth of it)".to_owned()
        };
        let (kind, rest) = text.trim().split_once(':').ok_or_else(form)?;
        let parts = match kind {
            "ramp" => {
                let (begin, end) = rest.split_once("..").ok_or_else(form)?;
                let ramp = Segment {
                    from: 0.0,
                    to: 1.0,
                    begin: factor(begin)?,
                    end: factor(end)?,
                };
                (Kind::Ramp, vec![ramp])
            }
            "step" => {
                let factors: Vec<f64> = rest.split(',').map(factor).collect::<Result<_, _>>()?;
                if factors.len() > MOST {
                    return Err(format!("a shape has at most {MOST} steps"));
                }
                (Kind::Step, steps(&factors))
            }
            "spike" => {
                let (height, place) = rest.split_once('@').ok_or_else(form)?;
                let (from, long) = place.split_once('+').ok_or_else(form)?;
                let height = factor(height)?;
                if height == 1.0 {
                    return Err("a spike of 1 is none".to_owned());
                }
                (Kind::Spike, spike(height, share(from)?, share(long)?)?)
            }
            _ => return Err(form()),
        };
        Self::new(parts.0, &parts.1).ok_or_else(form)
    }
}

#[allow(clippy::cast_precision_loss, reason = "at most sixteen")]
fn steps(factors: &[f64]) -> Vec<Segment> {
    let count = factors.len() as f64;
    let numbered = factors.iter().enumerate();
    numbered
        .map(|(i, &factor)| Segment {
            from: i as f64 / count,
            to: (i + 1) as f64 / count,
            begin: factor,
            end: factor,
        })
        .collect()
}

fn spike(height: f64, from: f64, long: f64) -> Result<Vec<Segment>, String> {
    if long <= 0.0 || from + long > 1.0 + 1e-9 {
        return Err("a spike begins and ends within the run; write spike:5@50%+10%".to_owned());
    }
    let edges = [
        (0.0, from, 1.0),
        (from, from + long, height),
        (from + long, 1.0, 1.0),
    ];
    let segment = |(from, to, factor)| Segment {
        from,
        to,
        begin: factor,
        end: factor,
    };
    let wide = |&(from, to, _): &(f64, f64, f64)| to - from > 1e-9;
    Ok(edges.into_iter().filter(wide).map(segment).collect())
}

fn factor(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches(['x', 'X', '×']).parse();
    number
        .ok()
        .filter(|factor| FACTORS.contains(factor))
        .ok_or_else(|| format!("`{}` is not a factor from 0.01 to 1000", text.trim()))
}

fn share(text: &str) -> Result<f64, String> {
    let percent = text
        .trim()
        .strip_suffix('%')
        .and_then(|text| text.parse::<f64>().ok());
    percent
        .map(|percent| percent / 100.0)
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| format!("`{}` is not a share of the run; write 50%", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(text: &str) -> Shape {
        text.parse().unwrap()
    }

    #[test]
    fn shapes_read_as_written() {
        for text in [
            "ramp:1..4",
            "step:1,2,4",
            "spike:5@50%+10%",
            "ramp:2..0.5",
            "spike:3@0%+25%",
            "step:2",
        ] {
            assert_eq!(shape(text).to_string(), text);
        }
        for (bad, why) in [
            ("ramp", "ramp:1..4"),
            ("ramp:0..4", "`0` is not a factor"),
            ("step:", "`` is not a factor"),
            ("step:1,nan", "`nan`"),
            ("spike:5@95%+10%", "within the run"),
            ("spike:5@50+10%", "`50` is not a share"),
            ("sine:1..2", "not a shape"),
        ] {
            let error = bad.parse::<Shape>().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert!(
            "step:1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"
                .parse::<Shape>()
                .is_err()
        );
    }

    #[test]
    fn steps_take_equal_times_at_their_rates() {
        let steps = shape("step:1,2,4");
        assert!((steps.mean() - 7.0 / 3.0).abs() < 1e-12);
        assert_eq!(steps.extremes(), (1.0, 4.0));
        // A seventh of the arrivals in the first third, two sevenths in the second.
        assert!((steps.place(1.0 / 7.0) - 1.0 / 3.0).abs() < 1e-12);
        assert!((steps.place(3.0 / 7.0) - 2.0 / 3.0).abs() < 1e-12);
        assert!((steps.place(1.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_ramp_rises_in_a_straight_line() {
        let ramp = shape("ramp:1..4");
        assert!((ramp.mean() - 2.5).abs() < 1e-12);
        // The rate between two places is the share of arrivals over the share of time.
        for (from, to) in [(0.1, 0.1001), (0.5, 0.5001), (0.9, 0.9001)] {
            let (begin, end) = (ramp.place(from), ramp.place(to));
            let rate = (to - from) / (end - begin) * ramp.mean();
            let expected = 1.0 + 3.0 * (begin + end) / 2.0;
            assert!((rate - expected).abs() < 1e-3, "{rate} {expected}");
        }
    }

    #[test]
    fn a_spike_multiplies_the_rate_where_it_stands_and_nowhere_else() {
        let spike = shape("spike:5@50%+10%");
        assert!((spike.mean() - 1.4).abs() < 1e-12);
        assert_eq!(spike.extremes(), (1.0, 5.0));
        // Arrivals until its beginning, until its end, and half-way through it, of 1.4 in all.
        for (arrivals, place) in [(0.5, 0.5), (1.0, 0.6), (0.75, 0.55), (1.2, 0.8)] {
            assert!(
                (spike.place(arrivals / 1.4) - place).abs() < 1e-12,
                "{place}"
            );
        }
        // At the beginning and at the end.
        let (first, last) = (shape("spike:3@0%+25%"), shape("spike:3@75%+25%"));
        assert!((first.place(0.5) - 0.25).abs() < 1e-12);
        assert!((last.place(0.5) - 0.75).abs() < 1e-12);
    }

    #[test]
    fn after_the_run_the_last_rate_goes_on() {
        let steps = shape("step:1,4");
        assert!((steps.place(1.4) - (1.0 + 0.4 * 2.5 / 4.0)).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn places_rise_and_reach_the_end(a in 0.01_f64..100.0, b in 0.01_f64..100.0, mut at in prop::collection::vec(0.0_f64..1.0, 2..40)) {
            at.sort_by(f64::total_cmp);
            for shape in [format!("ramp:{a}..{b}"), format!("step:{a},{b},1"), format!("spike:{a}@30%+40%")] {
                let shape: Shape = shape.parse().unwrap();
                prop_assert!(shape.place(0.0).abs() < 1e-9);
                prop_assert!((shape.place(1.0) - 1.0).abs() < 1e-9);
                prop_assert!(at.windows(2).all(|w| shape.place(w[0]) <= shape.place(w[1])));
            }
        }
    }
}
