//! The memory that a training run needs, estimated before anything is allocated.

use plw_loss::DEFAULT_CHUNK;
use plw_model::{LlamaConfig, LoraConfig, PassSize, WeightType};
use serde::Serialize;

use crate::TrainingArguments;

const BYTES_OF_F32: u64 = 4;

/// The memory that a training run on the CPU needs, in bytes, as far as its settings and examples
/// tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// Parameters of the model, adapters included.
    pub parameters: u64,
    /// Parameters that are trained.
    pub trainable_parameters: u64,
    /// The micro-batch that needs the most memory.
    pub largest: PassSize,
    /// The weights.
    pub weights: u64,
    /// AdamW's two moments.
    pub optimizer_state: u64,
    /// The gradients, twice where those of several micro-batches are accumulated.
    pub gradients: u64,
    /// The activations that the layers keep for the backward pass.
    pub activations: u64,
    /// The chunk of logits, and the gradients of lm_head and hidden states, which the loss computes
    /// in its forward pass.
    pub loss: u64,
    /// The peak: see [`MemoryEstimate::new`].
    pub peak: u64,
}

impl MemoryEstimate {
    /// The estimate for a model and the sizes of a run's micro-batches. None if there is no batch.
    ///
    /// Activations are freed as gradients appear, so the peak is at one end of the backward pass:
    /// all activations and the loss's gradients, or all gradients and, where lm_head is the
    /// embedding table, both contributions to that table's gradient. The program itself, the
    /// examples and what the allocator keeps in reserve are not counted.
    pub fn new(
        config: &LlamaConfig,
        lora: Option<&LoraConfig>,
        linear_weights: WeightType,
        training: &TrainingArguments,
        sizes: impl IntoIterator<Item = PassSize>,
    ) -> Option<Self> {
        let kept = |size: PassSize| match training.gradient_checkpointing {
            true => config.kept_activations_recomputed(lora, size),
            false => config.kept_activations(lora, size),
        };
        let table = config.embedding_parameter_count();
        let trained_table = if lora.is_some() { 0 } else { table };
        let loss_elements = |size: PassSize| {
            let logits = size.rows.min(DEFAULT_CHUNK as u64) * config.vocab_size() as u64;
            let hidden = size.rows * config.hidden_size() as u64;
            logits + 2 * hidden + trained_table
        };
        let largest = sizes
            .into_iter()
            .max_by_key(|&size| kept(size) + loss_elements(size))?;
        let adapter = lora.map_or(0, |lora| config.adapter_parameter_count(lora));
        let parameters = config.parameter_count() + adapter;
        let trainable_parameters = match lora {
            Some(_) => adapter,
            None => parameters,
        };
        let accumulated = match training.gradient_accumulation_steps {
            1 => 0,
            _ => trainable_parameters,
        };
        let (activations, loss) = (kept(largest), loss_elements(largest));
        let both_parts = if config.tie_word_embeddings() {
            2 * trained_table
        } else {
            0
        };
        let at_one_end = (activations + loss).max(trainable_parameters + both_parts);
        let bytes = |elements: u64| BYTES_OF_F32 * elements;
        let linear = config.linear_parameter_count();
        let weights = bytes(parameters - linear) + linear_weights.bytes() * linear;
        Some(Self {
            parameters,
            trainable_parameters,
            largest,
            weights,
            optimizer_state: bytes(2 * trainable_parameters),
            gradients: bytes(trainable_parameters + accumulated),
            activations: bytes(activations),
            loss: bytes(loss),
            peak: weights + bytes(2 * trainable_parameters + accumulated + at_one_end),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LlamaConfig {
        LlamaConfig::from_json(
            r#"{"model_type": "llama", "vocab_size": 10, "hidden_size": 4,
                "intermediate_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2,
                "num_key_value_heads": 1, "tie_word_embeddings": true}"#,
        )
        .expect("a valid config.json")
    }

    #[test]
    fn a_small_model_counted_by_hand() {
        let size = |positions, rows| PassSize { positions, rows };
        let training = TrainingArguments::default();
        let plan = MemoryEstimate::new(
            &config(),
            None,
            WeightType::F32,
            &training,
            [size(5, 2), size(7, 3), size(7, 2)],
        )
        .expect("there is a batch");
        // A layer: q 16, k 8, v 8, o 16, three of 24, two norms of 4. Embeddings 40, last norm 4.
        assert_eq!(plan.parameters, 2 * 128 + 44);
        assert_eq!(plan.largest, size(7, 3));
        // Attention keeps 4 + 8 + 4 + 2, the feed-forward block 4 + 12 a position.
        assert_eq!(plan.activations, 4 * (7 * 34 + 7 * 18 + 3 * 16));
        assert_eq!(plan.loss, 4 * (3 * 10 + 2 * 3 * 4 + 40));
        assert_eq!(plan.peak, 4 * 3 * 300 + plan.activations + plan.loss);
        let none = MemoryEstimate::new(&config(), None, WeightType::F32, &training, []);
        assert_eq!(none, None);
    }

    #[test]
    fn adapters_and_recomputation_need_less() {
        let size = [PassSize {
            positions: 100,
            rows: 10,
        }];
        let lora = LoraConfig {
            r: 1,
            alpha: 1.0,
            dropout: 0.0,
            target_modules: [plw_model::TargetModule::QProj].into(),
        };
        let plain = TrainingArguments::default();
        let recomputed = TrainingArguments {
            gradient_checkpointing: true,
            ..TrainingArguments::default()
        };
        let of = |lora, linear_weights, training| {
            MemoryEstimate::new(&config(), lora, linear_weights, training, size).expect("a batch")
        };
        let (wide, half) = (WeightType::F32, WeightType::Bf16);
        let (full, adapted) = (of(None, wide, &plain), of(Some(&lora), wide, &plain));
        let small = of(Some(&lora), half, &plain);
        assert_eq!(adapted.peak - small.peak, 2 * 2 * 120);
        assert_eq!(adapted.trainable_parameters, 2 * 8);
        assert!(adapted.peak < full.peak);
        assert!(of(None, wide, &recomputed).activations < full.activations);
    }
}
