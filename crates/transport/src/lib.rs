//! Sums and messages between the processes of one job, behind one trait.
//!
//! Knows slices and bytes; knows no tensor, no gradient, no file of a run. A [`Transport`] is MPI
//! ([`Mpi`], feature `mpi`), the threads of one process ([`Threads`], for tests) or nothing at all
//! ([`Alone`]). [`Launch`] tells what a launcher says about this process.
#![doc = include_str!("../README.md")]

mod alone;
mod error;
mod launch;
#[cfg(feature = "mpi")]
mod mpi;
mod sum;
mod threads;
mod traffic;
mod transport;

#[cfg(feature = "mpi")]
pub use crate::mpi::Mpi;
pub use alone::Alone;
pub use error::TransportError;
pub use launch::{Launch, LaunchError, Launcher};
pub use threads::Threads;
pub use traffic::{Counters, Traffic};
pub use transport::Transport;
