//! Data sets that have no ratio, one, or the same one everywhere.

use plw_ratio::{Density, Lengths, NoDensity, PromptLossEffect, RatioAnalysis, analyze};

fn analysis(lengths: &[(u32, u32)]) -> RatioAnalysis {
    let lengths = lengths.iter();
    let ratios = lengths.map(|&(prompt, completion)| Lengths { prompt, completion });
    analyze(&ratios.collect(), 0)
}

#[test]
fn no_ratio_is_no_error() {
    for lengths in [vec![], vec![(0, 3), (0, 0)]] {
        let analysis = analysis(&lengths);
        assert_eq!(analysis.statistics.examples, lengths.len() as u64);
        assert_eq!(analysis.statistics.without_prompt, lengths.len() as u64);
        assert_eq!(
            (&analysis.statistics.ratio, &analysis.advice),
            (&None, &None)
        );
        let reason = NoDensity::TooFew { values: 0 };
        assert_eq!(analysis.linear, Density::Missing { reason });
    }
}

#[test]
fn one_ratio_has_no_interval_and_no_density() {
    let analysis = analysis(&[(4, 1)]);
    let ratio = analysis.statistics.ratio.expect("a ratio");
    assert_eq!((ratio.mean.value, ratio.mean.interval), (0.25, None));
    assert_eq!((ratio.median, ratio.resamples), (0.25, 0));
    let reason = NoDensity::TooFew { values: 1 };
    assert_eq!(analysis.log10, Density::Missing { reason });
}

#[test]
fn equal_ratios_have_an_interval_of_no_width_and_no_density() {
    let analysis = analysis(&[(10, 3), (20, 6), (1000, 300)]);
    let ratio = analysis.statistics.ratio.expect("ratios");
    let interval = ratio.mean.interval.expect("three ratios");
    assert!(interval.iter().all(|end| (end - 0.3).abs() < 1e-15));
    let reason = NoDensity::OneValue { value: 0.3 };
    assert_eq!(analysis.linear, Density::Missing { reason });
    assert_eq!(analysis.log10, Density::Missing { reason });
}

#[test]
fn empty_completions_alone_have_no_geometric_mean() {
    let analysis = analysis(&[(10, 0), (20, 0)]);
    let ratio = analysis.statistics.ratio.expect("ratios");
    assert_eq!(
        (ratio.geometric_mean, ratio.left_out_of_geometric_mean),
        (None, 2)
    );
    let reason = NoDensity::TooFew { values: 0 };
    assert_eq!(analysis.log10, Density::Missing { reason });
}

#[test]
fn extremes_keep_everything_finite() {
    let most = u32::MAX;
    let mut lengths = vec![(1, most), (most, 1), (most, most), (1, 0), (1, 1)];
    lengths.extend((0..500).map(|_| (100, 1)));
    let analysis = analysis(&lengths);
    let json = serde_json::to_string(&analysis).expect("JSON");
    // serde_json writes what is not finite as null.
    assert!(!json.contains("null"), "{json}");
    let read: RatioAnalysis = serde_json::from_str(&json).expect("its own JSON");
    assert_eq!(read.statistics.examples, analysis.statistics.examples);
}

#[test]
fn the_advice_follows_the_trimmed_mean() {
    for (completion, effect) in [
        (1, PromptLossEffect::Matters),
        (49, PromptLossEffect::Matters),
        (50, PromptLossEffect::MayMatter),
        (99, PromptLossEffect::MayMatter),
        (100, PromptLossEffect::HardlyMatters),
        (900, PromptLossEffect::HardlyMatters),
    ] {
        // One extreme example of 400, which the mean leaves out.
        let mut lengths = vec![(100, completion); 399];
        lengths.push((1, 1_000_000));
        let advice = analysis(&lengths).advice.expect("a ratio");
        assert_eq!(advice.effect, effect);
        assert!(advice.text.contains("arXiv:2401.13586"));
    }
}
