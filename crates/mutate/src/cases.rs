//! How many changed copies a reader is given, and how many of them must reach its inner checks.

use std::cell::Cell;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// The variable that says how many times as many cases are tried.
const TIMES: &str = "PLW_FUZZ";

/// Gives `read` the values of a strategy, always the same ones: `cases`, or as many times more as
/// the variable `PLW_FUZZ` says. `read` says whether the value passed the first check of its
/// format.
///
/// # Panics
///
/// If `read` panics, with the smallest value found that makes it; or if fewer than half of the
/// values pass, since little of the reader is then tested.
pub fn try_all<S: Strategy>(cases: u32, strategy: S, read: impl Fn(S::Value) -> bool) {
    let times = std::env::var(TIMES).ok();
    let cases = cases * times.and_then(|times| times.parse().ok()).unwrap_or(1);
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(13),
        failure_persistence: None,
        ..Config::default()
    };
    let passed = Cell::new(0);
    let count = |value| {
        passed.set(passed.get() + u32::from(read(value)));
        Ok(())
    };
    if let Err(error) = TestRunner::new(config).run(&strategy, count) {
        panic!("{error}");
    }
    let passed = passed.get();
    println!("{cases} cases, {passed} pass the first check");
    assert!(
        passed.saturating_mul(2) >= cases,
        "only {passed} of {cases} pass the first check"
    );
}
