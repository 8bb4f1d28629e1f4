//! The names and shapes of the tensors that a configuration asks for, in the order in which a model
//! is read.

use crate::config::LlamaConfig;
use crate::lora::{LoraConfig, TargetModule};

impl LlamaConfig {
    /// The tensors of a model, by their names in Hugging Face checkpoints.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let table = vec![self.vocab_size, self.hidden_size];
        let norm = vec![self.hidden_size];
        let mut tensors = vec![("model.embed_tokens.weight".to_string(), table.clone())];
        if !self.tie_word_embeddings {
            tensors.push(("lm_head.weight".to_string(), table));
        }
        for number in 0..self.num_hidden_layers {
            for module in TargetModule::ALL {
                let name = format!("model.layers.{number}.{}.weight", module.path());
                let shape = self.linear_shape(module).map(|size| size as usize);
                tensors.push((name, shape.into()));
            }
            for name in ["input_layernorm", "post_attention_layernorm"] {
                let name = format!("model.layers.{number}.{name}.weight");
                tensors.push((name, norm.clone()));
            }
        }
        tensors.push(("model.norm.weight".to_string(), norm));
        tensors
    }

    /// The tensors of an adapter, by their names in the model.
    pub(crate) fn adapter_tensors(&self, lora: &LoraConfig) -> Vec<(String, Vec<usize>)> {
        let layers = 0..self.num_hidden_layers;
        let modules =
            layers.flat_map(|number| lora.target_modules.iter().map(move |m| (number, m)));
        let factors = modules.flat_map(|(number, module)| {
            let [outputs, inputs] = self.linear_shape(*module).map(|size| size as usize);
            let name = format!("model.layers.{number}.{}", module.path());
            [
                (format!("{name}.lora_A.weight"), vec![lora.r, inputs]),
                (format!("{name}.lora_B.weight"), vec![outputs, lora.r]),
            ]
        });
        factors.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llama::Llama;
    use burn::tensor::Device;

    #[test]
    fn they_are_those_of_a_model() {
        for tied in [true, false] {
            let config = LlamaConfig::from_json(&format!(
                r#"{{"model_type": "llama", "vocab_size": 32, "hidden_size": 16, "head_dim": 6,
                    "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
                    "num_key_value_heads": 2, "tie_word_embeddings": {tied}}}"#
            ))
            .expect("valid");
            let lora = LoraConfig {
                r: 3,
                alpha: 4.0,
                dropout: 0.0,
                target_modules: [TargetModule::KProj, TargetModule::DownProj].into(),
            };
            let model = Llama::init(&config, 1, &Device::flex());
            let model = model.with_lora(&lora, 1).expect("valid");
            let parameters = model.parameters().into_iter();
            let mut found: Vec<_> = parameters.map(|p| (p.name, p.shape)).collect();
            let mut expected = config.tensors();
            expected.extend(config.adapter_tensors(&lora));
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
        }
    }
}
