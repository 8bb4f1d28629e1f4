//! `plw plan`: what a training run will do, and the memory that it will take.

use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, miette};
use plw_eval::Examples;
use plw_loss::{Normalizer, WeightedTargets};
use plw_model::{LlamaConfig, PassSize, load_config};
use plw_train::{MemoryPlan, Plan, Row, micro_batches, plan};

use super::train::{read_config, unclear_start};
use crate::examples::{encoder, training_examples};
use crate::flags::PlanFlags;
use crate::settings::Settings;

pub(crate) fn run(flags: &PlanFlags) -> Result<ExitCode> {
    let settings = Settings::load_training(flags.config.as_deref(), &[], &flags.settings)?;
    settings.check()?;
    let source = &settings.source;
    let config = match (&source.model, &source.init_config) {
        (Some(model), None) => load_config(model).into_diagnostic()?,
        (None, Some(file)) => read_config(file)?,
        _ => return Err(unclear_start()),
    };
    let asks_for_questions = source.train_data.is_some();
    let encoder = asks_for_questions.then(|| encoder(&settings)).transpose()?;
    let examples = training_examples(&settings, encoder.as_ref())?;
    let plan =
        plan(&examples.sequences, &settings.batching, &settings.training).into_diagnostic()?;
    let passes = Passes::of(&settings, &examples, &plan.steps)?;
    let memory = passes.memory(&settings, &config)?;
    print!("{}", describe(&plan, &passes, &memory));
    Ok(ExitCode::SUCCESS)
}

/// What the micro-batches of some steps compute.
pub(super) struct Passes {
    sizes: Vec<PassSize>,
    /// Tokens of the sequences, each counting its own.
    tokens: u64,
    questions: u64,
}

impl Passes {
    /// Of steps of so many rows.
    pub(super) fn of(settings: &Settings, examples: &Examples, steps: &[Vec<Row>]) -> Result<Self> {
        let weights = settings.loss.weights().into_diagnostic()?;
        let mut passes = Self {
            sizes: Vec::new(),
            tokens: 0,
            questions: 0,
        };
        for rows in steps {
            let batches = micro_batches(
                &examples.sequences,
                rows,
                settings.training.per_device_train_batch_size,
                &settings.batching,
            );
            let sequences = batches.iter().flat_map(|batch| &batch.sequences);
            let normalizer = Normalizer::of_step(sequences, weights, settings.loss.normalization)
                .into_diagnostic()?;
            for batch in &batches {
                passes.tokens += batch.tokens() as u64;
                passes.questions += batch.sequences.len() as u64;
                passes.sizes.push(PassSize {
                    positions: batch.positions() as u64,
                    rows: WeightedTargets::new(batch, &normalizer).rows.len() as u64,
                });
            }
        }
        Ok(passes)
    }

    /// What a run of them holds.
    pub(super) fn memory(&self, settings: &Settings, config: &LlamaConfig) -> Result<MemoryPlan> {
        let lora = settings.lora.config();
        MemoryPlan::new(
            config,
            lora.as_ref(),
            settings.source.dtype,
            &settings.training,
            self.sizes.iter().copied(),
        )
        .ok_or_else(|| miette!("the run has no step"))
    }
}

fn describe(plan: &Plan, passes: &Passes, memory: &MemoryPlan) -> String {
    let computed: u64 = passes.sizes.iter().map(|size| size.positions).sum();
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let lines = [
        ("steps", plan.steps.len().to_string()),
        ("sequences trained on", passes.questions.to_string()),
        (
            "tokens, each sequence counting its own",
            passes.tokens.to_string(),
        ),
        ("tokens computed", computed.to_string()),
        ("parameters", memory.parameters.to_string()),
        (
            "trainable parameters",
            memory.trainable_parameters.to_string(),
        ),
        (
            "largest micro-batch: tokens computed",
            memory.largest.positions.to_string(),
        ),
        (
            "largest micro-batch: tokens with a loss",
            memory.largest.rows.to_string(),
        ),
        ("weights", megabytes(memory.weights)),
        ("optimizer state", megabytes(memory.optimizer_state)),
        ("gradients", megabytes(memory.gradients)),
        ("activations", megabytes(memory.activations)),
        ("loss chunk and its gradients", megabytes(memory.loss)),
        ("at once, where most is alive", megabytes(memory.peak)),
    ];
    lines
        .map(|(name, value)| format!("{name:<42}{value:>16}\n"))
        .concat()
}
