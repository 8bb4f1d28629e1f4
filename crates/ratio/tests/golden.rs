//! Statistics and densities against scipy's (`xtask/fixtures/ratio.py`).

use plw_ratio::{
    Density, Estimate, KernelDensity, Lengths, Ratios, Scale, SortedRatios, analyze, trimmed,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    lengths: Vec<(u32, u32)>,
    mean: f64,
    mean_interval: [f64; 2],
    trimmed_mean: f64,
    trimmed_mean_interval: [f64; 2],
    geometric_mean: f64,
    geometric_mean_interval: [f64; 2],
    deciles: Vec<f64>,
    percentile_99: f64,
    share_above_one: f64,
    linear: Kernels,
    log10: Kernels,
}

#[derive(Deserialize)]
struct Kernels {
    bandwidth: f64,
    places: Vec<f64>,
    heights: Vec<f64>,
}

fn cases() -> Vec<(Case, Ratios)> {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("fixtures/ratio.json")).expect("the script's JSON");
    let with_ratios = cases.into_iter().map(|case| {
        let lengths = case.lengths.iter();
        let ratios = lengths.map(|&(prompt, completion)| Lengths { prompt, completion });
        let ratios = ratios.collect();
        (case, ratios)
    });
    with_ratios.collect()
}

fn assert_close(ours: f64, scipy: f64, relative: f64, what: &str) {
    let largest = relative * scipy.abs().max(1e-300);
    assert!(
        (ours - scipy).abs() <= largest,
        "{what}: {ours} is not {scipy}"
    );
}

#[test]
fn statistics_are_those_of_numpy_and_scipy() {
    for (case, ratios) in cases() {
        let statistics = analyze(&ratios, 7).statistics;
        let ratio = statistics.ratio.expect("ratios");
        let geometric_mean = ratio.geometric_mean.expect("positive ratios");
        for (what, ours, scipy) in [
            ("mean", ratio.mean.value, case.mean),
            ("trimmed mean", ratio.trimmed_mean.value, case.trimmed_mean),
            ("geometric mean", geometric_mean.value, case.geometric_mean),
            ("median", ratio.median, case.deciles[4]),
            ("percentile 99", ratio.percentile_99, case.percentile_99),
            ("share above 1", ratio.share_above_one, case.share_above_one),
        ] {
            assert_close(ours, scipy, 1e-13, &format!("{}, {what}", case.name));
        }
        for (ours, scipy) in ratio.deciles.iter().zip(&case.deciles) {
            assert_close(*ours, *scipy, 1e-13, &format!("{}, decile", case.name));
        }
        // Both are from resamples, of other generators, and agree within Monte Carlo error: a share
        // of the interval's width that is large where seven ratios leave gaps between means.
        let most = if ratio.count < 100 { 0.15 } else { 0.06 };
        for (what, Estimate { interval, .. }, scipy) in [
            ("mean", ratio.mean, case.mean_interval),
            (
                "trimmed mean",
                ratio.trimmed_mean,
                case.trimmed_mean_interval,
            ),
            (
                "geometric mean",
                geometric_mean,
                case.geometric_mean_interval,
            ),
        ] {
            let interval = interval.expect("more than one ratio");
            let errors = interval
                .iter()
                .zip(scipy)
                .map(|(ours, scipy)| (ours - scipy).abs());
            let largest = errors.fold(0.0, f64::max) / (scipy[1] - scipy[0]);
            let name = &case.name;
            assert!(
                largest < most,
                "{name}, {what}: {interval:?} is not {scipy:?}"
            );
        }
    }
}

#[test]
fn counts_are_those_of_the_cases() {
    let found: Vec<[u64; 4]> = cases()
        .iter()
        .map(|(_, ratios)| {
            let statistics = analyze(ratios, 7).statistics;
            let ratio = statistics.ratio.expect("ratios");
            [
                statistics.examples,
                statistics.without_prompt,
                statistics.empty_completions,
                ratio.trimmed_at_each_end,
            ]
        })
        .collect();
    assert_eq!(found[0], [8, 1, 1, 0]);
    assert_eq!(found[2], [902, 1, 1, 2]);
    assert_eq!(found[3][3], 3);
}

#[test]
fn densities_are_those_of_scipy() {
    for (case, ratios) in cases() {
        let sorted = SortedRatios::of(&ratios);
        let logarithms: Vec<f64> = sorted.positive().iter().map(|r| r.log10()).collect();
        for (values, scipy) in [
            (trimmed(sorted.values()), &case.linear),
            (&logarithms[..], &case.log10),
        ] {
            let density = KernelDensity::silverman(values).expect("a spread");
            assert_close(density.bandwidth(), scipy.bandwidth, 1e-12, &case.name);
            for (ours, scipy) in density.exact(&scipy.places).iter().zip(&scipy.heights) {
                assert_close(*ours, *scipy, 1e-10, &case.name);
            }
        }
    }
}

#[test]
fn curves_lie_on_their_grids() {
    for (case, ratios) in cases() {
        let sorted = SortedRatios::of(&ratios);
        for (scale, scipy) in [(Scale::Linear, &case.linear), (Scale::Log10, &case.log10)] {
            let density = Density::of(&sorted, scale);
            let curve = density.curve().expect("a spread");
            assert_close(curve.bandwidth, scipy.bandwidth, 1e-12, &case.name);
            let step = curve.grid[1] - curve.grid[0];
            let area = curve.density.iter().sum::<f64>() * step;
            match scale {
                // The grid ends 3 bandwidths beyond the ratios.
                Scale::Log10 => assert!((0.99..1.001).contains(&area), "{}: {area}", case.name),
                // It begins at 0, and ends near the 99th percentile.
                Scale::Linear => {
                    assert!(
                        curve.grid[0] >= 0.0 && (0.7..1.01).contains(&area),
                        "{area}"
                    )
                }
            }
        }
    }
}

#[test]
fn the_order_of_examples_changes_no_bit() {
    for (case, ratios) in cases() {
        let reversed: Ratios = case
            .lengths
            .iter()
            .rev()
            .map(|&(prompt, completion)| Lengths { prompt, completion })
            .collect();
        assert_eq!(analyze(&ratios, 1), analyze(&reversed, 1), "{}", case.name);
    }
}
