//! From settings to examples: calls the reader and the tokenizer, and logs what they leave out.

use miette::{IntoDiagnostic, Result, miette};
use plw_batch::{Examples, Role};
use plw_data::{
    DataFile, DataSource, Dataset, Example, ExampleReader, ModelTokenizer, OnBadRow, PromptEncoder,
    ReadOptions, Reading, SkippedRows, Source, Split, TextReader, TokenCache, encode_texts,
    load_examples, read_example_files, read_text,
};
use plw_loss::TokenWeights;
use plw_model::LlamaConfig;

use crate::downloads::files;
use crate::progress::reading;
use crate::settings::{Settings, TrainingData};
use crate::tokenizer_files::tokenizer_directory;

/// The encoder of examples.
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

/// The encoder of a run's examples, if it has any; checks each source by its first example. What
/// is wrong with files, columns or prompts then shows before a source is read as a whole.
pub(crate) fn checked_encoder(settings: &Settings) -> Result<Option<PromptEncoder>> {
    let source = &settings.source;
    if let TrainingData::Text(text) = source.training_data()? {
        let mut texts = text_reader(settings, text)?;
        texts.next().transpose().into_diagnostic()?;
    }
    let asked = [
        (&source.train_data, Split::Train, source.limit),
        (&source.eval_data, Split::Validation, source.eval_limit),
        (&source.test_data, Split::Test, source.eval_limit),
    ];
    if asked.iter().all(|(data, _, _)| data.is_none()) {
        return Ok(None);
    }
    let encoder = encoder(settings)?;
    for (data, split, limit) in asked {
        if let Some(data) = data {
            let first = check_first(settings, &encoder, data, split, limit)?;
            if split != Split::Train && matches!(first, Some(Example::Question(_))) {
                encoder.check_answers().into_diagnostic()?;
            }
        }
    }
    Ok(Some(encoder))
}

/// Checks a source by its first example, and returns it.
pub(crate) fn check_first(
    settings: &Settings,
    encoder: &PromptEncoder,
    source: &str,
    split: Split,
    limit: Option<u64>,
) -> Result<Option<Example>> {
    let first = reader(settings, source, split, limit)?.next();
    let first = first.transpose().into_diagnostic()?;
    if let Some(example) = &first {
        let encoded = encoder.encode(example);
        // A row that cannot be encoded may be skipped like any other.
        if settings.source.on_bad_row == OnBadRow::Error {
            encoded.into_diagnostic()?;
        }
        if let Example::Conversation(conversation) = example
            && conversation.tools.is_some()
            && !encoder.chat_template().knows_tools()
        {
            tracing::warn!(
                "{source}: conversations have tools, which the chat template does not print"
            );
        }
    }
    Ok(first)
}

/// The examples that a run trains on and is evaluated on.
pub(crate) struct RunData {
    pub(crate) train: Examples,
    pub(crate) validation: Option<Examples>,
    pub(crate) test: Option<Examples>,
}

impl RunData {
    /// Reads and tokenizes them; the encoder is that of [`checked_encoder`].
    pub(crate) fn load(settings: &Settings, encoder: Option<&PromptEncoder>) -> Result<Self> {
        let source = &settings.source;
        let evaluated = |data: &Option<String>, split| {
            data.as_deref()
                .zip(encoder)
                .map(|(data, encoder)| examples(settings, encoder, data, split, source.eval_limit))
                .transpose()
        };
        Ok(Self {
            train: training_examples(settings, encoder)?,
            validation: evaluated(&source.eval_data, Split::Validation)?,
            test: evaluated(&source.test_data, Split::Test)?,
        })
    }

    /// The examples that the run is evaluated on.
    pub(crate) fn evaluated(&self) -> Vec<&Examples> {
        self.validation.iter().chain(&self.test).collect()
    }

    /// Checks that they suit the model: see [`check_for_model`]. Warns of training data that these
    /// weights leave nothing of.
    pub(crate) fn check(&self, config: &LlamaConfig, weights: TokenWeights) -> Result<()> {
        check_for_model("the training data", &self.train, config)?;
        for (name, examples) in [
            ("the validation data", &self.validation),
            ("the test data", &self.test),
        ] {
            if let Some(examples) = examples {
                check_for_model(name, examples, config)?;
            }
        }
        warn_of_weightless("the training data", &self.train, weights);
        Ok(())
    }
}

/// Loads the examples of a source.
pub(crate) fn examples(
    settings: &Settings,
    encoder: &PromptEncoder,
    source: &str,
    split: Split,
    limit: Option<u64>,
) -> Result<Examples> {
    let Dataset { examples, reading } = load(settings, encoder, source, split, limit)?;
    checked(settings, source, examples, &reading.skipped)
}

/// Loads the examples of a source, and says what they are.
pub(crate) fn load(
    settings: &Settings,
    encoder: &PromptEncoder,
    source: &str,
    split: Split,
    limit: Option<u64>,
) -> Result<Dataset> {
    let max_length = settings.batching.max_length;
    let load = |source: &DataSource| load_examples(source, max_length).into_diagnostic();
    let cache = token_cache();
    let loaded = with_data_source(settings, encoder, source, split, limit, cache, load)?;
    say_what_they_are(source, &loaded.reading);
    Ok(loaded)
}

/// Does something with the files of a source, and shows how far it is.
pub(crate) fn with_data_source<T>(
    settings: &Settings,
    encoder: &PromptEncoder,
    source: &str,
    split: Split,
    limit: Option<u64>,
    cache: Option<TokenCache>,
    work: impl FnOnce(&DataSource) -> Result<T>,
) -> Result<T> {
    let place: Source = source.parse().into_diagnostic()?;
    let files = files(&place, split)?;
    say_which(source, &files);
    let bar = reading(source);
    let done = work(&DataSource {
        files: &files,
        columns: &settings.source.columns(),
        options: &read_options(settings, limit),
        encoder,
        cache: cache.as_ref(),
        progress: &|| bar.inc(1),
    });
    bar.finish_and_clear();
    done
}

/// Logs which files a source stands for, if it is not one of them.
fn say_which(source: &str, files: &[DataFile]) {
    let names: Vec<&str> = files.iter().map(|file| &*file.name).collect();
    if names != [source] {
        let shown = names.iter().take(4).copied().collect::<Vec<_>>().join(", ");
        let more = match names.len() {
            0..=4 => String::new(),
            count => format!(" and {} more", count - 4),
        };
        tracing::info!(
            source,
            files = names.len(),
            "{source}: reading {shown}{more}"
        );
    }
}

/// Where tokens are kept. Says so if nothing can be kept there.
pub(crate) fn token_cache() -> Option<TokenCache> {
    let cache = TokenCache::from_env()?;
    match cache.check() {
        Ok(()) => Some(cache),
        Err(error) => {
            tracing::warn!(
                "tokens are not kept for the next command, because {} cannot be written to: \
                 {error}; set {} to another folder, or to off",
                cache.directory().display(),
                TokenCache::VARIABLE
            );
            None
        }
    }
}

/// Logs what the rows of a source are, and where their tokens come from.
pub(crate) fn say_what_they_are(source: &str, reading: &Reading) {
    if reading.shapes.is_empty() {
        tracing::warn!("{source} holds no row");
        return;
    }
    let shapes = reading.shapes.join(", ");
    let cached = match reading.is_cached {
        true => ", and their tokens are kept from before",
        false => "",
    };
    tracing::info!(
        source,
        shapes,
        is_cached = reading.is_cached,
        "{source}: the rows are those of {shapes}{cached}"
    );
}

/// Loads the plain texts of a source.
fn texts(settings: &Settings, source: &str) -> Result<Examples> {
    let tokenizer =
        ModelTokenizer::from_directory(&tokenizer_directory(settings)?).into_diagnostic()?;
    let mut rows = text_reader(settings, source)?;
    let bar = reading(source);
    let counted = rows.by_ref().inspect(|_| bar.inc(1));
    let examples = encode_texts(counted, &tokenizer, settings.batching.max_length);
    bar.finish_and_clear();
    checked(
        settings,
        source,
        examples.into_diagnostic()?,
        rows.skipped(),
    )
}

/// The training data of a run: examples, which need an encoder, or plain text.
fn training_examples(settings: &Settings, encoder: Option<&PromptEncoder>) -> Result<Examples> {
    let source = &settings.source;
    match source.training_data()? {
        TrainingData::Text(text) => texts(settings, text),
        TrainingData::Examples(data) => {
            let encoder = encoder.ok_or_else(|| miette!("{data} needs an encoder"))?;
            examples(settings, encoder, data, Split::Train, source.limit)
        }
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
    let files = files(&source, split)?;
    let columns = settings.source.columns();
    read_example_files(files, &columns, &read_options(settings, limit)).into_diagnostic()
}

fn text_reader(settings: &Settings, source: &str) -> Result<TextReader> {
    let place: Source = source.parse().into_diagnostic()?;
    let options = read_options(settings, settings.source.limit);
    read_text(&place, Split::Train, "text", &options).into_diagnostic()
}

fn read_options(settings: &Settings, limit: Option<u64>) -> ReadOptions {
    ReadOptions {
        on_bad_row: settings.source.on_bad_row,
        limit,
        ..ReadOptions::default()
    }
}

/// The examples of a source, of which there must be one; logs their number and what was left out.
fn checked(
    settings: &Settings,
    source: &str,
    mut examples: Examples,
    skipped: &SkippedRows,
) -> Result<Examples> {
    let max_length = settings.batching.max_length;
    if examples.is_empty() {
        let (dropped, skipped) = (examples.dropped.len(), skipped.rows);
        return Err(miette!(
            help = "check the data, or raise max_length",
            "{source} holds no example that can be used ({dropped} longer than max_length \
             {max_length}, {skipped} bad rows)"
        ));
    }
    examples.skipped_rows = skipped.rows;
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
    let count = examples.len();
    tracing::info!(source, examples = count, "{source}: {count} examples");
    Ok(examples)
}

/// Warns of examples that train nothing, because every weight of their tokens is 0.
pub(crate) fn warn_of_weightless(name: &str, examples: &Examples, weights: TokenWeights) {
    let weight = |number: u32| {
        let targets = examples.sequences.role_targets(number);
        let of_roles = Role::ALL.into_iter().zip(targets);
        of_roles
            .map(|(role, targets)| weights.of(role) * targets.weight)
            .sum::<f64>()
    };
    let numbers = 0..examples.len() as u32;
    let weightless: Vec<u32> = numbers.filter(|&number| weight(number) == 0.0).collect();
    if let Some(&first) = weightless.first() {
        let key = examples.key(first);
        tracing::warn!(
            "{name}: {} of {} examples have no token that counts, and train nothing (the first is \
             row {} of {}): every weight of their tokens is 0",
            weightless.len(),
            examples.len(),
            key.row,
            key.file
        );
    }
}

/// Checks that the model has every token of the examples and of their options: another would be
/// read past the end of its embeddings. Warns of examples that are longer than the model was made
/// for.
pub(crate) fn check_for_model(name: &str, examples: &Examples, config: &LlamaConfig) -> Result<()> {
    plw_eval::check_tokens(examples, config.vocab_size()).into_diagnostic()?;
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
