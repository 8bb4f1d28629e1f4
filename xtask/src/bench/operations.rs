//! The floating-point operations that training on some sequences needs. Knows sizes and lengths;
//! runs nothing.

use serde::{Deserialize, Serialize};

use crate::peer::plw::Length;

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

/// Operations that some sequences need, counted from the model's sizes and the sequences' lengths.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct UsefulOperations {
    pub(super) sequences: usize,
    pub(super) tokens: u64,
    pub(super) operations: f64,
}

/// Positions whose prediction weighs something: a sequence's first token is predicted by none.
fn weighted(length: Length, prompt_loss_weight: f64) -> u64 {
    let predicted_prompt = length.prompt.saturating_sub(1);
    let predicted = length.tokens().saturating_sub(1);
    match prompt_loss_weight > 0.0 {
        true => predicted,
        false => predicted - predicted_prompt,
    }
}

impl Sizes {
    /// Operations of a full fine-tuning step on these sequences that no implementation can leave
    /// out: matrix products of the linear layers for every token, of attention for every token and
    /// those before it in its sequence, and of the LM head for positions that weigh something; a
    /// multiplication and an addition each, forward and twice that backward. Padding, what is
    /// computed again and elementwise passes count nothing.
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
            let lm_head =
                self.hidden_size * self.vocab_size * weighted(*length, prompt_loss_weight);
            self.num_hidden_layers * (tokens * linear_weights + attention) + lm_head
        };
        let forward = 2 * lengths.iter().map(products).sum::<u64>();
        3.0 * forward as f64
    }
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

    /// Two layers: 32 weights of query, key and value, 16 of the output, 72 of the MLP; three
    /// tokens see 6 pairs of width 4, twice.
    #[test]
    fn operations_of_a_small_model_counted_by_hand() {
        let length = Length {
            prompt: 2,
            completion: 1,
        };
        let grouped = sizes(Some(1), None);
        let layers = 2 * (3 * (32 + 16 + 72) + 2 * 6 * 4);
        let cases = [
            // Both predictions through the LM head of 40 weights, or the completion's alone.
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
        // As many heads of keys as of queries, each of 3: 24 weights each of query, key, value and
        // output.
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
            assert_eq!(weighted(length, weight), expected, "{length:?} {weight}");
        }
    }
}
