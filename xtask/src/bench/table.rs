//! What a benchmark found as Markdown that also reads well in a terminal.

use super::figures::{Figure, Judged};
use super::record::Bench;

/// The whole of it: what it was measured on, the rows of issue 3's bar, the kernels, how far losses differ.
pub(super) fn render(bench: &Bench) -> String {
    let machine = &bench.machine;
    let peak = &bench.gemm_peak;
    let mut text = match bench.smoke {
        true => "Smoke run: figures mean nothing.\n".to_string(),
        false => String::new(),
    };
    text += &format!(
        "{}, {} threads ({}). Gemm peak {:.0} GFLOP/s (f32, {} x {} x {}; {:.0} before and {:.0} after).\n",
        machine.processor,
        machine.threads,
        machine.vector_extensions.join(" "),
        peak.gflops(),
        peak.before.rows,
        peak.before.inner,
        peak.before.columns,
        peak.before.gflops,
        peak.after.gflops,
    );
    let versions: Vec<String> = bench
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    text += &format!("Commit {}; {}.\n", bench.commit, versions.join(", "));
    if let Some(model) = &bench.model {
        text += &format!("RACE middle in file order with {model}, f32. ");
    }
    text += &format!("Rounds: {}; medians, the programs in turn.\n", bench.rounds);
    for left_out in &bench.left_out {
        text += &format!("Left out: {left_out}.\n");
    }
    if !bench.figures.is_empty() {
        let header = [
            "work",
            "unit",
            "plw",
            "peer",
            "plw / peer (least to greatest)",
            "must reach",
            "aim for",
        ];
        let rows: Vec<Vec<String>> = bench.figures.iter().map(figure_row).collect();
        text += &format!("\n{}", markdown(&header, 2, &rows));
    }
    if let Some(losses) = losses(bench) {
        text += &format!("\n{losses}\n");
    }
    if !bench.kernels.is_empty() {
        let header = [
            "kernel",
            "pass",
            "plain Burn, ms",
            "kernel, ms",
            "plain / kernel",
        ];
        let rows = bench.kernels.iter().map(|figure| {
            vec![
                figure.kernel.clone(),
                figure.pass.replace('_', " and "),
                format!("{:.2}", 1e3 * figure.plain_seconds),
                format!("{:.2}", 1e3 * figure.fused_seconds),
                format!("{:.2}", figure.ratio),
            ]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        text += &format!("\n{}", markdown(&header, 2, &rows));
    }
    text
}

fn figure_row(figure: &Figure) -> Vec<String> {
    let ratio = figure.ratio.map(|ratio| {
        format!(
            "{:.2} ({:.2} to {:.2})",
            ratio.of_medians, ratio.least, ratio.greatest
        )
    });
    let bar = |bar: f64, is_reached: Option<bool>| {
        let sign = match figure.bar.of {
            Judged::RatioAtMost => "at most ",
            Judged::RatioAtLeast | Judged::ValueAtLeast => "",
        };
        let times = match figure.bar.of {
            Judged::ValueAtLeast => "",
            Judged::RatioAtLeast | Judged::RatioAtMost => " x",
        };
        let verdict = match is_reached {
            Some(true) => ": yes",
            Some(false) => ": NO",
            None => "",
        };
        format!("{sign}{bar}{times}{verdict}")
    };
    vec![
        figure.work.clone(),
        figure.unit.to_string(),
        number(figure.plw_median),
        figure.peer_median.map_or("-".to_string(), number),
        ratio.unwrap_or("-".to_string()),
        bar(figure.bar.must_reach, figure.reached),
        bar(figure.bar.aim_for, figure.aim_reached),
    ]
}

/// Three digits that count.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn losses(bench: &Bench) -> Option<String> {
    let first = bench.agreements.iter().map(|found| found.first_step);
    let worst = bench.agreements.iter().filter_map(|found| found.worst_step);
    let relative = |difference: f64| format!("{difference:.0e}");
    let mut text = format!(
        "Losses of first steps differ from the peer's by at most {} of themselves",
        relative(first.reduce(f64::max)?)
    );
    if let Some(worst) = worst.reduce(f64::max) {
        text += &format!(
            ", of all steps of the same rows by at most {}",
            relative(worst)
        );
    }
    Some(text + ".")
}

/// A table whose columns are as wide as their cells; the first `left` are aligned to the left.
fn markdown(header: &[&str], left: usize, rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len(), 3]).max().unwrap_or(3)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let padded = |cells: &[&str]| {
        let cells = cells.iter().zip(&widths).enumerate();
        let padded = cells.map(|(column, (cell, &width))| match column < left {
            true => format!("{cell:width$}"),
            false => format!("{cell:>width$}"),
        });
        line(padded.collect())
    };
    let rules = widths
        .iter()
        .enumerate()
        .map(|(column, &width)| match column < left {
            true => "-".repeat(width),
            false => "-".repeat(width - 1) + ":",
        });
    let mut text = padded(header) + &line(rules.collect());
    for row in rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        text += &padded(&cells);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::Bar;
    use crate::bench::record::{GemmPeak, GemmSpeed};
    use crate::bench::statistics::Ratio;

    fn bench(smoke: bool) -> Bench {
        let speed = GemmSpeed {
            rows: 1,
            inner: 1,
            columns: 1,
            threads: 1,
            repetitions: 1,
            seconds: 1.0,
            gflops: 100.0,
        };
        Bench {
            commit: "unknown".to_string(),
            versions: Default::default(),
            machine: Default::default(),
            model: None,
            rounds: 1,
            smoke,
            left_out: Vec::new(),
            gemm_peak: GemmPeak {
                before: speed.clone(),
                after: speed,
            },
            useful_operations: None,
            figures: Vec::new(),
            kernels: Vec::new(),
            agreements: Vec::new(),
            measurements: Vec::new(),
        }
    }

    #[test]
    fn a_smoke_run_says_so_first() {
        for smoke in [true, false] {
            let bench = bench(smoke);
            let text = render(&bench);
            let says_so = text.starts_with("Smoke run: figures mean nothing.\n");
            assert_eq!(says_so, smoke, "{text}");
            let json = serde_json::to_value(&bench).expect("plain data");
            assert_eq!(json["smoke"], smoke);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows =
            [["full", "1.20"], ["a long name", "12.3"]].map(|row| row.map(str::to_string).to_vec());
        let expected = "\
| work        | ratio |
| ----------- | ----: |
| full        |  1.20 |
| a long name |  12.3 |
";
        assert_eq!(markdown(&["work", "ratio"], 1, &rows), expected);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let cases = [
            (1234.5, "1234"),
            (92.04, "92.0"),
            (2.345, "2.35"),
            (0.5678, "0.568"),
        ];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_bar_says_what_it_asks_and_whether_it_is_reached() {
        let figure = |of, ratio, reached| Figure {
            name: "memory".to_string(),
            work: "peak memory".to_string(),
            unit: "GB",
            plw: vec![3.0],
            peer: Vec::new(),
            plw_median: 3.0,
            peer_median: None,
            ratio,
            bar: Bar {
                of,
                must_reach: 0.6,
                aim_for: 0.4,
            },
            reached,
            aim_reached: reached.map(|_| false),
        };
        let ratio = Ratio {
            of_medians: 0.5,
            least: 0.45,
            greatest: 0.55,
        };
        let cases = [
            (
                figure(Judged::RatioAtMost, Some(ratio), Some(true)),
                [
                    "0.50 (0.45 to 0.55)",
                    "at most 0.6 x: yes",
                    "at most 0.4 x: NO",
                ],
            ),
            (
                figure(Judged::RatioAtLeast, None, None),
                ["-", "0.6 x", "0.4 x"],
            ),
            (
                figure(Judged::ValueAtLeast, None, Some(true)),
                ["-", "0.6: yes", "0.4: NO"],
            ),
        ];
        for (figure, expected) in cases {
            assert_eq!(figure_row(&figure)[4..], expected);
        }
    }
}
