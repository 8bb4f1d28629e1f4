//! Sums and messages between the processes of one job, behind one trait.
//!
//! Knows slices and bytes; knows no tensor, no gradient, no file of a run. A [`Transport`] is MPI
//! (feature `mpi`), NCCL (feature `nccl`), the threads of one process ([`Threads`], for tests) or
//! nothing at all ([`Alone`]). [`Launch`] tells what a launcher says about this process.
#![doc = include_str!("../README.md")]

mod alone;
mod device_transport;
mod error;
mod launch;
mod meeting_folder;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
mod sum;
mod threads;
mod traffic;
mod transport;

#[cfg(feature = "mpi")]
pub use crate::mpi::Mpi;
#[cfg(feature = "nccl")]
pub use crate::nccl::{Nccl, NcclId};
pub use alone::Alone;
pub use device_transport::{DeviceStream, DeviceTransport};
pub use error::TransportError;
pub use launch::{Launch, LaunchError, Launcher};
pub use meeting_folder::meet_in_folder;
pub use threads::Threads;
pub use traffic::{Counters, Traffic};
pub use transport::Transport;
