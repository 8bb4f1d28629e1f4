//! Statistics of a data set, in total and by level.

use std::collections::{BTreeMap, HashSet};

use plw_batch::Examples;

use super::generation_ratio::GenerationRatio;

/// Statistics of a data set, or of one of its levels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LevelStatistics {
    /// Number of examples.
    pub examples: usize,
    /// Number of examples left out because they are too long; the other fields do not count them.
    pub dropped: usize,
    /// Number of distinct passages.
    pub passages: usize,
    /// Number of prompt tokens.
    pub prompt_tokens: usize,
    /// Number of completion tokens.
    pub completion_tokens: usize,
    /// Number of tokens of the longest example.
    pub longest: usize,
    /// The generation ratio; `None` if no example has a prompt.
    pub generation_ratio: Option<GenerationRatio>,
}

/// Statistics of a data set, in total and by level.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DatasetStatistics {
    /// All levels together.
    pub total: LevelStatistics,
    /// Each level.
    pub levels: BTreeMap<String, LevelStatistics>,
}

impl DatasetStatistics {
    /// Counts what `examples` hold.
    pub fn of(examples: &Examples) -> Self {
        let mut levels: HashSet<&str> = examples.keys.iter().map(|key| &*key.level).collect();
        levels.extend(examples.dropped.iter().map(|dropped| &*dropped.key.level));
        let by_level = |level: &str| {
            let of_level = LevelStatistics::of(examples, |of| of == level);
            (level.to_owned(), of_level)
        };
        Self {
            total: LevelStatistics::of(examples, |_| true),
            levels: levels.into_iter().map(by_level).collect(),
        }
    }
}

impl LevelStatistics {
    /// Of the examples whose level `counts`.
    fn of(examples: &Examples, counts: impl Fn(&str) -> bool) -> Self {
        let sequences = &examples.sequences;
        let kept = || {
            let numbered = (0u32..).zip(&examples.keys);
            let of_level = numbered.filter(|(_, key)| counts(&key.level));
            of_level.map(|(number, _)| number)
        };
        let dropped = examples
            .dropped
            .iter()
            .filter(|dropped| counts(&dropped.key.level));
        let prompt = |number| sequences.prompt_length(number);
        let length = |number| sequences.length(number);
        let completion = |number| length(number) - prompt(number);
        Self {
            examples: kept().count(),
            dropped: dropped.count(),
            passages: kept()
                .map(|n| sequences.group(n))
                .collect::<HashSet<_>>()
                .len(),
            prompt_tokens: kept().map(prompt).sum(),
            completion_tokens: kept().map(completion).sum(),
            longest: kept().map(length).max().unwrap_or(0),
            generation_ratio: GenerationRatio::of(kept().map(|n| (completion(n), prompt(n)))),
        }
    }
}
