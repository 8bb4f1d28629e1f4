//! Rows as conversations: lists of messages, and instructions with their answers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::column_names::is_blank;
use super::example::{ASSISTANT, Conversation, Turn};
use super::fields::{
    list, object, optional, optional_text, printed_columns, required, required_text, text,
    wrong_type,
};
use super::identity::Identity;
use super::shape::Shape;
use super::turns::turns;
use crate::rows::{Columns, Problem, Refusal};

/// A row as conversations: one, but for rows with several instances.
pub(crate) fn conversations(
    shape: Shape,
    columns: &Columns,
    identity: Identity,
) -> Result<Vec<Conversation>, Refusal> {
    let made = match shape {
        Shape::Messages => messages(columns, "messages")?,
        Shape::ShareGpt => messages(columns, "conversations")?,
        Shape::PromptCompletion if columns["prompt"].is_array() => {
            prompted_messages(columns, "completion")?
        }
        Shape::PromptResponse if columns["prompt"].is_array() => {
            prompted_messages(columns, "response")?
        }
        Shape::Instances => return instances(columns, &identity),
        shape => instruction(shape, columns)?,
    };
    Ok(vec![made.conversation(identity)])
}

/// What a row says, without its identity.
struct Made {
    turns: Vec<Turn>,
    tools: Option<Value>,
    fields: Option<BTreeMap<String, String>>,
}

impl Made {
    fn conversation(self, identity: Identity) -> Conversation {
        let Self {
            turns,
            tools,
            fields,
        } = self;
        Conversation {
            file: identity.file,
            row: identity.row,
            example_id: identity.example_id,
            level: identity.level,
            turns,
            tools,
            fields,
        }
    }
}

/// A list of messages, behind the system's turn where that has a column of its own.
fn messages(columns: &Columns, name: &str) -> Result<Made, Refusal> {
    let mut turns = turns(required(columns, name)?, name)?;
    if let Some(system) = optional_text(columns, "system")? {
        turns.insert(0, Turn::new("system", system));
    }
    check_completion(&turns, name)?;
    Ok(Made {
        turns,
        tools: tools(columns)?,
        fields: None,
    })
}

/// Messages of a prompt, and those of its completion.
fn prompted_messages(columns: &Columns, completion: &str) -> Result<Made, Refusal> {
    let mut all = turns(required(columns, "prompt")?, "prompt")?;
    all.iter_mut().for_each(|turn| turn.is_completion = false);
    let completions = turns(required(columns, completion)?, completion)?;
    check_completion(&completions, completion)?;
    all.extend(completions);
    Ok(Made {
        turns: all,
        tools: tools(columns)?,
        fields: None,
    })
}

fn check_completion(turns: &[Turn], name: &str) -> Result<(), Refusal> {
    match turns.iter().any(|turn| turn.is_completion) {
        true => Ok(()),
        false => Err(Refusal::new(name, Problem::NoCompletion)),
    }
}

/// The tools of a conversation: a list, or the JSON text of one.
fn tools(columns: &Columns) -> Result<Option<Value>, Refusal> {
    let Some(tools) = optional_text_or_list(columns)? else {
        return Ok(None);
    };
    list(&tools, "tools")?;
    Ok(Some(tools).filter(|tools| tools != &Value::Array(Vec::new())))
}

fn optional_text_or_list(columns: &Columns) -> Result<Option<Value>, Refusal> {
    let Some(tools) = optional(columns, "tools") else {
        return Ok(None);
    };
    match tools {
        Value::String(json) if json.trim().is_empty() => Ok(None),
        Value::String(json) => serde_json::from_str(json)
            .map(Some)
            .map_err(|error| Refusal {
                found: format!(" ({error})"),
                ..Refusal::new("tools", Problem::NotJson)
            }),
        tools => Ok(Some(tools.clone())),
    }
}

/// An instruction and its answer.
fn instruction(shape: Shape, columns: &Columns) -> Result<Made, Refusal> {
    let with_input = |input| {
        let instruction = required_text(columns, "instruction")?;
        Ok(instructed(&instruction, optional_text(columns, input)?))
    };
    let (prompt, completion) = match shape {
        Shape::Alpaca => (with_input("input")?, "output"),
        Shape::Dolly => (with_input("context")?, "response"),
        Shape::PromptCompletion => (required_text(columns, "prompt")?, "completion"),
        Shape::PromptResponse => (required_text(columns, "prompt")?, "response"),
        Shape::OpenOrca => (required_text(columns, "question")?, "response"),
        Shape::QuestionAnswer => (required_text(columns, "question")?, "answer"),
        Shape::SamSum => {
            let dialogue = required_text(columns, "dialogue")?;
            (format!("Summarize this dialogue:\n{dialogue}"), "summary")
        }
        Shape::XSum => {
            let document = required_text(columns, "document")?;
            (format!("Summarize this article:\n{document}"), "summary")
        }
        other => unreachable!("rows of {} are no instructions", other.name()),
    };
    let completion = required_text(columns, completion)?;
    let mut turns = Vec::new();
    for system in ["system", "system_prompt"] {
        if let Some(system) = optional_text(columns, system)? {
            turns.push(Turn::new("system", system));
        }
    }
    if shape == Shape::Alpaca {
        turns.extend(history(columns)?);
    }
    Ok(exchange(turns, columns, prompt, completion))
}

/// The user's turn of an instruction and its input.
fn instructed(instruction: &str, input: Option<&str>) -> String {
    match input {
        Some(input) => format!("{instruction}\n{input}"),
        None => instruction.to_owned(),
    }
}

/// The turns of a prompt and a completion behind others, and the fields of templates.
fn exchange(mut turns: Vec<Turn>, columns: &Columns, prompt: String, completion: String) -> Made {
    turns.push(Turn::new("user", &prompt));
    turns.push(Turn::new(ASSISTANT, &completion));
    let mut fields = printed_columns(columns, &[]);
    fields.insert("prompt".to_owned(), prompt);
    fields.insert("completion".to_owned(), completion);
    Made {
        turns,
        tools: None,
        fields: Some(fields),
    }
}

/// The turns before an instruction, as pairs of what the user and the assistant said.
fn history(columns: &Columns) -> Result<Vec<Turn>, Refusal> {
    // Separated values have an empty text where there is none.
    let Some(history) = optional(columns, "history").filter(|value| !is_blank(value)) else {
        return Ok(Vec::new());
    };
    let mut turns = Vec::new();
    for pair in list(history, "history")? {
        match list(pair, "history")?.as_slice() {
            [user, assistant] => {
                turns.push(Turn::new("user", text(user, "history")?));
                turns.push(Turn::new(ASSISTANT, text(assistant, "history")?));
            }
            _ => return Err(wrong_type("history", pair, "a pair of texts")),
        }
    }
    Ok(turns)
}

/// The instances of an instruction, each a conversation of its own.
fn instances(columns: &Columns, identity: &Identity) -> Result<Vec<Conversation>, Refusal> {
    const NAME: &str = "instances";
    let instruction = required_text(columns, "instruction")?;
    let instances = list(required(columns, NAME)?, NAME)?;
    if instances.is_empty() {
        return Err(Refusal::new(NAME, Problem::Empty));
    }
    let conversation = |(index, instance): (usize, &Value)| {
        let instance = object(instance, NAME)?;
        let prompt = instructed(&instruction, optional_text(instance, "input")?);
        let mut all = columns.clone();
        all.remove(NAME);
        all.extend(instance.clone());
        let made = exchange(Vec::new(), &all, prompt, required_text(instance, "output")?);
        let mut identity = identity.clone();
        if instances.len() > 1 {
            identity.example_id = format!("{}-{index}", identity.example_id);
        }
        Ok(made.conversation(identity))
    };
    instances.iter().enumerate().map(conversation).collect()
}
