//! Choices that follow from a seed and a round's number alone, so that a round can be repeated.

use plw_files::digest;

/// A sequence of choices.
#[derive(Debug)]
pub(crate) struct Chance {
    name: String,
    drawn: u64,
}

impl Chance {
    /// The choices of one round.
    pub(crate) fn new(seed: u64, round: u64) -> Self {
        Self {
            name: format!("{seed} {round}"),
            drawn: 0,
        }
    }

    /// A whole number below `bound`; 0 where there is none.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        let digits = digest(format!("{} {}", self.name, self.drawn));
        let value = u64::from_str_radix(&digits[..15], 16).unwrap_or_default();
        value % bound.max(1)
    }

    /// A share from 0 up to 1.
    pub(crate) fn share(&mut self) -> f64 {
        const PARTS: u64 = 1 << 20;
        self.below(PARTS) as f64 / PARTS as f64
    }

    /// One of several.
    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_the_same_each_time_and_unlike_others() {
        let draw = |seed, round| {
            let mut chance = Chance::new(seed, round);
            [chance.below(100), chance.below(100), chance.below(100)]
        };
        assert_eq!(draw(1, 7), draw(1, 7));
        assert_ne!(draw(1, 7), draw(1, 8));
        assert_ne!(draw(1, 7), draw(2, 7));
        let mut chance = Chance::new(1, 1);
        assert!((0..1000).all(|_| chance.below(3) < 3 && chance.share() < 1.0));
        assert_eq!(chance.below(0), 0);
    }
}
