//! What a row of a data file says to a model: a question with options, or a conversation.

use std::collections::BTreeMap;
use std::sync::Arc;

use plw_batch::option_letter;
use serde_json::{Map, Value};

/// An example of a data set.
#[derive(Debug, Clone, PartialEq)]
pub enum Example {
    /// A multiple-choice question.
    Question(Question),
    /// Turns of a user and an assistant.
    Conversation(Conversation),
}

/// A multiple-choice question, checked: 2 to 26 options, none empty, and an answer that is one of
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name of its file ([`crate::DataFile::name`]).
    pub file: Arc<str>,
    /// Its row in that file, from 0. File and row identify a question; RACE's `example_id`
    /// identifies only its passage.
    pub row: u64,
    /// The data set's own id. In RACE it is the id of the passage, such as `middle1548.txt`.
    pub example_id: String,
    /// `high` or `middle` by the letters at the start of `example_id`, else the name of the folder.
    pub level: String,
    /// The passage that the question is about, if there is one; named after RACE's column.
    pub article: Option<String>,
    /// The question.
    pub question: String,
    /// The texts of the options, 2 to 26.
    pub options: Vec<String>,
    /// The index of the right option.
    pub answer: usize,
    /// The other columns as text, by name, for templates that use them.
    pub columns: BTreeMap<String, String>,
}

/// A conversation: at least one of its turns is the assistant's.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// The name of its file ([`crate::DataFile::name`]).
    pub file: Arc<str>,
    /// Its row in that file, from 0. A row with several instances is several conversations.
    pub row: u64,
    /// The data set's own id, else its file and row.
    pub example_id: String,
    /// The name of the file's folder.
    pub level: String,
    /// Its turns, in order.
    pub turns: Vec<Turn>,
    /// The tools that the assistant may call, as chat templates take them.
    pub tools: Option<Value>,
    /// Where the row is an instruction and its answer, the fields of templates: the row's columns
    /// as text, {prompt} and {completion}. The last two turns are then made of {prompt} and
    /// {completion}, unless a template says otherwise.
    pub fields: Option<BTreeMap<String, String>>,
}

/// A turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// The message as chat templates take it: `role`, `content`, and whatever else the data holds.
    pub message: Map<String, Value>,
    /// What the loss weight of its tokens is multiplied by: at least 0, and 1 unless the data says
    /// otherwise.
    pub weight: f64,
    /// Whether it is to be learned: a turn of the assistant that is not part of a prompt.
    pub is_completion: bool,
}

impl From<Question> for Example {
    fn from(question: Question) -> Self {
        Self::Question(question)
    }
}

impl From<Conversation> for Example {
    fn from(conversation: Conversation) -> Self {
        Self::Conversation(conversation)
    }
}

impl Example {
    /// The name of its file.
    pub fn file(&self) -> &Arc<str> {
        match self {
            Self::Question(question) => &question.file,
            Self::Conversation(conversation) => &conversation.file,
        }
    }

    /// Its row in that file, from 0.
    pub fn row(&self) -> u64 {
        match self {
            Self::Question(question) => question.row,
            Self::Conversation(conversation) => conversation.row,
        }
    }

    /// The data set's own id, else its file and row.
    pub fn example_id(&self) -> &str {
        match self {
            Self::Question(question) => &question.example_id,
            Self::Conversation(conversation) => &conversation.example_id,
        }
    }

    /// `high`, `middle`, or the name of the file's folder.
    pub fn level(&self) -> &str {
        match self {
            Self::Question(question) => &question.level,
            Self::Conversation(conversation) => &conversation.level,
        }
    }

    /// The question, if it is one.
    pub fn question(self) -> Option<Question> {
        match self {
            Self::Question(question) => Some(question),
            Self::Conversation(_) => None,
        }
    }

    /// The length of its text in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Question(question) => question.bytes(),
            Self::Conversation(conversation) => conversation.bytes(),
        }
    }
}

impl Question {
    fn bytes(&self) -> usize {
        let options = self.options.iter().map(String::len);
        let columns = self.columns.values().map(String::len);
        let article = self.article.as_ref().map_or(0, String::len);
        article + self.question.len() + options.chain(columns).sum::<usize>()
    }

    /// The letter of the right option.
    pub fn answer_letter(&self) -> char {
        option_letter(self.answer)
    }
}

impl Conversation {
    fn bytes(&self) -> usize {
        let turns = self.turns.iter().flat_map(|turn| turn.message.values());
        let values = turns.chain(&self.tools).map(crate::rows::bytes);
        let fields = self.fields.iter().flat_map(BTreeMap::values);
        values.chain(fields.map(String::len)).sum()
    }
}

impl Turn {
    /// A turn of one role and one text, of weight 1.
    pub fn new(role: &str, content: &str) -> Self {
        let message = [("role", role), ("content", content)];
        let message = message.map(|(key, text)| (key.to_owned(), Value::from(text)));
        Self {
            message: Map::from_iter(message),
            weight: 1.0,
            is_completion: role == ASSISTANT,
        }
    }

    /// Whose turn it is.
    pub fn role(&self) -> &str {
        self.message
            .get("role")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// What is said, if it is a text.
    pub fn content(&self) -> Option<&str> {
        self.message.get("content").and_then(Value::as_str)
    }
}

/// The role whose turns are completions.
pub(crate) const ASSISTANT: &str = "assistant";
