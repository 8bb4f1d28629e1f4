//! The runs of a sweep, shared by any number of workers on any machines that share its folder.
//!
//! Knows run folders and processes; never a setting, a model or a device. Who works on a run is
//! decided by files that are made once ([`take`]), so that no server is needed, and no lock that a
//! network file system may lack.
#![doc = include_str!("../README.md")]

mod attempt_folder;
mod cluster_settings;
mod error;
mod event;
mod heartbeat;
mod inherit;
mod job;
mod kubernetes;
mod kubernetes_settings;
mod lease;
mod list;
mod publish;
mod shell;
mod slurm;
mod slurm_settings;
mod status;
mod worker;

pub use cluster_settings::ClusterSettings;
pub use error::SweepError;
pub use event::{Attempt, Event, EventKind, read_events};
pub use heartbeat::{Progress, SharedProgress};
pub use job::{Job, NEVER, TRY_AGAIN, WRONG_ARGUMENTS, logs_of};
pub use kubernetes::kubernetes_manifest;
pub use kubernetes_settings::KubernetesSettings;
pub use lease::{
    Lease, Release, Standing, Taken, attempt_directory, beat, last_directory, note_refusal,
    standing, take, tidy,
};
pub use list::{ListedRun, SweepList, read_list, require_list, write_list};
pub use shell::quoted;
pub use slurm::slurm_script;
pub use slurm_settings::SlurmSettings;
pub use status::{RunStatus, State, status};
pub use worker::Worker;
