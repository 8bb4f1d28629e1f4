//! Lengths of examples, and a store of many.

use serde::{Deserialize, Serialize};

/// What lengths are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Tokens of a model's tokenizer.
    #[default]
    Tokens,
    /// Characters: Unicode scalar values.
    Chars,
}

impl Unit {
    /// The unit's name in the plural.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Chars => "characters",
        }
    }
}

/// How long an example's prompt and completion are, both in the same [`Unit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lengths {
    /// Length of the prompt.
    pub prompt: u32,
    /// Length of the completion.
    pub completion: u32,
}

impl Lengths {
    /// Completion length / prompt length; `None` without a prompt.
    pub fn ratio(self) -> Option<f64> {
        (self.prompt > 0).then(|| f64::from(self.completion) / f64::from(self.prompt))
    }
}

/// The lengths of many examples, at 8 bytes each. Those without a prompt are only counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ratios {
    with_prompt: Vec<Lengths>,
    without_prompt: u64,
    prompt_units: u64,
    completion_units: u64,
}

impl Ratios {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an example.
    pub fn push(&mut self, lengths: Lengths) {
        self.prompt_units += u64::from(lengths.prompt);
        self.completion_units += u64::from(lengths.completion);
        match lengths.prompt {
            0 => self.without_prompt += 1,
            _ => self.with_prompt.push(lengths),
        }
    }

    /// Adds another store's examples, such as those that another thread read. The order of the
    /// examples changes no statistic.
    pub fn append(&mut self, other: Self) {
        self.with_prompt.extend(other.with_prompt);
        self.without_prompt += other.without_prompt;
        self.prompt_units += other.prompt_units;
        self.completion_units += other.completion_units;
    }

    /// Number of examples, with and without a prompt.
    pub fn examples(&self) -> u64 {
        self.with_prompt.len() as u64 + self.without_prompt
    }

    /// Number of examples without a prompt, which have no ratio.
    pub fn without_prompt(&self) -> u64 {
        self.without_prompt
    }

    /// Total length of all prompts.
    pub fn prompt_units(&self) -> u64 {
        self.prompt_units
    }

    /// Total length of all completions, those of examples without a prompt included.
    pub fn completion_units(&self) -> u64 {
        self.completion_units
    }

    /// The lengths of the examples that have a prompt.
    pub fn with_prompt(&self) -> &[Lengths] {
        &self.with_prompt
    }
}

impl Extend<Lengths> for Ratios {
    fn extend<I: IntoIterator<Item = Lengths>>(&mut self, lengths: I) {
        lengths.into_iter().for_each(|lengths| self.push(lengths));
    }
}

impl FromIterator<Lengths> for Ratios {
    fn from_iter<I: IntoIterator<Item = Lengths>>(lengths: I) -> Self {
        let mut ratios = Self::new();
        ratios.extend(lengths);
        ratios
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_without_a_prompt_are_only_counted() {
        let lengths = [(4, 2), (0, 9), (u32::MAX, u32::MAX), (0, 0)];
        let lengths = lengths.map(|(prompt, completion)| Lengths { prompt, completion });
        let mut ratios: Ratios = lengths[..2].iter().copied().collect();
        ratios.append(lengths[2..].iter().copied().collect());
        assert_eq!((ratios.examples(), ratios.without_prompt()), (4, 2));
        assert_eq!(ratios.prompt_units(), 4 + u64::from(u32::MAX));
        assert_eq!(ratios.completion_units(), 11 + u64::from(u32::MAX));
        assert_eq!(ratios.with_prompt(), [lengths[0], lengths[2]]);
        assert_eq!(
            lengths.map(Lengths::ratio),
            [Some(0.5), None, Some(1.0), None]
        );
        assert_eq!(size_of::<Lengths>(), 8);
    }
}
