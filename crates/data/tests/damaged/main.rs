//! Mutated inputs make errors, never panics: 2000 cases of each format, always the same, or as many
//! times more as the variable `PLW_FUZZ` says. At least half of them pass the first check of their
//! format, so that what lies behind it is tested.

mod formats;
mod readers;
#[allow(dead_code)]
#[path = "../formats/table.rs"]
mod table;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{WriterProperties, WriterVersion};
use plw_mutate::{Edit, edited, edits, try_all};

/// Gives `check` mutations of an input that is chosen among `count`.
fn run(count: usize, constants: usize, check: impl Fn(usize, &[Edit]) -> bool) {
    let inputs = (0..count, edits(constants));
    try_all(2000, inputs, |(input, edits)| check(input, &edits));
}

fn parquet(properties: WriterProperties) -> Vec<u8> {
    let text = |texts: [&str; 3]| -> ArrayRef { Arc::new(StringArray::from(texts.to_vec())) };
    let mut options = ListBuilder::new(StringBuilder::new());
    for row in [["a", "b"], ["one", "two"], ["yes", "no"]] {
        options.append_value(row.map(Some));
    }
    let columns: [(&str, ArrayRef); 6] = [
        (
            "article",
            text(["Ann saw a cat.", "Ann saw a dog.", "Ben slept."]),
        ),
        ("question", text(["What?", "What else?", "Who?"])),
        ("answer", text(["A", "B", "A"])),
        ("options", Arc::new(options.finish())),
        ("year", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("hint", text(["", "look", "look"])),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
    bytes
}

#[test]
fn damaged_parquet_files_are_errors() {
    let plain = |encoding| {
        WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_encoding(encoding)
            .set_column_encoding("year".into(), Encoding::PLAIN)
    };
    let files: Vec<Vec<u8>> = [
        WriterProperties::builder(),
        plain(Encoding::PLAIN),
        plain(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        plain(Encoding::DELTA_BYTE_ARRAY).set_writer_version(WriterVersion::PARQUET_2_0),
        WriterProperties::builder().set_compression(Compression::SNAPPY),
        WriterProperties::builder().set_compression(Compression::GZIP(Default::default())),
        WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())),
        WriterProperties::builder().set_compression(Compression::LZ4),
    ]
    .map(|properties| parquet(properties.build()))
    .into();
    let constants: [&[u8]; 5] = [
        b"\x80\x80\x80\x80\x10",
        b"\xff\xff\xff\xff\x0f",
        b"\xff\xff\xff\x7f",
        b"\0\0\0\0",
        b"\xc3",
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    run(files.len(), constants.len(), |file, edits| {
        // The footer keeps its place: all else would be cut off at the first check.
        let bytes = &files[file];
        let end = bytes.len() - 8;
        let footer = u32::from_le_bytes(bytes[end..end + 4].try_into().expect("four bytes"));
        let footer = end - footer as usize;
        let pages = edited(&bytes[4..footer], edits, &constants);
        let footer = match edits.len() % 2 {
            0 => bytes[footer..end].to_vec(),
            _ => edited(&bytes[footer..end], edits, &constants),
        };
        let length = (footer.len() as u32).to_le_bytes();
        let parts: [&[u8]; 5] = [&bytes[..4], &pages, &footer, &length, &bytes[end + 4..]];
        readers::rows(folder.path(), &parts.concat())
    });
}

#[test]
fn damaged_tokenizers_are_errors() {
    let fixture = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(name);
        let json = std::fs::read(path).expect("a fixture");
        // Without most of its vocabulary it is read fast.
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        serde_json::to_vec(&small(json)).expect("JSON")
    };
    let inputs = [
        fixture("byte_level.tokenizer.json"),
        fixture("sentence_piece.tokenizer.json"),
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let parts = parts();
    run(inputs.len(), parts.len(), |input, edits| {
        let mut json: serde_json::Value = serde_json::from_slice(&inputs[input]).expect("JSON");
        // Half of the cases get parts that are JSON but nonsense; the others other bytes.
        if edits.len() % 2 == 0 {
            for edit in edits {
                let (name, part) = &parts[edit.place() % parts.len()];
                json[*name] = part.clone();
            }
            readers::tokenizer(folder.path(), &serde_json::to_vec(&json).expect("JSON"))
        } else {
            let constants: [&[u8]; 4] = [b"\"\"", b"null", b"-1", b"4294967296"];
            let bytes = edited(&inputs[input], edits, &constants);
            readers::tokenizer(folder.path(), &bytes)
        }
    });
}

/// A tokenizer with the first tokens of its vocabulary alone.
fn small(mut json: serde_json::Value) -> serde_json::Value {
    if let Some(vocabulary) = json["model"]["vocab"].as_object_mut() {
        vocabulary.retain(|_, id| id.as_u64().is_some_and(|id| id < 300));
    }
    if let Some(merges) = json["model"]["merges"].as_array_mut() {
        merges.clear();
    }
    json
}

/// Parts of a tokenizer.json on which the tokenizers library panics or fails, now or once.
fn parts() -> Vec<(&'static str, serde_json::Value)> {
    let part = serde_json::json!([
        ["normalizer", {"type": "Prepend", "prepend": ""}],
        ["normalizer", {"type": "Replace", "pattern": {"String": ""}, "content": "x"}],
        ["normalizer", {"type": "Replace", "pattern": {"Regex": ""}, "content": ""}],
        ["normalizer", {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}],
        ["normalizer", {"type": "Precompiled", "precompiled_charsmap": ""}],
        ["normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}],
        ["normalizer", {"type": "Precompiled", "precompiled_charsmap": "/////w=="}],
        ["normalizer", {"type": "Sequence", "normalizers": []}],
        ["normalizer", {"type": "Strip", "strip_left": true, "strip_right": true}],
        ["pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior":
            "Removed", "invert": true}],
        ["pre_tokenizer", {"type": "Split", "pattern": {"String": ""}, "behavior":
            "Isolated", "invert": false}],
        ["pre_tokenizer", {"type": "FixedLength", "length": 0}],
        ["pre_tokenizer", {"type": "Metaspace", "replacement": "", "prepend_scheme": "always"}],
        ["post_processor", {"type": "TemplateProcessing", "single": [], "pair": [],
            "special_tokens": {}}],
        ["post_processor", {"type": "TemplateProcessing", "single":
            [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id":
            0}}], "pair": [], "special_tokens": {}}],
        ["post_processor", {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B",
            "type_id": 0}}], "pair": [], "special_tokens": {}}],
        ["post_processor", {"type": "BertProcessing", "sep": ["", 0], "cls": ["", 4294967295u32]}],
        ["post_processor", {"type": "RobertaProcessing", "sep": ["", 0], "cls": ["", 0],
            "trim_offsets": true, "add_prefix_space": false}],
        ["decoder", {"type": "Strip", "content": "", "start": 1, "stop": 99}],
        ["decoder", {"type": "CTC"}],
        ["decoder", {"type": "Sequence"}],
        ["model", {"type": "WordLevel", "vocab": {}, "unk_token": ""}],
        ["model", {"type": "Unigram", "unk_id": 7, "vocab": []}],
        ["model", {"type": "Unigram", "unk_id": 0, "vocab": [["", -1e308], ["A", 1e308]]}],
        ["model", {"type": "WordPiece", "vocab": {"": 4294967295u32}, "unk_token": "",
            "continuing_subword_prefix": "", "max_input_chars_per_word": 0}],
        ["model", {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "a"]]}],
        ["model", {"type": "BPE", "vocab": {"a": 0, "aa": 0}, "merges": ["a a"], "dropout": 2.0}],
        ["added_tokens", [{"id": 4294967295u32, "content": "", "single_word": true, "lstrip": true,
            "rstrip": true, "normalized": true, "special": true}]],
        ["truncation", {"direction": "Right", "max_length": 0, "strategy": "LongestFirst",
            "stride": 9}],
        ["padding", {"strategy": {"Fixed": 4294967296u64}, "direction": "Left",
            "pad_to_multiple_of": 0, "pad_id": 0, "pad_type_id": 0, "pad_token": ""}],
    ]);
    let parts: Vec<(String, serde_json::Value)> =
        serde_json::from_value(part).expect("pairs of a name and a part");
    let names = [
        "normalizer",
        "pre_tokenizer",
        "post_processor",
        "decoder",
        "model",
        "added_tokens",
        "truncation",
        "padding",
    ];
    let named = parts.into_iter().map(|(name, part)| {
        let name = names.into_iter().find(|known| **known == name);
        (name.expect("the name of a part"), part)
    });
    named.collect()
}

/// Parts on which the tokenizers library panics are errors that name the file.
#[test]
fn parts_of_tokenizers_that_panic_are_errors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fixture = include_bytes!("../fixtures/byte_level.tokenizer.json");
    let fixture: serde_json::Value = serde_json::from_slice(fixture).expect("JSON");
    let mut errors = 0;
    for (name, part) in parts() {
        let mut json = fixture.clone();
        json[name] = part.clone();
        let bytes = serde_json::to_vec(&json).expect("JSON");
        assert!(readers::tokenizer(folder.path(), &bytes), "{part}");
        if let Err(error) = plw_data::ModelTokenizer::from_directory(folder.path()) {
            let told = error.to_string();
            assert!(
                told.contains("tokenizer.json cannot be used"),
                "{part}: {told}"
            );
            errors += 1;
        }
    }
    assert!(errors > 5, "only {errors} parts are refused");
}

/// Statements that are valid by themselves and ask for too much.
const STATEMENTS: [&str; 12] = [
    "{{ 'a' * 999999 }}",
    "{{ messages | tojson(indent=50) }}",
    "{{ x | tojson }}",
    "{{ x.y.z }}",
    "{{ messages[9] }}",
    "{{ messages[0].content | indent(99999) }}",
    "{{ '%99999s' | format(x) }}",
    "{{ ','.join(range(99999)) }}",
    "{{ 'ab'.replace('', x or 'c' * 9999) }}",
    "{% for i in range(99999) %}{{ i }}{% endfor %}",
    "{% set n = namespace(a=[]) %}{% set n.a = [n.a, n] %}{{ n.a | tojson }}",
    "{% generation %}{{ strftime_now('%d %Q') }}{% endgeneration %}",
];

#[test]
fn damaged_chat_templates_are_errors() {
    let fixture = include_str!("../fixtures/chat.json");
    let cases: Vec<serde_json::Value> = serde_json::from_str(fixture).expect("JSON");
    let mut templates: Vec<&str> = cases
        .iter()
        .filter_map(|c| c["template"].as_str())
        .collect();
    templates.dedup();
    let constants: [&[u8]; 8] = [
        b"{%}",
        b"{{",
        b"%}",
        b"-",
        b"9999999999999",
        b"'",
        b"|tojson(indent=2)",
        b"*999999",
    ];
    run(templates.len(), constants.len(), |template, edits| {
        let template = templates[template];
        // Half of the cases get statements between those that are there; the others an edit. More
        // than one seldom leaves a template that can be parsed.
        if edits.len() % 2 == 0 {
            let ends = template.match_indices(['%', '}']).map(|(at, _)| at + 1);
            let between = |&end: &usize| {
                let before = &template[..end];
                before.ends_with("%}") || before.ends_with("}}")
            };
            let ends: Vec<usize> = [0].into_iter().chain(ends.filter(between)).collect();
            let end = ends[edits[0].place() % ends.len()];
            let statement = STATEMENTS[edits[1].place() % STATEMENTS.len()];
            let (before, after) = template.split_at(end);
            readers::chat_template(&[before, statement, after].concat())
        } else {
            let text = edited(template.as_bytes(), &edits[..1], &constants);
            readers::chat_template(&String::from_utf8_lossy(&text))
        }
    });
}

#[test]
fn damaged_prompt_templates_are_errors() {
    let templates = [
        "Context:{article}\nQuestion:{answer}\n{{not a field}} é",
        "{article}{article}",
        "日本語 {answer} }}{{",
    ];
    let constants: [&[u8]; 4] = [b"{article}", b"}}", b"{{", b"{"];
    run(templates.len(), constants.len(), |template, edits| {
        let edits = &edits[..1];
        let text = edited(templates[template].as_bytes(), edits, &constants);
        readers::prompt_template(&String::from_utf8_lossy(&text))
    });
}
