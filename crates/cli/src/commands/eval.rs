//! `plw eval`.

use std::ops::ControlFlow;
use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_eval::evaluate;
use plw_model::{load_adapter, load_llama};
use plw_record::write_predictions;

use crate::examples::{check_vocabulary, encoder, questions};
use crate::flags::EvalFlags;
use crate::progress::{EVALUATION, bar};
use crate::settings::Settings;

pub(crate) fn run(flags: &EvalFlags) -> Result<ExitCode> {
    let settings = Settings::load(flags.config.as_deref(), flags)?;
    let source = &settings.source;
    let (Some(model), Some(data)) = (&source.model, &source.eval_data) else {
        return Err(miette!(
            help = "give --model DIR and --data PATH",
            "a model and questions are needed"
        ));
    };
    // Where nothing can be written is known before the work is done.
    std::fs::create_dir_all(&flags.output_dir)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot make {}", flags.output_dir.display()))?;
    let split = flags.split.parse().into_diagnostic()?;
    let encoder = encoder(&settings)?;
    let examples = questions(&settings, &encoder, data, split, source.eval_limit)?;
    let mut llama = load_llama(model, &source.device.open()?).into_diagnostic()?;
    if let Some(adapter) = &source.init_adapter {
        llama = load_adapter(llama, adapter).into_diagnostic()?.merge_lora();
    }
    check_vocabulary(&examples, llama.config())?;
    let progress = bar(examples.len() as u64, EVALUATION);
    let evaluation = evaluate(&llama, &examples, &settings.evaluation, &mut |done| {
        progress.set_position(done as u64);
        ControlFlow::Continue(())
    })
    .into_diagnostic()?
    .expect("nothing stops it");
    progress.finish_and_clear();
    let summary = evaluation.summary();
    write_predictions(
        flags.output_dir.join("predictions.parquet"),
        &evaluation.predictions,
    )
    .into_diagnostic()?;
    summary
        .write(flags.output_dir.join("summary.json"))
        .into_diagnostic()?;
    let mut lines = vec![("all".to_string(), &summary.accuracy)];
    lines.extend(
        summary
            .by_level
            .iter()
            .map(|(level, accuracy)| (level.clone(), accuracy)),
    );
    for (level, accuracy) in lines {
        let [low, high] = accuracy.accuracy_interval;
        println!(
            "{level}: {} of {} right, {:.1} % (95 % interval {:.1} to {:.1}); full-vocabulary argmax {:.1} %",
            accuracy.correct,
            accuracy.questions,
            100.0 * accuracy.accuracy,
            100.0 * low,
            100.0 * high,
            100.0 * accuracy.argmax_accuracy
        );
    }
    println!("{}", flags.output_dir.join("summary.json").display());
    Ok(ExitCode::SUCCESS)
}
