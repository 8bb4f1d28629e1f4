//! The generation ratio Rg = completion length / prompt length of examples: statistics, densities,
//! and what the ratio implies for the prompt loss weight.
//!
//! Knows lengths and nothing of where they come from: no file, no tokenizer, no drawing.
//! [`analyze`] does it all; its parts are public too.
#![doc = include_str!("../README.md")]

mod advice;
mod analysis;
mod bootstrap;
mod density;
mod kernel_density;
mod lengths;
mod quantile;
mod sorted;
mod statistics;
mod trim;

pub use advice::{Advice, PromptLossEffect, SOURCE, advice};
pub use analysis::{RatioAnalysis, analyze};
pub use density::{Density, DensityCurve, KernelSum, Scale};
pub use kernel_density::{KernelDensity, NoDensity};
pub use lengths::{Lengths, Ratios, Unit};
pub use quantile::quantile;
pub use sorted::SortedRatios;
pub use statistics::{Distribution, Estimate, RatioStatistics};
pub use trim::{TRIM, mean, trim_count, trimmed};
