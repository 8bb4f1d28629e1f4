//! Loads the golden checkpoints and saves them again in every way: `resave FIXTURES OUT`, for
//! `xtask/fixtures/golden_llama.py check`, which loads OUT with transformers and peft.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use plw_model::{WeightType, load_adapter, load_llama, save_adapter, save_llama};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(fixtures), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: resave FIXTURES OUT".into());
    };
    let device = Device::flex();
    for case in directories(&fixtures)? {
        let name = case
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let model = load_llama(&case, &device)?;
        save_llama(&model, &out.join(&name), WeightType::F32)?;
        save_llama(
            &model,
            &out.join(format!("{name}+bfloat16")),
            WeightType::Bf16,
        )?;
        for adapter in directories(&case)? {
            let adapted = load_adapter(load_llama(&case, &device)?, &adapter)?;
            let adapter = adapter
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let adapter = adapter.trim_start_matches("adapter_");
            save_adapter(&adapted, &out.join(format!("{name}+adapter+{adapter}")))?;
            let merged = out.join(format!("{name}+merged+{adapter}"));
            save_llama(&adapted.merge_lora(), &merged, WeightType::F32)?;
        }
    }
    Ok(())
}

fn directories(parent: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(parent)?.collect::<Result<Vec<_>, _>>()?;
    Ok(entries
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect())
}
