//! Activation checkpointing changes no bit.

use std::path::PathBuf;

use miette::Result;

use super::DEVICE;
use crate::check::compared::SameBits;
use crate::check::device::Tested;
use crate::check::parallel::comparison::are_same;
use crate::process;

/// Trains in bf16 with and without it.
pub(super) fn check(tested: &Tested<'_>) -> Result<SameBits> {
    let what = "full, bf16, recomputed and not";
    eprintln!("training: {what}");
    let train = |recomputes: bool| -> Result<PathBuf> {
        let id = format!("bits-{recomputes}");
        let records = tested.scratch.empty_run(&id)?;
        let flag = format!("--gradient-checkpointing={recomputes}");
        let mut command = tested.training(DEVICE, &["--bf16=true", &flag], &records);
        process::run_logged(&mut command, &tested.scratch.log(&id))?;
        Ok(records)
    };
    Ok(SameBits {
        what: what.to_string(),
        same: are_same(&train(false)?, &train(true)?)?,
    })
}
