//! `cargo xtask pretrain`: the embedded default's model, made in the stages that
//! `experiments/pretrain.toml` lists.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_files::write_atomic;
use plw_record::{RunDirectory, latest_checkpoint};
use serde::Deserialize;
use toml::{Table, Value};

use crate::generated::{self, Generated};
use crate::pretrain_log::{PretrainLog, StageLog};
use crate::read::read_toml;
use crate::workspace::Workspace;
use crate::{binary, process};

/// Where the stages run.
const RUNS: &str = "runs/pretrain";

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The list of stages.
    #[arg(long, value_name = "FILE", default_value = "experiments/pretrain.toml")]
    config: PathBuf,
    /// Where the model and the log go, relative to the workspace.
    #[arg(long, alias = "out", value_name = "DIR", default_value = "assets")]
    output_dir: PathBuf,
}

/// `experiments/pretrain.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    /// What has to be there before the first stage: text, questions, the tokenizer.
    #[serde(default)]
    prepare: Vec<Generated>,
    /// Settings of every stage.
    settings: Table,
    /// The stages, each starting from the model of the one before.
    stage: Vec<Stage>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stage {
    name: String,
    /// Settings of this stage, over those of every stage. The first names `init_config`.
    settings: Table,
}

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    let recipe: Recipe = read_toml(&workspace.path(&flags.config))?;
    let plw = binary::build(workspace, binary::CPU)?;
    for generated in &recipe.prepare {
        generated::ensure(workspace, &plw, generated)?;
    }
    let out = workspace.path(&flags.output_dir);
    let mut log = PretrainLog::read(&out.join("pretrain.json"))?;
    let mut before = None;
    for (index, stage) in recipe.stage.iter().enumerate() {
        eprintln!(
            "stage {} of {}: {}",
            index + 1,
            recipe.stage.len(),
            stage.name
        );
        let directory = RunDirectory::new(workspace.path(RUNS).join(&stage.name));
        let settings = stage_settings(&recipe.settings, stage, before.as_deref());
        train(workspace, &plw, &directory, &settings)?;
        log.add(StageLog::of(&directory, settings, &workspace.commit())?);
        let checkpoint = latest_checkpoint(directory.checkpoints()).into_diagnostic()?;
        let checkpoint = checkpoint.ok_or_else(|| {
            miette!(
                help = format!("remove {} and run it again", directory.path.display()),
                "the stage `{}` is complete but has no checkpoint",
                stage.name
            )
        })?;
        // Relative, so that settings and log name nothing of this machine.
        let relative = checkpoint.strip_prefix(&workspace.root);
        before = Some(relative.unwrap_or(&checkpoint).to_path_buf());
    }
    let Some(model) = before else {
        return Err(miette!("{} lists no stage", flags.config.display()));
    };
    install(&workspace.path(model), &out)?;
    log.keep_only(recipe.stage.iter().map(|stage| stage.name.as_str()));
    log.write(&out.join("pretrain.json"))?;
    println!("{}", out.display());
    Ok(())
}

/// All settings of a stage; from the second on the model is the checkpoint of the one before.
fn stage_settings(common: &Table, stage: &Stage, before: Option<&Path>) -> Table {
    let mut settings = common.clone();
    settings.extend(stage.settings.clone());
    if let Some(model) = before {
        settings.remove("init_config");
        settings.insert(
            "model".to_string(),
            Value::String(model.display().to_string()),
        );
    }
    settings
}

/// Runs a stage, or resumes it. A complete one is left alone; plw refuses one that other
/// settings or texts made.
fn train(
    workspace: &Workspace,
    plw: &Path,
    directory: &RunDirectory,
    settings: &Table,
) -> Result<()> {
    let text = toml::to_string(settings).into_diagnostic()?;
    let config = directory.path.with_extension("toml");
    write_atomic(&config, text).into_diagnostic()?;
    let mut command = workspace.command(plw);
    command.arg("train").arg("--config").arg(&config);
    command
        .arg("--output-dir")
        .arg(&directory.path)
        .arg("--resume");
    let remedy = format!(
        "its records are in {}; run the task again to resume it, or, where its settings or its \
         text have changed, first remove it and the later stages",
        directory.path.display()
    );
    process::run(&mut command, &remedy)
}

/// Copies a checkpoint's own files (weights, configuration, tokenizer; not the trainer's state) to
/// where plw's default reads them.
fn install(checkpoint: &Path, out: &Path) -> Result<()> {
    for entry in std::fs::read_dir(checkpoint).into_diagnostic()? {
        let path = entry.into_diagnostic()?.path();
        if path.is_file() {
            let bytes = std::fs::read(&path).into_diagnostic();
            let bytes = bytes.wrap_err_with(|| format!("cannot read {}", path.display()))?;
            write_atomic(out.join(path.file_name().unwrap_or_default()), bytes)
                .into_diagnostic()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_goes_on_from_the_one_before() {
        let recipe: Recipe = toml::from_str(
            "[settings]\nlearning_rate = 2e-3\ninit_config = 'config.json'\n\
             [[stage]]\nname = 'words'\nsettings = { text = 'words.parquet' }\n\
             [[stage]]\nname = 'letters'\nsettings.text = 'letters.parquet'\n\
             settings.learning_rate = 1e-3\n",
        )
        .expect("valid");
        let first = stage_settings(&recipe.settings, &recipe.stage[0], None);
        assert_eq!(first["init_config"].as_str(), Some("config.json"));
        let second = stage_settings(
            &recipe.settings,
            &recipe.stage[1],
            Some(Path::new("words/checkpoints/step-9")),
        );
        assert_eq!(second.get("init_config"), None);
        assert_eq!(second["model"].as_str(), Some("words/checkpoints/step-9"));
        assert_eq!(second["learning_rate"].as_float(), Some(1e-3));
    }

    #[test]
    fn the_committed_recipe_is_read() {
        let recipe: Recipe =
            read_toml(&Workspace::find().path("experiments/pretrain.toml")).expect("valid");
        let first = stage_settings(&recipe.settings, &recipe.stage[0], None);
        assert!(first.contains_key("init_config") && first.contains_key("text"));
    }
}
