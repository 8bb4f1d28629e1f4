//! What a data set holds, level by level.

use std::collections::{BTreeMap, HashSet};

use crate::dataset::Dataset;
use crate::generation_ratio::GenerationRatio;

/// What a data set, or one of its levels, holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LevelStatistics {
    /// Examples kept.
    pub examples: usize,
    /// Examples left out as too long.
    pub dropped: usize,
    /// Distinct articles among those kept.
    pub articles: usize,
    /// Prompt tokens of those kept.
    pub prompt_tokens: usize,
    /// Completion tokens of those kept.
    pub completion_tokens: usize,
    /// Tokens of the longest kept.
    pub longest: usize,
    /// The generation ratio of those kept; `None` where there is no prompt.
    pub generation_ratio: Option<GenerationRatio>,
}

/// What a data set holds, together and level by level.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DatasetStatistics {
    /// All levels together.
    pub total: LevelStatistics,
    /// By level.
    pub levels: BTreeMap<String, LevelStatistics>,
}

impl Dataset {
    /// Counts what it holds.
    pub fn statistics(&self) -> DatasetStatistics {
        let mut levels: HashSet<&str> = self.keys.iter().map(|key| &*key.level).collect();
        levels.extend(self.dropped.iter().map(|dropped| &*dropped.key.level));
        let by_level = |level: &str| (level.to_owned(), self.count(|of| of == level));
        DatasetStatistics {
            total: self.count(|_| true),
            levels: levels.into_iter().map(by_level).collect(),
        }
    }

    fn count(&self, counts: impl Fn(&str) -> bool) -> LevelStatistics {
        let kept = || {
            self.sequences
                .iter()
                .zip(&self.keys)
                .filter(|(_, key)| counts(&key.level))
                .map(|(s, _)| s)
        };
        let prompt = |s: &plw_batch::Sequence| s.completion_start as usize;
        let completion = |s: &plw_batch::Sequence| s.len() - s.completion_start as usize;
        LevelStatistics {
            examples: kept().count(),
            dropped: self
                .dropped
                .iter()
                .filter(|dropped| counts(&dropped.key.level))
                .count(),
            articles: kept().map(|s| s.group).collect::<HashSet<_>>().len(),
            prompt_tokens: kept().map(prompt).sum(),
            completion_tokens: kept().map(completion).sum(),
            longest: kept().map(|s| s.len()).max().unwrap_or(0),
            generation_ratio: GenerationRatio::of(kept().map(|s| (completion(s), prompt(s)))),
        }
    }
}
