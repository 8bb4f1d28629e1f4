//! The files of a run's tokenizer.

use std::path::{Path, PathBuf};

use miette::{Result, miette};

use crate::settings::Settings;

/// The directory of the tokenizer and the chat template: that of `tokenizer`, else of the model,
/// else of `init_config`.
pub(crate) fn tokenizer_directory(settings: &Settings) -> Result<PathBuf> {
    let source = &settings.source;
    let beside = source
        .init_config
        .as_ref()
        .and_then(|config| config.parent().map(Path::to_path_buf));
    // The folder of a tokenizer.json holds the special tokens that go with it.
    let tokenizer = source.tokenizer.as_ref().map(|path| match path.parent() {
        Some(folder) if path.is_file() => folder.to_path_buf(),
        _ => path.clone(),
    });
    let directory = tokenizer
        .or_else(|| source.model.clone())
        .or(beside)
        .ok_or_else(|| {
            miette!(
                help = "give --model DIR (a directory in the Hugging Face layout)",
                "no model is given"
            )
        })?;
    if !directory.as_os_str().is_empty() && !directory.exists() {
        return Err(miette!(
            help = "give the path of a tokenizer.json or of its folder with --tokenizer, or a \
                    model with --model",
            "there is no folder {} to take the tokenizer from",
            directory.display()
        ));
    }
    if !directory.join("tokenizer.json").is_file() {
        return Err(miette!(
            help = "give a directory in the Hugging Face layout with --model, or a tokenizer with \
                    --tokenizer",
            "{} is not a directory with a tokenizer.json",
            directory.display()
        ));
    }
    Ok(directory)
}

/// The files of that directory that are copied beside saved weights.
pub(crate) fn companions(directory: &Path) -> Vec<PathBuf> {
    let names = [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "generation_config.json",
    ];
    names
        .iter()
        .map(|name| directory.join(name))
        .filter(|path| path.is_file())
        .collect()
}
