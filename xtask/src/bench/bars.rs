//! The rows of the table and what they are held against: `experiments/bench/bars.toml`.

use miette::Result;
use plw_record::Machine;
use serde::{Deserialize, Serialize};

use super::statistics::Ratio;
use crate::read::read_tables;
use crate::workspace::Workspace;

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) name: String,
    /// The case that it is a figure of.
    pub(super) case: String,
    pub(super) work: String,
    pub(super) quantity: Quantity,
    judged: Judged,
    must_reach: f64,
    aim_for: f64,
    /// Both bars on a Xeon with AVX-512, where they are others.
    on_xeon: Option<Pair>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    must_reach: f64,
    aim_for: f64,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Quantity {
    TokensPerSecond,
    QuestionsPerSecond,
    PeakMemory,
    Efficiency,
}

/// The bars of a row on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Bar {
    #[serde(rename = "of")]
    pub(super) judged: Judged,
    pub(super) must_reach: f64,
    pub(super) aim_for: f64,
}

/// What a bar is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Judged {
    /// At least so many times PyTorch's.
    RatioAtLeast,
    /// At most so many times PyTorch's.
    RatioAtMost,
    /// At least so much, whatever PyTorch's.
    ValueAtLeast,
}

impl Judged {
    /// Whether a bar is cleared; none where there is nothing to judge.
    pub(super) fn is_reached(self, bar: f64, value: f64, ratio: Option<Ratio>) -> Option<bool> {
        match self {
            Self::RatioAtLeast => Some(ratio?.of_medians >= bar),
            Self::RatioAtMost => Some(ratio?.of_medians <= bar),
            Self::ValueAtLeast => Some(value >= bar),
        }
    }
}

impl Row {
    /// Its bars on this machine.
    pub(super) fn bar(&self, machine: &Machine) -> Bar {
        let usual = Pair {
            must_reach: self.must_reach,
            aim_for: self.aim_for,
        };
        let on_xeon = self.on_xeon.filter(|_| is_xeon_with_avx512(machine));
        let Pair {
            must_reach,
            aim_for,
        } = on_xeon.unwrap_or(usual);
        Bar {
            judged: self.judged,
            must_reach,
            aim_for,
        }
    }
}

fn is_xeon_with_avx512(machine: &Machine) -> bool {
    let mut extensions = machine.vector_extensions.iter();
    machine.processor.contains("Xeon") && extensions.any(|name| name.starts_with("avx512"))
}

/// Reads the rows.
pub(super) fn read_rows(workspace: &Workspace) -> Result<Vec<Row>> {
    read_tables(&workspace.path("experiments/bench/bars.toml"), "row")
}

/// The committed rows, for tests.
#[cfg(test)]
pub(super) fn committed_rows() -> Vec<Row> {
    read_rows(&Workspace::find()).expect("they are committed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_xeon_with_avx512_has_other_bars() {
        let rows = committed_rows();
        let bars = |processor: &str| {
            let machine = Machine {
                processor: processor.to_string(),
                vector_extensions: vec!["avx2".to_string(), "avx512f".to_string()],
                ..Machine::default()
            };
            [&rows[0], &rows[4]].map(|row| {
                let bar = row.bar(&machine);
                (bar.must_reach, bar.aim_for)
            })
        };
        assert_eq!(bars("Intel(R) Xeon(R) Platinum"), [(1.5, 1.7), (2.7, 3.3)]);
        assert_eq!(bars("AMD EPYC"), [(1.2, 1.33), (2.7, 3.3)]);
    }
}
