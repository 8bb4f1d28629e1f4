//! A tokenizer for synthetic text: a known word is one token, any other word is its bytes.

use std::collections::HashMap;
use std::path::Path;

use plw_files::{FileError, write_atomic};
use serde_json::json;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    SplitDelimiterBehavior, Tokenizer,
};

const BEGIN: &str = "<s>";
const END: &str = "</s>";

/// Why a tokenizer cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TrainTokenizerError {
    /// The vocabulary is smaller than the bytes and the special tokens.
    #[error(
        "a vocabulary of {0} tokens is smaller than 256 bytes and two special tokens; give a \
         larger vocab_size"
    )]
    TooSmall(usize),
    /// The tokenizers library fails.
    #[error("the tokenizer cannot be made: {0}")]
    Library(String),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] FileError),
}

impl From<tokenizers::Error> for TrainTokenizerError {
    fn from(error: tokenizers::Error) -> Self {
        Self::Library(error.to_string())
    }
}

/// Trains a tokenizer of at most `vocab_size` tokens: `<s>`, `</s>`, the 256 bytes, and the most
/// frequent words and punctuation marks of `texts` (ties in alphabetical order).
///
/// It splits text at white space and around every punctuation mark, and puts a space before each
/// piece, so that `A` is the same token in `(A) lamps`, `A. lamps` and `Answer: A`. White space
/// itself is lost. A piece in the vocabulary is one token (`ignore_merges`), any other is spelled
/// in bytes: there is no unknown token. The post-processor puts `<s>` first.
///
/// # Errors
/// [`TrainTokenizerError`].
pub fn train_tokenizer<I>(texts: I, vocab_size: usize) -> Result<Tokenizer, TrainTokenizerError>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let splitter = splitter();
    let mut counts: HashMap<String, u64> = HashMap::new();
    for text in texts {
        let mut pieces = PreTokenizedString::from(text.as_ref());
        splitter.pre_tokenize(&mut pieces)?;
        for (piece, _, _) in pieces.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            *counts.entry(piece.to_owned()).or_default() += 1;
        }
    }
    let mut words: Vec<(String, u64)> = counts.into_iter().collect();
    words.sort_unstable_by(|(a, many), (b, few)| few.cmp(many).then_with(|| a.cmp(b)));
    let mut bytes: Vec<String> = ByteLevel::alphabet()
        .into_iter()
        .map(String::from)
        .collect();
    bytes.sort_unstable();
    let special = [BEGIN, END].map(str::to_owned);
    let fixed: Vec<String> = special.into_iter().chain(bytes).collect();
    let room = vocab_size
        .checked_sub(fixed.len())
        .ok_or(TrainTokenizerError::TooSmall(vocab_size))?;
    let words = words
        .into_iter()
        .map(|(word, _)| word)
        .filter(|word| !fixed.contains(word))
        .take(room);
    let words: Vec<String> = words.collect();
    let vocabulary: Vocab = fixed.iter().chain(&words).cloned().zip(0..).collect();

    let model = BPE::builder()
        .vocab_and_merges(vocabulary, Vec::new())
        .ignore_merges(true)
        .build()?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.add_special_tokens([BEGIN, END].map(|token| AddedToken::from(token, true)))?;
    let begin = TemplateProcessing::builder()
        .try_single(format!("{BEGIN} $A"))
        .map_err(TrainTokenizerError::Library)?
        .special_tokens(vec![(BEGIN, 0)])
        .build()
        .map_err(|error| TrainTokenizerError::Library(error.to_string()))?;
    tokenizer
        .with_pre_tokenizer(Some(splitter))
        .with_decoder(Some(byte_level()))
        .with_post_processor(Some(begin));
    Ok(tokenizer)
}

/// Writes `tokenizer.json` and `tokenizer_config.json` in the form that transformers reads.
///
/// # Errors
/// [`TrainTokenizerError`].
pub fn write_tokenizer(directory: &Path, tokenizer: &Tokenizer) -> Result<(), TrainTokenizerError> {
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "clean_up_tokenization_spaces": false,
    });
    let write = |name: &str, text: String| write_atomic(directory.join(name), text + "\n");
    write("tokenizer.json", tokenizer.to_string(true)?)?;
    write("tokenizer_config.json", format!("{config:#}"))?;
    Ok(())
}

fn splitter() -> Sequence {
    Sequence::new(vec![
        PreTokenizerWrapper::WhitespaceSplit(WhitespaceSplit),
        PreTokenizerWrapper::Punctuation(Punctuation::new(SplitDelimiterBehavior::Isolated)),
        PreTokenizerWrapper::ByteLevel(byte_level()),
    ])
}

fn byte_level() -> ByteLevel {
    ByteLevel::new(true, true, false)
}
