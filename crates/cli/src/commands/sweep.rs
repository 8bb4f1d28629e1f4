//! `plw sweep`: a grid of settings, each run in a process of its own; complete runs are skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use miette::{IntoDiagnostic, Result, miette};
use plw_files::write_atomic;
use plw_record::RunDirectory;
use toml::{Table, Value};

use crate::flags::SweepFlags;
use crate::inputs::Inputs;
use crate::settings::{Settings, read_toml};

/// A run of the grid.
struct Planned {
    directory: PathBuf,
    config: PathBuf,
    settings: Table,
    /// Names of the settings that the grid decides.
    varied: Vec<String>,
}

/// The process of the current run, and whether the sweep was asked to stop.
#[derive(Default)]
struct Running {
    process: Mutex<Option<u32>>,
    stopped: AtomicBool,
}

impl Running {
    fn set(&self, process: Option<u32>) {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = process;
    }

    /// Passes a Ctrl-C or a termination on. The run then stops at a checkpoint, and the sweep with
    /// it.
    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let process = *self.process.lock().unwrap_or_else(PoisonError::into_inner);
        // Elsewhere the run is in the sweep's own group, and gets the Ctrl-C itself.
        #[cfg(unix)]
        if let Some(process) = process.and_then(|process| i32::try_from(process).ok()) {
            let process = nix::unistd::Pid::from_raw(process);
            if let Err(error) = nix::sys::signal::kill(process, nix::sys::signal::SIGTERM) {
                tracing::warn!("the run's process {process} could not be asked to stop: {error}");
            }
        }
        #[cfg(not(unix))]
        let _ = process;
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

pub(crate) fn run(flags: &SweepFlags) -> Result<ExitCode> {
    let runs = grid(flags)?;
    let program = std::env::current_exe().into_diagnostic()?;
    // Wrong settings of the last run are reported before the first run starts.
    for run in &runs {
        write_settings(run)?;
        settings(run)?.check()?;
    }
    if flags.list {
        for run in &runs {
            let program = program.display().to_string();
            let words = std::iter::once(program).chain(arguments(run));
            println!("{}", words.map(quoted).collect::<Vec<_>>().join(" "));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut inputs = Inputs::default();
    for run in &runs {
        refuse_other_run(run, &mut inputs)?;
    }
    let running = Arc::new(Running::default());
    let asked = running.clone();
    ctrlc::set_handler(move || asked.stop()).into_diagnostic()?;
    for (index, run) in runs.iter().enumerate() {
        let directory = RunDirectory::new(&run.directory);
        let place = format!("run {} of {}: {}", index + 1, runs.len(), directory.name());
        if directory.is_complete() {
            tracing::info!("{place} is complete");
            continue;
        }
        if running.is_stopped() {
            return Ok(ExitCode::from(130));
        }
        tracing::info!("{place}");
        let status = train(&program, run, &running).into_diagnostic()?;
        match status.code() {
            Some(0) => {}
            Some(130) => return Ok(ExitCode::from(130)),
            _ => {
                return Err(miette!(
                    help = "fix the cause above and run the sweep again: complete runs are skipped",
                    "{} failed ({status})",
                    directory.name()
                ));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings that the run's process will have.
fn settings(run: &Planned) -> Result<Settings> {
    Settings::load_training(Some(&run.config), &run.varied, &Table::new())
}

/// Refuses a run in the folder that has other settings, or whose files have other contents. Only
/// the same run may be resumed, or skipped as complete.
fn refuse_other_run(run: &Planned, inputs: &mut Inputs) -> Result<()> {
    let directory = RunDirectory::new(&run.directory);
    if !directory.config().exists() {
        return Ok(());
    }
    let before = directory.read_config().into_diagnostic()?;
    match before.difference(&inputs.resolved(&settings(run)?)?) {
        None => Ok(()),
        Some(difference) => Err(miette!(
            help = format!(
                "remove {}, or choose another folder with --out",
                directory.path.display()
            ),
            "{} was made with other settings: {difference}",
            directory.name()
        )),
    }
}

/// Runs one of them, in a process group of its own: a terminal's Ctrl-C then reaches it once,
/// through the sweep.
fn train(program: &Path, run: &Planned, running: &Running) -> std::io::Result<ExitStatus> {
    let mut command = Command::new(program);
    command.args(arguments(run));
    // The environment may override the preset, but not the grid.
    for name in &run.varied {
        command.env_remove(format!("PLW_{}", name.to_uppercase()));
    }
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn()?;
    running.set(Some(child.id()));
    let status = child.wait();
    running.set(None);
    status
}

fn arguments(run: &Planned) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    [
        "train",
        "--config",
        &path(&run.config),
        "--output-dir",
        &path(&run.directory),
        "--resume",
    ]
    .map(str::to_string)
    .to_vec()
}

/// A word, quoted for sh where it needs to be.
fn quoted(word: String) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=,+:@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn write_settings(run: &Planned) -> Result<()> {
    let text = toml::to_string(&run.settings).into_diagnostic()?;
    write_atomic(&run.config, text).into_diagnostic()
}

/// Every combination of the preset's lists, the last list varying fastest.
fn grid(flags: &SweepFlags) -> Result<Vec<Planned>> {
    let mut preset: Table = read_toml(&flags.preset)?;
    let mut lists = match preset.remove("sweep") {
        Some(Value::Table(lists)) => lists,
        None => Table::new(),
        Some(other) => {
            return Err(miette!(
                "`sweep` in {} is {other}: it must be a table of lists",
                flags.preset.display()
            ));
        }
    };
    if let Some(weights) = &flags.plw {
        lists.insert("prompt_loss_weight".to_string(), weights.clone().into());
    }
    if let Some(seeds) = flags
        .seeds
        .map_or_else(|| take_count(&mut lists), |seeds| Ok(Some(seeds)))?
    {
        if seeds == 0 {
            return Err(miette!("a sweep of 0 seeds has no run: give at least 1"));
        }
        lists.insert(
            "seed".to_string(),
            (1..=seeds as i64).collect::<Vec<_>>().into(),
        );
    }
    lists.remove("seeds");
    let mut combinations = vec![Vec::<(String, Value)>::new()];
    for (name, values) in ordered(lists) {
        let Value::Array(values) = values else {
            return Err(miette!(
                "`sweep.{name}` in {} must be a list",
                flags.preset.display()
            ));
        };
        if values.is_empty() {
            return Err(miette!(
                "`sweep.{name}` in {} is empty: the sweep would have no run",
                flags.preset.display()
            ));
        }
        combinations = combinations
            .iter()
            .flat_map(|before| {
                values
                    .iter()
                    .map(|value| [before.as_slice(), &[(name.clone(), value.clone())]].concat())
            })
            .collect();
    }
    let mut runs = Vec::<Planned>::new();
    for combination in combinations {
        let run = planned(&flags.out, &preset, combination);
        if runs.iter().any(|other| other.directory == run.directory) {
            return Err(miette!(
                help = "give every value of a list once",
                "two runs of the sweep would both be {}",
                run.directory.display()
            ));
        }
        runs.push(run);
    }
    Ok(runs)
}

/// Seeds vary slowest, so that the first runs show every weight with the first seed.
fn ordered(lists: Table) -> Vec<(String, Value)> {
    let (seeds, mut others): (Vec<_>, Vec<_>) =
        lists.into_iter().partition(|(name, _)| name == "seed");
    let mut all = seeds;
    all.append(&mut others);
    all
}

fn take_count(lists: &mut Table) -> Result<Option<u64>> {
    let Some(seeds) = lists.remove("seeds") else {
        return Ok(None);
    };
    let count = seeds
        .as_integer()
        .and_then(|seeds| u64::try_from(seeds).ok());
    let count =
        count.ok_or_else(|| miette!("`sweep.seeds` is {seeds}: it must be a number of seeds"))?;
    Ok(Some(count))
}

fn planned(out: &Path, preset: &Table, combination: Vec<(String, Value)>) -> Planned {
    let mut settings = preset.clone();
    let varied = combination.iter().map(|(key, _)| key.clone()).collect();
    let mut name = Vec::new();
    for (key, value) in combination {
        let short = if key == "prompt_loss_weight" {
            "plw"
        } else {
            key.as_str()
        };
        let shown = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_string);
        // 1.0 and 1 are one weight, and one run.
        let shown = shown
            .strip_suffix(".0")
            .map(str::to_string)
            .unwrap_or(shown);
        name.push(format!("{short}-{}", shown.replace(['/', ' '], "_")));
        settings.insert(key, value);
    }
    let name = if name.is_empty() {
        "run".to_string()
    } else {
        name.join("_")
    };
    Planned {
        directory: out.join(&name),
        config: out.join("presets").join(format!("{name}.toml")),
        settings,
        varied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sh_reads_a_printed_command_back() {
        for (word, printed) in [
            ("runs/plw-0.1", "runs/plw-0.1"),
            ("my runs", "'my runs'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word.to_string()), printed);
        }
    }

    #[test]
    fn a_grid_has_every_combination_and_flags_win() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let preset = directory.path().join("preset.toml");
        std::fs::write(
            &preset,
            "max_steps = 3\n[sweep]\nprompt_loss_weight = [0, 0.1, 1.0]\nseeds = 2\n",
        )
        .expect("written");
        let mut flags = SweepFlags {
            preset,
            out: directory.path().join("out"),
            plw: None,
            seeds: None,
            list: false,
        };
        let names = |flags: &SweepFlags| -> Vec<String> {
            let runs = grid(flags).expect("valid");
            runs.iter()
                .map(|run| RunDirectory::new(&run.directory).name())
                .collect()
        };
        assert_eq!(names(&flags)[..2], ["seed-1_plw-0", "seed-1_plw-0.1"]);
        assert_eq!(names(&flags).len(), 6);
        flags.plw = Some(vec![1.0]);
        flags.seeds = Some(1);
        assert_eq!(names(&flags), ["seed-1_plw-1"]);
        flags.plw = Some(vec![1.0, 1.0]);
        let error = grid(&flags).err().expect("refused").to_string();
        assert!(error.contains("seed-1_plw-1"), "{error}");
        flags.plw = Some(vec![1.0]);
        assert_eq!(
            grid(&flags).expect("valid")[0].settings["max_steps"].as_integer(),
            Some(3)
        );
    }
}
