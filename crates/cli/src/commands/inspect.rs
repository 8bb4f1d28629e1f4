//! `plw inspect`: examples as the model gets them, for people or, with `--json`, for programs.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, miette};
use plw_batch::Role;
use plw_data::{
    DatasetStatistics, Example, LevelStatistics, PromptEncoder, Split, TokenSpan, encode_examples,
};
use plw_loss::TokenWeights;
use serde_json::{Map, Value, json};

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
    let color = match flags.color.as_str() {
        "always" => true,
        "never" => false,
        _ => io::stdout().is_terminal(),
    };
    let mut out = io::stdout().lock();
    let mut examples = Vec::new();
    let rows = reader(&settings, data, Split::Train, settings.source.limit)?;
    for example in rows.take(flags.examples) {
        let inspected = Inspected::of(example.into_diagnostic()?, &encoder, weights)?;
        if flags.json {
            examples.push(inspected.json());
        } else if !write(&mut out, &inspected.text(color))? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let mut rows = reader(&settings, data, Split::Train, settings.source.limit)?;
    let encoded =
        encode_examples(rows.by_ref(), &encoder, settings.batching.max_length).into_diagnostic()?;
    let statistics = DatasetStatistics::of(&encoded);
    let skipped = rows.skipped();
    let mut text = String::new();
    if flags.json {
        let levels = statistics.levels.iter();
        let levels: Map<_, _> = levels
            .map(|(level, of)| (level.clone(), level_json(of)))
            .collect();
        let all = level_json(&statistics.total);
        let skipped = skipped.rows;
        let inspected =
            json!({"examples": examples, "levels": levels, "all": all, "skipped_rows": skipped});
        text = format!("{inspected}\n");
    } else {
        if skipped.rows > 0 {
            text = format!("{skipped}\n");
        }
        for (level, of) in &statistics.levels {
            text += &level_text(level, of);
        }
        text += &level_text("all", &statistics.total);
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

/// An example, its tokens, and what they weigh.
struct Inspected {
    example: Example,
    spans: Vec<TokenSpan>,
    prompt_tokens: usize,
    weights: TokenWeights,
}

impl Inspected {
    fn of(example: Example, encoder: &PromptEncoder, weights: TokenWeights) -> Result<Self> {
        let encoded = encoder.encode(&example).into_diagnostic()?;
        let spans = encoder.spans(&encoded);
        let is_prompt = |span: &&TokenSpan| span.role == Role::Prompt;
        let prompt_tokens = spans.iter().filter(is_prompt).count();
        Ok(Self {
            example,
            spans,
            prompt_tokens,
            weights,
        })
    }

    fn completion_tokens(&self) -> usize {
        self.spans.len() - self.prompt_tokens
    }

    fn json(&self) -> Value {
        let token = |span: &TokenSpan| {
            let role = match span.role {
                Role::Prompt => "prompt",
                Role::Completion => "completion",
            };
            json!({
                "text": span.text,
                "token": span.token,
                "token_id": span.token_id,
                "role": role,
                "weight": self.weights.of(span.role),
                "is_answer": span.is_answer,
            })
        };
        let tokens: Vec<Value> = self.spans.iter().map(token).collect();
        json!({
            "file": *self.example.file,
            "row": self.example.row,
            "example_id": *self.example.example_id,
            "level": *self.example.level,
            "answer": self.example.answer_letter(),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens(),
            "tokens": tokens,
        })
    }

    fn text(&self, color: bool) -> String {
        let example = &self.example;
        let mut text = format!(
            "{} row {} ({}, {}): {} prompt tokens of weight {}, \
             {} completion tokens of weight {}, answer {}\n",
            example.file,
            example.row,
            example.example_id,
            example.level,
            self.prompt_tokens,
            self.weights.of(Role::Prompt),
            self.completion_tokens(),
            self.weights.of(Role::Completion),
            example.answer_letter()
        );
        for span in &self.spans {
            text += &paint(span, color);
        }
        text.push('\n');
        let is_completion = |span: &&TokenSpan| span.role == Role::Completion;
        for span in self.spans.iter().filter(is_completion) {
            let (token_id, token) = (span.token_id, &span.token);
            let weight = self.weights.of(span.role);
            let answer = match span.is_answer {
                true => "  <- the answer",
                false => "",
            };
            text += &format!("  {token_id:>6}  {token:?}  {weight}{answer}\n");
        }
        text.push('\n');
        text
    }
}

/// Prompt plain, completion green, the answer bold on green; without colors in brackets.
fn paint(span: &TokenSpan, color: bool) -> String {
    let text = &span.text;
    match (span.role, span.is_answer, color) {
        (Role::Prompt, _, true) => format!("\u{1b}[2m{text}\u{1b}[0m"),
        (Role::Prompt, _, false) => text.clone(),
        (Role::Completion, true, true) => format!("\u{1b}[1;30;42m{text}\u{1b}[0m"),
        (Role::Completion, false, true) => format!("\u{1b}[32m{text}\u{1b}[0m"),
        (Role::Completion, true, false) => format!("[[{text}]]"),
        (Role::Completion, false, false) => format!("[{text}]"),
    }
}

fn level_text(level: &str, of: &LevelStatistics) -> String {
    let ratio = of.generation_ratio.map_or(String::new(), |ratio| {
        format!(
            "; generation ratio {:.5} (geometric mean {:.5})",
            ratio.mean, ratio.geometric_mean
        )
    });
    format!(
        "{level}: {} examples of {} passages, {} dropped as too long, \
         {} prompt and {} completion tokens, longest {}{ratio}\n",
        of.examples, of.passages, of.dropped, of.prompt_tokens, of.completion_tokens, of.longest
    )
}

fn level_json(of: &LevelStatistics) -> Value {
    let ratio = of
        .generation_ratio
        .map(|ratio| json!({"mean": ratio.mean, "geometric_mean": ratio.geometric_mean}));
    json!({
        "examples": of.examples,
        "passages": of.passages,
        "dropped": of.dropped,
        "prompt_tokens": of.prompt_tokens,
        "completion_tokens": of.completion_tokens,
        "longest": of.longest,
        "generation_ratio": ratio,
    })
}
