//! One training run: steps, schedule, optimizer, metrics, checkpoints, resume.
