//! What a benchmark found as Markdown that also reads well in a terminal.

use super::bars::Judged;
use super::figures::Figure;
use super::kernels::KernelFigure;
use super::record::Setting;
use super::result::Bench;
use super::statistics::Ratio;
use crate::peer::work::Program;
use crate::text_table::markdown;

/// The whole of it: what it was measured on, the rows, the kernels, how far losses differ.
pub(super) fn render(bench: &Bench) -> String {
    let mut text = heading(bench);
    if !bench.figures.is_empty() {
        let header = [
            "work",
            "unit",
            "plw",
            "PyTorch f32",
            "bf16 weights",
            "bf16 autocast",
            "plw / f32 (least to greatest)",
            "plw / best",
            "must reach",
            "aim for",
        ];
        let rows: Vec<Vec<String>> = bench.figures.iter().map(figure_row).collect();
        text += &format!("\n{}", markdown(&header, 2, &rows));
    }
    if let Some(losses) = losses(bench) {
        text += &format!("\n{losses}\n");
    }
    if !bench.record.kernels.is_empty() {
        let header = [
            "kernel",
            "pass",
            "plain Burn, ms",
            "kernel, ms",
            "plain / kernel",
        ];
        let rows: Vec<Vec<String>> = bench.record.kernels.iter().map(kernel_row).collect();
        text += &format!("\n{}", markdown(&header, 2, &rows));
    }
    text
}

fn heading(bench: &Bench) -> String {
    let Setting {
        machine,
        versions,
        model,
        ..
    } = &bench.record.setting;
    let mut text = format!(
        "{}, {} threads ({}).",
        machine.processor,
        machine.threads,
        machine.vector_extensions.join(" ")
    );
    let measurements = bench.record.measurements.iter();
    let peaks: Vec<_> = measurements
        .filter_map(|measurement| measurement.gemm_peak.as_ref())
        .collect();
    if let Some(first) = peaks.first() {
        let speeds = || peaks.iter().map(|peak| peak.gflops());
        text += &format!(
            " Gemm peak beside the runs {:.0} to {:.0} GFLOP/s (f32, {} x {} x {}).",
            speeds().fold(f64::INFINITY, f64::min),
            speeds().fold(0.0, f64::max),
            first.before.rows,
            first.before.inner,
            first.before.columns,
        );
    }
    let versions = versions.iter();
    let versions: Vec<String> = versions
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    text += &format!(
        "\nCommit {}; {}.\n",
        bench.record.commit,
        versions.join(", ")
    );
    if let Some(model) = model {
        text += &format!("RACE middle in file order with {model}; plw computes in f32. ");
    }
    text += &format!("Rounds: {}; medians, the programs in turn.\n", bench.rounds);
    text
}

fn kernel_row(figure: &KernelFigure) -> Vec<String> {
    vec![
        figure.kernel.clone(),
        figure.pass.replace('_', " and "),
        format!("{:.2}", 1e3 * figure.plain_seconds),
        format!("{:.2}", 1e3 * figure.fused_seconds),
        format!("{:.2}", figure.ratio),
    ]
}

fn figure_row(figure: &Figure) -> Vec<String> {
    let nothing = || "-".to_string();
    let median = |program| figure.median(program).map_or_else(nothing, number);
    let ratio = figure.ratio.map(|ratio| {
        let Ratio {
            of_medians,
            least,
            greatest,
        } = ratio;
        format!("{of_medians:.2} ({least:.2} to {greatest:.2})")
    });
    let to_best = figure.ratio_to_best.map(|ratio| ratio.of_medians);
    let bar = |bar: f64, is_reached: Option<bool>| {
        let sign = match figure.bar.judged {
            Judged::RatioAtMost => "at most ",
            Judged::RatioAtLeast | Judged::ValueAtLeast => "",
        };
        let times = match figure.bar.judged {
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
        median(Program::Plw),
        median(Program::Peer),
        median(Program::PeerBf16),
        median(Program::PeerAutocast),
        ratio.unwrap_or_else(nothing),
        to_best.map_or_else(nothing, |ratio| format!("{ratio:.2}")),
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
    let agreements = bench.record.agreements.iter();
    let in_f32 = agreements.filter(|found| found.program == Program::Peer);
    let largest = in_f32
        .map(|found| [found.first_step, found.worst_step])
        .reduce(|a, b| [a[0].max(b[0]), a[1].max(b[1])]);
    let [first, worst] = largest?;
    Some(format!(
        "Losses of steps of the same rows differ from those of PyTorch in f32 by at most \
         {first:.0e} of themselves in the first step, {worst:.0e} in all."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::bars::Bar;

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
        let figure = |judged, ratio, reached| Figure {
            name: "memory".to_string(),
            work: "peak memory".to_string(),
            unit: "GB",
            programs: Vec::new(),
            ratio,
            ratio_to_best: ratio,
            bar: Bar {
                judged,
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
                    "0.50",
                    "at most 0.6 x: yes",
                    "at most 0.4 x: NO",
                ],
            ),
            (
                figure(Judged::RatioAtLeast, None, None),
                ["-", "-", "0.6 x", "0.4 x"],
            ),
            (
                figure(Judged::ValueAtLeast, None, Some(true)),
                ["-", "-", "0.6: yes", "0.4: NO"],
            ),
        ];
        for (figure, expected) in cases {
            assert_eq!(figure_row(&figure)[6..], expected);
        }
    }
}
