//! `cargo xtask check fuzz`: the readers of other people's files, given many more changed copies of
//! good ones than the ordinary tests give them.

use std::collections::BTreeMap;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_files::write_json_atomic;
use plw_record::Machine;
use serde::Serialize;

use crate::peer::scratch::Scratch;
use crate::text_table::markdown;
use crate::workspace::Workspace;
use crate::{binary, process};

/// How many times the cases of the ordinary tests.
const TIMES: &str = "10";

/// The tests: names for cargo, and a part of the tests' own names.
const TESTS: [&[&str]; 2] = [
    &["--test", "damaged", "--test", "hostile"],
    &["--bin", "plw", "any_preset"],
];

/// `results/check-fuzz.json`.
#[derive(Debug, Serialize)]
struct Record {
    commit: String,
    machine: Machine,
    /// By test.
    tested: BTreeMap<String, Tested>,
}

/// What a test has tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Tested {
    cases: u64,
    pass_the_first_check: u64,
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let scratch = Scratch::new(workspace.path("target/check/fuzz"));
    let mut tested = BTreeMap::new();
    for (number, tests) in TESTS.iter().enumerate() {
        let mut command = binary::cargo(workspace);
        command.args(["test", "--release", "--workspace", "--locked"]);
        command.args(*tests).args(["--", "--show-output"]);
        command.env("PLW_FUZZ", TIMES);
        let output = process::run_logged(&mut command, &scratch.log(&number.to_string()))?;
        let text = std::fs::read_to_string(&output).into_diagnostic();
        let text = text.wrap_err_with(|| format!("cannot read {}", output.display()))?;
        tested.extend(results(&text));
    }
    if tested.is_empty() {
        return Err(miette!("the tests have not said what they tried"));
    }
    println!("{}", table(&tested));
    let record = Record {
        commit: workspace.commit(),
        machine: Machine::this(),
        tested,
    };
    write_json_atomic(workspace.path("results/check-fuzz.json"), &record).into_diagnostic()
}

/// What each test says that it has tried.
fn results(output: &str) -> BTreeMap<String, Tested> {
    let mut test = None;
    let mut tested = BTreeMap::new();
    for line in output.lines() {
        let heading = line.strip_prefix("---- ");
        if let Some(name) = heading.and_then(|line| line.strip_suffix(" stdout ----")) {
            test = Some(name);
        }
        let Some((before, after)) = line.split_once(" cases, ") else {
            continue;
        };
        let last_word = before.rsplit(' ').next().unwrap_or_default();
        let first_word = after.split(' ').next().unwrap_or_default();
        if let (Some(test), Ok(cases), Ok(passed)) = (test, last_word.parse(), first_word.parse()) {
            let result = Tested {
                cases,
                pass_the_first_check: passed,
            };
            tested.insert(test.to_string(), result);
        }
    }
    tested
}

fn table(tested: &BTreeMap<String, Tested>) -> String {
    let row = |(test, tested): (&String, &Tested)| {
        let counts = [tested.cases, tested.pass_the_first_check].map(|count| count.to_string());
        [test.clone()].into_iter().chain(counts).collect()
    };
    let rows: Vec<Vec<String>> = tested.iter().map(row).collect();
    markdown(&["test", "cases", "pass the first check"], 1, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_say_what_they_tried() {
        let output = "running 2 tests\ntest a ... ok\n\nsuccesses:\n\n---- a stdout ----\n\
                      2000 cases, 1500 pass the first check\n\n---- b::c stdout ----\n\
                      running 1 test\ntest b::c ... 40 cases, 30 pass the first check\nok\n";
        let tested = results(output);
        let counts = |test: &str| (tested[test].cases, tested[test].pass_the_first_check);
        assert_eq!((counts("a"), counts("b::c")), ((2000, 1500), (40, 30)));
        assert_eq!(tested.len(), 2);
    }
}
