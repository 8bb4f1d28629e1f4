//! Real RACE through the Llama-2 tokenizer, if both are there.

use std::path::PathBuf;

use plw_batch::Role;
use plw_data::{
    ColumnOptions, Example, PromptEncoder, PromptSettings, ReadOptions, Source, Split,
    read_examples,
};

fn shared() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("PLW_SHARED").map_or_else(beside, PathBuf::from);
    let found = shared.join("data/race").is_dir().then_some(shared);
    if found.is_none() {
        println!("skipped: no real RACE in PLW_SHARED or ../shared");
    }
    found
}

#[test]
fn llama_2_answers_with_a_space_before_the_letter() {
    let Some(shared) = shared() else { return };
    let model = tempfile::tempdir().expect("a temporary directory");
    std::fs::copy(
        shared.join("tokenizers/llama2.tokenizer.json"),
        model.path().join("tokenizer.json"),
    )
    .expect("the Llama-2 tokenizer");
    let settings = PromptSettings {
        chat_template: "llama-2".to_owned().try_into().expect("built in"),
        ..Default::default()
    };
    let encoder = PromptEncoder::from_directory(model.path(), settings).expect("a model directory");
    let source = Source::from(shared.join("data/race/middle").as_path());
    let options = ReadOptions {
        limit: Some(50),
        ..Default::default()
    };
    let examples: Result<Vec<Example>, _> =
        read_examples(&source, Split::Train, &ColumnOptions::default(), &options)
            .expect("RACE middle")
            .collect();
    for example in examples.expect("RACE's rows are sound") {
        let encoded = encoder
            .encode(&example)
            .expect("a question that can be encoded");
        let answer = encoded.answer.clone().expect("an answer");
        assert_eq!(answer.option_tokens, [319, 350, 315, 360]);
        assert_eq!(encoded.token_ids[0], 1);
        // The letter, the space before the end, and the end of turn.
        assert_eq!(
            encoded.token_ids[encoded.tokens_of(Role::Prompt)..],
            [answer.token(), 29871, 2]
        );
        let prompt: String = encoder
            .spans(&encoded)
            .iter()
            .take(encoded.tokens_of(Role::Prompt))
            .map(|span| span.text.as_str())
            .collect();
        assert!(
            prompt.starts_with("<s>[INST] Choose the correct option")
                && prompt.ends_with("] [/INST]")
        );
    }
}
