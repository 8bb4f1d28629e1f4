//! What a training run will compute and need, before it starts.

use plw_batch::Examples;
use plw_eval::{EvaluationOptions, check_lengths};
use plw_loss::WeightedTargets;
use plw_model::PassSize;
use serde::Serialize;

use crate::plan::STEPS_LOOKED_AT;
use crate::step::lay_out;
use crate::{
    BatchingArguments, LossArguments, MemoryEstimate, ModelSize, TrainError, TrainingArguments,
    Workload, plan,
};

/// Tokens that are laid out at most, but for the first epoch.
const MOST_TOKENS: u64 = 1 << 28;

/// What a training run will compute and need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Optimizer steps.
    pub steps: u64,
    /// Steps that were laid out. If there are more, the counts are those of these steps, multiplied
    /// accordingly.
    pub steps_laid_out: u64,
    /// Sequences trained on, over all epochs.
    pub sequences: u64,
    /// Their tokens, each sequence counting its own.
    pub tokens: u64,
    /// Positions that the forward passes compute: fewer than `tokens` where prefixes are shared.
    pub tokens_computed: u64,
    /// The memory that the run needs.
    #[serde(flatten)]
    pub memory: MemoryEstimate,
}

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct RunSettings<'a> {
    /// Steps, schedule and optimizer.
    pub training: &'a TrainingArguments,
    /// What each token counts in the loss.
    pub loss: &'a LossArguments,
    /// Which examples a step holds, and how they are laid out.
    pub batching: &'a BatchingArguments,
    /// How to evaluate.
    pub evaluation: &'a EvaluationOptions,
}

/// Lays the steps of a run out, and estimates what it computes and needs. `evaluated` are the data
/// sets that the run evaluates on.
///
/// All steps of the first epoch are laid out, and others up to 2^18 steps and 2^28 tokens.
///
/// # Errors
///
/// If there is no sequence or no step, a setting makes no sense, a step has no token with a weight,
/// or 64 bits cannot count the tokens or the memory.
pub fn forecast(
    train: &Examples,
    evaluated: &[&Examples],
    settings: RunSettings<'_>,
    model: ModelSize<'_>,
) -> Result<Forecast, TrainError> {
    let RunSettings {
        training,
        loss,
        batching,
        evaluation,
    } = settings;
    let objective = loss.objective()?;
    let plan = plan(&train.sequences, batching, training)?;
    let (mut steps_laid_out, mut counts) = (0, [0; 3]);
    let mut largest = Largest::default();
    for step in plan.steps_after(0) {
        let (batches, normalizer) =
            lay_out(&train.sequences, &step.packs, batching, training, objective)?;
        for batch in &batches {
            let size = PassSize {
                positions: batch.positions() as u64,
                rows: WeightedTargets::new(batch, &normalizer).rows.len() as u64,
            };
            counts[0] += batch.sequences.len() as u64;
            counts[1] += batch.tokens() as u64;
            counts[2] += size.positions;
            largest.add(size, model.training_pass(training, size));
        }
        steps_laid_out = step.number;
        if step.epoch >= 1.0 && (step.number >= STEPS_LOOKED_AT || counts[1] >= MOST_TOKENS) {
            break;
        }
    }
    let workload = Workload {
        largest: largest.size.ok_or(TrainError::NoSteps)?,
        largest_evaluation: largest_evaluation(evaluated, evaluation, batching, model)?,
        examples: evaluated
            .iter()
            .fold(train.memory_bytes(), |bytes, examples| {
                bytes + examples.memory_bytes()
            })
            + plan.memory_bytes(),
    };
    let memory = MemoryEstimate::new(model, training, workload);
    if memory.peak == u64::MAX {
        return Err(TrainError::TooLarge);
    }
    let steps = plan.total_steps;
    let of_all = |count: u64| {
        let scaled = u128::from(count) * u128::from(steps) / u128::from(steps_laid_out);
        u64::try_from(scaled).map_err(|_| TrainError::TooLarge)
    };
    Ok(Forecast {
        steps,
        steps_laid_out,
        sequences: of_all(counts[0])?,
        tokens: of_all(counts[1])?,
        tokens_computed: of_all(counts[2])?,
        memory,
    })
}

/// The evaluation batch of these data sets that needs the most memory.
fn largest_evaluation(
    evaluated: &[&Examples],
    evaluation: &EvaluationOptions,
    batching: &BatchingArguments,
    model: ModelSize<'_>,
) -> Result<Option<PassSize>, TrainError> {
    let mut largest = Largest::default();
    for examples in evaluated {
        check_lengths(examples, evaluation)?;
        for batch in evaluation.batches(&examples.sequences, batching.evaluation_layout()) {
            // Without targets there is no pass.
            let Some(targets) = evaluation.targets(&batch) else {
                continue;
            };
            let size = PassSize {
                positions: batch.positions() as u64,
                rows: targets.rows.len() as u64,
            };
            largest.add(size, model.evaluation_pass(size));
        }
    }
    Ok(largest.size)
}

/// The pass that needs the most memory, of equals the last.
#[derive(Default)]
struct Largest {
    size: Option<PassSize>,
    elements: u64,
}

impl Largest {
    fn add(&mut self, size: PassSize, elements: u64) {
        if elements >= self.elements {
            (self.size, self.elements) = (Some(size), elements);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plw_batch::{ExampleKey, Segment, Sequence};
    use plw_model::{LinearWeightType, LlamaConfig};

    fn examples(count: u32) -> Examples {
        let sequence = |example| Sequence {
            example,
            group: example,
            token_ids: vec![1 + example % 7, 2, 3, 4],
            segments: Segment::prompt_and_completion(2, 4),
            answer: None,
        };
        Examples {
            sequences: (0..count).map(sequence).collect(),
            ..Examples::default()
        }
    }

    #[test]
    fn data_and_evaluations_are_counted_and_the_number_of_steps_costs_nothing() {
        let config = LlamaConfig::from_json(
            r#"{"model_type": "llama", "vocab_size": 10, "hidden_size": 4,
                "intermediate_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2}"#,
        )
        .expect("a valid config.json");
        let model = ModelSize {
            config: &config,
            lora: None,
            linear_weights: LinearWeightType::F32,
        };
        let of = |steps, evaluated: &[&Examples]| {
            let settings = RunSettings {
                training: &TrainingArguments {
                    per_device_train_batch_size: 1,
                    max_steps: Some(steps),
                    ..TrainingArguments::default()
                },
                loss: &LossArguments::default(),
                batching: &BatchingArguments {
                    share_prefixes: Some(false),
                    ..BatchingArguments::default()
                },
                evaluation: &EvaluationOptions::default(),
            };
            forecast(&examples(16), evaluated, settings, model)
        };
        let few = of(4, &[]).expect("valid");
        assert_eq!(
            (few.sequences, few.tokens, few.tokens_computed),
            (4, 16, 16)
        );
        assert_eq!((few.steps, few.steps_laid_out), (4, 4));
        let order = 16 * 36;
        assert_eq!(few.memory.examples, examples(16).memory_bytes() + order);
        assert_eq!(few.memory.largest_evaluation, None);
        let more = of(4, &[&examples(2), &examples(3)]).expect("valid");
        let of_data = [16, 2, 3].map(|count| examples(count).memory_bytes());
        assert_eq!(more.memory.examples, of_data.iter().sum::<u64>() + order);
        let largest = more
            .memory
            .largest_evaluation
            .map(|size| (size.positions, size.rows));
        assert_eq!(largest, Some((12, 6)));
        let many = of(1 << 40, &[]).expect("valid");
        assert_eq!((many.tokens, many.sequences), (4 << 40, 1 << 40));
        assert_eq!(
            (many.steps, many.steps_laid_out),
            (1 << 40, STEPS_LOOKED_AT)
        );
        assert_eq!(many.memory.peak, few.memory.peak);
        assert!(matches!(of(1 << 63, &[]), Err(TrainError::TooLarge)));
        // What training refuses is refused: an example of which nothing is predicted.
        let mut single = examples(1);
        let token = Sequence {
            token_ids: vec![1],
            segments: Segment::prompt_and_completion(0, 1),
            ..single.sequences.get(0)
        };
        single.sequences = std::iter::once(token).collect();
        single.keys = vec![ExampleKey {
            file: "texts.txt".into(),
            row: 3,
            example_id: String::new(),
            level: "texts".into(),
            answer: None,
        }];
        assert!(matches!(of(4, &[&single]), Err(TrainError::Evaluation(_))));
    }
}
