//! Folders that are given as a model or as an adapter, and what they are instead.

use std::path::Path;

use miette::{IntoDiagnostic, Result, miette};
use plw_record::{RunDirectory, latest_checkpoint};
use plw_train::check_saved_model;

use crate::settings::SourceSettings;

/// Checks the model and the adapter that settings name against the digests of the runs that made
/// them, where runs did.
pub(crate) fn check_saved(source: &SourceSettings) -> Result<()> {
    let mut folders = source.model.iter().chain(&source.init_adapter);
    folders.try_for_each(|folder| check_saved_model(folder).into_diagnostic())
}

/// Checks that the folder that a setting names is there and is not that of a run, whose models are
/// its checkpoints. What is in it is checked where it is read.
pub(crate) fn check(setting: &str, folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        let path = folder.display();
        let problem = match folder.exists() {
            true => format!("{path}, which `{setting}` names, is not a folder"),
            false => format!("there is no folder {path}, which `{setting}` names"),
        };
        return Err(miette!(
            help = "give the path of a folder in the layout of Hugging Face",
            "{problem}"
        ));
    }
    let holds_weights = ["config.json", "adapter_config.json"]
        .iter()
        .any(|name| folder.join(name).is_file());
    if holds_weights {
        return Ok(());
    }
    for checkpoints in [
        RunDirectory::new(folder).checkpoints(),
        folder.to_path_buf(),
    ] {
        if let Some(last) = latest_checkpoint(&checkpoints).into_diagnostic()? {
            return Err(miette!(
                help = format!("give its last checkpoint: {}", last.display()),
                "`{setting}` is {}, which is the folder of a run",
                folder.display()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runs_folder_names_its_last_checkpoint() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let run = folder.path().join("run");
        let step = run.join("checkpoints/step-20");
        std::fs::create_dir_all(&step).expect("made");
        let problem = |folder: &Path| match check("model", folder) {
            Ok(()) => String::new(),
            Err(report) => format!("{report}; {}", report.help().expect("it helps")),
        };
        for path in [&run, &run.join("checkpoints")] {
            let said = problem(path);
            assert!(said.contains("the folder of a run"), "{said}");
            assert!(said.ends_with(&step.display().to_string()), "{said}");
        }
        assert!(problem(&folder.path().join("none")).starts_with("there is no folder"));
        std::fs::write(folder.path().join("file"), "").expect("written");
        assert!(
            problem(&folder.path().join("file")).ends_with(
                "is not a folder; give the path of a folder in the layout of Hugging Face"
            )
        );
        std::fs::write(step.join("config.json"), "{}").expect("written");
        assert_eq!(problem(&step), "");
        assert_eq!(problem(folder.path()), "", "its reader says what it lacks");
    }
}
