//! The floating-point operations that training on some sequences needs. Knows sizes and lengths; runs nothing.

use serde::Deserialize;

/// A Llama's sizes, from its `config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Sizes {
    hidden_size: u64,
    intermediate_size: u64,
    num_hidden_layers: u64,
    num_attention_heads: u64,
    num_key_value_heads: Option<u64>,
    head_dim: Option<u64>,
    vocab_size: u64,
}

/// A sequence's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) prompt: u64,
    pub(super) completion: u64,
}

impl Length {
    pub(super) fn tokens(self) -> u64 {
        self.prompt + self.completion
    }

    /// Positions whose prediction weighs something: a sequence's first token is predicted by none.
    fn weighted(self, prompt_loss_weight: f64) -> u64 {
        let predicted_prompt = self.prompt.saturating_sub(1);
        let predicted = self.tokens().saturating_sub(1);
        match prompt_loss_weight > 0.0 {
            true => predicted,
            false => predicted - predicted_prompt,
        }
    }
}

impl Sizes {
    /// Operations of a full fine-tuning step on these sequences that no implementation can leave out: matrix products of the
    /// linear layers for every token, of attention for every token and those before it in its sequence, and of the classifier
    /// for positions that weigh something; a multiplication and an addition each, forward and twice that backward. Padding, what
    /// is computed again and elementwise passes count nothing.
    pub(super) fn useful_operations(&self, lengths: &[Length], prompt_loss_weight: f64) -> f64 {
        let heads = self.num_attention_heads;
        let key_value_heads = self.num_key_value_heads.unwrap_or(heads);
        let head_dim = self.head_dim.unwrap_or(self.hidden_size / heads);
        let attention_width = heads * head_dim;
        let linear_weights = self.hidden_size
            * (2 * attention_width + 2 * key_value_heads * head_dim)
            + 3 * self.hidden_size * self.intermediate_size;
        let products = |length: &Length| {
            let tokens = length.tokens();
            // The scores, and the values that they weigh.
            let attention = 2 * attention_width * tokens * (tokens + 1) / 2;
            let classifier =
                self.hidden_size * self.vocab_size * length.weighted(prompt_loss_weight);
            self.num_hidden_layers * (tokens * linear_weights + attention) + classifier
        };
        let forward = 2 * lengths.iter().map(products).sum::<u64>();
        3.0 * forward as f64
    }
}

/// The lengths of the sequences that `plw inspect` prints, in their order: of each a line
/// `FILE row N (ID, LEVEL): P prompt tokens of weight W, C completion tokens of weight 1, answer X`, then its text.
pub(super) fn lengths(printed: &str) -> Vec<Length> {
    let of_line = |line: &str| {
        let (before, after) = line.split_once(" prompt tokens of weight ")?;
        let (_, after) = after.split_once(", ")?;
        let (completion, _) = after.split_once(" completion tokens of weight ")?;
        Some(Length {
            prompt: before.rsplit(' ').next()?.parse().ok()?,
            completion: completion.parse().ok()?,
        })
    };
    printed.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(key_value_heads: Option<u64>, head_dim: Option<u64>) -> Sizes {
        Sizes {
            hidden_size: 4,
            intermediate_size: 6,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            num_key_value_heads: key_value_heads,
            head_dim,
            vocab_size: 10,
        }
    }

    /// Two layers: 32 weights of query, key and value, 16 of the output, 72 of the MLP; three tokens see 6 pairs of width 4,
    /// twice.
    #[test]
    fn operations_of_a_small_model_counted_by_hand() {
        let length = Length {
            prompt: 2,
            completion: 1,
        };
        let grouped = sizes(Some(1), None);
        let layers = 2 * (3 * (32 + 16 + 72) + 2 * 6 * 4);
        let cases = [
            // Both predictions through the classifier of 40 weights, or the completion's alone.
            (0.1, layers + 2 * 40),
            (0.0, layers + 40),
        ];
        for (weight, products) in cases {
            let expected = f64::from(3 * 2 * products);
            assert_eq!(grouped.useful_operations(&[length], weight), expected);
            assert_eq!(
                grouped.useful_operations(&[length, length], weight),
                2.0 * expected
            );
        }
        // As many heads of keys as of queries, each of 3: 24 weights each of query, key, value and output.
        let layers = 2 * (3 * (4 * 24 + 72) + 2 * 6 * 6);
        let expected = f64::from(3 * 2 * (layers + 40));
        assert_eq!(
            sizes(None, Some(3)).useful_operations(&[length], 0.0),
            expected
        );
    }

    #[test]
    fn a_completion_without_a_prompt_predicts_one_less() {
        let length = |prompt, completion| Length { prompt, completion };
        let cases = [
            (length(0, 3), 0.0, 2),
            (length(0, 3), 1.0, 2),
            (length(5, 3), 0.0, 3),
            (length(5, 3), 0.5, 7),
        ];
        for (length, weight, expected) in cases {
            assert_eq!(length.weighted(weight), expected, "{length:?} {weight}");
        }
    }

    #[test]
    fn inspected_lengths_are_read() {
        let printed = "middle/train.parquet row 0 (middle1.txt, middle): 332 prompt tokens of weight 0.1, 3 completion tokens of weight 1, answer B\n\
            <|im_start|>user\nSome prompt tokens of weight, nothing more.[[B]][<|im_end|>]\n     39  \"B\"  1  <- the answer\n\n\
            middle/train.parquet row 1 (middle1.txt, middle): 340 prompt tokens of weight 0.1, 4 completion tokens of weight 1, answer A\n\
            all: 2 examples of 1 passages, 0 dropped as too long, 672 prompt and 7 completion tokens, longest 344\n";
        let expected =
            [(332, 3), (340, 4)].map(|(prompt, completion)| Length { prompt, completion });
        assert_eq!(lengths(printed), expected);
    }
}
