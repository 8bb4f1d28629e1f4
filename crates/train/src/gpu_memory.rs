//! The memory of a GPU that a training run needs, estimated before anything is allocated.

use plw_loss::gpu_chunk;
use plw_model::{LinearWeightType, WeightType};
use serde::Serialize;

use crate::{MemoryEstimate, ModelSize, TrainingArguments};

/// What the driver and its libraries hold beside a run's tensors: on an H100 1.1 to 1.2 GB.
const CONTEXT: u64 = 1_100_000_000;

/// Of the memory that the tensors of a step take, the part in so many that stands empty beside
/// them: they leave gaps in pages, of which each is as large as the largest tensor. In steps of
/// SmolLM2-135M and of Llama-2-7B it was one part in 6 to 11 (`experiments/gpu/dry_run.py`).
const PARTLY_EMPTY: u64 = 8;

/// The memory of a GPU that a training run needs, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GpuMemoryEstimate {
    /// The driver and its libraries.
    pub context: u64,
    /// The weights.
    pub weights: u64,
    /// AdamW's two moments.
    pub optimizer_state: u64,
    /// The gradients that are added up over the micro-batches of a step.
    pub accumulated_gradients: u64,
    /// The activations that the layers keep for the backward pass.
    pub activations: u64,
    /// A chunk of logits with its gradients, and the gradients of lm_head and hidden states.
    pub loss: u64,
    /// Memory in pages that stand partly empty.
    pub pages: u64,
    /// The peak: the sum of these, or what the gradients need at the end of a backward pass.
    pub peak: u64,
}

impl GpuMemoryEstimate {
    /// The estimate for a run whose needs on the CPU are `host`, and whose activations have
    /// elements of so many bytes. Evaluations are not counted: they keep no activations.
    pub fn new(
        model: ModelSize<'_>,
        training: &TrainingArguments,
        host: &MemoryEstimate,
        activation_bytes: u64,
    ) -> Self {
        let (config, size) = (model.config, host.largest);
        let f32_bytes = WeightType::F32.bytes();
        let in_f32 = |elements: u64| f32_bytes.saturating_mul(elements);
        let chunk = size.rows.min(gpu_chunk(model.lora.is_none()) as u64);
        let logits = chunk * config.vocab_size() as u64 * (f32_bytes + activation_bytes);
        // Tables that are not trained are held in the activations' type.
        let is_frozen = model.lora.is_some() && model.linear_weights != LinearWeightType::F32;
        let table_bytes = if is_frozen {
            activation_bytes
        } else {
            f32_bytes
        };
        let weights = host.weights - (f32_bytes - table_bytes) * config.table_parameter_count();
        // A head of another type is rounded to theirs for the loss.
        let lm_head = match table_bytes == activation_bytes {
            true => 0,
            false => activation_bytes * config.embedding_parameter_count(),
        };
        let hidden = 2 * activation_bytes * config.hidden_size() as u64;
        let loss = (logits + lm_head + in_f32(model.trained_table()))
            .saturating_add(hidden.saturating_mul(size.rows));
        let activations = activation_bytes.saturating_mul(model.kept(training, size));
        let accumulated_gradients = match training.gradient_accumulation_steps {
            1 => 0,
            _ => in_f32(host.trainable_parameters),
        };
        let frozen_table_bytes = model.lora.map(|_| table_bytes);
        let largest =
            config.largest_tensor(size.positions, activation_bytes, chunk, frozen_table_bytes);
        let of_step = activations
            .saturating_add(loss)
            .max(in_f32(host.trainable_parameters + model.trained_table()));
        // Weights and moments are in no pages.
        let in_pages = accumulated_gradients.saturating_add(of_step);
        let pages = largest.max(in_pages / PARTLY_EMPTY);
        let tensors = (weights + host.optimizer_state).saturating_add(in_pages);
        Self {
            context: CONTEXT,
            weights,
            optimizer_state: host.optimizer_state,
            accumulated_gradients,
            activations,
            loss,
            pages,
            peak: CONTEXT.saturating_add(tensors).saturating_add(pages),
        }
    }
}

#[cfg(test)]
mod tests {
    use plw_model::{LlamaConfig, LoraConfig, PassSize, TargetModule};

    use super::*;
    use crate::Workload;

    fn workload(positions: u64, rows: u64) -> Workload {
        Workload {
            largest: PassSize { positions, rows },
            largest_evaluation: None,
            examples: 0,
        }
    }

    /// In the dry run SmolLM2-135M allocated 17.4 GB, and with shared prefixes 8.6 GB, without
    /// CUDA's context.
    #[test]
    fn what_a_dry_run_allocates_is_estimated_within_a_tenth() {
        let config = LlamaConfig::from_json(
            r#"{"model_type": "llama", "vocab_size": 49152, "hidden_size": 576,
                "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
                "num_key_value_heads": 3, "tie_word_embeddings": true}"#,
        )
        .expect("a valid config.json");
        let model = ModelSize {
            config: &config,
            lora: None,
            linear_weights: LinearWeightType::F32,
        };
        let training = TrainingArguments::default();
        let of = |positions, activation_bytes| {
            let host = MemoryEstimate::new(model, &training, workload(positions, positions));
            GpuMemoryEstimate::new(model, &training, &host, activation_bytes)
        };
        for (positions, allocated) in [(38_507, 17.45e9), (14_105, 8.57e9)] {
            let peak = (of(positions, 2).peak - CONTEXT) as f64;
            assert!((peak / allocated - 1.0).abs() < 0.1, "{peak} {allocated}");
        }
        let (half, whole) = (of(36_284, 2), of(36_284, 4));
        assert_eq!(2 * half.activations, whole.activations);
        assert!(whole.peak > half.peak + half.activations);
    }

    #[test]
    fn frozen_tables_have_the_type_of_the_activations() {
        let config = LlamaConfig::from_json(
            r#"{"model_type": "llama", "vocab_size": 10, "hidden_size": 4,
                "intermediate_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2,
                "num_key_value_heads": 1, "tie_word_embeddings": false}"#,
        )
        .expect("a valid config.json");
        let lora = LoraConfig {
            r: 1,
            alpha: 1.0,
            dropout: 0.0,
            target_modules: [TargetModule::QProj].into(),
        };
        let training = TrainingArguments::default();
        let less = |linear_weights, activation_bytes| {
            let model = ModelSize {
                config: &config,
                lora: Some(&lora),
                linear_weights,
            };
            let host = MemoryEstimate::new(model, &training, workload(7, 3));
            let on_gpu = GpuMemoryEstimate::new(model, &training, &host, activation_bytes);
            host.weights - on_gpu.weights
        };
        assert_eq!(less(LinearWeightType::F32, 2), 0);
        assert_eq!(less(LinearWeightType::Bf16, 4), 0);
        // Two tables of 10 x 4.
        assert_eq!(less(LinearWeightType::Bf16, 2), 2 * 2 * 40);
    }
}
