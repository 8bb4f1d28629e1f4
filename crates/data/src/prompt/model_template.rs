//! The chat template of a model directory.

use std::path::Path;

use super::chat_template_error::ChatTemplateError;
use crate::tokenizer::{read_optional, read_optional_json};

/// The template of a model directory, found as transformers finds it: `chat_template.jinja`, else
/// `chat_template` in `tokenizer_config.json`, a string or a list of named templates.
pub(crate) fn model_template(directory: &Path) -> Result<String, ChatTemplateError> {
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
