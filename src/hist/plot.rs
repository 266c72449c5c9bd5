//! The percentile plot as SVG: latency over the percentile, both on logarithmic scales.
//!
//! Owns: the picture. It stands alone: no script, no font, no file beside it; light and dark follow
//! the viewer. Names are escaped: a tag may come from anybody's log.

use std::fmt::Write as _;

use super::QUANTILES;
use crate::metrics::latency::Durations;

const WIDTH: f64 = 1_040.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 260.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 58.0;
/// Curves in one picture; more cannot be told apart.
pub const CURVES_MAX: usize = 8;
/// Colours that stay apart for people who see few, on light and on dark.
const COLORS: [&str; CURVES_MAX] =
    ["#2f7ed8", "#e07b1a", "#1f9e77", "#c2417c", "#7a63d1", "#8f9c1b", "#0fa3b1", "#8a6d5b"];
/// Least distance between two labels at the right, in units of the picture.
const LABEL_GAP: f64 = 17.0;

const STYLE: &str = "\
svg{color-scheme:light dark;--paper:#ffffff;--ink:#1c2330;--soft:#667085;--line:#e4e7ec}\
@media(prefers-color-scheme:dark){svg{--paper:#12161d;--ink:#e8ecf2;--soft:#98a2b3;--line:#2a313c}}\
text{font:12px system-ui,sans-serif;fill:var(--soft)}\
.title{font-size:17px;font-weight:600;fill:var(--ink)}\
.label{font-weight:600}\
.grid{stroke:var(--line);stroke-width:1}\
.curve{fill:none;stroke-width:2.25;stroke-linejoin:round;stroke-linecap:round}";

/// Where a quantile and a duration lie in the picture.
struct Scales {
    /// Nines on the right edge: 3 for 99.9 %.
    nines: f64,
    /// Powers of ten of microseconds at the bottom and at the top.
    low: f64,
    high: f64,
}

impl Scales {
    fn of(curves: &[(String, &Durations)]) -> Scales {
        let most = curves.iter().map(|(_, durations)| durations.len()).max().unwrap_or(1);
        let nines = (most as f64).log10().ceil().clamp(1.0, 7.0);
        let least = curves.iter().map(|(_, durations)| durations.value_at_quantile(0.0)).min();
        let largest = curves.iter().map(|(_, durations)| durations.max()).max();
        let log = |micros: Option<u64>| (micros.unwrap_or(1).max(1) as f64).log10();
        let low = log(least).floor();
        let high = log(largest).ceil().max(low + 1.0);
        Scales { nines, low, high }
    }

    fn x(&self, quantile: f64) -> f64 {
        let nines = -(1.0 - quantile).max(10_f64.powf(-self.nines)).log10();
        LEFT + (WIDTH - LEFT - RIGHT) * (nines / self.nines).clamp(0.0, 1.0)
    }

    fn y(&self, micros: u64) -> f64 {
        let log = (micros.max(1) as f64).log10();
        let part = ((log - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part
    }
}

/// Draws at most [`CURVES_MAX`] curves, each with its name; empty ones are left out.
pub fn svg(title: &str, curves: &[(String, &Durations)]) -> String {
    let filled = curves.iter().filter(|(_, durations)| !durations.is_empty());
    let curves: Vec<_> = filled.take(CURVES_MAX).cloned().collect();
    let scales = Scales::of(&curves);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"var(--paper)\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"34\">{title}</text>\n",
        title = escaped(title)
    );
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"55\">{}</text>", escaped(&subtitle(&curves)));
    grid(&mut out, &scales);
    let mut labels = Vec::new();
    for ((name, durations), color) in curves.iter().zip(COLORS) {
        curve(&mut out, &scales, durations, color);
        let p99 = duration(durations.value_at_quantile(0.99));
        labels.push((scales.y(durations.max()), format!("{name}  p99 {p99}"), color));
    }
    write_labels(&mut out, labels);
    out.push_str("</svg>\n");
    out
}

fn subtitle(curves: &[(String, &Durations)]) -> String {
    match curves {
        [] => "nothing recorded yet".to_owned(),
        [(_, durations)] => {
            let shown = QUANTILES.iter().map(|(name, quantile)| {
                format!("{name} {}", duration(durations.value_at_quantile(*quantile)))
            });
            let shown: Vec<String> = shown.collect();
            let max = duration(durations.max());
            format!("{}   max {max}   {} checks", shown.join("   "), durations.len())
        }
        many => {
            let count: u64 = many.iter().map(|(_, durations)| durations.len()).sum();
            format!("{count} durations")
        }
    }
}

fn grid(out: &mut String, scales: &Scales) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for power in scales.low as i32..=scales.high as i32 {
        let micros = 10_u64.pow(power.max(0) as u32);
        let y = scales.y(micros);
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 12.0,
            y + 4.0,
            duration(micros)
        );
    }
    let ticks = (0..=scales.nines as i32).map(|nines| 1.0 - 10_f64.powi(-nines));
    for quantile in ticks.chain([0.5]) {
        let x = scales.x(quantile);
        let name = match quantile {
            0.0 => "min".to_owned(),
            _ => format!("{} %", trimmed(quantile * 100.0)),
        };
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            bottom + 22.0
        );
    }
    let middle = (LEFT + right) / 2.0;
    let _ = writeln!(
        out,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">of all durations are at most this \
         long</text>",
        bottom + 44.0
    );
}

fn curve(out: &mut String, scales: &Scales, durations: &Durations, color: &str) {
    let mut path = String::new();
    for step in durations.iter_quantiles(8) {
        let command = if path.is_empty() { 'M' } else { 'L' };
        let (x, y) = (scales.x(step.quantile_iterated_to()), scales.y(step.value_iterated_to()));
        let _ = write!(path, "{command}{x:.1} {y:.1}");
    }
    let _ = writeln!(out, "<path class=\"curve\" stroke=\"{color}\" d=\"{path}\"/>");
}

/// Names at the ends of the curves, moved apart where they would cover each other.
fn write_labels(out: &mut String, mut labels: Vec<(f64, String, &str)>) {
    labels.sort_by(|one, other| one.0.total_cmp(&other.0));
    let count = labels.len();
    let mut above = f64::NEG_INFINITY;
    for (index, (y, name, color)) in labels.into_iter().enumerate() {
        let last = HEIGHT - BOTTOM - (count - index - 1) as f64 * LABEL_GAP;
        let y = y.min(last).max(above + LABEL_GAP);
        above = y;
        let _ = writeln!(
            out,
            "<text class=\"label\" x=\"{}\" y=\"{:.1}\" style=\"fill:{color}\">{}</text>",
            WIDTH - RIGHT + 10.0,
            y + 4.0,
            escaped(&name)
        );
    }
}

/// `1 µs`, `2.5 ms`, `10 s`.
fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", trimmed(round3(micros as f64 / 1e3))),
        _ => format!("{} s", trimmed(round3(micros as f64 / 1e6))),
    }
}

/// Rounded to three digits.
fn round3(value: f64) -> f64 {
    let places = if value < 10.0 { 100.0 } else { 10.0 };
    if value < 100.0 { (value * places).round() / places } else { value.round() }
}

/// Without zeros at the end.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.5}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            control if control.is_control() => out.push('·'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latency::durations;

    #[test]
    fn a_curve_rises_from_the_least_to_the_largest() {
        let mut one = durations();
        (1..=100).for_each(|value| one.saturating_record(value * 1_000));
        let picture = svg("tcp total", &[("tcp".into(), &one)]);
        let path = picture.split("stroke=\"#2f7ed8\" d=\"M").nth(1).unwrap();
        let path = path.split('"').next().unwrap();
        let points: Vec<(f64, f64)> = path
            .split('L')
            .map(|pair| pair.split_once(' ').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert!(points.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].1 >= two[1].1));
        assert_eq!((points[0].0, points.last().unwrap().0), (LEFT, WIDTH - RIGHT));
    }

    #[test]
    fn a_hostile_name_stays_text_and_nothing_recorded_is_a_picture_too() {
        let mut one = durations();
        one.saturating_record(1);
        let picture = svg("<script>\"&", &[("</svg><script>".into(), &one)]);
        assert!(!picture.contains("<script"), "{picture}");
        assert!(svg("none", &[]).contains("nothing recorded yet"));
    }

    #[test]
    fn labels_never_cover_each_other_nor_leave_the_picture() {
        let mut out = String::new();
        let labels = (0..CURVES_MAX).map(|_| (HEIGHT, "x".to_owned(), "red")).collect();
        write_labels(&mut out, labels);
        let ys: Vec<f64> = out
            .split("y=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
            .collect();
        assert!(ys.windows(2).all(|two| two[1] - two[0] >= LABEL_GAP), "{ys:?}");
        assert!(ys.iter().all(|y| *y < HEIGHT), "{ys:?}");
    }

    #[test]
    fn durations_are_written_short() {
        let shown = [1, 999, 1_000, 2_500, 123_456, 10_000_000].map(duration);
        assert_eq!(shown, ["1 µs", "999 µs", "1 ms", "2.5 ms", "123 ms", "10 s"]);
    }
}
