//! Both programs, and how either is run.

use std::path::PathBuf;

use miette::{Result, miette};

use super::outcome::Outcome;
use super::pytorch::PyTorch;
use super::scratch::Scratch;
use super::work::{Program, Run, Work};
use super::{plw, pytorch};

/// The programs, built and found.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The binary.
    pub(crate) plw: PathBuf,
    /// None where nothing needs it.
    pub(crate) pytorch: Option<PyTorch>,
    pub(crate) scratch: Scratch,
}

impl Programs {
    /// What a program makes of some work.
    pub(crate) fn run(&self, program: Program, run: &Run, work: &Work) -> Result<Outcome> {
        match (program, &self.pytorch) {
            (Program::Plw, _) => plw::run(&self.plw, run, work),
            (_, Some(pytorch)) => pytorch::run(pytorch, run, work, program),
            (_, None) => Err(miette!("there is no PyTorch to run {}", run.name)),
        }
    }
}
