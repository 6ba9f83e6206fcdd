//! The table as bars, in SVG.

use std::fmt::Write;

use super::{CANDIDATES, Measured, name};

const COLOURS: [&str; 4] = ["#9aa0a6", "#d9843b", "#8a6fb0", "#2f7fb8"];
const BAR: usize = 13;
const LEFT: usize = 250;
const FULL: f64 = 420.0;
const GROUP: usize = CANDIDATES.len() * BAR + 16;
const TOP: usize = 64;

pub(super) fn svg(all: &[Measured]) -> String {
    let height = TOP + all.len() * GROUP + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"800\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    text(&mut svg, 10, 20, "Requests a second over loopback sockets, in proportion to the bare router's");
    for (index, (candidate, colour)) in CANDIDATES.iter().zip(COLOURS).enumerate() {
        let x = LEFT + index * 120;
        bar(&mut svg, x, 32, 10.0, colour);
        text(&mut svg, x + 15, 42, name(*candidate));
    }
    for (index, measured) in all.iter().enumerate() {
        let y = TOP + index * GROUP;
        let threads = if measured.workers == 1 { "1 thread" } else { "2 threads" };
        text(&mut svg, 10, y + 22, measured.row.name);
        text(&mut svg, 10, y + 38, threads);
        for (index, (share, colour)) in measured.shares.iter().zip(COLOURS).enumerate() {
            let y = y + index * BAR;
            bar(&mut svg, LEFT, y, share * FULL, colour);
            let end = LEFT + (share * FULL).round().clamp(0.0, 480.0) as usize;
            text(&mut svg, end + 5, y + 10, &format!("{share:.2}"));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, x: usize, y: usize, width: f64, colour: &str) {
    let height = BAR - 2;
    writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"/>")
        .expect("a string takes all that is written to it");
}

fn text(svg: &mut String, x: usize, y: usize, text: &str) {
    writeln!(svg, "<text x=\"{x}\" y=\"{y}\" fill=\"#222\">{text}</text>")
        .expect("a string takes all that is written to it");
}
