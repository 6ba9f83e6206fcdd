//! The tables as bar charts in SVG: processor time on the left, requests per second on the right.
//!
//! The line at the end of a bar spans the quartiles.

use std::fmt::Write;

use super::{CANDIDATES, Measured, Series, name};

const COLORS: [&str; 4] = ["#9aa0a6", "#d9843b", "#8a6fb0", "#2f7fb8"];
const BAR: usize = 13;
const GROUP: usize = CANDIDATES.len() * BAR + 16;
const TOP: usize = 84;
const WIDTH: f64 = 980.0;
/// Length of the longest bar.
const FULL: f64 = 290.0;

struct Panel {
    title: &'static str,
    left: f64,
    of: fn(&Measured) -> &Series,
}

const PANELS: [Panel; 2] = [
    Panel { title: "Processor time of the server: less is better", left: 210.0, of: |measured| &measured.cost },
    Panel { title: "Requests a second: more is better", left: 600.0, of: |measured| &measured.rate },
];

pub(super) fn svg(all: &[Measured]) -> String {
    let height = TOP + all.len() * GROUP + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    text(&mut svg, 10.0, 20, "In proportion to the bare router's, the median and the quartiles");
    for (index, (candidate, color)) in CANDIDATES.iter().zip(COLORS).enumerate() {
        let x = 210.0 + index as f64 * 130.0;
        bar(&mut svg, x, 32, 10.0, color);
        text(&mut svg, x + 15.0, 42, name(*candidate));
    }
    for (index, measured) in all.iter().enumerate() {
        let y = TOP + index * GROUP;
        let threads = if measured.workers == 1 { "1 thread" } else { "2 threads" };
        text(&mut svg, 10.0, y + 22, measured.name);
        text(&mut svg, 10.0, y + 38, threads);
    }
    PANELS.iter().for_each(|each| panel(&mut svg, each, all));
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, panel: &Panel, all: &[Measured]) {
    text(svg, panel.left, 70, panel.title);
    let shares = || all.iter().map(|measured| &(panel.of)(measured).shares);
    let most = shares().flatten().map(|share| share.high).fold(1.0, f64::max);
    let length = |share: f64| share / most * FULL;
    for (index, shares) in shares().enumerate() {
        for (place, (share, color)) in shares.iter().zip(COLORS).enumerate() {
            let y = TOP + index * GROUP + place * BAR;
            bar(svg, panel.left, y, length(share.median), color);
            let [low, high] = [share.low, share.high].map(|end| panel.left + length(end));
            let middle = y as f64 + 5.5;
            write!(svg, "<path d=\"M{low:.1} {middle}H{high:.1}\" stroke=\"#222\"/>").expect(WRITES);
            text(svg, high + 5.0, y + 10, &format!("{:.2}", share.median));
        }
    }
}

const WRITES: &str = "writing to a string does not fail";

fn bar(svg: &mut String, x: f64, y: usize, width: f64, color: &str) {
    let height = BAR - 2;
    writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{color}\"/>")
        .expect(WRITES);
}

fn text(svg: &mut String, x: f64, y: usize, text: &str) {
    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" fill=\"#222\">{text}</text>").expect(WRITES);
}
