//! The processes that share a training run: who started this one, and how it reaches the others.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use miette::{IntoDiagnostic, Result, miette};
use plw_transport::{Alone, Launch, Launcher, Traffic, Transport};

use crate::device::ComputeDevice;
use crate::failure::{Failure, readable};
use crate::logging::LogFlags;
use crate::threads;

/// How this process was started, if it is one of several.
///
/// # Errors
///
/// If no launcher sets its variables like that.
pub(crate) fn launch() -> Result<Option<Launch>, Failure> {
    let launch = Launch::of_this_process().into_diagnostic();
    launch.map_err(Failure::never)
}

/// This process, and the way to the others that share its run.
pub(crate) struct Processes {
    pub(crate) launch: Option<Launch>,
    pub(crate) transport: Box<dyn Transport>,
}

impl Processes {
    /// Reaches the others, which compute on devices of the same kind and leave their records in the
    /// same folder, and starts this one's share of the machine's threads.
    ///
    /// # Errors
    ///
    /// If this binary cannot reach them, or the threads cannot be started.
    pub(crate) fn open(device: ComputeDevice, folder: &Path) -> Result<Self, Failure> {
        let launch = launch()?;
        let transport = open(launch, device.of_process(launch), folder)?;
        threads::start(sharing_processors(transport.as_ref())?)?;
        Ok(Self { launch, transport })
    }

    /// Whether this is the one that writes and talks.
    pub(crate) fn is_first(&self) -> bool {
        self.transport.rank() == 0
    }

    /// Checks that every process does the same as the first: this is a digest of what it does.
    ///
    /// # Errors
    ///
    /// If one does something else, or has ended.
    pub(crate) fn check_same(&self, digest: &str) -> Result<(), Failure> {
        let other = self.transport.first_that_differs(digest.as_bytes());
        match other.into_diagnostic()? {
            None => Ok(()),
            Some(rank) => Err(Failure::never(miette!(
                help = "start all with the same arguments",
                "process {rank} has other settings or other files than process 0"
            ))),
        }
    }

    /// Whether there are others.
    pub(crate) fn are_several(&self) -> bool {
        self.transport.world_size() > 1
    }

    /// Ends a command. A process of several that fails says so and ends the others, which wait for
    /// it.
    pub(crate) fn end(
        &self,
        ended: Result<ExitCode, Failure>,
        log: LogFlags,
    ) -> Result<ExitCode, Failure> {
        match ended {
            Err(failure) if self.are_several() => {
                let (rank, count) = (self.transport.rank(), self.transport.world_size());
                let report = failure.report;
                let report = report.wrap_err(format!("process {rank} of {count} failed"));
                crate::show(&readable(&report), log);
                self.transport.abort(failure.code);
                Ok(ExitCode::from(failure.code))
            }
            ended => ended,
        }
    }
}

/// Starts a process on its own, and not as one of those that this process is one of.
pub(crate) fn on_its_own(command: &mut Command) -> &mut Command {
    Launcher::counts().fold(command, |command, name| command.env_remove(name))
}

/// The way to the other processes, for a process that computes on `device` and whose run leaves its
/// records in `folder`.
///
/// # Errors
///
/// If this binary cannot reach them: on their own, several processes would all write one run.
fn open(
    launch: Option<Launch>,
    device: ComputeDevice,
    folder: &Path,
) -> Result<Box<dyn Transport>, Failure> {
    let Some(launch) = launch else {
        return Ok(Box::new(Alone::default()));
    };
    match launch.launcher.speaks_mpi() {
        true => Ok(beside_mpi(open_mpi(launch)?, device)?),
        false => open_nccl(launch, device, folder),
    }
}

#[cfg(feature = "mpi")]
fn open_mpi(launch: Launch) -> Result<Box<dyn Transport>, Failure> {
    let mpi = plw_transport::Mpi::open().into_diagnostic()?;
    if mpi.world_size() != launch.world_size {
        let found = mpi.world_size();
        let help = match launch.launcher {
            Launcher::Slurm => "start with `srun --mpi=pmix`, or whichever `srun --mpi=list` names",
            _ => "start with the mpirun of the MPI library that plw was built with",
        };
        return Err(Failure::never(miette!(
            help = help,
            "{} processes were started, and MPI knows of {found}",
            launch.world_size
        )));
    }
    Ok(Box::new(mpi))
}

#[cfg(not(feature = "mpi"))]
fn open_mpi(launch: Launch) -> Result<Box<dyn Transport>, Failure> {
    Err(cannot_reach(launch, "mpi"))
}

/// On NVIDIA GPUs gradients go over NCCL, and all else over MPI.
#[cfg(feature = "nccl")]
fn beside_mpi(mpi: Box<dyn Transport>, device: ComputeDevice) -> Result<Box<dyn Transport>> {
    Ok(match device {
        ComputeDevice::Cuda(gpu) => {
            Box::new(plw_transport::Nccl::beside(mpi, gpu).into_diagnostic()?)
        }
        _ => mpi,
    })
}

#[cfg(not(feature = "nccl"))]
fn beside_mpi(mpi: Box<dyn Transport>, _: ComputeDevice) -> Result<Box<dyn Transport>> {
    Ok(mpi)
}

/// The processes of `torchrun` find each other by files in the run's folder.
#[cfg(feature = "nccl")]
fn open_nccl(
    launch: Launch,
    device: ComputeDevice,
    folder: &Path,
) -> Result<Box<dyn Transport>, Failure> {
    use plw_transport::{Nccl, NcclId, meet_in_folder};

    /// Processes start within this time, or not at all.
    const LIMIT: Duration = Duration::from_secs(600);
    let ComputeDevice::Cuda(gpu) = device else {
        return Err(Failure::never(miette!(
            help = "compute with --device cuda, or start the processes with mpirun or srun",
            "processes that RANK and WORLD_SIZE tell of each other communicate over NCCL, which \
             takes NVIDIA GPUs, and the device is {device}"
        )));
    };
    let place = [launch.rank, launch.world_size];
    let made = meet_in_folder(&folder.join(".processes"), place, LIMIT, || {
        let ids = [NcclId::new()?, NcclId::new()?];
        Ok(ids.iter().flat_map(NcclId::as_bytes).copied().collect())
    })
    .into_diagnostic()?;
    let (gradients, messages) = made.split_at(made.len() / 2);
    let ids = [
        NcclId::of_bytes(gradients).into_diagnostic()?,
        NcclId::of_bytes(messages).into_diagnostic()?,
    ];
    let nccl = Nccl::alone(launch.rank, launch.world_size, ids, gpu).into_diagnostic()?;
    Ok(Box::new(nccl))
}

#[cfg(not(feature = "nccl"))]
fn open_nccl(launch: Launch, _: ComputeDevice, _: &Path) -> Result<Box<dyn Transport>, Failure> {
    Err(cannot_reach(launch, "nccl"))
}

#[cfg(not(all(feature = "mpi", feature = "nccl")))]
fn cannot_reach(launch: Launch, features: &str) -> Failure {
    let command = match launch.launcher {
        Launcher::OpenMpi | Launcher::Pmi => "mpirun",
        Launcher::Slurm => "srun",
        Launcher::Torchrun => "RANK and WORLD_SIZE",
    };
    Failure::never(miette!(
        help = format!(
            "build it in: cargo build --release --bin plw --features {features}; or start one \
             process"
        ),
        "{command} started {} processes, and this plw was built without the means to reach the \
         others",
        launch.world_size
    ))
}

/// The number of processes that compute on the same processors as this one.
fn sharing_processors(transport: &dyn Transport) -> Result<usize> {
    let own = processors();
    let all = transport.all_gather(own.as_bytes()).into_diagnostic()?;
    Ok(all.iter().filter(|of| **of == own.as_bytes()).count())
}

/// The machine, and which of its processors this process may use. Launchers may give each process
/// its own.
fn processors() -> String {
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed_list"));
    format!("{machine}{}", allowed.unwrap_or_default())
}

/// What the processes tell each other at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// The exit code of the first process that a signal stopped; 0 without one.
    pub(crate) exit_code: u8,
    /// What sums cost the process that waited least for others: what communication takes.
    least: Traffic,
    /// What they cost the one that waited most.
    most: Traffic,
}

impl Farewell {
    /// Waits for all processes, so that none ends before another has written its last record.
    pub(crate) fn say(transport: &dyn Transport, exit_code: u8) -> Result<Self> {
        let own = transport.counters().traffic();
        let mut bytes = vec![exit_code];
        bytes.extend((own.elapsed.as_nanos() as u64).to_le_bytes());
        bytes.extend(own.bytes.to_le_bytes());
        let all = transport.all_gather(&bytes).into_diagnostic()?;
        let number = |row: &[u8], start: usize| -> u64 {
            let bytes = row.get(start..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let traffic = |row: &Vec<u8>| Traffic {
            elapsed: Duration::from_nanos(number(row, 1)),
            bytes: number(row, 9),
        };
        let codes = all.iter().filter_map(|row| row.first().copied());
        let times = all.iter().map(traffic);
        Ok(Self {
            exit_code: codes.max().unwrap_or(0),
            least: times.clone().min_by_key(|t| t.elapsed).unwrap_or_default(),
            most: times.max_by_key(|t| t.elapsed).unwrap_or_default(),
        })
    }

    /// Logs what the sums of gradients cost.
    pub(crate) fn log(self, processes: usize, seconds: f64) {
        let [least, most] = [self.least, self.most].map(|t| t.elapsed.as_secs_f64());
        tracing::info!(
            processes,
            sum_seconds_least = least,
            sum_seconds_most = most,
            sum_bytes = self.least.bytes,
            seconds,
            "{processes} processes: of {seconds:.1} s of steps, sums of gradients took {least:.1} \
             to {most:.1} s, the wait for the slowest process included"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_cannot_reach_the_others_says_how_to_build() {
        let launch = |launcher| {
            Some(Launch {
                launcher,
                rank: 0,
                world_size: 2,
                local_rank: None,
            })
        };
        let refused = |launcher| match open(launch(launcher), ComputeDevice::Cpu, Path::new("run"))
        {
            Ok(_) => panic!("it cannot reach them"),
            Err(failure) => {
                assert!(failure.is_final());
                format!("{:?}", failure.report)
            }
        };
        assert!(refused(Launcher::Torchrun).contains("NCCL") || cfg!(not(feature = "nccl")));
        if cfg!(not(feature = "mpi")) {
            assert!(refused(Launcher::OpenMpi).contains("--features mpi"));
            assert!(refused(Launcher::Slurm).contains("srun started 2 processes"));
        }
        assert!(
            open(None, ComputeDevice::Cpu, Path::new("run"))
                .is_ok_and(|alone| alone.world_size() == 1)
        );
    }

    #[test]
    fn the_last_words_are_those_of_all() {
        let alone = Farewell::say(&Alone::default(), 143).expect("alone");
        assert_eq!((alone.exit_code, alone.most), (143, Traffic::default()));
    }
}
