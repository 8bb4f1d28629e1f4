//! Downloads from servers on this machine: honest ones, broken ones and hostile ones.

mod cache;
mod check;
mod hostile;
mod repository;
mod resume;
mod server;
mod settings;
mod token;
