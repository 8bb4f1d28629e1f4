//! Properties of conversations, checked on the text that a model would see.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use plw_data::{GenerationRatio, Source, Split, read_examples};
use plw_synthetic::{
    Conversation, ConversationConfig, Share, SyntheticConfig, TurnRole, conversations,
    write_conversations, write_synthetic,
};
use tokenizers::Tokenizer;

const SEEDS: [u64; 4] = [1, 2, 3, 4];

fn config(seed: u64) -> SyntheticConfig {
    SyntheticConfig {
        seed,
        conversations: Some(ConversationConfig {
            train_rows: 600,
            validation_rows: 200,
            test_rows: 200,
            ..ConversationConfig::default()
        }),
        ..SyntheticConfig::default()
    }
}

fn with(change: impl FnOnce(&mut ConversationConfig)) -> SyntheticConfig {
    let mut config = config(1);
    change(config.conversations.as_mut().expect("given above"));
    config
}

fn rows(config: &SyntheticConfig, split: Split) -> Vec<Conversation> {
    conversations(config, split)
        .expect("settings within their bounds")
        .collect()
}

fn all(config: &SyntheticConfig) -> Vec<Conversation> {
    Split::ALL
        .into_iter()
        .flat_map(|split| rows(config, split))
        .collect()
}

fn tokenizer() -> Tokenizer {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    Tokenizer::from_file(assets.join("tokenizer.json")).expect("it is committed")
}

fn turns(row: &Conversation, role: TurnRole) -> Vec<&str> {
    let turns = row.messages.iter().filter(|turn| turn.role == role);
    turns.map(|turn| turn.content.as_str()).collect()
}

fn passage(row: &Conversation) -> &str {
    let first = turns(row, TurnRole::User)[0];
    first
        .split_once('\n')
        .expect("a question follows the passage")
        .0
}

/// The words of a text, without punctuation.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

#[test]
fn answers_have_no_name_place_number_or_time_of_their_own() {
    let own = "First Then Finally There The reason was It In On Because of she he Who How many \
               Where When Why in on because What happened";
    let own: HashSet<&str> = own.split(' ').collect();
    for seed in SEEDS {
        for row in all(&config(seed)) {
            let said: HashSet<&str> = words(passage(&row)).collect();
            let answers = turns(&row, TurnRole::Assistant);
            for word in answers.into_iter().flat_map(words) {
                assert!(
                    said.contains(word) || own.contains(word),
                    "{word}: {row:#?}"
                );
            }
        }
    }
}

#[test]
fn completions_are_about_as_long_as_prompts() {
    let tokenizer = tokenizer();
    let count = |text: &str| {
        let tokens = tokenizer.encode(text, false).expect("any text is encoded");
        tokens.len()
    };
    for seed in SEEDS {
        for split in Split::ALL {
            // A template as small as can be: <s>, a word and a colon before each turn of the user
            // and the assistant, and </s> behind that of the assistant.
            let counts = rows(&config(seed), split).into_iter().map(|row| {
                let answers = turns(&row, TurnRole::Assistant);
                let asked = [turns(&row, TurnRole::System), turns(&row, TurnRole::User)].concat();
                let completion = answers.iter().map(|text| count(text) + 1).sum::<usize>();
                let prompt = asked.iter().map(|text| count(text)).sum::<usize>();
                (completion, 1 + prompt + 4 * answers.len())
            });
            let ratio = GenerationRatio::of(counts).expect("every row has a prompt");
            assert!(
                (0.7..=1.4).contains(&ratio.mean),
                "seed {seed}, {split}: {ratio:?}"
            );
            assert!(
                ratio.lowest > 0.2 && ratio.highest < 4.0,
                "seed {seed}, {split}: {ratio:?}"
            );
        }
    }
}

#[test]
fn every_word_is_one_token_of_the_committed_tokenizer() {
    let tokenizer = tokenizer();
    let is_byte = |token: &String| token.chars().count() == 1;
    for row in SEEDS.into_iter().flat_map(|seed| all(&config(seed))) {
        for turn in &row.messages {
            let encoded = tokenizer
                .encode(turn.content.as_str(), false)
                .expect("encoded");
            let spelled: Vec<_> = encoded
                .get_tokens()
                .iter()
                .filter(|token| is_byte(token))
                .collect();
            assert!(spelled.is_empty(), "{spelled:?}: {}", turn.content);
        }
    }
    // That the check finds what it looks for.
    let unknown = tokenizer.encode("Wherefore", false).expect("encoded");
    assert!(unknown.get_tokens().iter().all(is_byte));
}

#[test]
fn no_facts_and_no_passage_are_in_two_splits() {
    let mut split_of: HashMap<String, Split> = HashMap::new();
    // One fact with one attribute is soon told twice.
    let config = |seed| SyntheticConfig {
        seed,
        ..with(|settings| {
            (settings.facts, settings.attributes) = ([1, 1], [1, 1]);
            (settings.train_rows, settings.validation_rows) = (3000, 1000);
            settings.test_rows = 1000;
        })
    };
    let mut again = 0;
    for seed in SEEDS {
        for split in Split::ALL {
            for row in rows(&config(seed), split) {
                assert_eq!(Share::of(passage(&row)), Share::Questions(split));
                // The answer to these two questions tells each fact in one way.
                let deeds = ["Which person did what?", "Who did what in the story?"];
                let asked = turns(&row, TurnRole::User)[0].split_once('\n');
                if asked.is_some_and(|(_, question)| deeds.contains(&question)) {
                    let told = turns(&row, TurnRole::Assistant)[0].to_owned();
                    again += usize::from(split_of.contains_key(&told));
                    assert_eq!(*split_of.entry(told).or_insert(split), split);
                }
            }
        }
    }
    assert!(
        again > 0,
        "nothing is told twice, so that nothing was compared"
    );
}

#[test]
fn shares_decide_system_turns_and_second_questions() {
    for (share, at_least, at_most) in [(0.0, 0, 0), (0.5, 250, 350), (1.0, 600, 600)] {
        let config = with(|settings| {
            (settings.system_share, settings.second_question_share) = (share, share);
        });
        let rows = rows(&config, Split::Train);
        let systems: Vec<&str> = rows
            .iter()
            .flat_map(|row| turns(row, TurnRole::System))
            .collect();
        let with_two = |row: &&Conversation| turns(row, TurnRole::User).len() == 2;
        let two = rows.iter().filter(with_two).count();
        assert!(
            (at_least..=at_most).contains(&systems.len()),
            "{}",
            systems.len()
        );
        assert!((at_least..=at_most).contains(&two), "{two}");
        assert!(systems.iter().all(|system| *system == systems[0]));
        for row in rows {
            let said = row
                .messages
                .iter()
                .filter(|turn| turn.role != TurnRole::System);
            let roles: Vec<TurnRole> = said.map(|turn| turn.role).collect();
            assert!(
                roles
                    .chunks(2)
                    .all(|pair| pair == [TurnRole::User, TurnRole::Assistant])
            );
            let asked: HashSet<&str> = turns(&row, TurnRole::User).into_iter().collect();
            assert_eq!(
                asked.len() * 2,
                roles.len(),
                "a question is asked twice: {row:#?}"
            );
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_rows_and_another_seed_others() {
    let made = all(&config(1));
    assert_eq!(made, all(&config(1)));
    let other = all(&config(2));
    assert!(
        made.iter()
            .zip(&other)
            .all(|(a, b)| a.id == b.id && a.messages != b.messages)
    );
    let ids: HashSet<&str> = made.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids.len(), made.len());
    // The size of a split changes neither the rows before nor those of other splits.
    let smaller = with(|settings| settings.train_rows = 10);
    assert_eq!(
        rows(&smaller, Split::Train),
        rows(&config(1), Split::Train)[..10]
    );
    assert_eq!(rows(&smaller, Split::Test), rows(&config(1), Split::Test));
}

#[test]
fn written_rows_are_json_lines_beside_questions_that_stay_the_same() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let [both, questions] = folders.each_ref().map(|folder| folder.path());
    let plain = SyntheticConfig::default();
    assert!(
        write_conversations(questions, &plain)
            .expect("nothing to write")
            .is_empty()
    );
    write_synthetic(questions, &plain).expect("written");
    // A second call replaces the files of the first.
    for _ in 0..2 {
        write_synthetic(both, &config(1)).expect("written");
        let written = write_conversations(both, &config(1)).expect("written");
        let names = Split::ALL.map(|split| both.join(format!("conversations/{split}.jsonl")));
        assert_eq!(
            written,
            Vec::from_iter(names.into_iter().zip([600, 200, 200]))
        );
    }
    for split in Split::ALL {
        let file = both.join(format!("conversations/{split}.jsonl"));
        let text = std::fs::read_to_string(file).expect("it is there");
        let read = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let read: Vec<Conversation> = read.collect();
        assert_eq!(read, rows(&config(1), split));
        assert!(text.starts_with(&format!(r#"{{"id":"{split}-0","messages":[{{"role":""#)));
        // The folder stands for its questions, with or without conversations.
        let [beside, alone] = [both, questions].map(|folder| {
            let read = read_examples(
                &Source::from(folder),
                split,
                &Default::default(),
                &Default::default(),
            );
            let rows = read
                .expect("the files are there")
                .map(|row| row.expect("it is right"));
            rows.map(|row| row.question().expect("a question"))
                .map(|row| (row.example_id, row.question))
                .collect::<Vec<_>>()
        });
        assert_eq!(beside, alone);
    }
}

#[test]
fn settings_outside_their_bounds_are_refused() {
    let wrong = [
        (
            with(|settings| settings.facts = [0, 2]),
            "conversations.facts is 0 to 2",
        ),
        (
            with(|settings| settings.attributes = [3, 5]),
            "conversations.attributes is 3 to 5",
        ),
        (
            with(|settings| settings.system_share = 1.5),
            "conversations.system_share is 1.5",
        ),
    ];
    for (config, expected) in wrong {
        let error = conversations(&config, Split::Train)
            .err()
            .map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains(expected), "{error}");
    }
}
