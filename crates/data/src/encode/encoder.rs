//! Encodes questions: renders both turns, tokenizes them once, and finds the completion and the
//! answer.

use std::collections::BTreeSet;
use std::path::Path;

use plw_batch::{Answer, Sequence};

use super::difference::difference;
use super::error::{EncodeError, PromptError, PromptSettingsError};
use super::option_tokens::{OptionTokenCache, OptionTokens, Renderings};
use crate::prompt::{ChatTemplate, ChatTemplateError, PromptSettings};
use crate::rows::Example;
use crate::tokenizer::ModelTokenizer;

/// Encodes questions with a model's tokenizer and a chat template. Several threads may share it.
#[derive(Debug)]
pub struct PromptEncoder {
    settings: PromptSettings,
    tokenizer: ModelTokenizer,
    chat: ChatTemplate,
    option_tokens: OptionTokenCache,
}

/// A question as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The text of prompt and completion.
    pub text: String,
    /// The tokens of prompt and completion.
    pub token_ids: Vec<u32>,
    /// The bytes of each token in `text`; empty for a token that the tokenizer added.
    pub offsets: Vec<(usize, usize)>,
    /// Index of the first completion token: the first that ends after the completion's first byte.
    pub completion_start: usize,
    /// Where the answer's letter is predicted; `None` if the completion does not hold {answer}.
    pub answer: Option<Answer>,
}

impl PromptEncoder {
    /// Loads the tokenizer and, if `settings` ask for it, the chat template of a model directory.
    ///
    /// # Errors
    /// [`PromptSettingsError`].
    pub fn from_directory(
        directory: &Path,
        settings: PromptSettings,
    ) -> Result<Self, PromptSettingsError> {
        let tokenizer = ModelTokenizer::from_directory(directory)?;
        let date = settings.chat_template_date.as_deref();
        let chat = ChatTemplate::load(
            &settings.chat_template,
            directory,
            tokenizer.special_tokens(),
            date,
        )?;
        Self::new(settings, tokenizer, chat)
    }

    /// Makes an encoder of its parts; ignores `settings.chat_template`.
    ///
    /// # Errors
    /// [`PromptSettingsError::AnswerInPrompt`], [`PromptSettingsError::NoEndOfSequence`].
    pub fn new(
        settings: PromptSettings,
        tokenizer: ModelTokenizer,
        chat: ChatTemplate,
    ) -> Result<Self, PromptSettingsError> {
        if settings
            .prompt_template
            .names()
            .any(|name| name == "answer")
        {
            return Err(PromptSettingsError::AnswerInPrompt);
        }
        if settings.append_eos && !chat.is_jinja() && tokenizer.eos().is_none() {
            return Err(PromptSettingsError::NoEndOfSequence);
        }
        let option_tokens = OptionTokenCache::new(tokenizer.tokenizer());
        Ok(Self {
            settings,
            tokenizer,
            chat,
            option_tokens,
        })
    }

    /// The settings that it was made with.
    pub fn settings(&self) -> &PromptSettings {
        &self.settings
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &ModelTokenizer {
        &self.tokenizer
    }

    /// Checks that completions hold the answer, which an evaluation scores.
    ///
    /// # Errors
    /// [`PromptSettingsError::NoAnswer`].
    pub fn check_answers(&self) -> Result<(), PromptSettingsError> {
        match self.asks_for_answer() {
            true => Ok(()),
            false => Err(PromptSettingsError::NoAnswer {
                completion: self.settings.completion_template.source().to_owned(),
            }),
        }
    }

    fn asks_for_answer(&self) -> bool {
        let mut names = self.settings.completion_template.names();
        names.any(|name| name == "answer")
    }

    /// The markers that the chat template prints and the tokenizer has no token for, in
    /// alphabetical order: `<s>`, `</s>` and everything of the form `<|...|>`. The model would see
    /// them in pieces that it was never trained on; most likely the template belongs to another
    /// model. A template that fails has no markers here: it fails again when a question is encoded.
    pub fn unknown_markers(&self) -> BTreeSet<String> {
        if !self.chat.is_jinja() {
            return BTreeSet::new();
        }
        let text = self.chat.render_conversation("", "").unwrap_or_default();
        let tokenizer = self.tokenizer.tokenizer();
        let pieces = text.split('<').skip(1);
        pieces
            .filter_map(|piece| Some(format!("<{}>", piece.split_once('>')?.0)))
            .filter(|marker| {
                let inside = &marker[1..marker.len() - 1];
                matches!(inside, "s" | "/s")
                    || (inside.len() > 2 && inside.starts_with('|') && inside.ends_with('|'))
            })
            .filter(|marker| tokenizer.token_to_id(marker).is_none())
            .collect()
    }

    /// Renders and tokenizes a question, and finds where its completion begins and where its answer
    /// is predicted.
    ///
    /// # Errors
    /// [`PromptError`], which names the question.
    pub fn encode(&self, example: &Example) -> Result<Encoded, PromptError> {
        self.encode_example(example).map_err(|cause| PromptError {
            file: example.file.clone(),
            row: example.row,
            cause,
        })
    }

    fn encode_example(&self, example: &Example) -> Result<Encoded, EncodeError> {
        let prompt = self.settings.prompt(example)?;
        let rendered_prompt = self.chat.render_prompt(&prompt)?;
        let renderings = self.renderings(example, &prompt)?;
        let text = &renderings.texts[renderings.correct];
        if !text.starts_with(&rendered_prompt) {
            return Err(not_a_prefix(&rendered_prompt, text));
        }
        // A chat template prints every special token; without one the tokenizer adds its own.
        let add_special_tokens = !self.chat.is_jinja();
        let encoding = self.tokenizer.encode(text, add_special_tokens)?;
        let mut token_ids = encoding.get_ids().to_vec();
        let mut offsets = encoding.get_offsets().to_vec();
        let completion_start = offsets
            .iter()
            .position(|&(_, end)| end > rendered_prompt.len())
            .ok_or(EncodeError::EmptyCompletion)?;
        let options = self
            .asks_for_answer()
            .then(|| {
                self.option_tokens
                    .find(&renderings, &token_ids, &offsets, |text| {
                        self.tokenizer.token_ids(text, add_special_tokens)
                    })
            })
            .transpose()?;
        let mut text = text.clone();
        self.append_eos(&mut text, &mut token_ids, &mut offsets);
        let answer = options.map(|OptionTokens { index, tokens }| Answer {
            position: index as u32 - 1,
            option_tokens: tokens,
            correct: example.answer as u32,
        });
        Ok(Encoded {
            text,
            token_ids,
            offsets,
            completion_start,
            answer,
        })
    }

    /// The conversation with the letter of each option as the answer.
    fn renderings(&self, example: &Example, prompt: &str) -> Result<Renderings, EncodeError> {
        let completions = self.settings.completions(example)?;
        let texts: Result<Vec<String>, ChatTemplateError> = completions
            .iter()
            .map(|completion| self.chat.render_conversation(prompt, completion))
            .collect();
        Ok(Renderings {
            texts: texts?,
            correct: example.answer,
        })
    }

    /// Appends the end-of-sequence token if no chat template does.
    fn append_eos(
        &self,
        text: &mut String,
        token_ids: &mut Vec<u32>,
        offsets: &mut Vec<(usize, usize)>,
    ) {
        let wanted = self.settings.append_eos && !self.chat.is_jinja();
        let Some(eos) = self
            .tokenizer
            .eos()
            .filter(|eos| wanted && token_ids.last() != Some(eos))
        else {
            return;
        };
        let start = text.len();
        text.push_str(
            &self
                .tokenizer
                .tokenizer()
                .id_to_token(eos)
                .unwrap_or_default(),
        );
        token_ids.push(eos);
        offsets.push((start, text.len()));
    }
}

impl Encoded {
    /// The sequence of a batch.
    pub fn into_sequence(self, example: u32, group: u32) -> Sequence {
        let completion_start = self.completion_start as u32;
        Sequence {
            example,
            group,
            token_ids: self.token_ids,
            completion_start,
            answer: self.answer,
        }
    }
}

fn not_a_prefix(prompt: &str, conversation: &str) -> EncodeError {
    let at = difference(prompt, conversation).map_or(0, |(range, _)| range.start);
    let beginning = |text: &str| text[at..].chars().take(24).collect();
    EncodeError::NotAPrefix {
        at,
        prompt: beginning(prompt),
        conversation: beginning(conversation),
    }
}
