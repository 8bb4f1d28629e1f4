//! Encodes examples: renders their turns, tokenizes the text once, and finds the completions and
//! the answer.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use plw_batch::{Answer, Role, Segment, Sequence};
use tokenizers::Tokenizer;
use tokenizers::models::bpe::BPE;

use super::conversation_text::{ConversationText, conversation_text};
use super::difference::not_a_prefix;
use super::error::{EncodeError, PromptError, PromptSettingsError};
use super::option_token_cache::OptionTokenCache;
use super::option_tokens::{OptionTokens, Renderings};
use super::span::{Span, segments};
use crate::prompt::{ChatTemplate, ChatTemplateError, PromptSettings, Rendered};
use crate::shapes::{ASSISTANT, Conversation, Example, Question, Turn};
use crate::tokenizer::{ModelTokenizer, SpecialTokens};

/// Encodes examples with a model's tokenizer and a chat template. Several threads may share it.
#[derive(Debug)]
pub struct PromptEncoder {
    settings: PromptSettings,
    tokenizer: ModelTokenizer,
    chat: ChatTemplate,
    option_tokens: OptionTokenCache,
}

/// An example as tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// The text of all its turns.
    pub text: String,
    /// The tokens of the text.
    pub token_ids: Vec<u32>,
    /// The bytes of each token in `text`; empty for a token that the tokenizer added.
    pub offsets: Vec<(usize, usize)>,
    /// Which tokens are prompt and which completion: those that hold a byte of one.
    pub segments: Vec<Segment>,
    /// Where the answer's letter is predicted; `None` if there is none, or the completion does not
    /// hold {answer}.
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

    /// Makes an encoder that counts characters and knows no token.
    ///
    /// # Errors
    /// [`PromptSettingsError`]: the chat template cannot be loaded.
    pub fn without_tokenizer(settings: PromptSettings) -> Result<Self, PromptSettingsError> {
        let tokens = SpecialTokens::default();
        let date = settings.chat_template_date.as_deref();
        let chat = ChatTemplate::load(&settings.chat_template, Path::new(""), &tokens, date)?;
        let settings = PromptSettings {
            append_eos: false,
            ..settings
        };
        let tokenizer = Tokenizer::new(BPE::default());
        Self::new(settings, ModelTokenizer::new(tokenizer, tokens), chat)
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
        let prompt_names = settings
            .prompt_template
            .iter()
            .flat_map(|template| template.names());
        if prompt_names.into_iter().any(|name| name == "answer") {
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

    /// The chat template.
    pub fn chat_template(&self) -> &ChatTemplate {
        &self.chat
    }

    /// Checks that the completions of questions hold the answer, which an evaluation scores.
    ///
    /// # Errors
    /// [`PromptSettingsError::NoAnswer`].
    pub fn check_answers(&self) -> Result<(), PromptSettingsError> {
        match self.asks_for_answer() {
            true => Ok(()),
            false => Err(PromptSettingsError::NoAnswer {
                completion: self.settings.answer_template().source().to_owned(),
            }),
        }
    }

    fn asks_for_answer(&self) -> bool {
        let mut names = self.settings.answer_template().names();
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

    /// Renders and tokenizes an example, and finds its completions and, of a question, where the
    /// answer is predicted.
    ///
    /// # Errors
    /// [`PromptError`], which names the example.
    pub fn encode(&self, example: &Example) -> Result<Encoded, PromptError> {
        let encoded = match example {
            Example::Question(question) => self.encode_question(question),
            Example::Conversation(conversation) => self.encode_conversation(conversation),
        };
        encoded.map_err(|cause| failed(example, cause))
    }

    fn encode_question(&self, question: &Question) -> Result<Encoded, EncodeError> {
        let prompt = self.settings.prompt(question)?;
        let (renderings, spans) = self.renderings(question, &prompt)?;
        let text = &renderings.texts[renderings.correct];
        let mut encoded = self.tokenize(text.clone(), &spans)?;
        let add_special_tokens = self.adds_special_tokens();
        let options = self
            .asks_for_answer()
            .then(|| {
                let (token_ids, offsets) = (&encoded.token_ids, &encoded.offsets);
                self.option_tokens
                    .find(&renderings, token_ids, offsets, |text| {
                        self.tokenizer.token_ids(text, add_special_tokens)
                    })
            })
            .transpose()?;
        encoded.answer = options.map(|OptionTokens { index, tokens }| Answer {
            position: index as u32 - 1,
            option_tokens: tokens,
            correct: question.answer as u32,
        });
        self.append_eos(&mut encoded);
        Ok(encoded)
    }

    /// The conversation with the letter of each option as the answer, and the completion of that
    /// with the right one.
    fn renderings(
        &self,
        question: &Question,
        prompt: &str,
    ) -> Result<(Renderings, Vec<Span>), EncodeError> {
        let completions = self.settings.completions(question)?;
        let rendered: Result<Vec<Rendered>, ChatTemplateError> = completions
            .iter()
            .map(|completion| self.chat.render_turns(prompt, completion))
            .collect();
        let rendered = rendered?;
        let correct = &rendered[question.answer];
        let spans = match self.chat.marks_generation() {
            true => correct
                .generated
                .iter()
                .cloned()
                .map(Span::completion)
                .collect(),
            false => {
                let prompt = self.chat.render_prompt(prompt)?;
                if !correct.text.starts_with(&prompt) {
                    return Err(not_a_prefix(&prompt, &correct.text));
                }
                vec![Span::completion(prompt.len()..correct.text.len())]
            }
        };
        let renderings = Renderings {
            correct: question.answer,
            texts: rendered.into_iter().map(|rendered| rendered.text).collect(),
        };
        Ok((renderings, spans))
    }

    fn encode_conversation(&self, conversation: &Conversation) -> Result<Encoded, EncodeError> {
        let rendered = self.conversation_text(conversation)?;
        let mut encoded = self.tokenize(rendered.text, &rendered.spans)?;
        self.append_eos(&mut encoded);
        Ok(encoded)
    }

    fn conversation_text(
        &self,
        conversation: &Conversation,
    ) -> Result<ConversationText, EncodeError> {
        let turns = self.turns(conversation)?;
        let tools = conversation.tools.as_ref();
        conversation_text(&self.chat, &turns, tools, self.settings.loss_turns)
    }

    /// The turns of a conversation. Those of an instruction are made by the templates.
    fn turns<'a>(&self, conversation: &'a Conversation) -> Result<Cow<'a, [Turn]>, EncodeError> {
        let templates = [
            &self.settings.prompt_template,
            &self.settings.completion_template,
        ];
        let Some(fields) = &conversation.fields else {
            return Ok(Cow::from(&conversation.turns));
        };
        if templates.iter().all(|template| template.is_none()) {
            return Ok(Cow::from(&conversation.turns));
        }
        let mut turns = conversation.turns.clone();
        turns.truncate(turns.len().saturating_sub(2));
        let [prompt, completion] = self.settings.exchange(fields)?;
        turns.push(Turn::new("user", &prompt));
        turns.push(Turn::new(ASSISTANT, &completion));
        Ok(Cow::from(turns))
    }

    /// Renders an example and counts the characters (Unicode scalar values) of its prompt and of
    /// its completions, without tokenizing it.
    ///
    /// # Errors
    /// [`PromptError`], which names the example.
    pub fn count_characters(&self, example: &Example) -> Result<[usize; 2], PromptError> {
        let rendered = match example {
            Example::Question(question) => self
                .settings
                .prompt(question)
                .map_err(Into::into)
                .and_then(|prompt| {
                    let (mut renderings, spans) = self.renderings(question, &prompt)?;
                    Ok((renderings.texts.swap_remove(renderings.correct), spans))
                }),
            Example::Conversation(conversation) => self
                .conversation_text(conversation)
                .map(|rendered| (rendered.text, rendered.spans)),
        };
        let (text, spans) = rendered.map_err(|cause| failed(example, cause))?;
        let completions = spans.iter().filter(|span| span.role == Role::Completion);
        let completion = completions
            .map(|span| text[span.bytes.clone()].chars().count())
            .sum();
        Ok([text.chars().count() - completion, completion])
    }

    /// A chat template prints every special token; without one the tokenizer adds its own.
    fn adds_special_tokens(&self) -> bool {
        !self.chat.is_jinja()
    }

    fn tokenize(&self, text: String, spans: &[Span]) -> Result<Encoded, EncodeError> {
        let encoding = self.tokenizer.encode(&text, self.adds_special_tokens())?;
        let offsets = encoding.get_offsets().to_vec();
        let segments = segments(&offsets, spans);
        if segments.iter().all(|segment| segment.role == Role::Prompt) {
            return Err(EncodeError::EmptyCompletion);
        }
        Ok(Encoded {
            token_ids: encoding.get_ids().to_vec(),
            text,
            offsets,
            segments,
            answer: None,
        })
    }

    /// Appends the end-of-sequence token if no chat template does.
    fn append_eos(&self, encoded: &mut Encoded) {
        let wanted = self.settings.append_eos && !self.chat.is_jinja();
        let last = encoded.token_ids.last();
        let Some(eos) = self
            .tokenizer
            .eos()
            .filter(|eos| wanted && last != Some(eos))
        else {
            return;
        };
        let start = encoded.text.len();
        let token = self.tokenizer.tokenizer().id_to_token(eos);
        encoded.text.push_str(&token.unwrap_or_default());
        encoded.token_ids.push(eos);
        encoded.offsets.push((start, encoded.text.len()));
        // It ends the completion.
        if let Some(last) = encoded.segments.last_mut() {
            last.end += 1;
        }
    }
}

fn failed(example: &Example, cause: EncodeError) -> PromptError {
    PromptError {
        file: example.file().clone(),
        row: example.row(),
        cause,
    }
}

impl Encoded {
    /// Number of tokens of a role.
    pub fn tokens_of(&self, role: Role) -> usize {
        Segment::tokens_of(&self.segments, role)
    }

    /// The sequence of a batch.
    pub fn into_sequence(self, example: u32, group: u32) -> Sequence {
        Sequence {
            example,
            group,
            token_ids: self.token_ids,
            segments: self.segments,
            answer: self.answer,
        }
    }
}
