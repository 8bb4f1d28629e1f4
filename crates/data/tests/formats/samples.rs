//! Real samples of the formats that people have, if they are there: every row is read and encoded.

use std::path::{Path, PathBuf};

use plw_batch::Role;
use plw_data::{ChatTemplate, ColumnOptions, Example, ReadOptions, Source, Split, read_examples};
use serde_json::json;

use crate::conversations::encoder;

/// A file, what its rows are, how many examples they are, and how many turns are completions.
const SAMPLES: [(&str, &str, usize, usize); 12] = [
    ("alpaca_en_demo.json", "Alpaca", 999, 999),
    ("boolq.jsonl", "query, choices and gold", 3270, 3270),
    (
        "commonsense_qa.jsonl",
        "query, choices and gold",
        1221,
        1221,
    ),
    (
        "dolly_hhrlhf_small.jsonl",
        "prompts and responses",
        1000,
        1000,
    ),
    ("gsm8k_messages.jsonl", "chat messages", 449, 449),
    ("openbook_qa.jsonl", "query, choices and gold", 500, 500),
    (
        "self_instruct_seed_tasks.jsonl",
        "Alpaca with instances",
        175,
        175,
    ),
    (
        "sharegpt_toolcall_demo.json",
        "ShareGPT conversations",
        300,
        957,
    ),
    (
        "t0_duorc_SelfRC_generate_question_by_answer.jsonl",
        "prompts and completions",
        199,
        199,
    ),
    (
        "t0_samsum_Summarize_.jsonl",
        "prompts and completions",
        200,
        200,
    ),
    (
        "t0_sciq_Multiple_Choice.jsonl",
        "prompts and completions",
        200,
        200,
    ),
    (
        "t0_xsum_DOC_tldr.jsonl",
        "prompts and completions",
        200,
        200,
    ),
];

#[test]
fn real_samples_are_read_and_encoded_whole() {
    let shared = std::env::var_os("PLW_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let samples = shared.join("data/instructions");
    if !samples.is_dir() {
        println!("skipped: there is no {}", samples.display());
        return;
    }
    let chatml = "chatml".to_owned().try_into().expect("a choice");
    let chat = ChatTemplate::load(&chatml, Path::new(""), &Default::default(), None);
    let encoder = encoder(json!({}), "byte_level", chat.expect("built in"));
    for (name, shape, count, completions) in SAMPLES {
        let source = Source::Path(samples.join(name));
        let (columns, options) = (ColumnOptions::default(), ReadOptions::default());
        let mut reader =
            read_examples(&source, Split::Train, &columns, &options).expect("a known shape");
        let mut found = (0, 0);
        for example in reader.by_ref() {
            let example = example.expect("a good row");
            let encoded = encoder.encode(&example).expect("it can be encoded");
            assert!(encoded.tokens_of(Role::Prompt) > 0);
            let is_completion = |segment: &&plw_batch::Segment| segment.role == Role::Completion;
            let turns = encoded.segments.iter().filter(is_completion).count();
            if let Example::Conversation(conversation) = &example {
                let wanted = conversation.turns.iter().filter(|turn| turn.is_completion);
                assert_eq!(turns, wanted.count());
            }
            found = (found.0 + 1, found.1 + turns);
        }
        assert_eq!(found, (count, completions), "{name}");
        assert_eq!(reader.shapes(), [shape], "{name}");
    }
}
