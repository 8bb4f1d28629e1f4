//! Files that a plw command makes from a committed description: made when missing, made anew when
//! that or plw has changed.

use std::fs;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Report, Result, WrapErr};
use plw_files::{digest_file, write_atomic, write_directory_atomic};

use crate::process;
use crate::workspace::Workspace;

/// In a generated folder: the command, the program and the settings that made it.
const MADE_BY: &str = "made-by.txt";

/// A folder or a file and the plw command that makes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Generated {
    /// What is made, relative to the workspace: a file if its name has an extension, else a folder.
    pub(crate) makes: PathBuf,
    /// The command's arguments; `{out}` stands for where to write.
    pub(crate) arguments: Vec<String>,
}

/// The description of a synthetic data set, and where its rows lie: `experiments/data/NAME.toml`,
/// `runs/data/NAME`.
pub(crate) fn synthetic_data(name: &str) -> Generated {
    let settings = format!("experiments/data/{name}.toml");
    let arguments = [
        "data",
        "synth",
        "--config",
        &settings,
        "--output-dir",
        "{out}",
    ];
    Generated {
        makes: Path::new("runs/data").join(name),
        arguments: arguments.map(str::to_string).to_vec(),
    }
}

/// Sees to it that it is there and up to date.
pub(crate) fn ensure(workspace: &Workspace, plw: &Path, generated: &Generated) -> Result<()> {
    let target = workspace.path(&generated.makes);
    let make = |out: &Path| {
        let out = out.display().to_string();
        let arguments = generated
            .arguments
            .iter()
            .map(|argument| argument.replace("{out}", &out));
        eprintln!("making {}", generated.makes.display());
        process::run(
            workspace.command(plw).args(arguments),
            "fix what it reports above and run this task again",
        )
    };
    if target.extension().is_some() {
        return if target.is_file() {
            Ok(())
        } else {
            make(&target)
        };
    }
    let description = description(workspace, plw, generated)?;
    if fs::read_to_string(target.join(MADE_BY)).is_ok_and(|made_by| made_by == description) {
        return Ok(());
    }
    write_directory_atomic(&target, |partial| {
        make(partial).map_err(MakeError)?;
        Ok(write_atomic(partial.join(MADE_BY), &description)?)
    })
    .map_err(|MakeError(report)| report)
}

/// The command, a digest of the program, and the text of every settings file that it names.
fn description(workspace: &Workspace, plw: &Path, generated: &Generated) -> Result<String> {
    let program = digest_file(plw).into_diagnostic()?;
    let mut text = format!("plw {}\n# {program}\n", generated.arguments.join(" "));
    for settings in generated
        .arguments
        .iter()
        .filter(|argument| argument.ends_with(".toml"))
    {
        let content = fs::read_to_string(workspace.path(settings)).into_diagnostic();
        text += &content.wrap_err_with(|| format!("cannot read {settings}"))?;
    }
    Ok(text)
}

/// A report that plw-files can hand through.
struct MakeError(Report);

impl From<plw_files::FileError> for MakeError {
    fn from(error: plw_files::FileError) -> Self {
        Self(Report::msg(error.to_string()))
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_again_when_its_settings_change() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let workspace = Workspace {
            root: directory.path().to_path_buf(),
        };
        let settings = workspace.path("data.toml");
        fs::write(&settings, "seed = 1\n").expect("written");
        let script = "cp $0 $1/rows; echo >> made".to_string();
        let arguments = ["-c", &script, "data.toml", "{out}"]
            .map(str::to_string)
            .to_vec();
        let generated = Generated {
            makes: "runs/data/tiny".into(),
            arguments,
        };
        let rows = || fs::read_to_string(workspace.path("runs/data/tiny/rows")).expect("made");
        let times = || fs::read(workspace.path("made")).expect("made").len();
        for _ in 0..2 {
            ensure(&workspace, Path::new("/bin/sh"), &generated).expect("made");
            assert_eq!((rows().as_str(), times()), ("seed = 1\n", 1));
        }
        fs::write(&settings, "seed = 2\n").expect("written");
        ensure(&workspace, Path::new("/bin/sh"), &generated).expect("made");
        assert_eq!((rows().as_str(), times()), ("seed = 2\n", 2));
        fs::write(&settings, "seed = 3\n").expect("written");
        let failing = Generated {
            arguments: vec!["-c".into(), "exit 1".into(), "data.toml".into()],
            ..generated
        };
        ensure(&workspace, Path::new("/bin/sh"), &failing).expect_err("it fails");
        assert_eq!(rows(), "seed = 2\n");
    }
}
