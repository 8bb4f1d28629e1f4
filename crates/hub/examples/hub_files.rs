//! Finds files in a cache that is laid out as Python's huggingface_hub does it, without the hub:
//! `cargo run --release --example hub_files`. With KIND REPOSITORY PATH (such as `model
//! HuggingFaceTB/SmolLM2-135M config.json`) it downloads a file.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use plw_hub::{Hub, Progress, Repository, RepositoryKind};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => from_cache(),
        ["dataset", name, path] => download(RepositoryKind::Dataset, name, path),
        ["model", name, path] => download(RepositoryKind::Model, name, path),
        _ => Err("give no argument, or dataset|model OWNER/NAME PATH".into()),
    }
}

fn download(kind: RepositoryKind, name: &str, path: &str) -> Result<(), Box<dyn Error>> {
    let hub = Hub {
        progress: Some(Arc::new(|progress: Progress<'_>| match progress {
            Progress::Waiting { file } => println!("{file}: another process downloads it"),
            Progress::Downloaded { file, bytes, total } => println!("{file}: {bytes}/{total}"),
        })),
        ..Hub::from_env()?
    };
    let file = hub.file(&Repository::new(kind, name, None)?, path)?;
    println!("{}", file.display());
    Ok(())
}

fn from_cache() -> Result<(), Box<dyn Error>> {
    let cache = std::env::temp_dir().join("plw-hub-example");
    let repository = Repository::new(RepositoryKind::Dataset, "owner/name", None)?;
    fill(&cache.join("datasets--owner--name"))?;
    let hub = Hub {
        offline: true,
        ..Hub::new("https://huggingface.co", &cache)
    };
    let file = hub.file(&repository, "README.md")?;
    println!("{repository}: {}", file.strip_prefix(&cache)?.display());
    println!("its content: {:?}", fs::read_to_string(file)?);

    let elsewhere = Repository::new(RepositoryKind::Model, "owner/other", None)?;
    for error in [
        hub.file(&repository, "train.parquet").err(),
        hub.file(&elsewhere, "config.json").err(),
        Repository::new(RepositoryKind::Model, "../../etc", None).err(),
    ] {
        println!(
            "an error: {}",
            error.map(|error| error.to_string()).unwrap_or_default()
        );
    }
    fs::remove_dir_all(cache)?;
    Ok(())
}

/// What huggingface_hub leaves of one file.
fn fill(repository: &Path) -> std::io::Result<()> {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let snapshot = repository.join("snapshots").join(commit);
    fs::create_dir_all(&snapshot)?;
    fs::create_dir_all(repository.join("refs"))?;
    fs::write(repository.join("refs/main"), commit)?;
    fs::write(snapshot.join("README.md"), "# A data set\n")
}
