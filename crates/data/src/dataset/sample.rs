//! A sample of examples, drawn while they stream by.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::rows::RowError;
use crate::shapes::Example;

/// Which examples to take of those that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How many: all of them where there are fewer.
    pub size: usize,
    /// Decides which. Every set of `size` examples is equally likely.
    pub seed: u64,
}

impl Sample {
    /// The places of the chosen examples, in order, by reservoir sampling (Vitter 1985, algorithm
    /// R). Only places are kept, so that memory does not grow with the texts.
    pub(crate) fn choose(
        self,
        examples: impl Iterator<Item = Result<Example, RowError>>,
    ) -> Result<Vec<u64>, RowError> {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        let mut chosen: Vec<u64> = Vec::new();
        for (place, example) in (0..).zip(examples) {
            example?;
            if chosen.len() < self.size {
                chosen.push(place);
                continue;
            }
            let drawn = generator.random_range(0..=place);
            if let Some(replaced) = usize::try_from(drawn).ok().and_then(|d| chosen.get_mut(d)) {
                *replaced = place;
            }
        }
        chosen.sort_unstable();
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::question_cases::question;

    fn choose(size: usize, seed: u64, of: usize) -> Vec<u64> {
        let examples = (0..of).map(|_| Ok(question("a", "q", &["x", "y"], 0).into()));
        Sample { size, seed }
            .choose(examples)
            .expect("rows without errors")
    }

    #[test]
    fn every_example_is_as_likely_as_another() {
        assert_eq!(choose(5, 1, 3), [0, 1, 2]);
        assert_eq!(choose(2, 7, 9), choose(2, 7, 9));
        let mut counts = [0u32; 9];
        for seed in 0..3000 {
            let chosen = choose(3, seed, 9);
            assert!(chosen.is_sorted() && chosen.len() == 3);
            chosen.iter().for_each(|&place| counts[place as usize] += 1);
        }
        // Each 1000 times on average, with a standard deviation of 26.
        assert!(
            counts.iter().all(|count| (870..1130).contains(count)),
            "{counts:?}"
        );
    }
}
