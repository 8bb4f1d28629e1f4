//! The size of a model, and of what a training step keeps in memory. Both follow from the
//! configuration alone.

use serde::Serialize;

use crate::config::LlamaConfig;
use crate::lora::{LoraConfig, TargetModule};
use crate::weight::LinearWeightType;
use crate::weight_type::WeightType;

/// The size of a forward pass: its positions, and those that go through the end of the last layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PassSize {
    /// Positions of the batch, padding included.
    pub positions: u64,
    /// Positions that a target needs.
    pub rows: u64,
}

impl LlamaConfig {
    /// Outputs and inputs of a linear layer.
    pub(crate) fn linear_shape(&self, module: TargetModule) -> [u64; 2] {
        let queries = self.num_attention_heads * self.head_dim;
        let keys = self.num_key_value_heads * self.head_dim;
        let (hidden, intermediate) = (self.hidden_size, self.intermediate_size);
        let shape = match module {
            TargetModule::QProj => [queries, hidden],
            TargetModule::KProj | TargetModule::VProj => [keys, hidden],
            TargetModule::OProj => [hidden, queries],
            TargetModule::GateProj | TargetModule::UpProj => [intermediate, hidden],
            TargetModule::DownProj => [hidden, intermediate],
        };
        shape.map(|size| size as u64)
    }

    /// Elements of the embedding table, and of `lm_head`.
    pub fn embedding_parameter_count(&self) -> u64 {
        (self.vocab_size * self.hidden_size) as u64
    }

    /// Elements of the linear weights of all layers.
    pub fn linear_parameter_count(&self) -> u64 {
        let modules = TargetModule::ALL.iter();
        let a_layer: u64 = modules
            .map(|&module| self.linear_shape(module).iter().product::<u64>())
            .sum();
        self.num_hidden_layers as u64 * a_layer
    }

    /// Parameters of the model, without an adapter.
    pub fn parameter_count(&self) -> u64 {
        let norms = (2 * self.num_hidden_layers + 1) * self.hidden_size;
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        tables * self.embedding_parameter_count() + self.linear_parameter_count() + norms as u64
    }

    /// Parameters of an adapter on this model.
    pub fn adapter_parameter_count(&self, lora: &LoraConfig) -> u64 {
        let targets = lora.target_modules.iter();
        let a_layer: u64 = targets
            .map(|&module| lora.r as u64 * self.linear_shape(module).iter().sum::<u64>())
            .sum();
        self.num_hidden_layers as u64 * a_layer
    }

    /// Bytes of the weights in memory, without an adapter: linear weights in the type
    /// `linear_weights`, all others in f32.
    pub fn weight_bytes(&self, linear_weights: LinearWeightType) -> u64 {
        let others = self.parameter_count() - self.linear_parameter_count();
        let modules = TargetModule::ALL.iter();
        let a_layer: u64 = modules
            .map(|&module| linear_weights.bytes(self.linear_shape(module).iter().product()))
            .sum();
        WeightType::F32.bytes() * others + self.num_hidden_layers as u64 * a_layer
    }

    /// Elements that the forward pass keeps for the backward pass on the CPU. For each layer these
    /// are its input, the queries, keys and values, the output of attention, the input of the
    /// feed-forward block, and its gate and other half.
    pub fn kept_activations(&self, size: PassSize) -> u64 {
        let whole = self.kept_by_attention() + self.kept_by_feed_forward();
        let attention = size.positions.saturating_mul(self.kept_by_attention());
        let feed_forward = size.rows.saturating_mul(self.kept_by_feed_forward());
        let others = (self.num_hidden_layers as u64 - 1).saturating_mul(whole);
        size.positions
            .saturating_mul(others)
            .saturating_add(attention)
            .saturating_add(feed_forward)
    }

    /// The same with gradient checkpointing: the inputs of all layers, and what one layer keeps.
    pub fn kept_activations_recomputed(&self, size: PassSize) -> u64 {
        let one = self.kept_by_attention() + self.kept_by_feed_forward();
        let inputs = self.num_hidden_layers as u64 * self.hidden_size as u64;
        size.positions.saturating_mul(inputs + one)
    }

    /// Elements that a forward pass without a backward pass holds at most on the CPU: the inputs
    /// and outputs of attention or of the feed-forward block, one layer at a time, and RoPE's
    /// table.
    pub fn forward_activations(&self, size: PassSize) -> u64 {
        let [queries, hidden] = self.linear_shape(TargetModule::QProj);
        let [keys, _] = self.linear_shape(TargetModule::KProj);
        let [intermediate, _] = self.linear_shape(TargetModule::GateProj);
        let attention = hidden + 2 * queries + 2 * keys;
        // Gate and up projection, their product, the residual and its sum with the output.
        let feed_forward = 3 * intermediate + 2 * hidden;
        let widest = attention.max(feed_forward) + self.head_dim as u64;
        size.positions.saturating_mul(widest)
    }

    /// Elements per position of the widest activation.
    fn widest_activation(&self) -> u64 {
        let [queries, hidden] = self.linear_shape(TargetModule::QProj);
        let [keys, _] = self.linear_shape(TargetModule::KProj);
        let [intermediate, _] = self.linear_shape(TargetModule::GateProj);
        hidden.max(queries + 2 * keys).max(2 * intermediate)
    }

    /// Elements of the embedding table and of a head of its own.
    pub fn table_parameter_count(&self) -> u64 {
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        tables * self.embedding_parameter_count()
    }

    /// Bytes of the largest tensor of a training step on a GPU, the weights left out: an activation
    /// of `positions` positions whose elements have `activation_bytes` bytes each, `logits` rows of
    /// logits in f32, or what is made of the embedding table and of a block's gate and up
    /// projections. Where the model's own weights are trained, these are gradients in f32. Where
    /// they are frozen, these are copies in the activations' type: of one projection, and of the
    /// table, unless its elements, of `frozen_table_bytes` bytes, are of that type.
    pub fn largest_tensor(
        &self,
        positions: u64,
        activation_bytes: u64,
        logits: u64,
        frozen_table_bytes: Option<u64>,
    ) -> u64 {
        let [intermediate, hidden] = self.linear_shape(TargetModule::GateProj);
        let in_f32 = WeightType::F32.bytes();
        let logits = logits.saturating_mul(self.vocab_size as u64 * in_f32);
        let (table, projections) = match frozen_table_bytes {
            None => (in_f32, 2 * in_f32),
            Some(bytes) if bytes == activation_bytes => (0, activation_bytes),
            Some(_) => (activation_bytes, activation_bytes),
        };
        let table = self.embedding_parameter_count() * table;
        let projections = intermediate * hidden * projections;
        let activation = positions.saturating_mul(self.widest_activation() * activation_bytes);
        activation.max(logits).max(table).max(projections)
    }

    /// Elements per position.
    fn kept_by_attention(&self) -> u64 {
        let [queries, hidden] = self.linear_shape(TargetModule::QProj);
        let [keys, _] = self.linear_shape(TargetModule::KProj);
        let log_sum_exp = self.num_attention_heads as u64;
        hidden + queries + 2 * keys + queries + log_sum_exp
    }

    /// Elements per position.
    fn kept_by_feed_forward(&self) -> u64 {
        let [intermediate, hidden] = self.linear_shape(TargetModule::GateProj);
        hidden + 2 * intermediate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Llama;
    use burn::tensor::Device;

    fn config(tied: bool) -> LlamaConfig {
        config_with_vocabulary(23, tied)
    }

    fn config_with_vocabulary(vocab_size: usize, tied: bool) -> LlamaConfig {
        LlamaConfig::from_json(&format!(
            r#"{{"model_type": "llama", "vocab_size": {vocab_size}, "hidden_size": 16,
                "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
                "num_key_value_heads": 2, "tie_word_embeddings": {tied}}}"#
        ))
        .expect("a valid config.json")
    }

    #[test]
    fn counts_are_those_of_the_model_itself() {
        for tied in [true, false] {
            let config = config(tied);
            let count = |model: &Llama| -> u64 {
                let parameters = model.parameters();
                let counts = parameters
                    .iter()
                    .map(|p| p.shape.iter().product::<usize>() as u64);
                counts.sum()
            };
            let model = Llama::init(&config, 1, &Device::flex());
            assert_eq!(config.parameter_count(), count(&model));
            let lora = LoraConfig {
                r: 3,
                alpha: 6.0,
                dropout: 0.0,
                target_modules: [TargetModule::VProj, TargetModule::DownProj].into(),
            };
            let adapted = model.with_lora(&lora, 1).expect("valid");
            assert_eq!(
                config.parameter_count() + config.adapter_parameter_count(&lora),
                count(&adapted)
            );
        }
    }

    #[test]
    fn the_largest_tensor_of_a_step_is_found() {
        let config = config(true);
        // Gate and up projection, 2 x 24 a position.
        assert_eq!(config.largest_tensor(1000, 2, 3, None), 1000 * 48 * 2);
        assert_eq!(config.largest_tensor(1, 2, 1000, None), 1000 * 23 * 4);
        // The gradient of gate and up, and where they are frozen a copy of one.
        assert_eq!(config.largest_tensor(1, 2, 1, None), 2 * 24 * 16 * 4);
        assert_eq!(config.largest_tensor(1, 2, 1, Some(2)), 24 * 16 * 2);
        let wide = config_with_vocabulary(25, true);
        assert_eq!(wide.largest_tensor(1, 2, 1, Some(2)), 24 * 16 * 2);
        assert_eq!(wide.largest_tensor(1, 2, 1, Some(4)), 25 * 16 * 2);
    }
}
