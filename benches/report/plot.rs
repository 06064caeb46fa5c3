//! Two plots: a bar for each way of each job, as a part of the slowest, with the extremes as a line.

use super::{Report, Row, Spread};
use std::fmt::Write as _;

const BAR: f64 = 14.0;
const LABEL: f64 = 190.0;
const WIDTH: f64 = 420.0;

/// Wall time.
pub fn wall(report: &Report) -> String {
    draw(report, "wall time, seconds", |row| Some(row.wall))
}

/// User and system time.
pub fn cpu(report: &Report) -> String {
    draw(report, "CPU time, user and system, seconds", |row| row.cpu)
}

fn draw(report: &Report, what: &str, pick: fn(&Row) -> Option<Spread>) -> String {
    let mut body = String::new();
    let mut y = 34.0;
    let _ = writeln!(
        body,
        "<text x=\"8\" y=\"18\" font-weight=\"bold\">libovl: {}</text>",
        escaped(what)
    );
    for job in &report.jobs {
        let bars: Vec<(&Row, Spread)> = job
            .rows
            .iter()
            .filter_map(|row| Some((row, pick(row)?)))
            .collect();
        let most = bars
            .iter()
            .map(|(_, spread)| spread.max)
            .fold(0.0, f64::max);
        if bars.is_empty() || most <= 0.0 {
            continue;
        }
        y += 14.0;
        let title = format!("{} ({})", job.title, job.kind);
        let _ = writeln!(
            body,
            "<text x=\"8\" y=\"{y:.0}\">{}</text>",
            escaped(&title)
        );
        y += 6.0;
        for (row, spread) in bars {
            bar(&mut body, y, row, spread, WIDTH / most);
            y += BAR + 3.0;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" viewBox=\"0 0 {w:.0} {h:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n",
        w = LABEL + WIDTH + 100.0,
        h = y + 12.0
    )
}

fn bar(body: &mut String, y: f64, row: &Row, spread: Spread, scale: f64) {
    let ours = row.who.starts_with(crate::job::OVL);
    let colour = if ours { "#1b6ca8" } else { "#b8b8b8" };
    let (middle, text) = (y + BAR / 2.0, y + BAR - 3.0);
    let (min, max) = (LABEL + spread.min * scale, LABEL + spread.max * scale);
    let _ = writeln!(
        body,
        "<text x=\"{:.0}\" y=\"{text:.0}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{LABEL:.0}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"{BAR:.0}\" fill=\"{colour}\"/>\
         <line x1=\"{min:.1}\" x2=\"{max:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"black\"/>\
         <text x=\"{:.0}\" y=\"{text:.0}\">{:.4}</text>",
        LABEL - 6.0,
        escaped(&row.who),
        spread.median * scale,
        max + 6.0,
        spread.median
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
