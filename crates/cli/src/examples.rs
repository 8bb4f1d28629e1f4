//! From settings to examples: the reader, the prompt, the tokenizer.

use miette::{IntoDiagnostic, Result, miette};
use plw_data::{
    Dataset, Example, ExampleReader, ModelTokenizer, PromptEncoder, ReadOptions, Source, Split,
    read_examples, read_text,
};
use plw_eval::Examples;
use plw_model::LlamaConfig;
use plw_record::ExampleKey;

use crate::settings::Settings;
use crate::tokenizer_files::tokenizer_directory;

/// The encoder of questions.
pub(crate) fn encoder(settings: &Settings) -> Result<PromptEncoder> {
    let directory = tokenizer_directory(settings)?;
    let encoder =
        PromptEncoder::from_directory(&directory, settings.prompt.clone()).into_diagnostic()?;
    let unknown = encoder.unknown_markers();
    if !unknown.is_empty() {
        let markers: Vec<String> = unknown.into_iter().collect();
        tracing::warn!(
            "the tokenizer of {} has no token for the chat template's {}: the model gets them in pieces; is the template \
             another model's?",
            directory.display(),
            markers.join(" ")
        );
    }
    Ok(encoder)
}

/// Reads and encodes the questions of a source.
pub(crate) fn questions(
    settings: &Settings,
    encoder: &PromptEncoder,
    source: &str,
    split: Split,
    limit: Option<u64>,
) -> Result<Examples> {
    let mut reader = reader(settings, source, split, limit)?;
    let dataset = Dataset::from_examples(reader.by_ref(), encoder, settings.batching.max_length)
        .into_diagnostic()?;
    let skipped = reader.skipped();
    if skipped.rows > 0 {
        tracing::warn!("{source}: {skipped}");
    }
    let rows = skipped.rows;
    loaded(dataset, source, settings.batching.max_length, rows)
}

/// What a run is trained on: questions, which need an encoder, or plain text.
pub(crate) fn training_examples(
    settings: &Settings,
    encoder: Option<&PromptEncoder>,
) -> Result<Examples> {
    let source = &settings.source;
    match (&source.train_data, encoder, &source.text) {
        (Some(data), Some(encoder), None) => {
            questions(settings, encoder, data, Split::Train, source.limit)
        }
        (None, _, Some(text)) => texts(settings, text),
        _ => Err(miette!(
            help = "give --train-data PATH (questions) or --text PATH (plain text), not both",
            "it is not clear what to train on"
        )),
    }
}

/// The rows of a source.
pub(crate) fn reader(
    settings: &Settings,
    source: &str,
    split: Split,
    limit: Option<u64>,
) -> Result<ExampleReader> {
    let source: Source = source.parse().into_diagnostic()?;
    let options = ReadOptions {
        on_bad_row: settings.source.on_bad_row,
        limit,
        ..ReadOptions::default()
    };
    read_examples(&source, split, &options).into_diagnostic()
}

/// Reads and tokenises plain texts, column `text`.
fn texts(settings: &Settings, source: &str) -> Result<Examples> {
    let tokenizer =
        ModelTokenizer::from_directory(&tokenizer_directory(settings)?).into_diagnostic()?;
    let place: Source = source.parse().into_diagnostic()?;
    let options = ReadOptions {
        on_bad_row: settings.source.on_bad_row,
        limit: settings.source.limit,
        ..ReadOptions::default()
    };
    let mut reader = read_text(&place, Split::Train, "text", &options).into_diagnostic()?;
    let dataset = Dataset::from_texts(
        source,
        reader.by_ref(),
        &tokenizer,
        settings.batching.max_length,
    )
    .into_diagnostic()?;
    let skipped = reader.skipped().rows;
    loaded(dataset, source, settings.batching.max_length, skipped)
}

/// A token that the model does not have would be read past the end of its embeddings.
pub(crate) fn check_vocabulary(examples: &Examples, config: &LlamaConfig) -> Result<()> {
    let tokens = examples.sequences.iter().flat_map(|s| &s.token_ids);
    let vocab_size = config.vocab_size();
    match tokens.max() {
        Some(&token) if token as usize >= vocab_size => Err(miette!(
            help = "give the tokenizer that the model was made with",
            "the tokenizer gives token {token}, but the model has a vocabulary of {vocab_size}"
        )),
        _ => Ok(()),
    }
}

fn loaded(dataset: Dataset, source: &str, max_length: usize, skipped: u64) -> Result<Examples> {
    let dropped = dataset.dropped.len() as u64;
    if dropped > 0 {
        let longest = dataset
            .dropped
            .iter()
            .map(|dropped| dropped.tokens)
            .max()
            .unwrap_or(0);
        tracing::warn!(
            "{source}: {dropped} examples are longer than max_length {max_length} and dropped (the longest has {longest} tokens)"
        );
    }
    if dataset.sequences.is_empty() {
        return Err(miette!(
            help = "check the source, --limit and --max-length",
            "{source} holds no example that can be used ({dropped} longer than max_length {max_length}, {skipped} bad rows)"
        ));
    }
    let keys = dataset.keys.into_iter().map(|key| ExampleKey {
        file: key.file.to_string(),
        row: key.row,
        example_id: key.example_id,
        level: key.level.to_string(),
        answer: key
            .answer
            .map(|answer| Example::letter(answer).to_string())
            .unwrap_or_default(),
    });
    let examples = Examples {
        keys: keys.collect(),
        sequences: dataset.sequences,
        dropped,
        skipped_rows: skipped,
    };
    tracing::info!("{source}: {} examples", examples.len());
    Ok(examples)
}
