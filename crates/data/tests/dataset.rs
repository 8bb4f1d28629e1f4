//! Examples: their order and groups, which of them are dropped, and the statistics.

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use plw_batch::Role;
use plw_batch::option_letter;
use plw_data::{
    ChatTemplate, ChatTemplateChoice, ColumnOptions, DataSource, Dataset, DatasetStatistics,
    Example, ExamplesError, ModelTokenizer, OnBadRow, PromptEncoder, PromptSettings,
    PromptTemplate, Question, ReadOptions, Source, SpecialTokens, Split, Text, TokenCache,
    encode_examples, encode_texts, load_examples, write_questions,
};
use plw_hub::Hub;
use tokenizers::Tokenizer;

fn tokenizer() -> ModelTokenizer {
    let json = include_str!("fixtures/byte_level.tokenizer.json");
    let tokens = SpecialTokens::from([("eos_token", "</s>")]);
    ModelTokenizer::new(
        json.parse::<Tokenizer>()
            .expect("the fixture is a tokenizer"),
        tokens,
    )
}

fn encoder() -> PromptEncoder {
    let settings = PromptSettings {
        prompt_template: Some(PromptTemplate::parse("{article}\n").expect("a template")),
        ..Default::default()
    };
    PromptEncoder::new(settings, tokenizer(), ChatTemplate::none())
        .expect("settings that go together")
}

fn example(row: u64, level: &str, passage: &str) -> Question {
    Question {
        file: "made-up.parquet".into(),
        row,
        example_id: format!("{level}{row}.txt"),
        level: level.into(),
        article: Some(passage.into()),
        question: "?".into(),
        options: vec!["yes".into(), "no".into()],
        answer: (row % 2) as usize,
        columns: Default::default(),
    }
}

fn rows(count: u64) -> impl Iterator<Item = Result<Example, Infallible>> {
    // Three passages take turns, so that the questions on a passage are never adjacent.
    (0..count).map(|row| {
        let level = if row % 3 == 2 { "high" } else { "middle" };
        Ok(example(row, level, &"1".repeat(row as usize % 3 + 1)).into())
    })
}

#[test]
fn rows_keep_their_order_and_passages_their_group() {
    let examples = encode_examples(rows(1300), &encoder(), 100).expect("rows that can be encoded");
    assert_eq!(examples.len(), 1300);
    for (index, (sequence, key)) in examples.sequences.iter().zip(&examples.keys).enumerate() {
        assert_eq!((sequence.example, key.row), (index as u32, index as u64));
        assert_eq!(sequence.group, index as u32 % 3);
        assert_eq!(key.answer, Some(option_letter(index % 2)));
        assert_eq!(
            sequence.answer.as_ref().map(|answer| answer.correct),
            Some(index as u32 % 2)
        );
    }
}

#[test]
fn long_examples_are_dropped_whole_and_counted() {
    let encoder = encoder();
    let longest = encoder
        .encode(&example(2, "high", "111").into())
        .expect("a question")
        .token_ids
        .len();
    let examples =
        encode_examples(rows(30), &encoder, longest - 1).expect("rows that can be encoded");
    assert_eq!((examples.len(), examples.dropped.len()), (20, 10));
    assert!(
        examples
            .dropped
            .iter()
            .all(|dropped| dropped.tokens == longest && dropped.key.row % 3 == 2)
    );
    assert!(
        (0..)
            .zip(examples.sequences.iter())
            .all(|(index, sequence)| sequence.example == index && sequence.group < 2)
    );

    let statistics = DatasetStatistics::of(&examples);
    let (total, high) = (&statistics.total, &statistics.levels["high"]);
    assert_eq!(
        (total.examples, total.dropped, total.passages, total.longest),
        (20, 10, 2, longest - 1)
    );
    assert_eq!(
        (high.examples, high.dropped, high.generation_ratio),
        (0, 10, None)
    );
    // "1\n" and "11\n", then a letter and the end: two completion tokens after two or three of
    // prompt.
    assert_eq!(
        (total.prompt_tokens, total.completion_tokens),
        (10 * 2 + 10 * 3, 40)
    );
    let ratio = total.generation_ratio.expect("they have prompts");
    assert!(
        (ratio.mean - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12,
        "{ratio:?}"
    );
    assert!(
        (ratio.geometric_mean - (2.0f64 / 3.0).sqrt()).abs() < 1e-12,
        "{ratio:?}"
    );
}

#[test]
fn the_first_failure_in_row_order_ends_it() {
    let rows = |bad: u64, unreadable: u64| {
        (0..700).map(move |row| {
            if row == unreadable {
                return Err(std::io::Error::other("unreadable"));
            }
            let mut example = example(row, "high", "1");
            if row != bad {
                example.columns.insert("hint".into(), "h".into());
            }
            Ok(Example::from(example))
        })
    };
    let settings = PromptSettings {
        prompt_template: Some(PromptTemplate::parse("{hint}").expect("a template")),
        ..Default::default()
    };
    let encoder = PromptEncoder::new(settings, tokenizer(), ChatTemplate::none())
        .expect("settings that go together");
    let failure = |bad, unreadable| {
        encode_examples(rows(bad, unreadable), &encoder, 100)
            .expect_err("a bad row")
            .to_string()
    };
    assert!(
        failure(600, 650).starts_with("made-up.parquet, row 600: the template asks for {hint}")
    );
    assert_eq!(failure(650, 600), "unreadable");
    assert!(failure(3, 600).starts_with("made-up.parquet, row 3: "));
}

#[test]
fn texts_are_groups_of_their_own() {
    let texts = [(0, "a"), (5, "a long text that is dropped"), (7, "a")].map(|(row, text)| {
        Ok::<_, Infallible>(Text {
            file: "texts.parquet".into(),
            row,
            text: text.to_owned(),
        })
    });
    let examples = encode_texts(texts, &tokenizer(), 4).expect("texts");
    let groups: Vec<_> = examples
        .sequences
        .iter()
        .map(|s| (s.example, s.group, s.tokens_of(Role::Prompt) as u32))
        .collect();
    assert_eq!(groups, [(0, 0, 0), (1, 1, 0)]);
    let key = &examples.keys[1];
    assert_eq!(
        (key.row, &*key.file, key.answer),
        (7, "texts.parquet", None)
    );
    assert_eq!(examples.dropped[0].key.row, 5);
    let failing = [Err(std::io::Error::other("gone"))];
    let error = encode_texts(failing, &tokenizer(), 4).expect_err("the reader fails");
    assert!(matches!(error, ExamplesError::Read(_)));
}

#[test]
fn a_loaded_data_set_has_examples_and_counts_the_rows_left_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut rows: Vec<Question> = ["1", "11", "1111111111"]
        .map(|p| example(0, "high", p))
        .into();
    rows.push(Question {
        question: String::new(),
        ..example(0, "high", "1")
    });
    write_questions(&folder.path().join("train.parquet"), rows).expect("a file");
    let load = |max_length| load(folder.path(), max_length, None);
    let dataset = load(6);
    let examples = &dataset.examples;
    assert_eq!((examples.len(), examples.dropped.len()), (2, 1));
    assert_eq!(
        (examples.skipped_rows, dataset.reading.skipped.rows),
        (1, 1)
    );
    assert_eq!(dataset.reading.shapes, ["RACE"]);
    let examples = load(1).examples;
    assert_eq!((examples.len(), examples.dropped.len()), (0, 3));
}

/// Loads the training questions of a folder, with the byte-level tokenizer as a model's file.
fn load(folder: &Path, max_length: usize, cache: Option<&TokenCache>) -> Dataset {
    let model = tempfile::tempdir().expect("a temporary folder");
    let tokenizer = "tests/fixtures/byte_level.tokenizer.json";
    std::fs::copy(tokenizer, model.path().join("tokenizer.json")).expect("a tokenizer");
    let settings = PromptSettings {
        prompt_template: Some(PromptTemplate::parse("{article}\n").expect("a template")),
        chat_template: ChatTemplateChoice::None,
        append_eos: false,
        ..Default::default()
    };
    let encoder = PromptEncoder::from_directory(model.path(), settings).expect("a model");
    let source = Source::from(folder);
    let options = ReadOptions {
        on_bad_row: OnBadRow::Skip,
        ..ReadOptions::default()
    };
    let source = DataSource {
        files: &source.files(Split::Train, Hub::from_env).expect("files"),
        columns: &ColumnOptions::default(),
        options: &options,
        encoder: &encoder,
        cache,
        progress: &|| (),
    };
    load_examples(&source, max_length).expect("rows that can be encoded")
}

#[test]
fn kept_tokens_are_those_that_were_made() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows =
        |count| (0..count).map(|row| example(row, "high", &"1".repeat(row as usize % 7 + 1)));
    write_questions(&folder.path().join("train.parquet"), rows(1300)).expect("a file");
    let kept = folder.path().join("kept");
    let cache = TokenCache::new(&kept).with_limits(0, u64::MAX);
    let files = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&kept).expect("the cache");
        entries.map(|entry| entry.expect("a file").path()).collect()
    };
    let made = load(folder.path(), 6, None);
    assert!(made.examples.dropped.len() > 100);
    for (is_cached, max_length) in [(false, 100), (true, 6), (true, 100)] {
        let loaded = load(folder.path(), max_length, Some(&cache));
        assert_eq!(loaded.reading.is_cached, is_cached);
        assert_eq!(files().len(), 1);
        if max_length == 6 {
            assert_eq!(loaded.examples, made.examples);
            assert_eq!(loaded.reading.shapes, made.reading.shapes);
        }
    }
    // A damaged file is made again, wherever the damage is.
    let whole = std::fs::read(&files()[0]).expect("kept");
    for place in [3, 20, 100, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        std::fs::write(&files()[0], damaged).expect("written");
        assert!(
            !load(folder.path(), 6, Some(&cache)).reading.is_cached,
            "byte {place}"
        );
        assert!(load(folder.path(), 6, Some(&cache)).reading.is_cached);
    }
    std::fs::write(&files()[0], &whole[..whole.len() - 40]).expect("written");
    assert!(!load(folder.path(), 6, Some(&cache)).reading.is_cached);
    // Other rows have other tokens.
    write_questions(&folder.path().join("train.parquet"), rows(1301)).expect("a file");
    assert!(!load(folder.path(), 6, Some(&cache)).reading.is_cached);
    assert_eq!(files().len(), 2);
    // What was not used for the longest time goes.
    let small = TokenCache::new(&kept).with_limits(0, whole.len() as u64 * 3 / 2);
    write_questions(&folder.path().join("train.parquet"), rows(1299)).expect("a file");
    load(folder.path(), 6, Some(&small));
    assert_eq!(files().len(), 1);
    assert!(load(folder.path(), 6, Some(&small)).reading.is_cached);
}
