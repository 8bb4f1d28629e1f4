//! What each command does: settings to arguments, a call into a crate, an exit code.

pub(crate) mod data;
pub(crate) mod devices;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod plan;
pub(crate) mod ratio;
pub(crate) mod report;
pub(crate) mod sweep;
pub(crate) mod train;
