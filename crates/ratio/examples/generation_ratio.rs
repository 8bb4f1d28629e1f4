//! The statistics of an invented data set.
//!
//!     cargo run --release --example generation_ratio -- 4000000

use std::error::Error;
use std::time::Instant;

use plw_ratio::{Lengths, Ratios, analyze};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() -> Result<(), Box<dyn Error>> {
    let examples = match std::env::args().nth(1) {
        Some(number) => number.parse()?,
        None => 50_000,
    };
    let mut random = ChaCha8Rng::seed_from_u64(1);
    // The product of uniform lengths spreads over decades, as lengths of text do.
    let mut length = || {
        let share = random.random::<f64>() * random.random::<f64>() * random.random::<f64>();
        1 + (2000.0 * share) as u32
    };
    let ratios: Ratios = (0..examples)
        .map(|_| Lengths {
            prompt: length(),
            completion: length() - 1,
        })
        .collect();

    let start = Instant::now();
    let analysis = analyze(&ratios, 42);
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", serde_json::to_string_pretty(&analysis.statistics)?);
    if let Some(advice) = &analysis.advice {
        println!("{}", advice.text);
    }
    println!("{examples} examples took {seconds:.2} s.");
    Ok(())
}
