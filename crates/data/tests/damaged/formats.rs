//! Mutated files of the formats besides parquet, mutated rows of every shape, and mutated patterns,
//! each in a process with little memory.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Int64Array, NullArray, RecordBatch,
    StringArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use plw_mutate::{edited, mutated, mutations, try_all, with_little_memory};
use serde_json::{Value, json};

use crate::table::{arrow_file, arrow_stream, separated, table};
use crate::{readers, run};

/// A row of each kind of shape.
fn rows() -> Vec<Value> {
    vec![
        json!({"id": "one", "system": "s", "messages": [
            {"role": "user", "content": "Où? 😀"},
            {"role": "assistant", "content": null, "tool_calls": [{"name": "f", "arguments":
                {"x": 1}}]},
            {"role": "tool", "content": "1", "weight": 0.5},
            {"role": "assistant", "content": [{"type": "text", "text": "b"}], "loss_weight": 2},
        ], "tools": [{"type": "function", "function": {"name": "f"}}]}),
        json!({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
            "tools": "[{\"name\": \"f\"}]"}),
        json!({"article": "p", "question": "q", "options": ["x", "y"], "answer": "B"}),
        json!({"question": "q", "choices": {"text": ["x", "y"], "label": ["1", "2"]},
            "answerKey": "2"}),
        json!({"query": "q", "choices": ["x", "y"], "gold": 1}),
        json!({"question": "q", "distractor1": "x", "distractor2": "y", "distractor3": "z",
            "correct_answer": "w", "support": "p"}),
        json!({"dialogue": ["a", "b"], "question": "q", "choice": ["x", "y"], "answer": "y"}),
        json!({"question": "q", "A": "x", "B": "y", "C": "", "answer": "B", "article": "p"}),
        json!({"instruction": "a", "input": "i", "output": "b", "history": [["c", "d"]]}),
        json!({"instruction": "a", "instances": [{"input": "i", "output": "b"}]}),
        json!({"prompt": [{"role": "user", "content": "a"}],
            "completion": [{"role": "assistant", "content": "b"}]}),
        json!({"prompt": "a", "completion": "b"}),
    ]
}

/// Rows of one shape, so that a table has one type for each column.
fn alike() -> Vec<Vec<Value>> {
    rows()
        .into_iter()
        .map(|row| vec![row.clone(), row])
        .collect()
}

#[test]
fn damaged_json_files_are_errors() {
    with_little_memory("formats::damaged_json_files_are_errors", || {
        let lines: String = rows().iter().map(|row| format!("{row}\n")).collect();
        let array = Value::from(rows());
        let pretty = serde_json::to_string_pretty(&array).expect("JSON");
        let packed = zstd::encode_all(lines.as_bytes(), 1).expect("memory");
        let inputs = [
            ("a.jsonl", lines.clone().into_bytes()),
            ("b.json", array.to_string().into_bytes()),
            ("c.json", pretty.into_bytes()),
            ("d.jsonl", lines.replace('\n', "\r\n").into_bytes()),
            ("e.jsonl.zst", packed),
        ];
        let constants: [&[u8]; 10] = [
            b"[",
            b"]",
            b"{",
            b"}",
            b"\"",
            b"\n",
            b",",
            b"\\u",
            b"1e999",
            b"\xff\xfe",
        ];
        let folder = tempfile::tempdir().expect("a temporary folder");
        run(inputs.len(), constants.len(), |input, edits| {
            let (name, bytes) = &inputs[input];
            readers::rows_of(folder.path(), name, &edited(bytes, edits, &constants))
        });
    });
}

/// Rows that are JSON, with values that no reader expects.
#[test]
fn rows_of_other_shapes_are_errors() {
    with_little_memory("formats::rows_of_other_shapes_are_errors", || {
        let rows = rows();
        let folder = tempfile::tempdir().expect("a temporary folder");
        try_all(2000, (0..rows.len(), mutations()), |(row, changes)| {
            let changed = mutated(&rows[row], &changes);
            let lines = format!("{}\n{changed}\n{changed}\n", rows[row]);
            readers::rows_of(folder.path(), "train.jsonl", lines.as_bytes())
        });
    });
}

#[test]
fn damaged_separated_values_are_errors() {
    with_little_memory("formats::damaged_separated_values_are_errors", || {
        let question =
            json!({"question": "q, \"r\"", "A": "x\ny", "B": "é", "C": "", "answer": "B"});
        let text = json!({"article": "\"a\"", "prompt": "a", "completion": "b\r\nc"});
        let files = |row: &Value| {
            let rows = vec![row.clone(); 3];
            [
                ("a.csv", separated(&rows, b',', csv::Terminator::CRLF)),
                (
                    "a.tsv",
                    separated(&rows, b'\t', csv::Terminator::Any(b'\n')),
                ),
            ]
        };
        let inputs = [files(&question), files(&text)].concat();
        let constants: [&[u8]; 8] = [
            b"\"",
            b",",
            b"\n",
            b"\r\n",
            b"\t",
            b"\"\"",
            b"\xff",
            b"\0end of file\0",
        ];
        let folder = tempfile::tempdir().expect("a temporary folder");
        run(inputs.len(), constants.len(), |input, edits| {
            let (name, bytes) = &inputs[input];
            readers::rows_of(folder.path(), name, &edited(bytes, edits, &constants))
        });
    });
}

/// A table of every type that columns may have.
fn every_type() -> RecordBatch {
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("é")]));
    let to = |kind: DataType| cast(&text, &kind).expect("a cast between types of text");
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let pairs: ArrayRef = Arc::new(StringArray::from(vec!["x"; 6]));
    let fixed = FixedSizeListArray::new(item.clone(), 2, pairs, None);
    let options = cast(&fixed, &DataType::LargeList(item)).expect("a cast between lists");
    let answers = BooleanArray::from(vec![true, false, true]);
    let empty_item = Arc::new(Field::new_list_field(DataType::Null, true));
    let nothing = FixedSizeListArray::new(empty_item, 1, Arc::new(NullArray::new(3)), None);
    let columns: [(&str, ArrayRef); 12] = [
        ("question", text.clone()),
        ("article", to(DataType::LargeUtf8)),
        ("view", to(DataType::Utf8View)),
        ("answer", to(dictionary)),
        ("options", options),
        ("choices", Arc::new(fixed)),
        ("number", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("count", Arc::new(UInt64Array::from(vec![1, 2, u64::MAX]))),
        (
            "weight",
            Arc::new(Float32Array::from(vec![0.5, f32::NAN, 1.0])),
        ),
        ("is", Arc::new(answers)),
        ("null", Arc::new(NullArray::new(3))),
        ("tools", Arc::new(nothing)),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

#[test]
fn damaged_arrow_files_are_errors() {
    with_little_memory("formats::damaged_arrow_files_are_errors", || {
        let mut tables: Vec<RecordBatch> = alike().iter().map(|rows| table(rows)).collect();
        tables.push(every_type());
        let inputs: Vec<Vec<u8>> = tables
            .iter()
            .flat_map(|table| {
                let batches = [table.clone(), table.slice(0, 1)];
                [arrow_file(&batches), arrow_stream(&batches)]
            })
            .collect();
        let constants: [&[u8]; 6] = [
            b"\xff\xff\xff\xff",
            b"\xff\xff\xff\x7f",
            b"\0\0\0\0\x01\0\0\0",
            b"\0\0\0\0\0\0\0\x80",
            b"\0\0\0\0",
            b"\x10",
        ];
        let folder = tempfile::tempdir().expect("a temporary folder");
        run(inputs.len(), constants.len(), |input, edits| {
            // The beginning and the end of a file keep their place: all else would be cut off.
            let bytes = &inputs[input];
            let is_file = bytes.starts_with(b"ARROW1");
            let (start, end) = if is_file {
                (8, bytes.len() - 6)
            } else {
                (4, bytes.len())
            };
            let inner = edited(&bytes[start..end], edits, &constants);
            let parts = [&bytes[..start], &inner, &bytes[end..]];
            readers::rows_of(folder.path(), "train.arrow", &parts.concat())
        });
    });
}

#[test]
fn damaged_templates_with_marks_are_errors() {
    with_little_memory("formats::damaged_templates_with_marks_are_errors", || {
        let templates = [
            "{% for m in messages %}{{ m.role + ':' }}{% if m.role == 'assistant' %}\
             {% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}\
             {% endif %}{% endfor %}",
            "{%- for m in messages %}\n{%- if m.role != 'assistant' %}{{ m.content | trim }}\n\
             {%- else %}{%- generation -%}  {{ m.content }}{{ eos_token }}  {%- endgeneration -%}\n\
             {%- endif %}{%- endfor %}",
        ];
        let statements = [
            "{% generation %}",
            "{% endgeneration %}",
            "{% generation %}{% endgeneration %}",
            "{% generation %}{{ messages[0].content }}{% endgeneration %}",
            "{{ '\u{10fffe}\u{fdd0}' }}",
            "{{ '\u{10fffe}\u{fdd1}' }}",
            "{% set x %}{% generation %}a{% endgeneration %}{% endset %}{{ x }}{{ x }}",
            "{% set x %}{% generation %}a{% endgeneration %}{% endset %}{{ x | length }}",
            "{% set x %}{% generation %}abc{% endgeneration %}{% endset %}{{ x.replace('b', '') }}",
            "{% set x %}{% generation %}a{% endgeneration %}{% endset %}{{ x | upper | tojson }}",
        ];
        let constants: [&[u8]; 5] = [b"{%", b"%}", b"-", b"generation", b"'"];
        run(templates.len(), constants.len(), |template, edits| {
            let template = templates[template];
            if edits.len() > 1 {
                let ends = template.match_indices('}').map(|(at, _)| at + 1);
                let between = |&end: &usize| {
                    let before = &template[..end];
                    before.ends_with("%}") || before.ends_with("}}")
                };
                let ends: Vec<usize> = [0].into_iter().chain(ends.filter(between)).collect();
                let end = ends[edits[0].place() % ends.len()];
                let statement = statements[edits[1].place() % statements.len()];
                let (before, after) = template.split_at(end);
                readers::marked_template(&[before, statement, after].concat())
            } else {
                let text = edited(template.as_bytes(), &edits[..1], &constants);
                readers::marked_template(&String::from_utf8_lossy(&text))
            }
        });
    });
}

#[test]
fn damaged_patterns_are_errors() {
    with_little_memory("formats::damaged_patterns_are_errors", || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in [
            "data/train.jsonl",
            "data/a/test-1.csv",
            "data/a/b/c.parquet",
            "x/y.json.gz",
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, "{}").expect("a file");
        }
        let sources = [
            "data/*.jsonl",
            "**/train-[0-9]*.{csv,tsv}",
            "data,x/y.json.gz,a?c",
            "data/a",
        ];
        let constants: [&[u8]; 10] = [
            b"**",
            b"*",
            b"[",
            b"]",
            b"?",
            b"/",
            b",",
            b"[!",
            b"hub:",
            b"*a*a*a*a*a*a*a",
        ];
        run(sources.len(), constants.len(), |source, edits| {
            let text = edited(sources[source].as_bytes(), edits, &constants);
            readers::source(folder.path(), &String::from_utf8_lossy(&text))
        });
    });
}
