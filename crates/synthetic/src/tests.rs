//! Properties of generated data, most of them checked on the text alone.

use std::collections::{BTreeMap, HashSet};

use plw_data::{Question, Source, Split, read_examples};

use super::*;
use crate::vocabulary::{DAYS, MONTHS, YEARS};

fn config(difficulty: f64) -> SyntheticConfig {
    let mut config = SyntheticConfig::default();
    for level in [&mut config.middle, &mut config.high] {
        (
            level.train_passages,
            level.validation_passages,
            level.test_passages,
        ) = (150, 40, 40);
        level.difficulty = difficulty;
    }
    config
}

fn examples(config: &SyntheticConfig, split: Split, level: Level) -> Vec<Question> {
    generate(config, split, level)
        .expect("settings within their bounds")
        .collect()
}

fn all(config: &SyntheticConfig) -> Vec<Question> {
    let pairs = Level::ALL
        .into_iter()
        .flat_map(|level| Split::ALL.map(|split| (split, level)));
    pairs
        .flat_map(|(split, level)| examples(config, split, level))
        .collect()
}

fn stage() -> PretrainingStage {
    PretrainingStage {
        seed: 1,
        rows: 300,
        exercises: Exercises {
            share: 0.2,
            count: 4,
            naming_share: 0.4,
            few_words_share: 0.2,
            others: [0, 4],
        },
        wordings: 4,
        high_share: 0.4,
        facts: [1, 4],
        attributes: [1, 4],
        questions: 4,
        event_share: 0.3,
        hard_share: 0.5,
        difficulty: 0.5,
        recap_share: 0.3,
        forms: [1.0; 4],
    }
}

/// The words of a text, without punctuation.
fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect()
}

/// The words of each fact, as a reader tells facts apart: a sentence, with the one that continues
/// it.
fn told(passage: &str) -> Vec<Vec<&str>> {
    let mut told: Vec<Vec<&str>> = Vec::new();
    for sentence in passage.split_inclusive('.') {
        let words = words(sentence);
        match told.last_mut() {
            Some(last)
                if words.starts_with(&["There"]) || words.starts_with(&["The", "reason"]) =>
            {
                last.extend(words)
            }
            _ => told.push(words),
        }
    }
    told
}

/// The index of the fact that tells an event, if the passage does.
fn place_of(told: &[Vec<&str>], event: &str) -> Option<usize> {
    told.iter()
        .position(|fact| words(event).iter().all(|word| fact.contains(word)))
}

fn article(question: &Question) -> &str {
    let article = question.article.as_deref();
    article.expect("every question has a passage")
}

/// The options that the passage supports, judged by the text alone.
fn supported(example: &Question) -> Vec<usize> {
    let told = told(article(example));
    let asked = words(&example.question);
    let right = |option: &String| match asked.as_slice() {
        [.., "NOT", "true"] => place_of(&told, option).is_none(),
        [.., "happened", "first"] => {
            let when = |place: usize| {
                let times = [DAYS, MONTHS, YEARS].concat();
                times
                    .iter()
                    .position(|time| told[place].contains(time))
                    .unwrap_or(place)
            };
            let earliest = example
                .options
                .iter()
                .filter_map(|other| place_of(&told, other))
                .map(when)
                .min();
            place_of(&told, option).map(when) == earliest && earliest.is_some()
        }
        [.., verb_or_object, last] => {
            // The object of `Who bought lamps`; otherwise object and verb, in either order.
            let fact = told
                .iter()
                .find(|fact| fact.contains(last) || fact.contains(verb_or_object));
            fact.is_some_and(|fact| fact.contains(&option.as_str()))
        }
        _ => false,
    };
    (0..example.options.len())
        .filter(|&option| right(&example.options[option]))
        .collect()
}

#[test]
fn the_passage_supports_the_right_option_and_no_other() {
    for difficulty in [0.0, 0.5, 1.0] {
        for example in all(&config(difficulty)) {
            assert_eq!(supported(&example), [example.answer], "{example:#?}");
        }
    }
}

#[test]
fn options_are_four_and_different() {
    for example in all(&config(0.5)) {
        assert_eq!(
            example.options.iter().collect::<HashSet<_>>().len(),
            4,
            "{example:#?}"
        );
    }
}

#[test]
fn every_letter_is_right_equally_often() {
    for level in Level::ALL {
        let examples = examples(&config(0.5), Split::Train, level);
        let mut counts = [0usize; 4];
        examples
            .iter()
            .for_each(|example| counts[example.answer] += 1);
        let (most, least) = (counts.iter().max(), counts.iter().min());
        assert!(
            most.zip(least)
                .is_some_and(|(most, least)| most - least <= 1),
            "{counts:?}"
        );
    }
}

#[test]
fn difficulty_is_the_share_of_wrong_options_that_occur_in_the_passage() {
    for difficulty in [0.0, 0.3, 1.0] {
        let (mut standing, mut wrong) = (0, 0);
        for example in all(&config(difficulty)) {
            if example.question.contains("NOT true") {
                continue;
            }
            let told = told(article(&example));
            for (index, option) in example.options.iter().enumerate() {
                if index != example.answer {
                    wrong += 1;
                    standing += usize::from(place_of(&told, option).is_some());
                }
            }
        }
        let share = f64::from(standing as u32) / f64::from(wrong);
        let exact = difficulty == 0.0 || difficulty == 1.0;
        assert!(
            (share - difficulty).abs() <= if exact { 0.0 } else { 0.03 },
            "{share} for {difficulty}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_rows_and_another_seed_others() {
    let config = config(0.5);
    assert_eq!(all(&config), all(&config));
    assert_ne!(
        all(&config),
        all(&SyntheticConfig {
            seed: 2,
            ..config.clone()
        })
    );
    let smaller = SyntheticConfig {
        middle: LevelConfig {
            train_passages: 20,
            ..config.middle.clone()
        },
        ..config.clone()
    };
    let [few, many] =
        [&smaller, &config].map(|config| examples(config, Split::Train, Level::Middle));
    assert!(few.len() >= 60 && few == many[..few.len()]);
    let texts = || {
        pretraining_text(&stage())
            .expect("settings within their bounds")
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(), texts());
}

#[test]
fn no_passage_occurs_in_two_splits_or_in_pretraining_text() {
    let config = config(0.5);
    let mut split_of: BTreeMap<String, Split> = BTreeMap::new();
    let pairs = Level::ALL
        .into_iter()
        .flat_map(|level| Split::ALL.map(|split| (split, level)));
    for (split, level) in pairs {
        for seed in [1, 2] {
            for example in examples(
                &SyntheticConfig {
                    seed,
                    ..config.clone()
                },
                split,
                level,
            ) {
                assert_eq!(Share::of(article(&example)), Share::Questions(split));
                assert_eq!(
                    *split_of
                        .entry(article(&example).to_owned())
                        .or_insert(split),
                    split
                );
            }
        }
    }
    for row in pretraining_text(&stage()).expect("settings within their bounds") {
        let passage = row
            .split(" Recap:")
            .next()
            .and_then(|row| row.split(" Quiz:").next())
            .unwrap_or_default();
        assert!(!split_of.contains_key(passage));
        assert!(
            row.starts_with("Key:")
                || row.starts_with("Named:")
                || Share::of(passage) == Share::Pretraining
        );
    }
}

#[test]
fn high_is_longer_and_passages_have_three_or_four_questions() {
    let length = |level| {
        let examples = examples(&config(0.5), Split::Train, level);
        let mut questions: BTreeMap<&str, usize> = BTreeMap::new();
        examples
            .iter()
            .for_each(|example| *questions.entry(&example.example_id).or_default() += 1);
        assert!(questions.len() == 150 && questions.values().all(|count| (3..=4).contains(count)));
        examples
            .iter()
            .map(|example| words(article(example)).len())
            .sum::<usize>()
            / examples.len()
    };
    assert!(length(Level::High) > length(Level::Middle) * 3 / 2);
}

#[test]
fn settings_outside_their_bounds_are_refused() {
    let mut config = config(1.5);
    assert!(
        config
            .check()
            .is_err_and(|error| error.to_string().contains("middle.difficulty is 1.5"))
    );
    config = self::config(0.5);
    config.high.facts = [3, 6];
    assert!(
        config
            .check()
            .is_err_and(|error| error.to_string().contains("high.facts is 3 to 6"))
    );
    let stage = PretrainingStage {
        forms: [0.0; 4],
        ..stage()
    };
    assert!(
        stage
            .check()
            .is_err_and(|error| error.to_string().contains("forms"))
    );
}

#[test]
fn written_questions_are_read_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(0.5);
    let written = write_synthetic(folder.path(), &config).expect("the folder can be written");
    assert_eq!(written.len(), 6);
    let source = Source::from(folder.path().join("middle").as_path());
    let (columns, options) = Default::default();
    let read =
        read_examples(&source, Split::Test, &columns, &options).expect("the files are there");
    let read: Vec<Question> = read
        .map(|row| {
            row.expect("every row is right")
                .question()
                .expect("a question")
        })
        .collect();
    let made = examples(&config, Split::Test, Level::Middle);
    assert_eq!(read.len(), made.len());
    for (read, made) in read.into_iter().zip(made) {
        assert_eq!(
            read,
            Question {
                file: read.file.clone(),
                ..made
            }
        );
    }
}

#[test]
fn a_folder_of_other_data_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let foreign = folder.path().join("middle/train-00001-of-00002.parquet");
    std::fs::create_dir(folder.path().join("middle")).expect("made");
    std::fs::write(&foreign, "").expect("written");
    // No reader reads this one: its name is that of no split.
    std::fs::write(folder.path().join("predictions.parquet"), "").expect("written");
    let error = write_synthetic(folder.path(), &config(0.5)).expect_err("refused");
    let message = error.to_string();
    assert!(
        message.contains("middle/train-00001-of-00002.parquet"),
        "{message}"
    );
    std::fs::remove_file(foreign).expect("removed");
    // A second call replaces the files of the first.
    for _ in 0..2 {
        write_synthetic(folder.path(), &config(0.5)).expect("nothing foreign is left");
    }
}

#[test]
fn a_letter_is_the_same_token_everywhere_and_no_byte_is_unknown() {
    let texts: Vec<String> = pretraining_text(&stage())
        .expect("settings within their bounds")
        .collect();
    let tokenizer = train_tokenizer(&texts, 1024).expect("there is room");
    let ids = |text: &str| {
        tokenizer
            .encode(text, true)
            .expect("any text is encoded")
            .get_ids()
            .to_vec()
    };
    let letter = ids("Answer: A");
    let letter = letter[letter.len() - 1];
    for (text, place) in [
        ("(A) Anna", 2),
        ("A. Anna", 1),
        ("lamps\nA) Anna", 2),
        ("=A,", 2),
    ] {
        assert_eq!(ids(text)[place], letter, "{text}");
    }
    // `<s>` and one token a word or mark.
    assert_eq!(ids("Anna bought lamps in Oslo.").len(), 7);
    assert_eq!(
        tokenizer
            .decode(&ids("snowman ☃ zq"), true)
            .expect("ids exist")
            .trim(),
        "snowman ☃ zq"
    );
    assert_eq!(tokenizer.token_to_id("<s>"), Some(ids("")[0]));
    assert!(train_tokenizer(&texts, 200).is_err());
}
