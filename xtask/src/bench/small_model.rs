//! The small model: random weights, a tokenizer, a chat template and questions, all made by plw
//! itself.

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_record::{RunDirectory, latest_checkpoint};

use crate::peer::environment::without_settings;
use crate::peer::scratch::{Scratch, remove};
use crate::process;
use crate::workspace::Workspace;

/// Its descriptions.
const DESCRIPTIONS: &str = "experiments/bench";

/// Room of its embeddings. The tokenizer fills a part of it: synthetic text has no more words.
/// Those that only prompts have are spelled in bytes.
const VOCABULARY: &str = "4096";

/// The model and the questions that it learns from.
pub(super) struct SmallModel {
    pub(super) model: PathBuf,
    /// A parquet file.
    pub(super) questions: PathBuf,
}

/// Makes it anew, a matter of seconds, so that it is never of another plw or another description.
pub(super) fn make(workspace: &Workspace, scratch: &Scratch, plw: &Path) -> Result<SmallModel> {
    let folder = scratch.path("small-model");
    remove(&folder)?;
    let described = |name: &str| workspace.path(DESCRIPTIONS).join(name);
    let [text, tokenizer, questions, run] =
        ["text", "tokenizer", "questions", "run"].map(|name| folder.join(name));
    let plw = |name: &str, arguments: &[&str], paths: &[(&str, &PathBuf)]| {
        let mut command = workspace.command(plw);
        command.args(arguments);
        for (flag, path) in paths {
            command.arg(flag).arg(path);
        }
        process::run_logged(without_settings(&mut command), &scratch.log(name))
    };
    plw(
        "small-model-text",
        &["data", "pretraining-text"],
        &[
            ("--config", &described("text.toml")),
            ("--output-dir", &text),
        ],
    )?;
    plw(
        "small-model-tokenizer",
        &["data", "tokenizer", "--vocab-size", VOCABULARY],
        &[("--text", &text), ("--output-dir", &tokenizer)],
    )?;
    plw(
        "small-model-questions",
        &["data", "synth"],
        &[
            ("--config", &described("questions.toml")),
            ("--output-dir", &questions),
        ],
    )?;
    // A step leaves the random weights, a little changed, in the Hugging Face layout.
    plw(
        "small-model-weights",
        &["train", "--max-steps", "1", "--limit", "1", "--seed", "1"],
        &[
            ("--init-config", &described("config.json")),
            ("--tokenizer", &tokenizer),
            ("--text", &text),
            ("--output-dir", &run),
        ],
    )?;
    let checkpoints = RunDirectory::new(&run).checkpoints();
    let checkpoint = latest_checkpoint(&checkpoints).into_diagnostic()?;
    let model = checkpoint.ok_or_else(|| {
        miette!(
            help = "its log is logs/small-model-weights beside it",
            "the small model has no checkpoint in {}",
            checkpoints.display()
        )
    })?;
    let template = "chat_template.jinja";
    std::fs::copy(described(template), model.join(template))
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot copy {template} to {}", model.display()))?;
    Ok(SmallModel {
        model,
        questions: questions.join("high/train-00000-of-00001.parquet"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{read_json, read_toml};

    /// 2 * 4096 * 288 in embeddings and LM head, 6 * (4 * 288^2 + 3 * 288 * 768 + 2 * 288) in
    /// layers, and a norm.
    #[test]
    fn the_committed_model_has_8_3_million_parameters() {
        let path = Workspace::find().path(DESCRIPTIONS).join("config.json");
        let config: serde_json::Value = read_json(&path).expect("JSON");
        let size = |name: &str| config[name].as_u64().expect("a size");
        let (hidden, layers) = (size("hidden_size"), size("num_hidden_layers"));
        assert_eq!((hidden, layers), (288, 6));
        assert_eq!(size("num_attention_heads"), size("num_key_value_heads"));
        assert_eq!(size("vocab_size").to_string(), VOCABULARY);
        assert_eq!(config["tie_word_embeddings"], false);
        let layer = 4 * hidden * hidden + 3 * hidden * size("intermediate_size") + 2 * hidden;
        let parameters = 2 * size("vocab_size") * hidden + layers * layer + hidden;
        assert_eq!(parameters, 8_335_008);
    }

    #[test]
    fn the_committed_descriptions_are_read() {
        for name in ["text.toml", "questions.toml"] {
            let path = Workspace::find().path(DESCRIPTIONS).join(name);
            let table: toml::Table = read_toml(&path).expect("TOML");
            assert!(table.contains_key("seed"), "{name}");
        }
    }
}
