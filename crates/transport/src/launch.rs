//! What a launcher tells a process in its environment.

/// The program that started the processes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    /// Open MPI's `mpirun`.
    OpenMpi,
    /// Another `mpirun` or `mpiexec`: MPICH's, Intel's.
    Pmi,
    /// Slurm's `srun`.
    Slurm,
    /// `torchrun`, or whatever sets its variables.
    Torchrun,
}

impl Launcher {
    const ALL: [Self; 4] = [Self::OpenMpi, Self::Pmi, Self::Slurm, Self::Torchrun];

    /// The variables with the process's number, the number of processes, and the process's number
    /// on its machine.
    fn variables(self) -> [&'static str; 3] {
        match self {
            Self::OpenMpi => [
                "OMPI_COMM_WORLD_RANK",
                "OMPI_COMM_WORLD_SIZE",
                "OMPI_COMM_WORLD_LOCAL_RANK",
            ],
            Self::Pmi => ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"],
            // Unlike SLURM_NTASKS, the step's own number is not set in a batch script, which is
            // one process whatever the job's tasks are.
            Self::Slurm => ["SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"],
            Self::Torchrun => ["RANK", "WORLD_SIZE", "LOCAL_RANK"],
        }
    }

    /// The variables that tell a process that it is one of several. Without them it is on its own.
    pub fn counts() -> impl Iterator<Item = &'static str> {
        Self::ALL
            .into_iter()
            .map(|launcher| launcher.variables()[1])
    }

    /// Whether the processes that it starts find each other through MPI.
    pub fn speaks_mpi(self) -> bool {
        self != Self::Torchrun
    }
}

/// A process's place among those of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// Who started it.
    pub launcher: Launcher,
    /// Its number, from 0.
    pub rank: usize,
    /// The number of processes.
    pub world_size: usize,
    /// Its number on its machine, from 0, where the launcher tells.
    pub local_rank: Option<usize>,
}

/// Variables that no launcher sets in this way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the environment variable {name} is {value:?}: {expected}. Set it as the launcher does, or \
         unset it to train in one process"
)]
pub struct LaunchError {
    /// The variable.
    pub name: &'static str,
    /// Its value, empty where it is missing.
    pub value: String,
    /// What it should be.
    pub expected: String,
}

impl Launch {
    /// What the variables say. None where nobody started this process as one of several.
    ///
    /// # Errors
    ///
    /// If a number is missing, is not one, or is beyond the number of processes.
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, LaunchError> {
        for launcher in Launcher::ALL {
            let [rank, size, local] = launcher.variables();
            let Some(count) = variable(size) else {
                continue;
            };
            let world_size = number(size, &count)?;
            if world_size < 2 {
                continue;
            }
            let own = variable(rank).unwrap_or_default();
            let place = Self {
                launcher,
                rank: number(rank, &own)?,
                world_size,
                local_rank: variable(local).map(|n| number(local, &n)).transpose()?,
            };
            if place.rank >= world_size {
                return Err(LaunchError {
                    name: rank,
                    value: own,
                    expected: format!("{size} is {world_size}, and it must be less"),
                });
            }
            return Ok(Some(place));
        }
        Ok(None)
    }

    /// [`Launch::find`] in this process's environment.
    ///
    /// # Errors
    ///
    /// As [`Launch::find`].
    pub fn of_this_process() -> Result<Option<Self>, LaunchError> {
        Self::find(|name| std::env::var(name).ok())
    }
}

fn number(name: &'static str, value: &str) -> Result<usize, LaunchError> {
    value.trim().parse().map_err(|_| LaunchError {
        name,
        value: value.to_string(),
        expected: "it must be a number".to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)]) -> Result<Option<Launch>, LaunchError> {
        Launch::find(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_string())
        })
    }

    #[test]
    fn each_launcher_is_told_by_its_variables() {
        let place = |launcher, rank, world_size, local_rank| {
            Some(Launch {
                launcher,
                rank,
                world_size,
                local_rank,
            })
        };
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<Launch>);
        let cases: [Case; 7] = [
            (&[], None),
            (
                &[
                    ("OMPI_COMM_WORLD_RANK", "3"),
                    ("OMPI_COMM_WORLD_SIZE", "4"),
                    ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
                    // As mpirun's processes within a Slurm step have them too.
                    ("SLURM_PROCID", "0"),
                    ("SLURM_STEP_NUM_TASKS", "2"),
                ],
                place(Launcher::OpenMpi, 3, 4, Some(1)),
            ),
            (
                &[("PMI_RANK", "1"), ("PMI_SIZE", "2")],
                place(Launcher::Pmi, 1, 2, None),
            ),
            (
                &[
                    ("SLURM_PROCID", "5"),
                    ("SLURM_STEP_NUM_TASKS", "8"),
                    ("SLURM_LOCALID", "1"),
                ],
                place(Launcher::Slurm, 5, 8, Some(1)),
            ),
            // A batch script, before any srun.
            (&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "8")], None),
            (
                &[("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")],
                place(Launcher::Torchrun, 0, 2, Some(0)),
            ),
            (&[("RANK", "0"), ("WORLD_SIZE", "1")], None),
        ];
        for (variables, expected) in cases {
            assert_eq!(find(variables), Ok(expected), "{variables:?}");
        }
    }

    #[test]
    fn variables_that_no_launcher_sets_are_refused_by_name() {
        for (variables, part) in [
            (&[("WORLD_SIZE", "two")][..], "WORLD_SIZE is \"two\""),
            (&[("WORLD_SIZE", "2")], "RANK is \"\""),
            (&[("WORLD_SIZE", "2"), ("RANK", "2")], "WORLD_SIZE is 2"),
            (
                &[("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "-1")],
                "LOCAL_RANK",
            ),
        ] {
            let error = find(variables).expect_err("refused").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
