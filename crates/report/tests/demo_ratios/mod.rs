//! Invented data sets whose ratios are about lognormal.

use plw_ratio::{Lengths, Ratios, Unit, analyze};
use plw_report::{NamedRatios, RatioReport};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A report of data sets given as name, examples, median ratio, and standard deviation of its
/// natural logarithm.
pub(crate) fn report(datasets: &[(&str, u32, f64, f64)]) -> RatioReport {
    let named = datasets.iter().map(|&(name, examples, median, spread)| {
        let mut random = ChaCha8Rng::seed_from_u64(u64::from(examples));
        let ratios: Ratios = (0..examples)
            .map(|_| {
                let prompt = random.random_range(50..2000);
                // A sum of twelve uniform numbers is about normal.
                let normal = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
                let ratio = median * (spread * normal).exp();
                let completion = (f64::from(prompt) * ratio).round() as u32;
                Lengths { prompt, completion }
            })
            .collect();
        NamedRatios {
            name: name.to_string(),
            analysis: analyze(&ratios, 42),
        }
    });
    RatioReport {
        unit: Unit::Tokens,
        datasets: named.collect(),
    }
}
