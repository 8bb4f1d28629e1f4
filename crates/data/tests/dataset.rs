//! Data sets: order, groups, what is dropped, and what is counted.

use std::convert::Infallible;

use plw_data::{
    ChatTemplate, Dataset, DatasetError, Example, ModelTokenizer, PromptEncoder, PromptSettings,
    PromptTemplate, SpecialTokens,
};
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
        prompt_template: PromptTemplate::parse("{article}\n").expect("a template"),
        ..Default::default()
    };
    PromptEncoder::new(settings, tokenizer(), ChatTemplate::none())
        .expect("settings that go together")
}

fn example(row: u64, level: &str, article: &str) -> Example {
    Example {
        file: "made-up.parquet".into(),
        row,
        example_id: format!("{level}{row}.txt"),
        level: level.into(),
        article: article.into(),
        question: "?".into(),
        options: vec!["yes".into(), "no".into()],
        answer: (row % 2) as usize,
        columns: Default::default(),
    }
}

fn rows(count: u64) -> impl Iterator<Item = Result<Example, Infallible>> {
    // Three articles take turns, so that an article's questions are never adjacent.
    (0..count).map(|row| {
        Ok(example(
            row,
            if row % 3 == 2 { "high" } else { "middle" },
            &"1".repeat(row as usize % 3 + 1),
        ))
    })
}

#[test]
fn rows_keep_their_order_and_articles_their_group() {
    let dataset =
        Dataset::from_examples(rows(1300), &encoder(), 100).expect("rows that can be encoded");
    assert_eq!(dataset.sequences.len(), 1300);
    for (index, (sequence, key)) in dataset.sequences.iter().zip(&dataset.keys).enumerate() {
        assert_eq!((sequence.example, key.row), (index as u32, index as u64));
        assert_eq!(sequence.group, index as u32 % 3);
        assert_eq!(key.answer, Some(index % 2));
        assert_eq!(
            sequence.answer.as_ref().map(|answer| answer.correct),
            Some(index as u32 % 2)
        );
    }
}

#[test]
fn what_is_too_long_is_dropped_whole_and_counted() {
    let encoder = encoder();
    let longest = encoder
        .encode(&example(2, "high", "111"))
        .expect("a question")
        .token_ids
        .len();
    let dataset =
        Dataset::from_examples(rows(30), &encoder, longest - 1).expect("rows that can be encoded");
    assert_eq!((dataset.sequences.len(), dataset.dropped.len()), (20, 10));
    assert!(
        dataset
            .dropped
            .iter()
            .all(|dropped| dropped.tokens == longest && dropped.key.row % 3 == 2)
    );
    assert!(
        (0..)
            .zip(&dataset.sequences)
            .all(|(index, sequence)| sequence.example == index && sequence.group < 2)
    );

    let statistics = dataset.statistics();
    let (total, high) = (&statistics.total, &statistics.levels["high"]);
    assert_eq!(
        (total.examples, total.dropped, total.articles, total.longest),
        (20, 10, 2, longest - 1)
    );
    assert_eq!(
        (high.examples, high.dropped, high.generation_ratio),
        (0, 10, None)
    );
    // "1\n" and "11\n", then a letter and the end: two completion tokens after two or three of prompt.
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
            Ok(example)
        })
    };
    let settings = PromptSettings {
        prompt_template: PromptTemplate::parse("{hint}").expect("a template"),
        ..Default::default()
    };
    let encoder = PromptEncoder::new(settings, tokenizer(), ChatTemplate::none())
        .expect("settings that go together");
    let failure = |bad, unreadable| {
        Dataset::from_examples(rows(bad, unreadable), &encoder, 100)
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
    let texts =
        ["a", "a long text that is dropped", "a"].map(|text| Ok::<_, Infallible>(text.to_owned()));
    let dataset = Dataset::from_texts("texts.parquet", texts, &tokenizer(), 4).expect("texts");
    let groups: Vec<_> = dataset
        .sequences
        .iter()
        .map(|s| (s.example, s.group, s.completion_start))
        .collect();
    assert_eq!(groups, [(0, 0, 0), (1, 1, 0)]);
    assert_eq!(
        (
            dataset.keys[1].row,
            &*dataset.keys[1].file,
            dataset.keys[1].answer
        ),
        (2, "texts.parquet", None)
    );
    assert_eq!(dataset.dropped[0].key.row, 1);
    let failing = [Err(std::io::Error::other("gone"))];
    let error = Dataset::from_texts("texts.parquet", failing, &tokenizer(), 4)
        .expect_err("the reader fails");
    assert!(matches!(error, DatasetError::Read(_)));
}
