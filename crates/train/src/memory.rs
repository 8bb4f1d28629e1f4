//! The memory that a training run needs, estimated before anything is allocated.

use plw_loss::DEFAULT_CHUNK;
use plw_model::{LinearWeightType, LlamaConfig, LoraConfig, PassSize};
use serde::Serialize;

use crate::TrainingArguments;

const BYTES_OF_F32: u64 = 4;

/// The program itself with its threads and a tokenizer, in bytes: what peaks measured on two cores
/// with a vocabulary of 32 000 are above the other parts.
const PROGRAM: u64 = 40 << 20;

/// The model of a run, as far as its size goes.
#[derive(Debug, Clone, Copy)]
pub struct ModelSize<'a> {
    /// Its configuration.
    pub config: &'a LlamaConfig,
    /// Its adapters, if only they are trained.
    pub lora: Option<&'a LoraConfig>,
    /// Type of the layers' linear weights in memory.
    pub linear_weights: LinearWeightType,
}

/// What a run computes at once, and the data that it holds meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// The micro-batch that needs the most memory.
    pub largest: PassSize,
    /// The evaluation batch that needs the most memory, if there is an evaluation.
    pub largest_evaluation: Option<PassSize>,
    /// Bytes of the tokenized examples of all data sets, and of their order.
    pub examples: u64,
}

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
    /// The evaluation batch that needs the most memory, if there is an evaluation.
    pub largest_evaluation: Option<PassSize>,
    /// The program itself, with its tokenizer.
    pub program: u64,
    /// The tokenized examples of all data sets, and their order.
    pub examples: u64,
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
    /// The activations and logits of the largest evaluation batch.
    pub evaluation: u64,
    /// The process while it read and tokenized the data, as measured. 0: not measured.
    pub reading: u64,
    /// The peak: see [`MemoryEstimate::new`].
    pub peak: u64,
}

impl ModelSize<'_> {
    /// Elements that the layers keep of a micro-batch for the backward pass.
    pub(crate) fn kept(&self, training: &TrainingArguments, size: PassSize) -> u64 {
        match training.gradient_checkpointing {
            true => self.config.kept_activations_recomputed(size),
            false => self.config.kept_activations(size),
        }
    }

    /// Elements of the embedding table, if it is trained.
    pub(crate) fn trained_table(&self) -> u64 {
        match self.lora {
            Some(_) => 0,
            None => self.config.embedding_parameter_count(),
        }
    }

    /// Elements of a chunk of logits.
    fn logits(&self, size: PassSize) -> u64 {
        size.rows.min(DEFAULT_CHUNK as u64) * self.config.vocab_size() as u64
    }

    /// Elements of the hidden states that a target needs.
    fn hidden(&self, size: PassSize) -> u64 {
        size.rows.saturating_mul(self.config.hidden_size() as u64)
    }

    /// Elements that the loss of a micro-batch computes, its gradients included.
    fn loss(&self, size: PassSize) -> u64 {
        let hidden = self.hidden(size).saturating_mul(2);
        let logits = self.logits(size) + self.trained_table();
        logits.saturating_add(hidden)
    }

    /// Elements that a micro-batch needs at the beginning of its backward pass.
    pub(crate) fn training_pass(&self, training: &TrainingArguments, size: PassSize) -> u64 {
        self.kept(training, size).saturating_add(self.loss(size))
    }

    /// Elements that an evaluation batch needs: those of its layers, or of its loss.
    pub(crate) fn evaluation_pass(&self, size: PassSize) -> u64 {
        let loss = self.hidden(size).saturating_add(self.logits(size));
        self.config.forward_activations(size).max(loss)
    }
}

impl MemoryEstimate {
    /// The estimate for a model and what its run computes at once. Sums that 64 bits cannot count
    /// stay at the greatest number.
    ///
    /// Activations are freed as gradients appear, so the peak of a step is at one end of the
    /// backward pass: all activations and the loss's gradients, or all gradients and, where lm_head
    /// is the embedding table, both contributions to that table's gradient. An evaluation needs
    /// none of these, but its own batches may be larger. What the allocator keeps in reserve is not
    /// counted: measured peaks were up to a tenth above the estimate.
    pub fn new(model: ModelSize<'_>, training: &TrainingArguments, workload: Workload) -> Self {
        let ModelSize { config, lora, .. } = model;
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
        let both_parts = if config.tie_word_embeddings() {
            2 * model.trained_table()
        } else {
            0
        };
        let bytes = |elements: u64| BYTES_OF_F32.saturating_mul(elements);
        let largest = workload.largest;
        let evaluation = workload
            .largest_evaluation
            .map_or(0, |size| bytes(model.evaluation_pass(size)));
        let of_step = bytes(
            model
                .training_pass(training, largest)
                .max(trainable_parameters + both_parts)
                .saturating_add(accumulated),
        );
        let weights = config.weight_bytes(model.linear_weights) + bytes(adapter);
        let optimizer_state = bytes(2 * trainable_parameters);
        Self {
            parameters,
            trainable_parameters,
            largest,
            largest_evaluation: workload.largest_evaluation,
            program: PROGRAM,
            examples: workload.examples,
            weights,
            optimizer_state,
            gradients: bytes(trainable_parameters + accumulated),
            activations: bytes(model.kept(training, largest)),
            loss: bytes(model.loss(largest)),
            evaluation,
            reading: 0,
            peak: of_step
                .max(evaluation)
                .saturating_add(weights)
                .saturating_add(optimizer_state)
                .saturating_add(workload.examples)
                .saturating_add(PROGRAM),
        }
    }

    /// The estimate of a run that reads the data as this process did, whose peak that was: with
    /// many examples and a small model it is the run's.
    pub fn with_reading(self, reading: u64) -> Self {
        Self {
            reading,
            peak: self.peak.max(reading),
            ..self
        }
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
        let config = config();
        let model = ModelSize {
            config: &config,
            lora: None,
            linear_weights: LinearWeightType::F32,
        };
        let workload = Workload {
            largest: size(7, 3),
            largest_evaluation: Some(size(9, 4)),
            examples: 1000,
        };
        let plan = MemoryEstimate::new(model, &training, workload);
        // A layer: q 16, k 8, v 8, o 16, three of 24, two norms of 4. Embeddings 40, last norm 4.
        assert_eq!(plan.parameters, 2 * 128 + 44);
        // Attention keeps 4 + 8 + 4 + 2, the feed-forward block 4 + 12 a position.
        assert_eq!(plan.activations, 4 * (7 * 34 + 7 * 18 + 3 * 16));
        assert_eq!(plan.loss, 4 * (3 * 10 + 2 * 3 * 4 + 40));
        let others = 4 * 3 * 300 + 1000 + PROGRAM;
        assert_eq!(plan.peak, others + plan.activations + plan.loss);
        // An evaluation's feed-forward block holds 3 * 6 and 2 * 4 a position, RoPE's table 2.
        assert_eq!(plan.evaluation, 4 * 9 * 28);
        let larger = Workload {
            largest_evaluation: Some(size(99, 4)),
            ..workload
        };
        let plan = MemoryEstimate::new(model, &training, larger);
        assert_eq!(plan.peak, others + 4 * 99 * 28);
        let beyond = Workload {
            largest: size(u64::MAX / 2, 3),
            ..workload
        };
        let plan = MemoryEstimate::new(model, &training, beyond);
        assert_eq!(plan.peak, u64::MAX);
    }

    #[test]
    fn adapters_and_recomputation_need_less() {
        let workload = Workload {
            largest: PassSize {
                positions: 100,
                rows: 10,
            },
            largest_evaluation: None,
            examples: 0,
        };
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
        let config = config();
        let of = |lora, linear_weights, training| {
            let model = ModelSize {
                config: &config,
                lora,
                linear_weights,
            };
            MemoryEstimate::new(model, training, workload)
        };
        let (wide, half) = (LinearWeightType::F32, LinearWeightType::Bf16);
        let (full, adapted) = (of(None, wide, &plain), of(Some(&lora), wide, &plain));
        let small = of(Some(&lora), half, &plain);
        assert_eq!(adapted.peak - small.peak, 2 * 2 * 120);
        assert_eq!(adapted.trainable_parameters, 2 * 8);
        assert!(adapted.peak < full.peak);
        assert!(of(None, wide, &recomputed).activations < full.activations);
    }
}
