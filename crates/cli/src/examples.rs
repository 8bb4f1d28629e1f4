//! From settings to examples: calls the reader and the tokenizer, and logs what they leave out.

use miette::{IntoDiagnostic, Result, miette};
use plw_batch::Examples;
use plw_data::{
    Dataset, ExampleReader, ModelTokenizer, PromptEncoder, ReadOptions, Source, Split,
    load_questions, load_texts, read_examples,
};

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
            "the tokenizer of {} has no token for {}, which the chat template prints: the model \
             sees them in pieces; check that the template belongs to this model",
            directory.display(),
            markers.join(" ")
        );
    }
    Ok(encoder)
}

/// Loads the questions of a source.
pub(crate) fn questions(
    settings: &Settings,
    encoder: &PromptEncoder,
    source: &str,
    split: Split,
    limit: Option<u64>,
) -> Result<Examples> {
    let place: Source = source.parse().into_diagnostic()?;
    let options = read_options(settings, limit);
    let max_length = settings.batching.max_length;
    let dataset = load_questions(&place, split, &options, encoder, max_length).into_diagnostic()?;
    Ok(logged(dataset, source, max_length))
}

/// Loads the plain texts of a source.
fn texts(settings: &Settings, source: &str) -> Result<Examples> {
    let place: Source = source.parse().into_diagnostic()?;
    let tokenizer =
        ModelTokenizer::from_directory(&tokenizer_directory(settings)?).into_diagnostic()?;
    let options = read_options(settings, settings.source.limit);
    let max_length = settings.batching.max_length;
    let dataset =
        load_texts(&place, Split::Train, &options, &tokenizer, max_length).into_diagnostic()?;
    Ok(logged(dataset, source, max_length))
}

/// The training data of a run: questions, which need an encoder, or plain text.
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

/// Opens the rows of a source.
pub(crate) fn reader(
    settings: &Settings,
    source: &str,
    split: Split,
    limit: Option<u64>,
) -> Result<ExampleReader> {
    let source: Source = source.parse().into_diagnostic()?;
    read_examples(&source, split, &read_options(settings, limit)).into_diagnostic()
}

fn read_options(settings: &Settings, limit: Option<u64>) -> ReadOptions {
    ReadOptions {
        on_bad_row: settings.source.on_bad_row,
        limit,
        ..ReadOptions::default()
    }
}

/// The examples of a data set; logs their number and what was left out.
fn logged(dataset: Dataset, source: &str, max_length: usize) -> Examples {
    let Dataset { examples, skipped } = dataset;
    if skipped.rows > 0 {
        tracing::warn!("{source}: {skipped}");
    }
    if let Some(longest) = examples.dropped.iter().map(|example| example.tokens).max() {
        tracing::warn!(
            "{source}: {} examples are longer than max_length {max_length} and dropped (the \
             longest has {longest} tokens)",
            examples.dropped.len()
        );
    }
    tracing::info!("{source}: {} examples", examples.len());
    examples
}
