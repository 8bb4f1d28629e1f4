//! The runs of a sweep: every combination of the lists that a preset's table `sweep` holds.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, miette};
use plw_files::digest;
use plw_record::RunDirectory;
use plw_sweep::ListedRun;
use toml::{Table, Value};

use crate::flags::SweepFlags;
use crate::settings::{Preset, Settings, nearest};

/// More runs than any sweep has time for; each has its settings in memory.
const MOST_RUNS: usize = 10_000;

/// A run of the grid.
pub(super) struct Planned {
    /// Its index, from 0.
    pub(super) index: usize,
    pub(super) directory: PathBuf,
    /// Its settings, as those of the sweep's preset.
    preset: Preset,
    /// The settings that the grid decides.
    varied: Vec<(String, Value)>,
}

impl Planned {
    /// The settings that the run has. The environment may override the preset, but not the grid.
    pub(super) fn settings(&self) -> Result<Settings> {
        Settings::of_preset(&self.preset, &self.decided())
    }

    /// The names of the settings that the grid decides.
    pub(super) fn decided(&self) -> Vec<String> {
        self.varied.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn name(&self) -> String {
        RunDirectory::new(&self.directory).name()
    }

    /// Its entry in the list of the sweep's runs.
    pub(super) fn listed(&self) -> Result<ListedRun> {
        let settings = self.varied.iter().map(|(name, value)| {
            let value = serde_json::to_value(value).into_diagnostic()?;
            Ok((name.clone(), value))
        });
        Ok(ListedRun {
            index: self.index,
            name: self.name(),
            settings: settings.collect::<Result<_>>()?,
        })
    }
}

/// Every combination of the preset's lists, the last list varying fastest.
pub(super) fn grid(preset: &Preset, flags: &SweepFlags) -> Result<Vec<Planned>> {
    let lists = lists(preset, flags)?;
    let count = |product: usize, list: &(String, Vec<Value>)| product.checked_mul(list.1.len());
    let runs = lists.iter().try_fold(1, count);
    if runs.is_none_or(|runs| runs > MOST_RUNS) {
        return Err(miette!(
            help = "give fewer or shorter lists, or split the sweep",
            "the sweep has {} runs: more than the {MOST_RUNS} that a sweep may have",
            runs.map_or("too many".to_string(), |runs| runs.to_string())
        ));
    }
    let mut combinations = vec![Vec::<(String, Value)>::new()];
    for (name, values) in lists {
        combinations = combinations
            .iter()
            .flat_map(|before| {
                values
                    .iter()
                    .map(|value| [before.as_slice(), &[(name.clone(), value.clone())]].concat())
            })
            .collect();
    }
    let runs = combinations
        .into_iter()
        .enumerate()
        .map(|(index, varied)| planned(flags.output_dir(), preset, index, varied));
    let mut directories = HashSet::new();
    runs.map(|run| match directories.insert(run.directory.clone()) {
        true => Ok(run),
        false => Err(miette!(
            help = "give every value of a list once, and no two texts that differ in a space or a \
                    slash alone",
            "two runs of the sweep would both be {}",
            run.directory.display()
        )),
    })
    .collect()
}

/// The lists of settings to go through, the flags' instead of the preset's.
fn lists(preset: &Preset, flags: &SweepFlags) -> Result<Vec<(String, Vec<Value>)>> {
    let file = preset.path.display();
    let mut lists = match &preset.sweep {
        Some(Value::Table(lists)) => lists.clone(),
        None => Table::new(),
        Some(other) => {
            return Err(miette!(
                "`sweep` in {file} is {other}: it must be a table of lists"
            ));
        }
    };
    if let Some(weights) = &flags.prompt_loss_weight {
        lists.insert("prompt_loss_weight".to_string(), weights.clone().into());
    }
    let given = take_count(&mut lists)?;
    if given.is_some() && lists.contains_key("seed") {
        return Err(miette!(
            help = "remove one",
            "`sweep.seeds` in {file} is the number of seeds, and `sweep.seed` lists them"
        ));
    }
    if let Some(seeds) = flags.seeds.or(given) {
        lists.insert("seed".to_string(), seeds_up_to(seeds)?);
    }
    let known = Settings::default_values();
    let mut checked = Vec::new();
    for (name, values) in ordered(lists) {
        if !known.contains_key(&name) {
            return Err(miette!(
                help = match nearest(&known, &name) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "`plw train --help` lists the settings".to_string(),
                },
                "`sweep.{name}` in {file} is not a setting"
            ));
        }
        match values {
            Value::Array(values) if values.is_empty() => {
                return Err(miette!(
                    "`sweep.{name}` in {file} is empty: the sweep would have no run"
                ));
            }
            Value::Array(values) => checked.push((name, values)),
            _ => return Err(miette!("`sweep.{name}` in {file} must be a list")),
        }
    }
    Ok(checked)
}

fn seeds_up_to(count: u64) -> Result<Value> {
    match i64::try_from(count) {
        Ok(0) => Err(miette!("a sweep of 0 seeds has no run: give at least 1")),
        Ok(last) if count <= MOST_RUNS as u64 => Ok((1..=last).collect::<Vec<_>>().into()),
        _ => Err(miette!(
            "a sweep of {count} seeds has more than the {MOST_RUNS} runs that a sweep may have: \
             give fewer seeds"
        )),
    }
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

fn planned(
    out: &Path,
    preset: &Preset,
    index: usize,
    combination: Vec<(String, Value)>,
) -> Planned {
    let mut run = preset.clone();
    let mut name = Vec::new();
    for (key, value) in &combination {
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
        name.push(format!("{short}-{}", as_name(&shown)));
        let value = preset.resolved(key, value.clone());
        run.settings.insert(key.clone(), value);
    }
    let name = if name.is_empty() {
        "run".to_string()
    } else {
        name.join("_")
    };
    Planned {
        index,
        directory: out.join(&name),
        preset: run,
        varied: combination,
    }
}

/// Letters of a value that a folder's name holds. Names have at most 255 bytes.
const MOST_LETTERS: usize = 60;

/// A value as a part of a folder's name. A long one ends in digits that tell it from others.
fn as_name(value: &str) -> String {
    let plain = |letter: char| match letter {
        '/' | '\\' | ' ' => '_',
        letter if letter.is_control() => '_',
        letter => letter,
    };
    let name: String = value.chars().map(plain).collect();
    match name.char_indices().nth(MOST_LETTERS) {
        None => name,
        Some((end, _)) => format!("{}-{}", &name[..end], &digest(value)[..8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runs of a sweep into the folder `out`, or what is wrong.
    fn runs(preset: &str, weights: Option<Vec<f64>>, seeds: Option<&str>) -> Result<Vec<Planned>> {
        use clap::Parser;

        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            flags: SweepFlags,
        }

        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("preset.toml");
        std::fs::write(&path, preset).expect("written");
        let path = path.display().to_string();
        let mut line = vec!["sweep", "--config", &path, "--output-dir", "out"];
        if let Some(seeds) = seeds {
            line.extend(["--seeds", seeds]);
        }
        let mut flags = Line::try_parse_from(line).expect("valid flags").flags;
        flags.prompt_loss_weight = weights;
        grid(&Preset::read(flags.config())?, &flags)
    }

    /// The names of the runs, or what is wrong.
    fn names(preset: &str, weights: Option<Vec<f64>>, seeds: Option<&str>) -> Result<Vec<String>> {
        let runs = runs(preset, weights, seeds)?;
        let below = |run: &Planned| run.directory.strip_prefix("out").map(Path::to_path_buf);
        let names = runs.iter().map(|run| below(run).expect("it lies there"));
        Ok(names.map(|name| name.display().to_string()).collect())
    }

    const PRESET: &str = "max_steps = 3\n[sweep]\nprompt_loss_weight = [0, 0.1, 1.0]\nseeds = 2\n";

    #[test]
    fn a_grid_has_every_combination_and_flags_win() {
        let runs = names(PRESET, None, None).expect("valid");
        assert_eq!(runs[..2], ["seed-1_plw-0", "seed-1_plw-0.1"]);
        assert_eq!(runs.len(), 6);
        let long = format!(
            "[sweep]\nprompt_template = [\"a\\nb\", '{}']\n",
            "c".repeat(300)
        );
        let runs = names(&long, None, None).expect("valid");
        assert_eq!(runs[0], "prompt_template-a_b");
        assert!(runs[1].len() < 100, "{runs:?}");
        let runs = names(PRESET, Some(vec![1.0]), Some("1")).expect("valid");
        assert_eq!(runs, ["seed-1_plw-1"]);
    }

    #[test]
    fn a_grid_that_cannot_be_run_is_refused_before_anything_is_written() {
        for (preset, weights, seeds, says) in [
            (
                PRESET,
                Some(vec![1.0, 1.0]),
                None,
                "both be out/seed-1_plw-1",
            ),
            (PRESET, None, Some("0"), "0 seeds"),
            (
                PRESET,
                None,
                Some("9000000000000000000"),
                "more than the 10000 runs",
            ),
            (
                PRESET,
                None,
                Some("18446744073709551615"),
                "more than the 10000 runs",
            ),
            (
                PRESET,
                None,
                Some("99999999999"),
                "more than the 10000 runs",
            ),
            (PRESET, None, Some("5000"), "has 15000 runs"),
            (
                "[sweep]\nseeds = 99999999999\n",
                None,
                None,
                "more than the 10000",
            ),
            ("[sweep]\n'../../../evil' = [1]\n", None, None, "evil` in"),
            (
                "[sweep]\nlearning_rte = [1]\n",
                None,
                None,
                "is not a setting",
            ),
            ("[sweep]\nlearning_rate = 1\n", None, None, "must be a list"),
            ("[sweep]\nlearning_rate = []\n", None, None, "is empty"),
            ("sweep = 1\n", None, None, "a table of lists"),
            ("[sweep]\nseeds = 2\nseed = [1]\n", None, None, "lists them"),
        ] {
            let error = names(preset, weights, seeds).expect_err("it is refused");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn any_preset_is_a_grid_or_refused() {
        use plw_mutate::{mutated, mutations, toml_of, try_all};

        let good = serde_json::json!({
            "model": "assets", "learning_rate": 1e-3, "max_steps": 6, "chat_template": "none",
            "packing": "shortest-pack-first", "lora_r": 4, "lora_target_modules": ["q_proj"],
            "prompt_template": "{article}\n{question}", "shuffle": true,
            "sweep": {"prompt_loss_weight": [0.0, 0.1], "lora_r": [2, 4], "seeds": 2}
        });
        try_all(2000, mutations(), |mutations| {
            let text = toml_of(&mutated(&good, &mutations));
            let refused = |error: miette::Report| assert!(!error.to_string().is_empty());
            match runs(&text, None, None) {
                Ok(runs) => {
                    assert!(!runs.is_empty() && runs.len() <= MOST_RUNS);
                    for run in runs.iter().take(3) {
                        assert!(run.directory.starts_with("out"), "{:?}", run.directory);
                        let settings = run.settings().and_then(|settings| settings.check());
                        settings.unwrap_or_else(refused);
                    }
                }
                Err(error) => refused(error),
            }
            text.parse::<Table>().is_ok()
        });
    }
}
