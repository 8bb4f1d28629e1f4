//! `plw ratio`: how long completions are next to prompts.

use std::process::ExitCode;
use std::time::Instant;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use plw_data::{ChatTemplateChoice, DataSource, PromptEncoder, Sample, Split, measure_lengths};
use plw_ratio::{Ratios, Unit, analyze};
use plw_report::{
    NamedRatios, RatioReport, ratio_csv, ratio_json, ratio_markdown, ratio_text, write_ratios,
};

use crate::article;
use crate::examples::{encoder, say_what_they_are, token_cache, with_data_source};
use crate::failure::Failure;
use crate::flags::{LengthUnit, RatioFlags, TableFormat};
use crate::output::print;
use crate::output_folder::check_writable;
use crate::settings::{Settings, is_on_hub};

/// A data set, and what it is called.
struct Named {
    name: String,
    source: String,
}

pub(crate) fn run(flags: &RatioFlags) -> Result<ExitCode, Failure> {
    let settings = Settings::load(flags.config.as_deref(), flags).map_err(Failure::never)?;
    let is_downloaded = |text: &String| is_on_hub(&named(text).source);
    let are_downloaded = flags.article || flags.sources.iter().any(is_downloaded);
    ratio(flags, &settings).map_err(|report| Failure::of_inputs(report, are_downloaded))
}

fn ratio(flags: &RatioFlags, settings: &Settings) -> Result<ExitCode> {
    if let Some(directory) = &flags.output_dir {
        check_writable(directory)?;
    }
    let unit = match flags.unit {
        LengthUnit::Tokens => Unit::Tokens,
        LengthUnit::Chars => Unit::Chars,
    };
    let has_tokenizer = settings.source.model.is_some() || settings.source.tokenizer.is_some();
    let encoder = match (unit, has_tokenizer) {
        (Unit::Chars, false) if settings.prompt.chat_template == ChatTemplateChoice::Model => {
            return Err(miette!(
                help =
                    "give --chat-template llama-2, chatml, none or a .jinja file, or --model DIR",
                "characters are those of the rendered text, and without a model there is no chat \
                 template"
            ));
        }
        (Unit::Chars, false) => {
            PromptEncoder::without_tokenizer(settings.prompt.clone()).into_diagnostic()?
        }
        _ => encoder(settings)?,
    };
    let sample = match flags.article {
        true => Some(flags.sample.unwrap_or(article::ROWS)),
        false => flags.sample,
    };
    let sample = sample.map(|size| Sample {
        size,
        seed: flags.seed,
    });
    let mut datasets = Vec::new();
    let sources = sources(flags)?;
    check_names(&sources)?;
    for Named { name, source } in sources {
        let measured = measure(settings, &encoder, &source, unit, sample);
        let ratios = match measured {
            Ok(ratios) => ratios,
            // The article's table is made of the data sets that can be had.
            Err(error) if flags.article => {
                tracing::warn!("{name} is left out: {error:#}");
                continue;
            }
            Err(error) => return Err(error),
        };
        datasets.push(NamedRatios {
            name,
            analysis: analyze(&ratios, flags.seed),
        });
    }
    if datasets.is_empty() {
        return Err(miette!(
            help = "put them into a directory under their names (`plw ratio --help` lists them), \
                    and give it with --local DIR",
            "none of the article's data sets can be read"
        ));
    }
    let report = RatioReport { unit, datasets };
    print(&match flags.format {
        TableFormat::Text => ratio_text(&report),
        TableFormat::Csv => ratio_csv(&report).replace("\r\n", "\n"),
        TableFormat::Json => ratio_json(&report),
        TableFormat::Markdown => ratio_markdown(&report),
    })?;
    if let Some(directory) = &flags.output_dir {
        write_ratios(directory, &report).into_diagnostic()?;
        tracing::info!("{}", directory.join("ratio.html").display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The data sets that are asked for.
fn sources(flags: &RatioFlags) -> Result<Vec<Named>> {
    if !flags.article {
        return Ok(flags.sources.iter().map(|text| named(text)).collect());
    }
    let mut found = Vec::new();
    for dataset in &article::DATASETS {
        let local = flags
            .local
            .as_deref()
            .map(|folder| dataset.in_folder(folder))
            .transpose()?;
        found.push(Named {
            name: dataset.name.to_owned(),
            source: local.flatten().unwrap_or_else(|| dataset.hub.to_owned()),
        });
    }
    Ok(found)
}

/// Refuses two data sets of one name, which a table could not tell apart.
fn check_names(sources: &[Named]) -> Result<()> {
    for (index, Named { name, .. }) in sources.iter().enumerate() {
        if sources[..index].iter().any(|other| other.name == *name) {
            return Err(miette!(
                help = "give each its own, as NAME=SOURCE",
                "two data sets are called {name}"
            ));
        }
    }
    Ok(())
}

/// A source, under the name before its `=` or under its own.
fn named(text: &str) -> Named {
    let (name, source) = match text.split_once('=') {
        Some((name, source)) if !name.is_empty() && !name.contains(['/', '\\', ':']) => {
            (name, source)
        }
        _ => (text, text),
    };
    Named {
        name: name.to_owned(),
        source: source.to_owned(),
    }
}

/// The lengths of a data set's examples.
fn measure(
    settings: &Settings,
    encoder: &PromptEncoder,
    source: &str,
    unit: Unit,
    sample: Option<Sample>,
) -> Result<Ratios> {
    let began = Instant::now();
    let split = settings.source.split.unwrap_or(Split::Train);
    let limit = settings.source.limit;
    let cache = match (unit, sample) {
        (Unit::Tokens, None) => token_cache(),
        _ => None,
    };
    let mut ratios = Ratios::default();
    let measure = |files: &DataSource| {
        measure_lengths(files, unit, sample, |lengths| ratios.push(lengths))
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot read {source}"))
    };
    let reading = with_data_source(settings, encoder, source, split, limit, cache, measure)?;
    say_what_they_are(source, &reading);
    if reading.skipped.rows > 0 {
        tracing::warn!("{source}: {}", reading.skipped);
    }
    if ratios.examples() == 0 {
        return Err(miette!(
            help = "check the data",
            "{source} holds no example ({} bad rows)",
            reading.skipped.rows
        ));
    }
    let seconds = began.elapsed().as_secs_f64();
    let units = ratios.prompt_units() + ratios.completion_units();
    tracing::info!(
        source,
        examples = ratios.examples(),
        seconds,
        "{source}: {} examples in {seconds:.1} s, {:.0} {} a second",
        ratios.examples(),
        units as f64 / seconds,
        unit.name()
    );
    Ok(ratios)
}
