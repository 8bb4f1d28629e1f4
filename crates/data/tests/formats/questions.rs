//! Multiple-choice questions of every data set that is known.

use plw_data::{Example, ReadOptions, Source, Split, read_examples};
use serde_json::{Value, json};

use crate::cases::{column_options, folder, lines, write};

/// Settings of columns, a row, what it is called, and its passage, options and answer.
type Case = (
    Value,
    Value,
    &'static str,
    Option<&'static str>,
    Vec<&'static str>,
    usize,
);

fn cases() -> Vec<Case> {
    let letters = |count: u8| (b'A'..b'A' + count).map(char::from);
    let mut columns_of_letters = json!({"question": "q", "answer": "Z"});
    for letter in letters(26) {
        columns_of_letters[letter.to_string()] = letter.to_lowercase().to_string().into();
    }
    let many: Vec<&str> = "abcdefghijklmnopqrstuvwxyz"
        .split("")
        .filter(|l| !l.is_empty())
        .collect();
    let none = || json!({});
    let style = |style: &str| json!({"answer_style": style});
    vec![
        (
            none(),
            json!({"article": "p", "question": "q", "options": ["x", "y", "z"], "answer": "C"}),
            "RACE",
            Some("p"),
            vec!["x", "y", "z"],
            2,
        ),
        (
            none(),
            json!({"id": "M1", "question": "q", "answerKey": "2",
                "choices": {"text": ["x", "y"], "label": ["1", "2"]}}),
            "ARC",
            None,
            vec!["x", "y"],
            1,
        ),
        (
            // The answer is a label, which may be another letter than that of its place.
            none(),
            json!({"question_stem": "q", "answerKey": "A",
                "choices": {"label": ["C", "A"], "text": ["x", "y"]}}),
            "OpenBookQA",
            None,
            vec!["x", "y"],
            1,
        ),
        (
            none(),
            json!({"query": "q", "choices": ["x", "y"], "gold": 1}),
            "query, choices and gold",
            None,
            vec!["x", "y"],
            1,
        ),
        (
            none(),
            json!({"question": "q", "subject": "math", "choices": ["0", "1"], "answer": 0}),
            "MMLU",
            None,
            vec!["0", "1"],
            0,
        ),
        (
            // Programs write whole numbers so where other rows have none.
            none(),
            json!({"question": "q", "choices": [0, 1.5, true], "answer": 2.0}),
            "MMLU",
            None,
            vec!["0", "1.5", "true"],
            2,
        ),
        (
            none(),
            json!({"question": "q", "distractor1": "b", "distractor2": "É", "distractor3": "a",
                "correct_answer": "B", "support": "p"}),
            "SciQ",
            Some("p"),
            vec!["B", "a", "b", "É"],
            0,
        ),
        (
            none(),
            json!({"question": "q", "distractor1": "b", "distractor2": "c", "distractor3": "a",
                "correct_answer": "d", "support": " "}),
            "SciQ",
            None,
            vec!["a", "b", "c", "d"],
            3,
        ),
        (
            none(),
            json!({"dialogue": ["M: a", "W: b"], "question": "q", "choice": ["x", "y", "z"],
                "answer": "y"}),
            "DREAM",
            Some("M: a\nW: b"),
            vec!["x", "y", "z"],
            1,
        ),
        (
            none(),
            json!({"question": "q", "options": ["x", "y"], "answer": "B"}),
            "questions with options",
            None,
            vec!["x", "y"],
            1,
        ),
        (
            style("number-from-0"),
            json!({"question": "q", "options": ["x", "y"], "answer": "1"}),
            "questions with options",
            None,
            vec!["x", "y"],
            1,
        ),
        (
            style("number-from-1"),
            json!({"article": "p", "question": "q", "options": ["x", "y"], "answer": 1}),
            "RACE",
            Some("p"),
            vec!["x", "y"],
            0,
        ),
        (
            style("text"),
            json!({"question": "q", "options": ["B", "A"], "answer": "A"}),
            "questions with options",
            None,
            vec!["B", "A"],
            1,
        ),
        (
            style("letter"),
            json!({"question": "q", "choices": ["x", "y"], "answer": "B"}),
            "MMLU",
            None,
            vec!["x", "y"],
            1,
        ),
        (
            none(),
            json!({"question": "q", "A": "x", "B": "y", "answer": "A"}),
            "questions with a column for each option",
            None,
            vec!["x", "y"],
            0,
        ),
        (
            none(),
            json!({"question": "q", "A": 1, "B": 2, "C": 3, "D": null, "E": "", "answer": "C"}),
            "questions with a column for each option",
            None,
            vec!["1", "2", "3"],
            2,
        ),
        (
            none(),
            columns_of_letters,
            "questions with a column for each option",
            None,
            many,
            25,
        ),
        (
            json!({"column": {"question": "ask", "options": ["1", "2", "3"], "answer": "right",
                "article": "text"}, "answer_style": "text"}),
            json!({"ask": "q", "1": "x", "2": "y", "3": null, "right": "y", "text": "p"}),
            "RACE",
            Some("p"),
            vec!["x", "y"],
            1,
        ),
    ]
}

#[test]
fn questions_are_recognized_by_their_columns() {
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    for (settings, row, name, article, options, answer) in cases() {
        write(&path, lines(std::slice::from_ref(&row)));
        let source = Source::Path(path.clone());
        let columns = column_options(settings);
        let mut reader = read_examples(&source, Split::Train, &columns, &ReadOptions::default())
            .unwrap_or_else(|error| panic!("{row}: {error}"));
        let examples: Result<Vec<Example>, _> = reader.by_ref().collect();
        let examples = examples.unwrap_or_else(|error| panic!("{row}: {error}"));
        let [Example::Question(question)] = examples.as_slice() else {
            panic!("one question, not {examples:?}")
        };
        assert_eq!(question.question, "q", "{row}");
        assert_eq!(question.article.as_deref(), article, "{row}");
        assert_eq!(question.options, options, "{row}");
        assert_eq!(question.answer, answer, "{row}");
        assert_eq!(reader.shapes(), [name], "{row}");
    }
}

#[test]
fn the_number_of_options_may_differ_by_row() {
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    let row = |count: u8| {
        let options: Vec<String> = (0..count)
            .map(|option| format!("option {option}"))
            .collect();
        let last = char::from(b'A' + count - 1).to_string();
        json!({"question": "q", "options": options, "answer": last})
    };
    let rows: Vec<Value> = (2..=26).rev().map(row).collect();
    write(&path, lines(&rows));
    let examples = crate::cases::read(&path).expect("good rows");
    let counts: Vec<(usize, usize)> = examples
        .into_iter()
        .map(|example| example.question().expect("a question"))
        .map(|question| (question.options.len(), question.answer))
        .collect();
    let expected: Vec<(usize, usize)> = (2..=26).rev().map(|count| (count, count - 1)).collect();
    assert_eq!(counts, expected);
}

#[test]
fn other_columns_are_fields_of_templates() {
    let folder = folder();
    let path = folder.path().join("rows.jsonl");
    let row = json!({"question": "q", "choices": ["x", "y"], "answer": 0, "subject": "math",
        "year": 3, "list": ["no"], "none": null});
    write(&path, lines(&[row]));
    let examples = crate::cases::read(&path).expect("a good row");
    let [Example::Question(question)] = examples.as_slice() else {
        panic!("one question")
    };
    assert_eq!(
        json!(question.columns),
        json!({"subject": "math", "year": "3"})
    );
}
