//! `plw inspect`: examples as the model gets them.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, miette};
use plw_batch::Role;
use plw_data::{DatasetStatistics, LevelStatistics, Split, TokenSpan, encode_examples};

use crate::examples::{encoder, reader};
use crate::flags::InspectFlags;
use crate::settings::Settings;

pub(crate) fn run(flags: &InspectFlags) -> Result<ExitCode> {
    let settings = Settings::load(flags.config.as_deref(), flags)?;
    let weights = settings.loss.objective().into_diagnostic()?.weights;
    let data = settings.source.train_data.as_deref();
    let data =
        data.ok_or_else(|| miette!(help = "give --data PATH", "there is nothing to inspect"))?;
    let encoder = encoder(&settings)?;
    let colour = match flags.color.as_str() {
        "always" => true,
        "never" => false,
        _ => io::stdout().is_terminal(),
    };
    let mut out = io::stdout().lock();
    let rows = reader(&settings, data, Split::Train, settings.source.limit)?;
    for example in rows.take(flags.examples) {
        let example = example.into_diagnostic()?;
        let encoded = encoder.encode(&example).into_diagnostic()?;
        let spans = encoder.spans(&encoded);
        let weight = |role| weights.of(role);
        let prompt = spans
            .iter()
            .filter(|span| span.role == Role::Prompt)
            .count();
        let mut text = format!(
            "{} row {} ({}, {}): {prompt} prompt tokens of weight {}, {} completion tokens of weight {}, answer {}\n",
            example.file,
            example.row,
            example.example_id,
            example.level,
            weight(Role::Prompt),
            spans.len() - prompt,
            weight(Role::Completion),
            example.answer_letter()
        );
        for span in &spans {
            text.push_str(&paint(span, colour));
        }
        text.push('\n');
        for span in spans.iter().filter(|span| span.role == Role::Completion) {
            let answer = if span.is_answer {
                "  <- the answer"
            } else {
                ""
            };
            text.push_str(&format!(
                "  {:>6}  {:?}  {}{answer}\n",
                span.token_id,
                span.token,
                weight(span.role)
            ));
        }
        if !write(&mut out, &format!("{text}\n"))? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let mut rows = reader(&settings, data, Split::Train, settings.source.limit)?;
    let examples =
        encode_examples(rows.by_ref(), &encoder, settings.batching.max_length).into_diagnostic()?;
    let statistics = DatasetStatistics::of(&examples);
    let mut text = String::new();
    let skipped = rows.skipped();
    if skipped.rows > 0 {
        text.push_str(&format!("{skipped}\n"));
    }
    for (level, of) in statistics
        .levels
        .iter()
        .chain([(&"all".to_string(), &statistics.total)])
    {
        text.push_str(&describe(level, of));
    }
    write(&mut out, &text)?;
    Ok(ExitCode::SUCCESS)
}

/// False where nobody reads any more (`plw inspect | head`).
fn write(out: &mut impl Write, text: &str) -> Result<bool> {
    match out.write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).into_diagnostic(),
    }
}

/// Prompt plain, completion green, the answer bold on green; without colours in brackets.
fn paint(span: &TokenSpan, colour: bool) -> String {
    let text = &span.text;
    match (span.role, span.is_answer, colour) {
        (Role::Prompt, _, true) => format!("\u{1b}[2m{text}\u{1b}[0m"),
        (Role::Prompt, _, false) => text.clone(),
        (Role::Completion, true, true) => format!("\u{1b}[1;30;42m{text}\u{1b}[0m"),
        (Role::Completion, false, true) => format!("\u{1b}[32m{text}\u{1b}[0m"),
        (Role::Completion, true, false) => format!("[[{text}]]"),
        (Role::Completion, false, false) => format!("[{text}]"),
    }
}

fn describe(level: &str, of: &LevelStatistics) -> String {
    let ratio = of.generation_ratio.map_or(String::new(), |ratio| {
        format!(
            "; generation ratio {:.5} (geometric mean {:.5})",
            ratio.mean, ratio.geometric_mean
        )
    });
    format!(
        "{level}: {} examples of {} passages, {} dropped as too long, {} prompt and {} completion tokens, longest {}{ratio}\n",
        of.examples, of.passages, of.dropped, of.prompt_tokens, of.completion_tokens, of.longest
    )
}
