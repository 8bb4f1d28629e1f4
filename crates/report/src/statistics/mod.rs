//! The statistics of a report. Knows numbers, clusters and seeds; knows no run and no file.

mod bootstrap;
mod holm;
mod permutation;
mod student;

pub use bootstrap::{Bootstrap, Cluster, bootstrap_ratio};
pub use holm::holm;
pub use permutation::sign_flip_p_value;
pub use student::{MeanOverSeeds, PairedSeeds, mean_over_seeds, paired_seeds};
