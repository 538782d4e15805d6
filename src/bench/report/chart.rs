//! Lines with points in an SVG: axes with titles, error bars, a legend; in the colours of a light or a dark page.
//!
//! What the numbers mean is [`super::plots`]'s business.

use std::ops::RangeInclusive;

const WIDTH: f64 = 760.0;
/// Of the area with the lines in it.
const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH - 24.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 386.0;
/// From there to the title of the x axis, and from that to the first line of the legend.
const BELOW: f64 = 42.0;
const LEGEND_LINE: f64 = 22.0;
/// Half a marker.
const MARKER: f64 = 4.0;

/// Colours of series: those of Okabe and Ito that colour-blind people can tell apart, lighter ones on a dark page.
const STYLE: &str = "\
svg { --page: #ffffff; --ink: #1f2328; --soft: #59636e; --grid: #d9dee3;
  --c0: #0072b2; --c1: #c14a00; --c2: #007d5c; --c3: #a3487c; --c4: #7a6200; --c5: #4b4ba8 }
@media (prefers-color-scheme: dark) { svg { --page: #0d1117; --ink: #e6edf3; --soft: #9198a1; --grid: #30363d;
  --c0: #56b4e9; --c1: #f2994a; --c2: #3ecf9f; --c3: #e79cc4; --c4: #e6d043; --c5: #a5a5ff } }
text { font: 13px system-ui, sans-serif; fill: var(--ink) }
.soft { fill: var(--soft) } .title { font-size: 17px; font-weight: 600 } .grid { stroke: var(--grid) }
.line { fill: none; stroke-width: 2 } .bar { stroke-width: 1.5 }";
const COLOURS: usize = 6;

/// How values become places on an axis.
#[derive(Clone, Debug)]
pub(super) enum Scale {
    /// From 0 to a round number, in whole steps.
    Linear,
    /// Each power of ten as wide as the next; only values above 0 are shown.
    Log,
    /// The same for whole numbers; 0 stands one power of ten below 1.
    Counts,
    /// Places with names; a value is the number of its place.
    Names(Vec<String>),
}

impl Scale {
    /// A value's distance along the axis; none if it can not be shown.
    fn along(&self, value: f64) -> Option<f64> {
        match self {
            Scale::Linear | Scale::Names(_) => Some(value),
            Scale::Counts if value < 1.0 => Some(-1.0),
            Scale::Counts | Scale::Log => (value > 0.0).then(|| value.log10()),
        }
    }
}

/// One axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// What it shows, with the unit.
    pub(super) title: String,
    /// How.
    pub(super) scale: Scale,
}

/// One point and its spread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    /// The error bar; none where it has no length.
    pub(super) low: f64,
    pub(super) high: f64,
}

/// One line and its name in the legend.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// From left to right.
    pub(super) points: Vec<Point>,
}

/// A whole picture.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

impl Chart {
    /// The picture as an SVG document.
    pub(super) fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Placed::new(&self.x, points().map(|point| point.x), LEFT..=RIGHT);
        let heights = points().flat_map(|point| [point.low, point.y, point.high]);
        let y = Placed::new(&self.y, heights, BOTTOM..=TOP);
        let mut out = self.head();
        write_axes(&mut out, &x, &y);
        for (index, series) in self.series.iter().enumerate() {
            write_series(&mut out, series, index, &x, &y);
        }
        self.write_legend(&mut out);
        out.push_str("</svg>\n");
        out
    }

    fn head(&self) -> String {
        let height = BOTTOM + BELOW + 14.0 + LEGEND_LINE * f64::from(self.legend_lines());
        let middle = (TOP + BOTTOM) / 2.0;
        let [title, subtitle, x, y] =
            [&self.title, &self.subtitle, &self.x.title, &self.y.title].map(|text| escaped(text));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"var(--page)\"/>\n\
             <text class=\"title\" x=\"16\" y=\"28\">{title}</text>\n\
             <text class=\"soft\" x=\"16\" y=\"48\">{subtitle}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{x}</text>\n\
             <text transform=\"translate(20 {middle}) rotate(-90)\" text-anchor=\"middle\">{y}</text>\n",
            (LEFT + RIGHT) / 2.0,
            BOTTOM + BELOW,
        )
    }

    /// Two names a line.
    fn legend_lines(&self) -> u32 {
        u32::try_from(self.series.len().div_ceil(2)).unwrap_or(u32::MAX)
    }

    fn write_legend(&self, out: &mut String) {
        let mut y = BOTTOM + BELOW + LEGEND_LINE;
        for (index, series) in self.series.iter().enumerate() {
            let x = if index % 2 == 0 { LEFT } else { (LEFT + RIGHT) / 2.0 };
            let colour = index % COLOURS;
            out.push_str(&format!(
                "<path class=\"line\" stroke=\"var(--c{colour})\"{} d=\"M{x} {:.1}h28\"/>\n",
                dashes(index),
                y - 4.0
            ));
            out.push_str(&marker(index, x + 14.0, y - 4.0, ""));
            out.push_str(&format!("<text x=\"{}\" y=\"{y}\">{}</text>\n", x + 36.0, escaped(&series.name)));
            if index % 2 == 1 {
                y += LEGEND_LINE;
            }
        }
    }
}

/// An axis that knows where its values lie in the picture.
struct Placed<'a> {
    scale: &'a Scale,
    /// The values at its ends; their logarithms if it is logarithmic.
    ends: (f64, f64),
    pixels: (f64, f64),
}

impl<'a> Placed<'a> {
    fn new(axis: &'a Axis, values: impl Iterator<Item = f64>, pixels: RangeInclusive<f64>) -> Self {
        let shown = values.filter_map(|value| axis.scale.along(value));
        let (low, high) =
            shown.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let ends = match &axis.scale {
            Scale::Linear => {
                let step = step(high.max(1.0));
                (0.0, (high.max(1.0) / step).ceil() * step)
            }
            Scale::Names(names) => (-0.5, names.iter().fold(-0.5, |end, _| end + 1.0)),
            _ if low > high => (0.0, 1.0),
            // Room at both ends; half a power of ten around a value that is alone.
            _ if high - low < 0.1 => (low - 0.5, high + 0.5),
            _ => (low - (high - low) * 0.05, high + (high - low) * 0.05),
        };
        Placed { scale: &axis.scale, ends, pixels: pixels.into_inner() }
    }

    /// Where a value is; nowhere if it can not be shown.
    fn at(&self, value: f64) -> Option<f64> {
        let share = (self.scale.along(value)? - self.ends.0) / (self.ends.1 - self.ends.0);
        Some(self.pixels.0 + share * (self.pixels.1 - self.pixels.0))
    }

    /// The values that are marked, with what is written there.
    fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Names(names) => {
                let places = (0_u32..).map(f64::from).zip(names);
                places.map(|(place, name)| (place, name.clone())).collect()
            }
            Scale::Linear => {
                let step = step(self.ends.1);
                let values = (0_u32..).map(|index| f64::from(index) * step);
                values.take_while(|value| *value <= self.ends.1 * 1.001).map(|at| (at, short(at))).collect()
            }
            Scale::Log | Scale::Counts => {
                let steps: &[f64] = if self.ends.1 - self.ends.0 < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let first = if matches!(self.scale, Scale::Counts) { 0 } else { -12 };
                let values =
                    (first..18).flat_map(|power| steps.iter().map(move |at| at * 10_f64.powi(power)));
                let inside = |value: &f64| {
                    let along = self.scale.along(*value);
                    along.is_some_and(|along| (self.ends.0..=self.ends.1).contains(&along))
                };
                [0.0].into_iter().chain(values).filter(inside).map(|at| (at, short(at))).collect()
            }
        }
    }
}

/// The largest of 1, 2, 5, 10, 20, … of which at least four make `high`; but 1 at the least.
fn step(high: f64) -> f64 {
    let power = 10_f64.powf((high / 4.0).log10().floor()).max(1.0);
    [5.0, 2.0].into_iter().map(|times| times * power).find(|step| step * 4.0 <= high).unwrap_or(power)
}

/// A number in few characters: `2.5 M`, `64 k`, `0.5`.
fn short(value: f64) -> String {
    let units = [(1e9, " G"), (1e6, " M"), (1e3, " k"), (1.0, "")];
    let (one, unit) = units.into_iter().find(|(one, _)| value.abs() >= *one * 0.9999).unwrap_or((1.0, ""));
    let text = format!("{:.3}", value / one);
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn write_axes(out: &mut String, x: &Placed<'_>, y: &Placed<'_>) {
    for (value, label) in y.ticks() {
        let Some(at) = y.at(value) else { continue };
        let (label, text, end) = (escaped(&label), LEFT - 8.0, at + 4.5);
        out.push_str(&format!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>\n"));
        out.push_str(&format!(
            "<text class=\"soft\" x=\"{text}\" y=\"{end:.1}\" text-anchor=\"end\">{label}</text>\n"
        ));
    }
    for (value, label) in x.ticks() {
        let Some(at) = x.at(value) else { continue };
        let (label, text) = (escaped(&label), BOTTOM + 20.0);
        out.push_str(&format!("<path class=\"grid\" d=\"M{at:.1} {BOTTOM}v5\"/>\n"));
        out.push_str(&format!(
            "<text class=\"soft\" x=\"{at:.1}\" y=\"{text}\" text-anchor=\"middle\">{label}</text>\n"
        ));
    }
    out.push_str(&format!("<path class=\"grid\" d=\"M{LEFT} {BOTTOM}H{RIGHT}\"/>\n"));
}

fn write_series(out: &mut String, series: &Series, index: usize, x: &Placed<'_>, y: &Placed<'_>) {
    let colour = index % COLOURS;
    let (mut line, mut bars, mut markers) = (String::new(), String::new(), String::new());
    for point in &series.points {
        let (Some(left), Some(top)) = (x.at(point.x), y.at(point.y)) else { continue };
        let verb = if line.is_empty() { 'M' } else { 'L' };
        line.push_str(&format!("{verb}{left:.1} {top:.1}"));
        let mut said = format!("{}: {}", series.name, short(point.y));
        if let (true, Some(low), Some(high)) = (point.low < point.high, y.at(point.low), y.at(point.high)) {
            let end = left - 4.0;
            bars.push_str(&format!("M{left:.1} {low:.1}V{high:.1}M{end:.1} {low:.1}h8M{end:.1} {high:.1}h8"));
            said.push_str(&format!(" ({} to {})", short(point.low), short(point.high)));
        }
        markers.push_str(&marker(index, left, top, &said));
    }
    out.push_str(&format!(
        "<path class=\"line\" stroke=\"var(--c{colour})\"{} d=\"{line}\"/>\n",
        dashes(index)
    ));
    if !bars.is_empty() {
        out.push_str(&format!("<path class=\"bar\" stroke=\"var(--c{colour})\" d=\"{bars}\"/>\n"));
    }
    out.push_str(&markers);
}

/// Lines that share a colour differ in this.
fn dashes(index: usize) -> &'static str {
    if index < COLOURS { "" } else { " stroke-dasharray=\"6 4\"" }
}

/// Circle, square, diamond or triangle; whoever points at it reads what it says.
fn marker(index: usize, x: f64, y: f64, said: &str) -> String {
    let m = MARKER;
    let path = match index % 4 {
        0 => format!("M{:.1} {y:.1}a{m} {m} 0 1 0 8 0a{m} {m} 0 1 0 -8 0z", x - m),
        1 => format!("M{:.1} {:.1}h8v8h-8z", x - m, y - m),
        2 => format!("M{:.1} {y:.1}l5 -5l5 5l-5 5z", x - 5.0),
        _ => format!("M{:.1} {:.1}h10l-5 -9z", x - 5.0, y + m),
    };
    let title = if said.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(said)) };
    format!("<path fill=\"var(--c{})\" d=\"{path}\">{title}</path>\n", index % COLOURS)
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Fails unless the text is XML whose elements all end, with quoted attributes and nothing else that starts with `<`.
    pub(in crate::bench::report) fn assert_well_formed(svg: &str) {
        let mut open = Vec::new();
        for part in svg.split('<').skip(1) {
            let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("<{part} does not end"));
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes of <{tag}>");
            assert!(!tag.contains("NaN") && !tag.contains("inf"), "<{tag}>");
            let entities = text.split('&').skip(1);
            entities.for_each(|text| assert!(text.contains(';'), "an & that is not escaped: {text}"));
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "</{name}>"),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split_whitespace().next().unwrap()),
            }
        }
        assert!(open.is_empty(), "{open:?} do not end");
    }

    fn chart(x: Scale, y: Scale, points: &[(f64, f64)]) -> Chart {
        let axis = |title: &str, scale| Axis { title: title.into(), scale };
        let points = points.iter().map(|(x, y)| Point { x: *x, y: *y, low: *y * 0.9, high: *y }).collect();
        Chart {
            title: "a < b & \"c\"".into(),
            subtitle: String::new(),
            x: axis("sessions", x),
            y: axis("packets/s", y),
            series: vec![Series { name: "natgate".into(), points }],
        }
    }

    #[test]
    fn a_chart_is_well_formed_whatever_is_in_it() {
        let names = Scale::Names(vec!["p50".into(), "<max>".into()]);
        for scale in [Scale::Linear, Scale::Log, Scale::Counts, names] {
            for points in [&[][..], &[(0.0, 0.0)], &[(1.0, 5e6)], &[(1.0, 7e6), (1e7, 6.5e6)]] {
                assert_well_formed(&chart(scale.clone(), Scale::Linear, points).svg());
                assert_well_formed(&chart(Scale::Log, scale.clone(), points).svg());
            }
        }
    }

    #[test]
    fn points_lie_where_their_values_are() {
        let svg = chart(Scale::Log, Scale::Linear, &[(1.0, 4e6), (100.0, 0.0), (1e4, 8e6)]).svg();
        // Room of a twentieth at both ends of the x axis; the y axis ends at 8 M.
        let (left, middle, right) = (84.0 + 652.0 / 22.0, 410.0, 736.0 - 652.0 / 22.0);
        let line = format!("d=\"M{left:.1} 226.0L{middle:.1} 386.0L{right:.1} 66.0\"");
        assert!(svg.contains(&line), "{line} in {svg}");
        for label in [">1<", ">10<", ">10 k<", ">2 M<", ">8 M<", ">sessions<", ">packets/s<", ">natgate<"] {
            assert!(svg.contains(label), "{label} in {svg}");
        }
        assert!(svg.contains("<title>natgate: 4 M (3.6 M to 4 M)</title>"), "{svg}");
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (high, expected) in [(5.0, 1.0), (7.1, 1.0), (8.0, 2.0), (80e6, 20e6), (1e7, 2e6)] {
            assert!((step(high) / expected - 1.0).abs() < 1e-9, "{high}: {}", step(high));
            assert!((4.0..=10.0).contains(&(high / step(high)).ceil()));
        }
        assert!((step(1.5) - 1.0).abs() < 1e-9, "half a worker is none");
    }

    #[test]
    fn no_rules_at_all_stand_left_of_one() {
        let svg = chart(Scale::Counts, Scale::Linear, &[(0.0, 8.0), (10.0, 8.0), (1e5, 8.0)]).svg();
        let label = |text: &str| {
            let before = svg.split_once(text).unwrap().0;
            let at = before.rsplit_once(" x=\"").unwrap().1;
            at.split_once('"').unwrap().0.parse::<f64>().unwrap()
        };
        assert!(label(">0</text>\n<path class=\"grid\" d=\"M") < label(">1</text>"), "{svg}");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (64.0, "64"),
            (1_000.0, "1 k"),
            (2_500_000.0, "2.5 M"),
            (1e10, "10 G"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
