//! What a run and its objective promise, on tiny models.

mod cases;
mod objective;
mod resume;
mod without_targets;
