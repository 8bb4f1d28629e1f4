//! `plw eval`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::Device;
use indicatif::ProgressBar;
use miette::{IntoDiagnostic, Result, miette};
use plw_batch::Examples;
use plw_data::{Example, Split};
use plw_eval::{Evaluation, evaluate};
use plw_files::remove_partial;
use plw_model::{LinearWeightType, Llama, load_adapter, load_llama_as};
use plw_record::{
    Accuracy, DirectoryLock, EvaluationRecord, EvaluationSummary, Machine, RunConfig, RunDirectory,
    write_predictions,
};

use crate::activations::{activations, held_weights};
use crate::examples::{check_first, check_for_model, encoder, examples};
use crate::failure::Failure;
use crate::flags::EvalFlags;
use crate::inputs::Inputs;
use crate::logging::LogFlags;
use crate::model_folder::check_saved;
use crate::output::print;
use crate::output_folder::check_writable;
use crate::processes::Processes;
use crate::progress::{EVALUATION, bar, losses};
use crate::settings::Settings;

/// Evaluates, as one process or as one of several.
pub(crate) fn run(flags: &EvalFlags, log: LogFlags) -> Result<ExitCode, Failure> {
    let settings = Settings::load(flags.config.as_deref(), flags).map_err(Failure::never)?;
    let processes = Processes::open(settings.source.device, &flags.output_dir)?;
    processes.end(run_process(flags, &settings, &processes), log)
}

fn run_process(
    flags: &EvalFlags,
    settings: &Settings,
    processes: &Processes,
) -> Result<ExitCode, Failure> {
    let source = &settings.source;
    let (Some(model), Some(data)) = (&source.model, &source.eval_data) else {
        return Err(Failure::never(miette!(
            help = "give --model DIR and --data PATH",
            "a model and data are needed"
        )));
    };
    let of_inputs = |report| Failure::of_inputs(report, source.is_on_hub());
    let device = source.device.of_process(processes.launch);
    let device = device.open()?;
    if processes.is_first() {
        check_writable(&flags.output_dir)?;
    }
    let split = source.split.unwrap_or(Split::Validation);
    let output = Output::of(&flags.output_dir);
    let config = Inputs::default()
        .resolved_evaluation(settings, split)
        .map_err(of_inputs)?;
    processes.check_same(&config.hash())?;
    let _lock = match processes.is_first() {
        true => Some(output.prepare(&config)?),
        false => None,
    };
    let (llama, examples) =
        model_and_examples(settings, (model, data, split), &device).map_err(of_inputs)?;
    if processes.is_first() {
        config.write(&output.config).into_diagnostic()?;
    }
    let progress = match processes.is_first() {
        true => bar(examples.len() as u64, EVALUATION),
        false => ProgressBar::hidden(),
    };
    let layout = settings.batching.evaluation_layout();
    let mut show = |done| {
        progress.set_position(done as u64);
        ControlFlow::Continue(())
    };
    let evaluation = evaluate(
        &llama,
        &examples,
        &settings.evaluation,
        layout,
        processes.transport.as_ref(),
        &mut show,
    )
    .into_diagnostic()?
    .expect("nothing stops it");
    progress.finish_and_clear();
    if processes.is_first() {
        output.write(&evaluation, &config)?;
    }
    // A process that ended before would be missed by the others.
    processes.transport.barrier().into_diagnostic()?;
    Ok(ExitCode::SUCCESS)
}

/// The model, and the examples that it is evaluated on. What can fail quickly comes before they are
/// tokenized, which takes long.
fn model_and_examples(
    settings: &Settings,
    (model, data, split): (&Path, &str, Split),
    device: &Device,
) -> Result<(Llama, Examples)> {
    let source = &settings.source;
    check_saved(source)?;
    let encoder = encoder(settings)?;
    let first = check_first(settings, &encoder, data, split, source.eval_limit)?;
    if matches!(first, Some(Example::Question(_))) {
        encoder.check_answers().into_diagnostic()?;
    }
    let activations = activations(source, device)?;
    let held_as = held_weights(source, activations);
    let mut llama = load_llama_as(model, device, held_as).into_diagnostic()?;
    llama = llama.with_activations(activations);
    if let Some(adapter) = &source.init_adapter {
        llama = load_adapter(llama, adapter).into_diagnostic()?;
        // Merged weights are no longer those of the file, and would be kept in f32.
        if source.dtype == LinearWeightType::F32 {
            llama = llama.merge_lora();
        }
    }
    let examples = examples(settings, &encoder, data, split, source.eval_limit)?;
    check_for_model("the data", &examples, llama.config())?;
    Ok((llama, examples))
}

/// Where an evaluation leaves what.
struct Output {
    directory: PathBuf,
    /// What was evaluated, and how.
    config: PathBuf,
    predictions: PathBuf,
    /// Written last.
    summary: PathBuf,
}

impl Output {
    fn of(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
            config: directory.join("evaluation.toml"),
            predictions: directory.join("predictions.parquet"),
            summary: directory.join("summary.json"),
        }
    }

    /// Takes the folder for this evaluation.
    fn prepare(&self, config: &RunConfig) -> Result<DirectoryLock, Failure> {
        let lock = DirectoryLock::take(&self.directory).into_diagnostic()?;
        self.check_free_for(config).map_err(Failure::never)?;
        // What an evaluation into this folder left when it was killed.
        remove_partial(&self.directory).into_diagnostic()?;
        Ok(lock)
    }

    /// Writes the results, and prints them.
    fn write(&self, evaluation: &Evaluation, config: &RunConfig) -> Result<()> {
        write_predictions(&self.predictions, &evaluation.predictions).into_diagnostic()?;
        let record = EvaluationRecord {
            summary: evaluation.summary(),
            config_hash: config.hash(),
            machine: Machine::this(),
        };
        record.write(&self.directory).into_diagnostic()?;
        let lines = describe(&record.summary);
        print(&format!("{lines}{}\n", self.summary.display()))?;
        Ok(())
    }

    /// Refuses a folder with other results, of a training run or of another evaluation. The same
    /// evaluation may be repeated.
    fn check_free_for(&self, config: &RunConfig) -> Result<()> {
        let holds = if RunDirectory::new(&self.directory).config().exists() {
            "a training run".to_string()
        } else if self.config.exists() {
            let before = RunConfig::read(&self.config).into_diagnostic()?;
            match before.difference(config) {
                None => {
                    self.warn_of_changes();
                    return Ok(());
                }
                Some(difference) => format!("another evaluation ({difference})"),
            }
        } else if self.summary.exists() || self.predictions.exists() {
            "results that do not say what they are of".to_string()
        } else {
            return Ok(());
        };
        Err(miette!(
            help = "choose another --output-dir, or remove this one",
            "{} holds {holds}",
            self.directory.display()
        ))
    }

    /// Says that the results of the same evaluation were changed since. They are written again.
    fn warn_of_changes(&self) {
        if self.summary.exists()
            && let Err(changed) = EvaluationRecord::read(&self.directory)
        {
            tracing::warn!("{changed}: this is done now");
        }
    }
}

/// The accuracy where questions were asked, and the losses where there are other examples.
fn describe(summary: &EvaluationSummary) -> String {
    let questions = summary.accuracy.questions;
    let mut lines = String::new();
    if questions > 0 {
        lines.push_str(&describe_accuracy(summary));
    }
    if questions == 0 || summary.examples > questions {
        lines.push_str(&format!("{}\n", losses(summary)));
    }
    lines
}

fn describe_accuracy(summary: &EvaluationSummary) -> String {
    let mut lines = vec![("all".to_string(), &summary.accuracy)];
    let levels = summary.by_level.iter();
    // A single one would repeat the first line, under the name of the data's folder.
    let several = levels.filter(|_| summary.by_level.len() > 1);
    lines.extend(several.map(|(level, accuracy)| (level.clone(), accuracy)));
    let line = |(level, accuracy): (String, &Accuracy)| {
        let [low, high] = accuracy.accuracy_interval;
        format!(
            "{level}: {} of {} right, {:.1} % (95 % interval {:.1} to {:.1}); \
             full-vocabulary argmax {:.1} %\n",
            accuracy.correct,
            accuracy.questions,
            100.0 * accuracy.accuracy,
            100.0 * low,
            100.0 * high,
            100.0 * accuracy.argmax_accuracy
        )
    };
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_and_losses_are_told_where_there_are_some() {
        let summary = |questions, examples| EvaluationSummary {
            accuracy: Accuracy {
                questions,
                ..Accuracy::default()
            },
            examples,
            completion_loss: Some(1.234),
            perplexity: Some(3.4349),
            ..EvaluationSummary::default()
        };
        let loss = "12 examples, completion loss 1.234, perplexity 3.43\n";
        assert_eq!(describe(&summary(0, 12)), loss);
        let questions = describe(&summary(12, 12));
        assert!(questions.starts_with("all: 0 of 12 right") && !questions.contains("perplexity"));
        let both = describe(&summary(4, 12));
        assert!(
            both.starts_with("all: 0 of 4 right") && both.ends_with(loss),
            "{both}"
        );
    }

    #[test]
    fn results_are_not_overwritten_by_those_of_something_else() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let config = |limit: i64| RunConfig {
            table: [("eval_limit".to_string(), limit.into())]
                .into_iter()
                .collect(),
        };
        let output = Output::of(&folder.path().join("eval"));
        let refusal = || match output.check_free_for(&config(2)) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(refusal(), "");
        config(2).write(&output.config).expect("written");
        assert_eq!(refusal(), "", "the same may be done again");
        config(1).write(&output.config).expect("written");
        assert!(refusal().ends_with("another evaluation (eval_limit was 1, is 2)"));
        std::fs::remove_file(&output.config).expect("there");
        std::fs::write(&output.summary, "{}").expect("written");
        assert!(refusal().contains("do not say what they are of"));
        let run = RunDirectory::new(&output.directory);
        config(2).write(run.config()).expect("written");
        assert!(refusal().ends_with("a training run"));
    }
}
