//! Plots as SVG: lines over an axis, columns, and bars with their values.
//!
//! Owns: scales, ticks and markup. Pure: from numbers to text. Colours are classes of the page, so
//! that light and dark are the page's business.

use std::fmt::Write;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 230.0;
/// Room for the axis on the left, for ticks below, and above and to the right of the plot.
const LEFT: f64 = 58.0;
const BELOW: f64 = 34.0;
const ABOVE: f64 = 12.0;
const RIGHT: f64 = 14.0;

/// One line: its name, its class and its points.
pub struct Line {
    /// What the legend says.
    pub name: &'static str,
    /// `c1` to `c4`.
    pub class: &'static str,
    /// In the order of x.
    pub points: Vec<(f64, f64)>,
}

/// How numbers on an axis are spread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Even,
    /// Each tick is ten times the one before.
    Tenfold,
}

/// A plot with its heading and its legend.
pub struct Plot {
    /// The heading, with the unit.
    pub title: &'static str,
    /// What the x axis is.
    pub below: &'static str,
    /// How x is spread; y is always even and from zero.
    pub scale: Scale,
    /// The lines.
    pub lines: Vec<Line>,
}

/// From numbers of one axis to places in the picture.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    scale: Scale,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let warp = |value: f64| match self.scale {
            Scale::Even => value,
            Scale::Tenfold => value.max(f64::MIN_POSITIVE).log10(),
        };
        let span = warp(self.high) - warp(self.low);
        let part = if span > 0.0 { (warp(value) - warp(self.low)) / span } else { 0.0 };
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.scale == Scale::Tenfold {
            let powers = self.low.log10().ceil() as i32..=self.high.log10().floor() as i32;
            return powers.map(|power| 10f64.powi(power)).collect();
        }
        let step = nice_step((self.high - self.low) / 4.0);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|number| number as f64 * step).collect()
    }
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn nice_step(rough: f64) -> f64 {
    let rough = rough.max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    power * factors.into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0)
}

/// A number as people read it: 12.3k, 1.5M, 0.25.
pub fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 999_500.0 => (value / 1e6, "M"),
        size if size >= 1_000.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// Draws a plot of lines.
pub fn lines(plot: &Plot) -> String {
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    let top = points().map(|point| point.1).fold(0.0, f64::max);
    let low = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let high = points().map(|point| point.0).fold(f64::NEG_INFINITY, f64::max);
    let x = Axis { low, high, from: LEFT, to: WIDTH - RIGHT, scale: plot.scale };
    let y = upward(top);
    let mut svg = open(plot.title);
    grid(&mut svg, &x, &y);
    for line in &plot.lines {
        let places: Vec<String> = line
            .points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x.place(point.0), y.place(point.1)))
            .collect();
        let (class, path) = (line.class, places.join(" "));
        if let (Some(first), Some(last), 1) =
            (line.points.first(), line.points.last(), plot.lines.len())
        {
            let (from, to) = (x.place(first.0), x.place(last.0));
            let ground = y.place(0.0);
            let _ = write!(
                svg,
                "<polygon class=\"area {class}\" points=\"{from:.1},{ground:.1} {path} \
                 {to:.1},{ground:.1}\"/>"
            );
        }
        let _ = write!(svg, "<polyline class=\"{class}\" points=\"{path}\"/>");
        if line.points.len() <= 12 {
            for place in &places {
                let (cx, cy) = place.split_once(',').unwrap_or_default();
                let _ = write!(svg, "<circle class=\"{class}\" cx=\"{cx}\" cy=\"{cy}\" r=\"3\"/>");
            }
        }
    }
    let legend: Vec<_> = plot.lines.iter().map(|line| (line.name, line.class)).collect();
    close(svg, plot.title, plot.below, &legend)
}

/// Draws columns over a tenfold axis: upper ends and heights.
pub fn columns(title: &'static str, below: &'static str, steps: &[(f64, u64)]) -> String {
    let top = steps.iter().map(|step| step.1 as f64).fold(0.0, f64::max);
    let (first, last) = (steps.first().map_or(0.1, |s| s.0), steps.last().map_or(1.0, |s| s.0));
    let (low, high) = ((first / 2.0).min(0.1), (last * 1.2).max(100.0));
    let x = Axis { low, high, from: LEFT, to: WIDTH - RIGHT, scale: Scale::Tenfold };
    let y = upward(top);
    let mut svg = open(title);
    grid(&mut svg, &x, &y);
    for (end, count) in steps {
        let (to, from) = (x.place(*end), x.place(end / 2f64.powf(0.25)));
        let peak = y.place(*count as f64);
        let (width, height) = ((to - from - 1.0).max(1.0), y.place(0.0) - peak);
        let _ = write!(
            svg,
            "<rect class=\"c1\" x=\"{from:.1}\" y=\"{peak:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\"><title>{count} up to {end:.1} ms</title></rect>"
        );
    }
    close(svg, title, below, &[])
}

/// Draws bars with their values, one below the other: name, value and class.
pub fn bars(title: &'static str, rows: &[(&str, f64, &str)]) -> String {
    const ROW: f64 = 34.0;
    const NAME: f64 = 150.0;
    const VALUE: f64 = 60.0;
    let top = rows.iter().map(|row| row.1).fold(1e-9, f64::max);
    let height = ROW * rows.len() as f64 + 4.0;
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">");
    for (index, (name, value, class)) in rows.iter().enumerate() {
        let y = ROW * index as f64 + 6.0;
        let width = (value / top * (WIDTH - NAME - VALUE)).max(1.0);
        let (middle, end) = (y + 16.0, NAME + width + 8.0);
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{name}</text>\
             <rect class=\"{class}\" x=\"{NAME}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"22\" \
             rx=\"2\"/><text class=\"value\" x=\"{end:.1}\" y=\"{middle:.1}\">{value:.1}</text>",
            NAME - 8.0
        );
    }
    format!("<figure><figcaption>{title}</figcaption>{svg}</svg></figure>")
}

/// The y axis, from zero to a little above the top.
fn upward(top: f64) -> Axis {
    let top = if top > 0.0 { top } else { 1.0 };
    let step = nice_step(top / 4.0);
    let high = (top / step).ceil() * step;
    Axis { low: 0.0, high, from: HEIGHT - BELOW, to: ABOVE, scale: Scale::Even }
}

fn open(title: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">")
}

fn grid(svg: &mut String, x: &Axis, y: &Axis) {
    let (left, right, ground) = (LEFT, WIDTH - RIGHT, HEIGHT - BELOW);
    for tick in y.ticks() {
        let at = y.place(tick);
        let _ = write!(
            svg,
            "<line x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 8.0,
            at + 4.0,
            short(tick)
        );
    }
    for tick in x.ticks() {
        let at = x.place(tick);
        let _ = write!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            ground + 18.0,
            short(tick)
        );
    }
}

fn close(svg: String, title: &str, below: &str, legend: &[(&str, &str)]) -> String {
    let mut figure = format!("<figure><figcaption>{title}");
    if legend.len() > 1 {
        for (name, class) in legend {
            let _ = write!(figure, "<span class=\"key {class}\">{name}</span>");
        }
    }
    let (middle, bottom) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 2.0);
    let _ = write!(
        figure,
        "</figcaption>{svg}<text class=\"below\" x=\"{middle}\" y=\"{bottom}\" \
         text-anchor=\"middle\">{below}</text></svg></figure>"
    );
    figure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        let axis = Axis { low: 0.0, high: 43.0, from: 0.0, to: 1.0, scale: Scale::Even };
        assert_eq!(axis.ticks(), [0.0, 20.0, 40.0]);
        let axis = Axis { low: 900.0, high: 2e6, from: 0.0, to: 1.0, scale: Scale::Tenfold };
        assert_eq!(axis.ticks(), [1e3, 1e4, 1e5, 1e6]);
        assert!((axis.place(1e3) - 0.0137).abs() < 0.001, "{}", axis.place(1e3));
    }

    #[test]
    fn numbers_are_short_and_keep_what_matters() {
        let texts = [0.0, 0.25, 7.5, 43.21, 999.0, 1_500.0, 16_700.0, 250_000.0, 1e6].map(short);
        assert_eq!(texts, ["0", "0.25", "7.5", "43.2", "999", "1.5k", "16.7k", "250k", "1M"]);
    }

    #[test]
    fn a_plot_without_any_point_is_still_a_picture() {
        let line = Line { name: "a", class: "c1", points: Vec::new() };
        let plot = Plot { title: "t", below: "s", scale: Scale::Even, lines: vec![line] };
        assert!(lines(&plot).ends_with("</svg></figure>"));
        assert!(!lines(&plot).contains("NaN"));
        assert!(!columns("t", "ms", &[]).contains("NaN"));
    }
}
