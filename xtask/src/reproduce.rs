//! `cargo xtask reproduce`: an experiment from nothing to its report.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_files::write_atomic;
use serde_json::Value;

use crate::committed_result::{self, CommittedResult};
use crate::preset::Preset;
use crate::read::read_json;
use crate::workspace::{Workspace, absolute};
use crate::{binary, generated, process};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Which experiment: a file of experiments/ without its extension. Without it the default,
    /// which has two parts: `default` and `conversations`.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Prompt loss weights instead of the preset's, separated by commas.
    #[arg(long, alias = "plw", value_name = "X,Y", value_delimiter = ',')]
    prompt_loss_weight: Option<Vec<f64>>,
    /// Number of seeds instead of the preset's.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Folder of the runs and the report; runs/PRESET if not given. What is complete there is not
    /// done again. The second part of the default goes into a folder of its name there.
    #[arg(long, alias = "out", value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Directory of the model, for presets that name none (or PLW_MODEL).
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Folder of the data with its train, validation and test files, for presets that name none (or
    /// PLW_TRAIN_DATA and PLW_EVAL_DATA).
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where to compute: cpu, cuda, cuda:N, wgpu, vulkan or metal; plw is built for it.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Keep the result in results/, with the preset, the commit and the machine.
    #[arg(long)]
    record: bool,
}

/// The parts of the default experiment: short completions, and long ones.
const DEFAULT: [&str; 2] = ["default", "conversations"];

pub(crate) fn run(workspace: &Workspace, flags: &Flags) -> Result<()> {
    let Some(preset) = &flags.preset else {
        for (index, name) in DEFAULT.iter().enumerate() {
            let part = flags.output_dir.as_ref().map(|out| match index {
                0 => out.clone(),
                _ => out.join(name),
            });
            reproduce(workspace, flags, name, part.as_deref())?;
        }
        return Ok(());
    };
    reproduce(workspace, flags, preset, flags.output_dir.as_deref())
}

fn reproduce(workspace: &Workspace, flags: &Flags, name: &str, out: Option<&Path>) -> Result<()> {
    let preset = Preset::find(&workspace.path("experiments"), name)?;
    let sources = sources(flags)?;
    check_sources(workspace, &preset, &sources)?;
    let out = match out {
        Some(out) => absolute(out)?,
        None => workspace.path("runs").join(&preset.name),
    };
    let plw = binary::build(workspace, &device(flags, &preset))?;
    let began = Instant::now();
    for name in preset.synthetic_data() {
        generated::ensure(workspace, &plw, &generated::synthetic_data(&name))?;
    }
    let mut plan = workspace.command(&plw);
    plan.arg("plan").arg("--config").arg(&preset.path);
    plan.envs(sources.iter().map(|(name, value)| (*name, value)));
    if let Some(weight) = greatest_weight(flags, &preset) {
        plan.args(["--prompt-loss-weight", &weight.to_string()]);
    }
    println!("Each run of `{}`, by `plw plan`:\n", preset.name);
    process::run(&mut plan, "`plw plan` says above what the preset needs")?;
    println!();
    let mut sweep = workspace.command(&plw);
    sweep
        .arg("sweep")
        .arg("--config")
        .arg(&preset.path)
        .arg("--output-dir")
        .arg(&out)
        .envs(sources);
    if let Some(weights) = &flags.prompt_loss_weight {
        let weights: Vec<String> = weights.iter().map(f64::to_string).collect();
        sweep.args(["--prompt-loss-weight", &weights.join(",")]);
    }
    if let Some(seeds) = flags.seeds {
        sweep.args(["--seeds", &seeds.to_string()]);
    }
    process::run(
        &mut sweep,
        &format!("the runs' records are in {}", out.display()),
    )?;
    let mut report = workspace.command(&plw);
    report.arg("report").arg(&out);
    process::run(
        &mut report,
        &format!("the runs' records are in {}", out.display()),
    )?;
    let seconds = began.elapsed().as_secs_f64();
    eprintln!(
        "done in {:.0} min {:02.0} s after the build",
        (seconds / 60.0).floor(),
        seconds % 60.0
    );

    let here: Value = read_json(&out.join("report.json"))?;
    let kept = workspace
        .path("results")
        .join(format!("{}.json", preset.name));
    if let Some(committed) = CommittedResult::read(&kept)? {
        show_comparison(&here, &committed)?;
    }
    if flags.record {
        record(workspace, &preset, &plw, &out, here)?;
    }
    Ok(())
}

/// What plw will compute on, and so has to be built for: the flag, else the environment, else the
/// preset.
fn device(flags: &Flags, preset: &Preset) -> String {
    let given = flags.device.clone().or(std::env::var("PLW_DEVICE").ok());
    given.unwrap_or_else(|| preset.text("device").unwrap_or(binary::CPU).to_string())
}

/// The prompt loss weight of the run that needs the most memory: the greater it is, the more tokens
/// have a loss.
fn greatest_weight(flags: &Flags, preset: &Preset) -> Option<f64> {
    let given = flags.prompt_loss_weight.clone();
    let weights = given.unwrap_or_else(|| preset.swept("prompt_loss_weight"));
    weights.into_iter().reduce(f64::max)
}

/// The model and the data that flags name, as environment variables for plw: these win over the
/// preset.
fn sources(flags: &Flags) -> Result<Vec<(&'static str, String)>> {
    let mut sources = Vec::new();
    if let Some(device) = &flags.device {
        sources.push(("PLW_DEVICE", device.clone()));
    }
    if let Some(model) = &flags.model {
        sources.push(("PLW_MODEL", absolute(model)?.display().to_string()));
    }
    if let Some(data) = &flags.data {
        let data = match data.starts_with("hub:") {
            true => data.clone(),
            false => absolute(Path::new(data))?.display().to_string(),
        };
        sources.extend([("PLW_TRAIN_DATA", data.clone()), ("PLW_EVAL_DATA", data)]);
    }
    Ok(sources)
}

/// Says before the build what a preset still needs.
fn check_sources(workspace: &Workspace, preset: &Preset, sources: &[(&str, String)]) -> Result<()> {
    for (setting, flag) in [
        ("model", "--model DIR"),
        ("train_data", "--data DIR"),
        ("eval_data", "--data DIR"),
    ] {
        let variable = format!("PLW_{}", setting.to_uppercase());
        let is_given = sources.iter().any(|(name, _)| *name == variable)
            || std::env::var_os(&variable).is_some();
        if !is_given && preset.text(setting).is_none() {
            return Err(miette!(
                help = format!("give {flag}, or set {variable}"),
                "the preset `{}` leaves `{setting}` to you",
                preset.name
            ));
        }
        if !is_given && setting == "model" && preset.text(setting) == Some("assets") {
            let weights = workspace.path("assets/model.safetensors");
            if !weights.is_file() {
                return Err(miette!(
                    help = "make it with `cargo xtask pretrain`",
                    "there is no {}",
                    weights.display()
                ));
            }
        }
    }
    Ok(())
}

fn show_comparison(here: &Value, committed: &CommittedResult) -> Result<()> {
    let compared = committed_result::compare(here, &committed.report)?;
    let commit = committed.commit.get(..12).unwrap_or(&committed.commit);
    println!(
        "\nHere and in results/{}.json (commit {commit}):",
        committed.preset
    );
    print!("{}", committed_result::table(&compared));
    let outside = compared
        .iter()
        .filter(|row| row.is_within() == Some(false))
        .count();
    match outside {
        0 => println!("Every mean lies within the committed interval."),
        _ => println!(
            "{outside} of {} means lie outside the committed interval.",
            compared.len()
        ),
    }
    Ok(())
}

/// Keeps the result: its figures as JSON, its tables as Markdown, its figures as SVG.
fn record(
    workspace: &Workspace,
    preset: &Preset,
    plw: &Path,
    out: &Path,
    report: Value,
) -> Result<()> {
    let results = workspace.path("results");
    let read = |path: &Path| {
        let bytes = std::fs::read(path).into_diagnostic();
        bytes.wrap_err_with(|| format!("cannot read {}", path.display()))
    };
    let result = CommittedResult {
        preset: preset.name.clone(),
        settings: String::from_utf8_lossy(&read(&preset.path)?).into_owned(),
        commit: workspace.commit(),
        version: binary::version(plw)?,
        report,
    };
    // The figures lie in a folder of the preset's name there.
    let tables = String::from_utf8_lossy(&read(&out.join("report.md"))?)
        .replace("](figures/", &format!("]({}/", preset.name));
    write_atomic(results.join(format!("{}.md", preset.name)), tables).into_diagnostic()?;
    for entry in std::fs::read_dir(out.join("figures")).into_diagnostic()? {
        let figure = entry.into_diagnostic()?;
        write_atomic(
            results.join(&preset.name).join(figure.file_name()),
            read(&figure.path())?,
        )
        .into_diagnostic()?;
    }
    let path = results.join(format!("{}.json", preset.name));
    result.write(&path)?;
    println!("kept in {}", path.display());
    Ok(())
}
