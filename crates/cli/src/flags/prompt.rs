//! The flags that decide which examples a model gets, and as which tokens.

use std::path::PathBuf;

use clap::Args;
use plw_data::ChatTemplateChoice;
use serde::{Serialize, Serializer};

/// The built-in templates are named once, where they are defined.
fn chat_template_help() -> String {
    let names = ChatTemplateChoice::names().join(", ");
    format!("One of {names} (model is the one beside the weights), or a .jinja file")
}

/// Names of columns as one text.
fn joined<S: Serializer>(names: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&names.join(","))
}

/// Which examples, as which tokens.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[command(next_help_heading = "Data and prompts")]
pub(crate) struct PromptFlags {
    /// Which columns of the data are which: OURS=THEIRS, as in question=query,options=A,options=B.
    /// Ours are article, question, options and answer of a question, prompt and completion of an
    /// instruction, messages of a conversation.
    #[arg(long, value_name = "OURS=THEIRS", value_delimiter = ',')]
    #[serde(serialize_with = "joined", skip_serializing_if = "Vec::is_empty")]
    column: Vec<String>,
    /// How the answers of questions are written, where the data set is not known: letter,
    /// number-from-0, number-from-1 or text.
    #[arg(long, value_name = "STYLE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_style: Option<String>,
    /// Which turns of the assistant are completions: all, or the last one.
    #[arg(long, value_name = "TURNS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_turns: Option<String>,
    /// The user's turn of a question or an instruction, with {article} {question} {options} or
    /// {prompt}, and any column's name. Lists of messages are taken as they are.
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_template: Option<String>,
    /// The assistant's turn: the same names, and {answer} or {completion}.
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_template: Option<String>,
    /// How {options} is printed: python-list or lettered.
    #[arg(long, value_name = "STYLE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    options_style: Option<String>,
    /// An option where they are lettered, with {letter} and {option}.
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    option_template: Option<String>,
    /// What stands between two lettered options.
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    option_separator: Option<String>,
    #[arg(long, value_name = "TEMPLATE", help = chat_template_help())]
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_template: Option<String>,
    /// The date that a chat template prints, as YYYY-MM-DD.
    #[arg(long, value_name = "DATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_template_date: Option<String>,
    /// Whether the end-of-sequence token ends a completion where there is no chat template.
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    append_eos: Option<bool>,
    /// Tokens of the longest sequence, and of a pack. Longer examples are dropped and counted.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<usize>,
    /// How to treat a bad row: error or skip.
    #[arg(long, value_name = "WAY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    on_bad_row: Option<String>,
    /// Directory or tokenizer.json to take the tokenizer from, instead of the model's.
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tokenizer: Option<PathBuf>,
}
