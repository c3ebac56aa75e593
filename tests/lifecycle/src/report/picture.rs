//! The picture: for each trace four pairs of bars, upstream's above Berth's, on scales of decades.

use std::fmt::Write;

use crate::measure::Row;
use crate::report::Pair;

const LEFT: u32 = 150;
const TOP: u32 = 60;
const BAND: u32 = 34;
const BAR: u32 = 12;
const PANEL: u32 = 230;
const GAP: u32 = 60;
/// A decade is so wide.
const DECADE: f64 = 45.0;

const UPSTREAM: &str = "#c0504d";
const BERTH: &str = "#4f81bd";

type Value = fn(&Row) -> f64;

/// What each panel shows.
#[expect(clippy::cast_precision_loss, reason = "a bar is not that exact")]
const PANELS: [(&str, Value); 4] = [
    ("live Pods hard-deleted", |row| row.live_deleted as f64),
    (
        "seconds until all lost are replaced (never: full width)",
        |row| {
            if row.unreplaced > 0 {
                1e5
            } else {
                row.replaced_max.map_or(0.0, f64::from)
            }
        },
    ),
    ("live Pods soft-evicted", |row| row.live_soft_evicted as f64),
    ("most kills on a node in 10 s", |row| row.most_kills as f64),
];

/// All pairs as SVG.
pub fn picture(pairs: &[Pair], title: &str) -> String {
    let bands = u32::try_from(pairs.len()).unwrap_or_default();
    let height = TOP + bands * BAND + 20;
    let width = LEFT + 4 * (PANEL + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    text(
        &mut svg,
        10,
        18,
        &format!("{title}; red: upstream, blue: Berth"),
    );
    for ((head, _), panel) in PANELS.iter().zip(0..) {
        text(&mut svg, LEFT + panel * (PANEL + GAP), TOP - 12, head);
    }
    for (pair, band) in pairs.iter().zip(0..) {
        let y = TOP + band * BAND;
        text(&mut svg, 10, y + BAR + 4, &pair.name);
        for ((_, value), panel) in PANELS.iter().zip(0..) {
            let x = LEFT + panel * (PANEL + GAP);
            bar(&mut svg, x, y, value(&pair.upstream), UPSTREAM);
            bar(&mut svg, x, y + BAR + 1, value(&pair.berth), BERTH);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn text(svg: &mut String, x: u32, y: u32, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\">{words}</text>");
}

/// One is a tenth of a decade wide, so that it is seen; zero is nothing.
fn bar(svg: &mut String, x: u32, y: u32, value: f64, colour: &str) {
    let width = if value > 0.0 {
        (value.log10().max(0.1) * DECADE).min(f64::from(PANEL))
    } else {
        0.0
    };
    let _ = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
    );
    let label = if value >= 1e5 {
        "never".to_owned()
    } else {
        format!("{value:.0}")
    };
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{}\" font-size=\"9\">{label}</text>",
        f64::from(x) + width + 3.0,
        y + BAR - 2
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trace_has_eight_bars_and_text_is_escaped() {
        let pair = |name: &str| Pair {
            name: name.to_owned(),
            upstream: Row::default(),
            berth: Row::default(),
        };
        let svg = picture(&[pair("a<b"), pair("c")], "title");
        assert_eq!(svg.matches("height=\"12\"").count(), 16);
        assert!(svg.contains("a&lt;b") && svg.ends_with("</svg>\n"));
    }
}
