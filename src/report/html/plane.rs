//! Axes of an inline picture: where a value stands, the lines behind it, and what they are called.

use std::fmt::Write;

/// One axis, from its lower to its upper end.
pub(super) struct Axis {
    from: f64,
    to: f64,
    log: bool,
    ticks: Vec<f64>,
}

impl Axis {
    /// Shares: from 0 to a little above the largest.
    pub(super) fn of_shares(values: impl Iterator<Item = f64>) -> Self {
        let to = finite(values).fold(0.0, f64::max);
        let to = if to > 0.0 { to * 1.1 } else { 1.0 };
        let decade = 10_f64.powf(to.log10().floor());
        let step = [0.1, 0.2, 0.25, 0.5, 1.0, 2.0]
            .map(|part| part * decade)
            .into_iter()
            .find(|step| to / step <= 5.5)
            .unwrap_or(to);
        let ticks = (0..6_u32).map(|n| f64::from(n) * step);
        Self {
            from: 0.0,
            to,
            log: false,
            ticks: ticks.filter(|tick| *tick <= to.min(1.0)).collect(),
        }
    }

    /// Logarithmic, around these values: 1, 2 and 5 of each decade, or each decade where those are too many. Values up to 0 have no place.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let positive: Vec<f64> = finite(values).filter(|value| *value > 0.0).collect();
        let smallest = positive.iter().copied().reduce(f64::min).unwrap_or(1.0);
        let largest = positive.iter().copied().reduce(f64::max).unwrap_or(10.0);
        let air = (largest / smallest).powf(0.06).max(1.1);
        let (from, to) = (smallest / air, largest * air);
        let mut ticks = Vec::new();
        let mut decade = 10_f64.powf(from.log10().floor());
        while decade <= to {
            ticks.extend([1.0, 2.0, 5.0].map(|digit| decade * digit));
            decade *= 10.0;
        }
        ticks.retain(|tick| (from..=to).contains(tick));
        if ticks.len() > MOST_TICKS {
            let exponent = |tick: &f64| tick.log10();
            ticks.retain(|tick| (exponent(tick) - exponent(tick).round()).abs() < 1e-6);
        }
        if ticks.len() < 2 {
            ticks = vec![smallest, largest];
            ticks.dedup();
        }
        Self {
            from,
            to,
            log: true,
            ticks,
        }
    }

    /// Where a value stands, from 0 to 1; infinite ones at the upper end.
    fn share(&self, value: f64) -> f64 {
        let value = value.clamp(self.from, self.to);
        if self.log {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }
}

fn finite(values: impl Iterator<Item = f64>) -> impl Iterator<Item = f64> {
    values.filter(|value| value.is_finite())
}

/// What a tick is called.
type Show = fn(f64) -> String;

/// A box with axes at its left and its bottom.
pub(super) struct Plane {
    x: Axis,
    y: Option<Axis>,
    height: f64,
    left: f64,
    pub(super) svg: String,
}

impl Plane {
    /// With two axes.
    pub(super) fn new(x: Axis, y: Axis, show: (Show, Show)) -> Self {
        let mut plane = Self {
            x,
            y: Some(y),
            height: HEIGHT,
            left: LEFT,
            svg: String::new(),
        };
        plane.columns(show.0);
        let ticks = plane.y.as_ref().map(|y| y.ticks.clone());
        for tick in ticks.unwrap_or_default() {
            let at = plane.y(tick);
            plane.line("grid", (LEFT, at), (WIDTH - RIGHT, at));
            plane.text(LEFT - 6.0, at + 4.0, "end", "", &show.1(tick));
        }
        plane
    }

    /// With rows instead of a second axis.
    pub(super) fn of_rows(x: Axis, rows: u32, show: Show) -> Self {
        let mut plane = Self {
            x,
            y: None,
            height: TOP + BOTTOM + ROW * f64::from(rows),
            left: LEFT_OF_ROWS,
            svg: String::new(),
        };
        plane.columns(show);
        plane
    }

    fn columns(&mut self, show: Show) {
        for tick in self.x.ticks.clone() {
            let at = self.x(tick);
            self.line("grid", (at, TOP), (at, self.height - BOTTOM));
            self.text(at, self.height - 6.0, "middle", "", &show(tick));
        }
    }

    pub(super) fn height(&self) -> f64 {
        self.height
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + self.x.share(value) * (WIDTH - RIGHT - self.left)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        let share = self.y.as_ref().map_or(0.0, |y| y.share(value));
        let bottom = self.height - BOTTOM;
        bottom - share * (bottom - TOP)
    }

    /// The middle of a row, from 0.
    pub(super) fn row(row: u32) -> f64 {
        TOP + ROW * (f64::from(row) + 0.5)
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.put(&format!(
            r#"<line class="{class}" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
            from.0, from.1, to.0, to.1
        ));
    }

    /// A shade over the whole height.
    pub(super) fn shade(&mut self, class: &str, from: f64, to: f64) {
        let (left, right) = (self.x(from), self.x(to));
        let (wide, high) = ((right - left).max(0.0), self.height - BOTTOM - TOP);
        self.put(&format!(
            r#"<rect class="{class}" x="{left:.1}" y="{TOP}" width="{wide:.1}" height="{high:.1}"/>"#
        ));
    }

    pub(super) fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        self.put(&format!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#,
            escaped(text)
        ));
    }

    /// What a row is of, at its left.
    pub(super) fn label(&mut self, row: u32, class: &str, text: &str) {
        let short: String = text.chars().take(LONGEST_LABEL).collect();
        let short = match text.chars().count() > LONGEST_LABEL {
            true => format!("{short}…"),
            false => short,
        };
        self.text(4.0, Self::row(row) + 4.0, "start", class, &short);
    }

    pub(super) fn put(&mut self, svg: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.svg, "{svg}");
    }

    /// Where the drawing begins and ends.
    pub(super) fn span(&self) -> (f64, f64) {
        (self.left, WIDTH - RIGHT)
    }
}

/// Names come from the command line.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

pub(super) const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 62.0;
const LEFT_OF_ROWS: f64 = 108.0;
const RIGHT: f64 = 14.0;
pub(super) const TOP: f64 = 14.0;
pub(super) const BOTTOM: f64 = 24.0;
const ROW: f64 = 19.0;
const LONGEST_LABEL: usize = 15;
const MOST_TICKS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_stands_inside_and_in_order() {
        for axis in [
            Axis::of_shares([0.2, 0.9].into_iter()),
            Axis::logarithmic([0.2, 0.9, 4000.0].into_iter()),
            Axis::logarithmic([3.0].into_iter()),
            Axis::of_shares(std::iter::empty()),
            Axis::logarithmic(std::iter::empty()),
        ] {
            let places = [0.0, 0.2, 0.9, 3.0, 4000.0, f64::INFINITY].map(|v| axis.share(v));
            assert!(places.is_sorted(), "{places:?}");
            assert!(
                places.iter().all(|share| (0.0..=1.0).contains(share)),
                "{places:?}"
            );
            assert!(!axis.ticks.is_empty() && axis.ticks.len() <= MOST_TICKS + 1);
        }
    }

    #[test]
    fn ticks_are_round() {
        let ticks = Axis::of_shares([0.9].into_iter()).ticks;
        let rounded: Vec<f64> = ticks
            .iter()
            .map(|tick| (tick * 1e6).round() / 1e6)
            .collect();
        assert_eq!(rounded, [0.0, 0.2, 0.4, 0.6, 0.8]);
        assert_eq!(
            Axis::logarithmic([9.0, 55.0].into_iter()).ticks,
            [10.0, 20.0, 50.0]
        );
    }
}
