//! Questions as tokens, compared with transformers: `xtask/fixtures/prompts.py` makes the cases.

use std::path::Path;

use plw_batch::Role;
use plw_data::{
    ChatTemplate, ChatTemplateChoice, ModelTokenizer, PromptEncoder, PromptSettings,
    PromptTemplate, Question, SpecialTokens,
};
use tokenizers::Tokenizer;

const ARTICLE_PROMPT: &str = "Choose the correct option based on the context.\n\
    Context:{article}\nQuestion:{question}\nOptions:{options}";

const TOKENS: [(&str, &str); 2] = [("bos_token", "<s>"), ("eos_token", "</s>")];

#[derive(serde::Deserialize)]
struct Fixture {
    smollm2: String,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    tokenizer: String,
    chat: String,
    row: Row,
    token_ids: Vec<u32>,
    completion_start: usize,
}

#[derive(serde::Deserialize)]
struct Row {
    article: String,
    question: String,
    options: Vec<String>,
    answer: char,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/encoding.json")).expect("the fixture is JSON")
}

fn example(row: &Row) -> Question {
    Question {
        file: "made-up.parquet".into(),
        row: 7,
        example_id: "high3.txt".into(),
        level: "high".into(),
        article: Some(row.article.clone()),
        question: row.question.clone(),
        options: row.options.clone(),
        answer: row.answer as usize - 'A' as usize,
        columns: Default::default(),
    }
}

fn tokenizer(name: &str) -> ModelTokenizer {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.tokenizer.json"));
    ModelTokenizer::new(
        Tokenizer::from_file(path).expect("the fixture is a tokenizer"),
        SpecialTokens::from(TOKENS),
    )
}

fn template(text: &str) -> PromptTemplate {
    PromptTemplate::parse(text).expect("a template")
}

fn encoder(fixture: &Fixture, tokenizer_name: &str, chat: &str) -> PromptEncoder {
    let mut settings = PromptSettings::default();
    let chat = match chat {
        "smollm2" => {
            ChatTemplate::from_jinja(&fixture.smollm2, TOKENS, None).expect("SmolLM2's template")
        }
        "none" => {
            let prompt = format!("{ARTICLE_PROMPT}\nAnswer:");
            settings.prompt_template = Some(template(&prompt));
            settings.completion_template = Some(template(" {answer}"));
            ChatTemplate::none()
        }
        name => {
            let choice = ChatTemplateChoice::try_from(name.to_owned()).expect("a choice");
            ChatTemplate::load(&choice, Path::new(""), &SpecialTokens::default(), None)
                .expect("built in")
        }
    };
    PromptEncoder::new(settings, tokenizer(tokenizer_name), chat)
        .expect("settings that go together")
}

#[test]
fn tokens_and_completions_equal_those_of_transformers() {
    let fixture = fixture();
    assert_eq!(fixture.cases.len(), 24);
    for case in &fixture.cases {
        let encoder = encoder(&fixture, &case.tokenizer, &case.chat);
        let encoded = encoder
            .encode(&example(&case.row).into())
            .expect("a question that can be encoded");
        let name = format!("{} {} {}", case.tokenizer, case.chat, case.row.question);
        assert_eq!(encoded.token_ids, case.token_ids, "{name}");
        assert_eq!(
            encoded.tokens_of(Role::Prompt),
            case.completion_start,
            "{name}"
        );
    }
}

/// The options' tokens are those of the texts in which another letter is the answer, whether or not
/// the encoder remembers them.
#[test]
fn options_tokens_replace_the_answers_token() {
    let fixture = fixture();
    for case in &fixture.cases {
        let shared = encoder(&fixture, &case.tokenizer, &case.chat);
        let mut example = example(&case.row);
        let encoded = shared
            .encode(&example.clone().into())
            .expect("a question that can be encoded");
        let answer = encoded
            .answer
            .clone()
            .expect("the completion holds the answer");
        assert_eq!(
            answer.token(),
            encoded.token_ids[answer.position as usize + 1]
        );
        assert_eq!(
            answer.position as usize + 1,
            encoded.tokens_of(Role::Prompt)
        );
        for option in 0..example.options.len() {
            example.answer = option;
            let mut expected = encoded.token_ids.clone();
            expected[answer.position as usize + 1] = answer.option_tokens[option];
            let fresh = encoder(&fixture, &case.tokenizer, &case.chat);
            for encoder in [&shared, &fresh] {
                let other = encoder
                    .encode(&example.clone().into())
                    .expect("a question that can be encoded");
                assert_eq!(other.token_ids, expected);
                assert_eq!(
                    other.answer.expect("an answer").option_tokens,
                    answer.option_tokens
                );
            }
        }
    }
}

#[test]
fn spans_make_up_the_text_and_mark_the_answer() {
    let fixture = fixture();
    for case in &fixture.cases {
        let encoder = encoder(&fixture, &case.tokenizer, &case.chat);
        let encoded = encoder
            .encode(&example(&case.row).into())
            .expect("a question that can be encoded");
        let spans = encoder.spans(&encoded);
        assert_eq!(
            spans
                .iter()
                .map(|span| span.text.as_str())
                .collect::<String>(),
            encoded.text
        );
        assert_eq!(
            spans.iter().map(|span| span.token_id).collect::<Vec<_>>(),
            encoded.token_ids
        );
        let answers: Vec<&str> = spans
            .iter()
            .filter(|s| s.is_answer)
            .map(|s| s.text.trim())
            .collect();
        assert_eq!(answers, [case.row.answer.to_string()]);
        let prompt = spans
            .iter()
            .take_while(|span| span.role == Role::Prompt)
            .count();
        assert_eq!(prompt, encoded.tokens_of(Role::Prompt));
        assert!(
            spans[prompt..]
                .iter()
                .all(|span| span.role == Role::Completion)
        );
    }
}

fn failure(chat: &str, change: impl Fn(&mut PromptSettings)) -> String {
    let fixture = fixture();
    let mut settings = PromptSettings::default();
    change(&mut settings);
    let chat = match chat {
        "none" => ChatTemplate::none(),
        jinja => ChatTemplate::from_jinja(jinja, TOKENS, None).expect("a template"),
    };
    match PromptEncoder::new(settings, tokenizer("byte_level"), chat) {
        Err(error) => error.to_string(),
        Ok(encoder) => encoder
            .encode(&example(&fixture.cases[0].row).into())
            .expect_err("it fails")
            .to_string(),
    }
}

#[test]
fn failures_name_the_question_and_say_what_to_do() {
    let chatml =
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
    let unprefixed = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}";
    let answer = |text: &'static str| {
        move |s: &mut PromptSettings| s.completion_template = Some(template(text))
    };
    let prompt =
        |text: &'static str| move |s: &mut PromptSettings| s.prompt_template = Some(template(text));
    let cases = [
        (
            failure(unprefixed, |_| ()),
            "is not a prefix of the rendered conversation: they differ from byte 0 on",
        ),
        (
            failure(chatml, prompt("{passage}")),
            "asks for {passage}, which does not exist; there are: article, example_id",
        ),
        (
            failure(chatml, answer("{answer} {answer}")),
            "{answer} must stand once",
        ),
        (
            failure("{{ messages[0].content }}", |_| ()),
            "the completion has no token",
        ),
        (
            failure(chatml, answer(" {answer}nna")),
            "do not differ in exactly one token",
        ),
        (
            failure("{{ raise_exception('no') }}", |_| ()),
            "the chat template fails",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.starts_with("made-up.parquet, row 7: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let message = failure("none", prompt("{question} {answer}"));
    assert!(message.contains("give the answer away"), "{message}");
}

#[test]
fn markers_that_the_tokenizer_lacks_are_named() {
    let unknown = |jinja: &str| -> Vec<String> {
        let chat = ChatTemplate::from_jinja(jinja, TOKENS, None).expect("a template");
        let settings = PromptSettings::default();
        let encoder = PromptEncoder::new(settings, tokenizer("byte_level"), chat);
        let markers = encoder
            .expect("settings that go together")
            .unknown_markers();
        markers.into_iter().collect()
    };
    let ends = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}";
    assert_eq!(unknown(ends), [""; 0]);
    assert_eq!(
        unknown(&format!("<|user|> 1 < 2 <b>|{ends}<|end of turn|><||>")),
        ["<|end of turn|>", "<|user|>"]
    );
    assert_eq!(unknown("{{ raise_exception('no') }}"), [""; 0]);
}

#[test]
fn a_completion_without_the_answer_has_none() {
    let settings = PromptSettings {
        completion_template: Some(template(" {question}")),
        ..Default::default()
    };
    let encoder = PromptEncoder::new(settings, tokenizer("byte_level"), ChatTemplate::none())
        .expect("settings");
    let encoded = encoder
        .encode(&example(&fixture().cases[0].row).into())
        .expect("a question that can be encoded");
    assert_eq!(encoded.answer, None);
    assert!(encoded.text.ends_with("What colour is Anna's boat?</s>"));
    let error = encoder.check_answers().expect_err("nothing to score");
    assert!(
        error
            .to_string()
            .contains("\" {question}\" does not hold {answer}"),
        "{error}"
    );
}

#[test]
fn plain_texts_begin_and_end_as_the_tokenizer_says() {
    for (name, first) in [("sentence_piece", Some(1)), ("byte_level", None)] {
        let tokenizer = tokenizer(name);
        let sequence = tokenizer.encode_text("Anna has a boat.").expect("a text");
        let plain = tokenizer
            .tokenizer()
            .encode("Anna has a boat.", false)
            .expect("a text");
        let expected: Vec<u32> = first
            .into_iter()
            .chain(plain.get_ids().iter().copied())
            .chain([2])
            .collect();
        assert_eq!(sequence.token_ids, expected);
        assert_eq!(
            (sequence.tokens_of(Role::Prompt), sequence.answer),
            (0, None)
        );
    }
}
