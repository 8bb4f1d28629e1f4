//! An evaluation by several processes predicts what one predicts, to the bit.

use std::fs;
use std::path::Path;

use miette::{IntoDiagnostic, Result};
use plw_record::{RunDirectory, checkpoint_name};

use super::launch::{Job, Place};
use crate::check::compared::SameBits;
use crate::peer::scratch::Scratch;
use crate::process;
use crate::workspace::Workspace;

/// Steps of the model that is evaluated.
const STEPS: u32 = 20;

/// Evaluates in every place, of which the first is one process.
pub(super) fn same_predictions(
    workspace: &Workspace,
    plw: &Path,
    scratch: &Scratch,
    places: &[Place<'_>],
) -> Result<Vec<SameBits>> {
    let trained = scratch.empty_run("evaluated")?;
    let mut job = Job::smoke(workspace, plw, Place::Processes(1), &trained);
    job.command.arg(format!("--max-steps={STEPS}"));
    process::run_logged(&mut job.command, &scratch.log("evaluated"))?;
    let checkpoints = RunDirectory::new(&trained).checkpoints();
    let model = checkpoints.join(checkpoint_name(STEPS.into()));
    let predictions = |place: &Place<'_>| -> Result<Vec<u8>> {
        eprintln!("evaluating: {place}");
        let id = format!("evaluated-{place}").replace(' ', "-");
        let records = scratch.empty_run(&id)?;
        let mut job = Job::evaluation(workspace, plw, *place, &model, &records);
        process::run_logged(&mut job.command, &scratch.log(&id))?;
        fs::read(records.join("predictions.parquet")).into_diagnostic()
    };
    let Some((one, several)) = places.split_first() else {
        return Ok(Vec::new());
    };
    let one = predictions(one)?;
    let compared = several.iter().map(|place| {
        Ok(SameBits {
            what: format!("evaluation, {place}: predictions as of one process"),
            same: predictions(place)? == one,
        })
    });
    compared.collect()
}
