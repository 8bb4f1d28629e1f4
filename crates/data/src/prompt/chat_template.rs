//! Chat templates: two turns become one text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minijinja::{Environment, ErrorKind, Value, context};

use super::bounds::LONGEST_TEXT;
use super::chat_choice::ChatTemplateChoice;
use super::chat_environment::chat_environment;
use crate::tokenizer::{
    ModelFileError, SpecialTokens, read_optional, read_optional_json, read_required,
};

/// The name of the only template in its environment.
const NAME: &str = "chat_template";

/// Renders two turns as one text: by a Jinja template, or the completion directly after the prompt.
#[derive(Debug)]
pub struct ChatTemplate(Form);

#[derive(Debug)]
enum Form {
    Direct,
    Jinja {
        environment: Box<Environment<'static>>,
        tokens: Value,
    },
}

/// Why a chat template cannot be loaded or rendered.
#[derive(Debug, thiserror::Error)]
pub enum ChatTemplateError {
    /// The model directory has none.
    #[error(
        "{} has no chat template, neither chat_template.jinja nor chat_template in \
         tokenizer_config.json: set chat_template to {} or the path of a .jinja file",
        directory.display(),
        ChatTemplateChoice::names()[1..].join(", ")
    )]
    Missing {
        /// The model directory.
        directory: PathBuf,
    },
    /// The model directory has several, none of which is called `default`.
    #[error(
        "{} has chat templates called {}, but none called default: write one of them to a .jinja \
         file and set chat_template to its path",
        path.display(), names.join(", ")
    )]
    NoDefault {
        /// The file that names them.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// The date for `strftime_now` is malformed.
    #[error("chat_template_date = {0:?} is not a date: write YYYY-MM-DD")]
    Date(String),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// Jinja cannot parse or render the template.
    #[error("the chat template fails: {0}")]
    Jinja(String),
    /// Rendering takes more work than any conversation needs.
    #[error(
        "the chat template does more work than is allowed for one conversation: it loops for too \
         long, or its texts grow too long. Use another chat template"
    )]
    OutOfFuel,
    /// The conversation is too long.
    #[error(
        "the rendered conversation has {0} bytes, and at most {LONGEST_TEXT} are tokenized: use \
         another chat template, or leave the row out"
    )]
    TooLong(usize),
}

impl From<minijinja::Error> for ChatTemplateError {
    fn from(error: minijinja::Error) -> Self {
        match error.kind() {
            ErrorKind::OutOfFuel => Self::OutOfFuel,
            _ => Self::Jinja(error.to_string()),
        }
    }
}

impl ChatTemplate {
    /// Loads the template of `choice`. `directory` is the model directory; `strftime_now` prints
    /// `date` (`YYYY-MM-DD`).
    ///
    /// # Errors
    /// [`ChatTemplateError`]. A template that calls `raise_exception`, or needs a date without one,
    /// fails when it is rendered.
    pub fn load(
        choice: &ChatTemplateChoice,
        directory: &Path,
        special_tokens: &SpecialTokens,
        date: Option<&str>,
    ) -> Result<Self, ChatTemplateError> {
        let source = match choice {
            ChatTemplateChoice::None => return Ok(Self(Form::Direct)),
            ChatTemplateChoice::BuiltIn(template) => template.source.to_owned(),
            ChatTemplateChoice::Inline(source) => source.clone(),
            ChatTemplateChoice::File(path) => read_required(path)?,
            ChatTemplateChoice::Model => model_template(directory)?,
        };
        let built_in = match choice {
            ChatTemplateChoice::BuiltIn(template) => template.special_tokens,
            _ => &[],
        };
        Self::from_jinja(
            &source,
            built_in.iter().copied().chain(special_tokens.iter()),
            date,
        )
    }

    /// The completion directly after the prompt.
    pub fn none() -> Self {
        Self(Form::Direct)
    }

    /// Parses a Jinja template; `tokens` are its variables, of which later ones win.
    ///
    /// # Errors
    /// [`ChatTemplateError::Jinja`], [`ChatTemplateError::Date`].
    pub fn from_jinja<'a>(
        source: &str,
        tokens: impl IntoIterator<Item = (&'a str, &'a str)>,
        date: Option<&str>,
    ) -> Result<Self, ChatTemplateError> {
        let date = date
            .map(|text| {
                text.parse::<chrono::NaiveDate>()
                    .map_err(|_| ChatTemplateError::Date(text.to_owned()))
            })
            .transpose()?;
        let environment = Box::new(chat_environment(NAME, source, date)?);
        let tokens: BTreeMap<String, Value> = tokens
            .into_iter()
            .map(|(role, token)| (role.to_owned(), token.into()))
            .collect();
        Ok(Self(Form::Jinja {
            environment,
            tokens: tokens.into(),
        }))
    }

    /// Whether this is a Jinja template, which prints every special token; otherwise the tokenizer
    /// adds its own.
    pub fn is_jinja(&self) -> bool {
        matches!(self.0, Form::Jinja { .. })
    }

    /// The text that the model continues: the user's turn and the beginning of the assistant's.
    ///
    /// # Errors
    /// [`ChatTemplateError::Jinja`].
    pub fn render_prompt(&self, prompt: &str) -> Result<String, ChatTemplateError> {
        match &self.0 {
            Form::Direct => Ok(prompt.to_owned()),
            Form::Jinja {
                environment,
                tokens,
            } => {
                let messages = [context! { role => "user", content => prompt }];
                render(environment, tokens, &messages, true)
            }
        }
    }

    /// The whole conversation: the user's turn and the assistant's.
    ///
    /// # Errors
    /// [`ChatTemplateError::Jinja`].
    pub fn render_conversation(
        &self,
        prompt: &str,
        completion: &str,
    ) -> Result<String, ChatTemplateError> {
        match &self.0 {
            Form::Direct => Ok(format!("{prompt}{completion}")),
            Form::Jinja {
                environment,
                tokens,
            } => {
                let messages = [
                    context! { role => "user", content => prompt },
                    context! { role => "assistant", content => completion },
                ];
                render(environment, tokens, &messages, false)
            }
        }
    }
}

fn render(
    environment: &Environment,
    tokens: &Value,
    messages: &[Value],
    add_generation_prompt: bool,
) -> Result<String, ChatTemplateError> {
    let template = environment.get_template(NAME)?;
    let variables = context! {
        messages,
        add_generation_prompt,
        tools => (),
        documents => (),
        ..tokens.clone()
    };
    let text = template.render(variables)?;
    match text.len() <= LONGEST_TEXT {
        true => Ok(text),
        false => Err(ChatTemplateError::TooLong(text.len())),
    }
}

/// The template of a model directory, found as transformers finds it: `chat_template.jinja`, else
/// `chat_template` in `tokenizer_config.json`, a string or a list of named templates.
fn model_template(directory: &Path) -> Result<String, ChatTemplateError> {
    if let Some(source) = read_optional(&directory.join("chat_template.jinja"))? {
        return Ok(source);
    }
    let path = directory.join("tokenizer_config.json");
    let config = read_optional_json(&path)?;
    let template = config.get("chat_template");
    if let Some(source) = template.and_then(|t| t.as_str()) {
        return Ok(source.to_owned());
    }
    let named: Vec<(&str, &str)> = template
        .and_then(|t| t.as_array())
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.get("name")?.as_str()?,
                entry.get("template")?.as_str()?,
            ))
        })
        .collect();
    match named
        .iter()
        .find(|(name, _)| *name == "default")
        .or_else(|| named.first().filter(|_| named.len() == 1))
    {
        Some((_, source)) => Ok((*source).to_owned()),
        None if named.is_empty() => Err(ChatTemplateError::Missing {
            directory: directory.into(),
        }),
        None => {
            let names = named.iter().map(|(name, _)| (*name).to_owned()).collect();
            Err(ChatTemplateError::NoDefault { path, names })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chat_choice::BUILT_IN_CHAT_TEMPLATES;
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        choice: Option<ChatTemplateChoice>,
        template: String,
        prompt: String,
        completion: String,
        rendered_prompt: String,
        rendered_conversation: String,
    }

    /// The fixture is made by `xtask/fixtures/prompts.py` with transformers' `apply_chat_template`.
    #[test]
    fn renderings_equal_transformers() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/fixtures/chat.json"))
            .expect("the fixture is JSON");
        assert!(cases.len() > 20);
        for template in BUILT_IN_CHAT_TEMPLATES {
            let choice = Some(ChatTemplateChoice::BuiltIn(template));
            let has_case = cases.iter().any(|case| case.choice == choice);
            assert!(
                has_case,
                "{}: run `cargo xtask fixtures prompts`",
                template.name
            );
        }
        for case in cases {
            let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")];
            let template = match &case.choice {
                Some(choice) => {
                    ChatTemplate::load(choice, Path::new(""), &SpecialTokens::default(), None)
                }
                None => ChatTemplate::from_jinja(&case.template, tokens, Some("2024-07-06")),
            }
            .expect(&case.name);
            let prompt = template.render_prompt(&case.prompt).expect(&case.name);
            assert_eq!(prompt, case.rendered_prompt, "{}", case.name);
            let conversation = template
                .render_conversation(&case.prompt, &case.completion)
                .expect(&case.name);
            assert_eq!(conversation, case.rendered_conversation, "{}", case.name);
        }
    }

    fn load(files: &[(&str, &str)]) -> Result<String, String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect(name);
        }
        let tokens = SpecialTokens::from_directory(directory.path()).expect("readable files");
        ChatTemplate::load(&ChatTemplateChoice::Model, directory.path(), &tokens, None)
            .and_then(|template| template.render_prompt("hi"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_models_own_template_is_found_as_transformers_finds_it() {
        let string = (
            "tokenizer_config.json",
            r#"{"eos_token": "</s>", "chat_template": "config{{ eos_token }}"}"#,
        );
        let named = r#"{"chat_template": [
            {"name": "tools", "template": "t"}, {"name": "NAME", "template": "d"}
        ]}"#;
        let default = named.replace("NAME", "default");
        assert_eq!(load(&[string]).as_deref(), Ok("config</s>"));
        assert_eq!(
            load(&[string, ("chat_template.jinja", "file{{ eos_token }}\n")]).as_deref(),
            Ok("file</s>")
        );
        assert_eq!(
            load(&[("tokenizer_config.json", &default)]).as_deref(),
            Ok("d")
        );
        let error = load(&[("tokenizer_config.json", named)]).expect_err("none is the default");
        assert!(
            error.contains("called tools, NAME, but none called default"),
            "{error}"
        );
        let error = load(&[]).expect_err("no file");
        assert!(
            error.contains("has no chat template") && error.contains(", none or the path"),
            "{error}"
        );
    }

    #[test]
    fn failures_say_what_to_do() {
        let render = |source: &str| {
            ChatTemplate::from_jinja(source, [], None)
                .and_then(|template| template.render_prompt("hi"))
        };
        for (source, expected) in [
            (
                "{{ raise_exception('only system turns') }}",
                "only system turns",
            ),
            ("{{ strftime_now('%d %b %Y') }}", "set chat_template_date"),
            ("{% for %}", "syntax error"),
        ] {
            let error = render(source).expect_err(source).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = ChatTemplate::from_jinja("", [], Some("6 July"))
            .expect_err("no date")
            .to_string();
        assert!(error.contains("YYYY-MM-DD"), "{error}");
    }
}
