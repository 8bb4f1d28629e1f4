//! The text of a conversation, and which of its bytes are completions.

use minijinja::Value;
use minijinja::value::Serde;
use plw_batch::Role;

use super::difference::not_a_prefix;
use super::error::EncodeError;
use super::span::Span;
use crate::prompt::{ChatTemplate, LossTurns, Rendered};
use crate::shapes::{ASSISTANT, Turn};

/// A rendered conversation.
pub(crate) struct ConversationText {
    pub(crate) text: String,
    /// In order.
    pub(crate) spans: Vec<Span>,
}

/// Renders turns by a chat template, or without one directly after each other.
pub(crate) fn conversation_text(
    chat: &ChatTemplate,
    turns: &[Turn],
    tools: Option<&serde_json::Value>,
    loss_turns: LossTurns,
) -> Result<ConversationText, EncodeError> {
    let last = turns.iter().rposition(|turn| turn.is_completion);
    let counts = |index: usize| {
        turns[index].is_completion && (loss_turns == LossTurns::All || Some(index) == last)
    };
    if !chat.is_jinja() {
        return direct(turns);
    }
    let conversation = Conversation {
        chat,
        messages: turns
            .iter()
            .map(|turn| Value::from(Serde(&turn.message)))
            .collect(),
        tools: tools.map_or(Value::UNDEFINED, |tools| Value::from(Serde(tools))),
    };
    let whole = conversation.render(turns.len(), false)?;
    let spans = match chat.marks_generation() {
        true => marked_spans(&conversation, &whole, turns, counts)?,
        false => rendered_spans(&conversation, &whole.text, turns, |_| true, counts)?,
    };
    Ok(ConversationText {
        text: whole.text,
        spans,
    })
}

/// A conversation as a chat template takes it.
struct Conversation<'a> {
    chat: &'a ChatTemplate,
    messages: Vec<Value>,
    tools: Value,
}

impl Conversation<'_> {
    /// Renders the first turns.
    fn render(&self, turns: usize, add_generation_prompt: bool) -> Result<Rendered, EncodeError> {
        let messages = &self.messages[..turns];
        Ok(self
            .chat
            .render(messages, &self.tools, add_generation_prompt)?)
    }

    /// The bytes of the first turns, which `text` must begin with.
    fn length(
        &self,
        turns: usize,
        add_generation_prompt: bool,
        text: &str,
    ) -> Result<usize, EncodeError> {
        let rendered = self.render(turns, add_generation_prompt)?.text;
        match text.starts_with(&rendered) {
            true => Ok(rendered.len()),
            false => Err(not_a_prefix(&rendered, text)),
        }
    }
}

/// The spans of those turns that `is_asked`, found by rendering what is before and up to each.
fn rendered_spans(
    conversation: &Conversation,
    text: &str,
    turns: &[Turn],
    is_asked: impl Fn(usize) -> bool,
    counts: impl Fn(usize) -> bool,
) -> Result<Vec<Span>, EncodeError> {
    let mut spans = Vec::new();
    for (index, turn) in turns.iter().enumerate() {
        let is_completion = counts(index);
        if !is_asked(index) || !is_completion && turn.weight == 1.0 {
            continue;
        }
        let end = match index + 1 == turns.len() {
            true => text.len(),
            false => conversation.length(index + 1, false, text)?,
        };
        // The beginning of an assistant's turn is part of what comes before it.
        let of_assistant = turn.role() == ASSISTANT;
        let start = match index {
            0 if !of_assistant => 0,
            _ => conversation.length(index, of_assistant, text)?,
        };
        // A template may end a turn behind the place where it begins the next.
        let start = spans
            .last()
            .map_or(start, |before: &Span| start.max(before.bytes.end));
        spans.push(Span {
            bytes: start..end.max(start),
            role: role(is_completion),
            weight: turn.weight,
        });
    }
    Ok(spans)
}

/// The spans that a template marks, one for each turn of the assistant, and those of other turns
/// that have a weight.
fn marked_spans(
    conversation: &Conversation,
    whole: &Rendered,
    turns: &[Turn],
    counts: impl Fn(usize) -> bool,
) -> Result<Vec<Span>, EncodeError> {
    let of_assistant = |index: &usize| turns[*index].role() == ASSISTANT;
    let of_assistant: Vec<usize> = (0..turns.len()).filter(of_assistant).collect();
    let counts_alike = turns.iter().all(|turn| turn.weight == 1.0)
        && of_assistant.iter().all(|&index| counts(index));
    if counts_alike {
        return Ok(whole
            .generated
            .iter()
            .cloned()
            .map(Span::completion)
            .collect());
    }
    if whole.generated.len() != of_assistant.len() {
        return Err(EncodeError::Generations {
            marked: whole.generated.len(),
            turns: of_assistant.len(),
        });
    }
    let is_prompt = |index: usize| turns[index].role() != ASSISTANT;
    let mut spans = rendered_spans(conversation, &whole.text, turns, is_prompt, |_| false)?;
    let marked = whole.generated.iter().zip(of_assistant);
    let marked = marked.filter(|(_, index)| counts(*index) || turns[*index].weight != 1.0);
    spans.extend(marked.map(|(bytes, index)| Span {
        bytes: bytes.clone(),
        role: role(counts(index)),
        weight: turns[index].weight,
    }));
    spans.sort_by_key(|span| span.bytes.start);
    Ok(spans)
}

fn role(is_completion: bool) -> Role {
    match is_completion {
        true => Role::Completion,
        false => Role::Prompt,
    }
}

/// A prompt and its completion without a chat template. A system's turn stands before the prompt,
/// with a blank line between.
fn direct(turns: &[Turn]) -> Result<ConversationText, EncodeError> {
    let (system, [user, assistant]) = match turns {
        [user, assistant] => (None, [user, assistant]),
        [system, user, assistant] if system.role() == "system" => (Some(system), [user, assistant]),
        _ => return Err(EncodeError::NeedsChatTemplate),
    };
    let roles = [user.role(), assistant.role()] == ["user", ASSISTANT];
    let texts = (user.content(), assistant.content());
    let (Some(prompt), Some(completion), true) = (texts.0, texts.1, roles) else {
        return Err(EncodeError::NeedsChatTemplate);
    };
    let mut text = String::new();
    let mut spans = Vec::new();
    if let Some(system) = system {
        text.push_str(system.content().ok_or(EncodeError::NeedsChatTemplate)?);
        spans.push(Span {
            bytes: 0..text.len(),
            role: Role::Prompt,
            weight: system.weight,
        });
        text.push_str("\n\n");
    }
    for (turn, content, role) in [
        (user, prompt, Role::Prompt),
        (assistant, completion, Role::Completion),
    ] {
        let start = text.len();
        text.push_str(content);
        spans.push(Span {
            bytes: start..text.len(),
            role,
            weight: turn.weight,
        });
    }
    Ok(ConversationText { text, spans })
}
