//! `plw inspect`: examples as the model gets them, for people or, with `--json`, for programs.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use miette::{IntoDiagnostic, Result, miette};
use plw_batch::{Role, Segment};
use plw_data::{
    DatasetStatistics, Encoded, Example, LevelStatistics, PromptEncoder, SkippedRows, Split,
    TokenSpan, Turn,
};
use plw_loss::TokenWeights;
use plw_report::printable;
use serde_json::{Map, Value, json};

use crate::examples::{encoder, load, reader, warn_of_weightless};
use crate::failure::Failure;
use crate::flags::InspectFlags;
use crate::output::{Reader, print, print_styled};
use crate::settings::Settings;

/// Examples printed before the statistics.
const EXAMPLES: usize = 3;

pub(crate) fn run(flags: &InspectFlags) -> Result<ExitCode, Failure> {
    let settings = Settings::load(flags.config.as_deref(), flags).map_err(Failure::never)?;
    inspect(flags, &settings)
        .map_err(|report| Failure::of_inputs(report, settings.source.is_on_hub()))
}

fn inspect(flags: &InspectFlags, settings: &Settings) -> Result<ExitCode> {
    let weights = settings.loss.objective().into_diagnostic()?.weights;
    let source = &settings.source;
    let split = source.split.unwrap_or(Split::Train);
    // `--data` is the setting train_data, whatever the split.
    let of_split = match split {
        Split::Validation if flags.data.is_none() => source.eval_data.as_deref(),
        Split::Test if flags.data.is_none() => source.test_data.as_deref(),
        _ => None,
    };
    let data = of_split.or(source.train_data.as_deref());
    let data =
        data.ok_or_else(|| miette!(help = "give --data PATH", "there is nothing to inspect"))?;
    let encoder = encoder(settings)?;
    let color = match flags.color.as_str() {
        "always" => true,
        "never" => false,
        _ => io::stdout().is_terminal(),
    };
    let mut examples = Vec::new();
    let mut rows = reader(settings, data, split, source.limit)?;
    for example in rows.by_ref().take(flags.examples.unwrap_or(EXAMPLES)) {
        let inspected = Inspected::of(example.into_diagnostic()?, &encoder, weights)?;
        if flags.json {
            examples.push(inspected.json());
        } else if print_styled(&inspected.text(color))? == Reader::Gone {
            return Ok(ExitCode::SUCCESS);
        }
    }
    // Statistics need every row, which takes long: not where examples alone are asked for.
    let asks_for_statistics = flags.examples.is_none_or(|examples| examples == 0);
    if !asks_for_statistics {
        tracing::info!("{data}: the rows are those of {}", rows.shapes().join(", "));
    }
    let statistics = asks_for_statistics
        .then(|| statistics(settings, &encoder, data, split, weights))
        .transpose()?;
    print(&match (flags.json, statistics) {
        (true, statistics) => {
            let mut inspected = Map::from_iter([("examples".to_string(), examples.into())]);
            inspected.extend(statistics.iter().flat_map(statistics_json));
            Value::Object(inspected).to_string() + "\n"
        }
        (false, Some(statistics)) => statistics_text(&statistics),
        (false, None) => String::new(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The statistics of all rows, and the bad rows left out.
type Statistics = (DatasetStatistics, SkippedRows);

fn statistics(
    settings: &Settings,
    encoder: &PromptEncoder,
    data: &str,
    split: Split,
    weights: TokenWeights,
) -> Result<Statistics> {
    let loaded = load(settings, encoder, data, split, settings.source.limit)?;
    warn_of_weightless(data, &loaded.examples, weights);
    let statistics = DatasetStatistics::of(&loaded.examples);
    Ok((statistics, loaded.reading.skipped))
}

fn statistics_json((statistics, skipped): &Statistics) -> Map<String, Value> {
    let levels: Map<_, _> = statistics
        .levels
        .iter()
        .map(|(level, of)| (level.clone(), level_json(of)))
        .collect();
    Map::from_iter([
        ("levels".to_string(), levels.into()),
        ("all".to_string(), level_json(&statistics.total)),
        ("skipped_rows".to_string(), skipped.rows.into()),
    ])
}

fn statistics_text((statistics, skipped): &Statistics) -> String {
    let mut text = String::new();
    if skipped.rows > 0 {
        text = format!("{skipped}\n");
    }
    for (level, of) in &statistics.levels {
        text += &level_text(level, of);
    }
    text + &level_text("all", &statistics.total)
}

/// An example, its tokens, and what they weigh.
struct Inspected {
    example: Example,
    encoded: Encoded,
    spans: Vec<TokenSpan>,
    weights: TokenWeights,
}

impl Inspected {
    fn of(example: Example, encoder: &PromptEncoder, weights: TokenWeights) -> Result<Self> {
        let encoded = encoder.encode(&example).into_diagnostic()?;
        Ok(Self {
            spans: encoder.spans(&encoded),
            example,
            encoded,
            weights,
        })
    }

    /// The letter of the right option, if there are options.
    fn answer(&self) -> Option<char> {
        match &self.example {
            Example::Question(question) => Some(question.answer_letter()),
            Example::Conversation(_) => None,
        }
    }

    /// The turns of a conversation, as far as they are told apart.
    fn turns(&self) -> &[Turn] {
        match &self.example {
            Example::Question(_) => &[],
            Example::Conversation(conversation) => &conversation.turns,
        }
    }

    fn json(&self) -> Value {
        let token = |span: &TokenSpan| {
            json!({
                "text": span.text,
                "token": span.token,
                "token_id": span.token_id,
                "role": name(span.role),
                "weight": self.weights.of(span.role) * span.weight,
                "is_answer": span.is_answer,
            })
        };
        let turn = |turn: &Turn| {
            json!({
                "role": turn.role(),
                "weight": turn.weight,
                "is_completion": turn.is_completion,
            })
        };
        let answer = self.encoded.answer.as_ref();
        json!({
            "file": **self.example.file(),
            "row": self.example.row(),
            "example_id": self.example.example_id(),
            "level": self.example.level(),
            "answer": self.answer(),
            "answer_position": answer.map(|answer| answer.position),
            "option_tokens": answer.map(|answer| &answer.option_tokens),
            "prompt_tokens": self.encoded.tokens_of(Role::Prompt),
            "completion_tokens": self.encoded.tokens_of(Role::Completion),
            "turns": self.turns().iter().map(turn).collect::<Vec<_>>(),
            "tokens": self.spans.iter().map(token).collect::<Vec<_>>(),
        })
    }

    fn text(&self, color: bool) -> String {
        let example = &self.example;
        let parts = [Role::Prompt, Role::Completion].map(|role| {
            let (tokens, weight) = (self.encoded.tokens_of(role), self.weights.of(role));
            let counting = self.counting(role);
            let counting = match counting == tokens {
                true => String::new(),
                false => format!(" ({counting} of them count, by their turns' weights)"),
            };
            format!(
                "{tokens} {} tokens of weight {weight}{counting}",
                name(role)
            )
        });
        let what = match self.answer() {
            Some(answer) => format!("answer {answer}"),
            None => format!("{} turns", self.turns().len()),
        };
        let text = format!(
            "{} row {} ({}, {}): {}, {what}\n",
            example.file(),
            example.row(),
            example.example_id(),
            example.level(),
            parts.join(", "),
        );
        let mut text = printable(&text);
        for span in &self.spans {
            text += &paint(span, color);
        }
        text.push('\n');
        text += &match self.answer() {
            Some(_) => self.completion_text(),
            None => self.segments_text(),
        };
        text.push('\n');
        text
    }

    /// Number of tokens of a role whose turn has a weight other than 0.
    fn counting(&self, role: Role) -> usize {
        let counts = |span: &&TokenSpan| span.role == role && span.weight != 0.0;
        self.spans.iter().filter(counts).count()
    }

    /// A line for each token of a question's completion.
    fn completion_text(&self) -> String {
        let is_completion = |span: &&TokenSpan| span.role == Role::Completion;
        let completion = self.spans.iter().filter(is_completion);
        let line = |span: &TokenSpan| {
            let (token_id, token) = (span.token_id, &span.token);
            let weight = self.weights.of(span.role) * span.weight;
            let answer = match span.is_answer {
                true => "  <- the answer",
                false => "",
            };
            format!("  {token_id:>6}  {token:?}  {weight}{answer}\n")
        };
        completion.map(line).collect()
    }

    /// A line for each part of a conversation that counts alike.
    fn segments_text(&self) -> String {
        let mut start = 0;
        let line = |segment: &Segment| {
            let tokens = start..segment.end;
            start = segment.end;
            let weight = self.weights.of(segment.role) * segment.weight;
            let range = format!("{}..{}", tokens.start, tokens.end);
            format!(
                "  tokens {range:<12} {:<10}  {weight}\n",
                name(segment.role)
            )
        };
        self.encoded.segments.iter().map(line).collect()
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Prompt => "prompt",
        Role::Completion => "completion",
    }
}

/// Prompt plain, completion green, the answer bold on green; without colors in brackets.
fn paint(span: &TokenSpan, color: bool) -> String {
    let text = printable(&span.text);
    // A turn of weight 0 is not learned.
    let role = match span.weight == 0.0 {
        true => Role::Prompt,
        false => span.role,
    };
    match (role, span.is_answer, color) {
        (Role::Prompt, _, true) => format!("\u{1b}[2m{text}\u{1b}[0m"),
        (Role::Prompt, _, false) => text,
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
