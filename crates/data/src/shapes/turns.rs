//! Lists of messages as turns.

use serde_json::{Map, Value};

use super::example::{ASSISTANT, Turn};
use super::fields::{list, object, wrong_type};
use crate::rows::{Problem, Refusal};

/// Roles that people write, and the role of a chat template that each is.
const ROLES: [(&str, &str); 19] = [
    ("system", "system"),
    ("developer", "developer"),
    ("user", "user"),
    ("human", "user"),
    ("assistant", ASSISTANT),
    ("gpt", ASSISTANT),
    ("chatgpt", ASSISTANT),
    ("bing", ASSISTANT),
    ("bard", ASSISTANT),
    ("model", ASSISTANT),
    ("function_call", ASSISTANT),
    ("tool_call", ASSISTANT),
    ("tool", "tool"),
    ("observation", "tool"),
    ("function", "tool"),
    ("function_response", "tool"),
    ("tool_response", "tool"),
    ("ipython", "ipython"),
    ("context", "context"),
];

/// The keys of a turn that say nothing; one without a content must have another, such as a call of
/// a tool.
const SAYS_NOTHING: [&str; 3] = ["role", "content", "name"];

/// The keys of a turn's weight: OpenAI's and LLaMA-Factory's.
const WEIGHTS: [&str; 2] = ["weight", "loss_weight"];

/// Turns of the longest conversation. All turns before an assistant's are rendered to find it.
const MOST_TURNS: usize = 4096;

/// The turns of a list of messages, `{role, content}` or `{from, value}`.
pub(crate) fn turns(messages: &Value, column: &str) -> Result<Vec<Turn>, Refusal> {
    let messages = list(messages, column)?;
    if messages.len() > MOST_TURNS {
        let count = messages.len();
        return Err(Refusal {
            found: format!(" (it has {count} turns; at most {MOST_TURNS} are read)"),
            ..Refusal::new(column, Problem::TooLong)
        });
    }
    let messages = messages.iter().enumerate();
    messages
        .map(|(index, message)| turn(message, column, index))
        .collect()
}

fn turn(message: &Value, column: &str, index: usize) -> Result<Turn, Refusal> {
    let written = object(message, column)?;
    let role = ["role", "from"]
        .iter()
        .find_map(|key| written.get(*key)?.as_str());
    let known = role.and_then(|role| {
        let role = role.trim().to_ascii_lowercase();
        ROLES.iter().find(|(written, _)| *written == role)
    });
    let Some((_, role)) = known else {
        let shown: String = role.unwrap_or_default().chars().take(40).collect();
        return Err(Refusal {
            found: format!(
                " (turn {index}, counted from 0, has the role {shown:?}; known are {})",
                ROLES.map(|(written, _)| written).join(", ")
            ),
            ..Refusal::new(column, Problem::UnknownRole)
        });
    };
    let content = ["content", "value"]
        .iter()
        .find_map(|key| written.get(*key).filter(|content| !content.is_null()))
        .or_else(|| written.get("content"));
    let mut message = Map::new();
    message.insert("role".to_owned(), (*role).into());
    if let Some(content) = content {
        check_content(content, column)?;
        message.insert("content".to_owned(), content.clone());
    }
    let own = ["role", "from", "content", "value", WEIGHTS[0], WEIGHTS[1]];
    let others = written.iter().filter(|(key, value)| {
        // A table writes null where a message has no such key.
        !own.contains(&key.as_str()) && !value.is_null()
    });
    message.extend(others.map(|(key, value)| (key.clone(), value.clone())));
    if content.is_none_or(Value::is_null)
        && message.keys().all(|key| SAYS_NOTHING.contains(&&**key))
    {
        return Err(Refusal {
            found: format!(" (turn {index}, counted from 0, has no content)"),
            ..Refusal::new(column, Problem::Empty)
        });
    }
    Ok(Turn {
        message,
        weight: weight(written, column, index)?,
        is_completion: *role == ASSISTANT,
    })
}

/// A content is a text, or a list of parts, or null where a turn calls a tool.
fn check_content(content: &Value, column: &str) -> Result<(), Refusal> {
    match content {
        Value::String(_) | Value::Array(_) | Value::Null => Ok(()),
        other => Err(wrong_type(column, other, "text")),
    }
}

fn weight(written: &Map<String, Value>, column: &str, index: usize) -> Result<f64, Refusal> {
    let given = WEIGHTS
        .iter()
        .find_map(|key| written.get(*key).filter(|w| !w.is_null()));
    let Some(given) = given else {
        return Ok(1.0);
    };
    let weight = given
        .as_f64()
        .filter(|weight| (0.0..=f64::from(f32::MAX)).contains(weight));
    weight.ok_or_else(|| Refusal {
        found: format!(" (turn {index}, counted from 0, has {given})"),
        ..Refusal::new(column, Problem::NotAWeight)
    })
}
