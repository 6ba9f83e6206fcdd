//! Plot of the nanoseconds of an operation and the longest request after a mass expiry, over the number of sessions.

use std::fmt::Write;

use crate::Row;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 250.0;
const TOP: f64 = 40.0;
/// Powers of ten at the ends of the horizontal axis.
const MIN_POWER: f64 = 3.0;
const MAX_POWER: f64 = 6.0;

pub(crate) fn draw(rows: &[Row]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        height = 2.0 * HEIGHT
    );
    let rows: Vec<&Row> = rows.iter().filter(|row| !row.owned).collect();
    let series = |of: fn(&Row) -> f64, threads: usize| -> Vec<(f64, f64)> {
        let of_these = rows.iter().filter(|row| row.threads == threads);
        of_these.map(|row| ((row.sessions as f64).log10(), of(row))).collect()
    };
    panel(
        &mut svg,
        0.0,
        "One operation of MemoryStore, nanoseconds",
        &[
            ("get, 1 thread", "#1b6ca8", series(|row| row.get, 1)),
            ("get, 2 threads", "#7db8e0", series(|row| row.get, 2)),
            ("get and set, 1 thread", "#b5451b", series(|row| row.set, 1)),
            ("get and set, 2 threads", "#e8a284", series(|row| row.set, 2)),
        ],
    );
    panel(
        &mut svg,
        HEIGHT,
        "The longest request after all sessions have expired, milliseconds of processor time (bound: 5)",
        &[
            ("1 thread", "#1b6ca8", series(|row| row.reclaim.slowest_cpu, 1)),
            ("2 threads", "#b5451b", series(|row| row.reclaim.slowest_cpu, 2)),
            ("bound", "#999999", vec![(3.0, 5.0), (6.0, 5.0)]),
        ],
    );
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, top: f64, title: &str, series: &[(&str, &str, Vec<(f64, f64)>)]) {
    let max = series.iter().flat_map(|(_, _, points)| points).map(|(_, y)| *y).fold(0.0, f64::max) * 1.1;
    let x = |power: f64| LEFT + (power - MIN_POWER) / (MAX_POWER - MIN_POWER) * (WIDTH - LEFT - 180.0);
    let y = |value: f64| top + BOTTOM - value / max * (BOTTOM - TOP);
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(svg, "{text}").expect("writing to a string does not fail");
    line(format_args!("<text x=\"{LEFT}\" y=\"{}\" font-size=\"13\">{title}</text>", top + 22.0));
    for step in 0..=4 {
        let value = max * f64::from(step) / 4.0;
        let digits = if max < 20.0 { 1 } else { 0 };
        line(format_args!(
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.digits$}</text>",
            x(MAX_POWER),
            LEFT - 8.0,
            y(value) + 4.0,
            at = y(value)
        ));
    }
    for power in 3..=6 {
        line(format_args!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">10<tspan dy=\"-4\" font-size=\"9\">{power}</tspan></text>",
            x(f64::from(power)),
            top + BOTTOM + 18.0
        ));
    }
    line(format_args!(
        "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">sessions</text>",
        x(4.5),
        top + BOTTOM + 36.0
    ));
    for (place, (name, color, points)) in series.iter().enumerate() {
        let path: Vec<String> = points.iter().map(|(at, value)| format!("{:.1} {:.1}", x(*at), y(*value))).collect();
        line(format_args!("<path d=\"M{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>", path.join("L")));
        let at = top + TOP + 16.0 * place as f64;
        line(format_args!(
            "<path d=\"M{:.1} {:.1}h18\" stroke=\"{color}\" stroke-width=\"2\"/><text x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
            x(MAX_POWER) + 16.0,
            at,
            x(MAX_POWER) + 40.0,
            at + 4.0
        ));
    }
}
