//! From settings to examples: calls the reader and the tokenizer, and logs what they leave out.

use miette::{IntoDiagnostic, Result, miette};
use plw_batch::Examples;
use plw_data::{
    Dataset, ExampleReader, ModelTokenizer, PromptEncoder, ReadOptions, Source, Split,
    load_questions, load_texts, read_examples,
};
use plw_model::LlamaConfig;

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

/// The examples that a run trains on and is evaluated on.
pub(crate) struct RunData {
    pub(crate) train: Examples,
    pub(crate) validation: Option<Examples>,
    pub(crate) test: Option<Examples>,
}

impl RunData {
    /// Reads and tokenizes them.
    pub(crate) fn load(settings: &Settings) -> Result<Self> {
        let source = &settings.source;
        let asked = [&source.train_data, &source.eval_data, &source.test_data];
        let asks_for_questions = asked.iter().any(|data| data.is_some());
        let encoder = asks_for_questions.then(|| encoder(settings)).transpose()?;
        let evaluated = |data: &Option<String>, split| {
            data.as_deref()
                .zip(encoder.as_ref())
                .map(|(data, encoder)| questions(settings, encoder, data, split, source.eval_limit))
                .transpose()
        };
        Ok(Self {
            train: training_examples(settings, encoder.as_ref())?,
            validation: evaluated(&source.eval_data, Split::Validation)?,
            test: evaluated(&source.test_data, Split::Test)?,
        })
    }

    /// The examples that the run is evaluated on.
    pub(crate) fn evaluated(&self) -> Vec<&Examples> {
        self.validation.iter().chain(&self.test).collect()
    }

    /// Checks that they suit the model: see [`check_for_model`].
    pub(crate) fn check(&self, config: &LlamaConfig) -> Result<()> {
        check_for_model("the training data", &self.train, config)?;
        for (name, examples) in [
            ("the validation data", &self.validation),
            ("the test data", &self.test),
        ] {
            if let Some(examples) = examples {
                check_for_model(name, examples, config)?;
            }
        }
        Ok(())
    }
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
fn training_examples(settings: &Settings, encoder: Option<&PromptEncoder>) -> Result<Examples> {
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

/// Checks that the model has every token of the examples and of their options: another would be
/// read past the end of its embeddings. Warns of examples that are longer than the model was made
/// for.
pub(crate) fn check_for_model(name: &str, examples: &Examples, config: &LlamaConfig) -> Result<()> {
    let vocab_size = config.vocab_size();
    let largest = examples.sequences.largest_token();
    if let Some(token) = largest.filter(|&token| token as usize >= vocab_size) {
        return Err(miette!(
            help = "give the tokenizer that the model was trained with",
            "the tokenizer gives token {token}, but the model has a vocabulary of {vocab_size}"
        ));
    }
    let positions = config.max_position_embeddings();
    let (longer, longest) = examples.longer_than(positions);
    if longer > 0 {
        tracing::warn!(
            "{name}: {longer} of {} examples have more tokens than the model's \
             max_position_embeddings, {positions} (the longest has {longest}): the model has not \
             learned such positions; leave the examples out with --max-length {positions}",
            examples.len()
        );
    }
    Ok(())
}
