//! What a run and its objective promise, on tiny models.

mod cases;
mod changes;
mod completions;
mod damages;
mod divergence;
mod folders;
mod length;
mod objective;
mod processes;
mod resume;
mod without_targets;
