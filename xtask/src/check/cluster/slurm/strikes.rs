//! What is done to a job array and to the nodes that it runs on.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use miette::Result;

use super::super::history::Worker;
use super::cluster::{Cluster, NODES, name};
use crate::chance::Chance;
use crate::process_tree::send;

/// How long a node is out of service at most.
const LONGEST_OUT: Duration = Duration::from_secs(60);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strike {
    /// SIGKILL of plw on a node.
    Kill,
    /// `scontrol requeue` of a task.
    Requeue,
    /// A job of a higher priority takes some nodes for some seconds.
    Preempt,
    /// SIGUSR1 to a task's step, as before the time limit.
    TimeLimit,
    /// An administrator sets a node down.
    Down,
    /// SIGKILL of slurmd, whose tasks live on, and which comes back.
    KillDaemon,
    /// A node's cable is cut until Slurm gives the node up and its tasks start elsewhere. The first
    /// workers live on, and go on once the node is connected again: meanwhile they stand still, as
    /// they would that wait for a network file system.
    Cut,
    /// A node and all its processes end at once.
    Crash,
}

impl Strike {
    /// In the order in which they are due: first those that wait until no node is out of service.
    /// The others are done in between.
    const ALL: [Self; 8] = [
        Self::Cut,
        Self::Crash,
        Self::Down,
        Self::KillDaemon,
        Self::TimeLimit,
        Self::Preempt,
        Self::Requeue,
        Self::Kill,
    ];

    /// The first of those that are due; any where none is.
    fn choose(chance: &mut Chance, due: &[Self]) -> Self {
        if let Some(first) = due.first() {
            return *first;
        }
        match chance.below(100) {
            0..28 => Self::Kill,
            28..43 => Self::Requeue,
            43..60 => Self::Preempt,
            60..68 => Self::TimeLimit,
            68..76 => Self::Down,
            76..83 => Self::KillDaemon,
            83..91 => Self::Cut,
            _ => Self::Crash,
        }
    }

    /// Whether a node is out of service afterwards: one at a time.
    fn takes_a_node(self) -> bool {
        matches!(
            self,
            Self::Down | Self::KillDaemon | Self::Cut | Self::Crash
        )
    }

    fn label(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL of plw under Slurm",
            Self::Requeue => "scontrol requeue",
            Self::Preempt => "pre-emption",
            Self::TimeLimit => "SIGUSR1 by Slurm",
            Self::Down => "node set down",
            Self::KillDaemon => "SIGKILL of slurmd",
            Self::Cut => "node cut off",
            Self::Crash => "node crashed",
        }
    }
}

/// A node that is out of service, until it comes back.
struct Out {
    node: usize,
    strike: Strike,
    since: Instant,
    /// When Slurm was first seen to have given it up.
    given_up: Option<Instant>,
    /// How long it stays away then.
    stays: Duration,
}

/// Strikes one after another: each kind once, and then any. What an array was too short for is due
/// in the next.
pub(super) struct Strikes {
    /// What was not done yet.
    due: Vec<Strike>,
    out: Option<Out>,
    /// Workers of the array that were at work on nodes when these were cut off, and lived on there.
    pub(super) cut_off: BTreeSet<Worker>,
}

impl Default for Strikes {
    fn default() -> Self {
        Self {
            due: Strike::ALL.to_vec(),
            out: None,
            cut_off: BTreeSet::new(),
        }
    }
}

impl Strikes {
    /// What was not done yet: without it the check shows less than it says.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        self.due.iter().map(|strike| strike.label()).collect()
    }

    /// Strikes where there is something to strike, and says what was done.
    pub(super) fn next(
        &mut self,
        cluster: &mut Cluster,
        plw: &Path,
        chance: &mut Chance,
    ) -> Result<Option<&'static str>> {
        let mut due = self.due.clone();
        due.retain(|strike| self.out.is_none() || !strike.takes_a_node());
        let strike = Strike::choose(chance, &due);
        let node = chance.below(NODES as u64) as usize;
        let queue = cluster.queue()?;
        let running: Vec<_> = queue
            .iter()
            .filter(|task| task.state == "RUNNING")
            .collect();
        let Some(task) = running.get(chance.below(running.len() as u64) as usize) else {
            return Ok(None);
        };
        // The last ones get on between two strikes as well, once each kind was done.
        if due.is_empty() && chance.below(3) >= running.len() as u64 {
            return Ok(None);
        }
        // A task may end before it is struck: then Slurm refuses, and nothing was done.
        let is_done = match strike {
            Strike::Kill => {
                let workers: Vec<u32> = (0..NODES)
                    .flat_map(|node| cluster.running(node, plw))
                    .collect();
                match workers.is_empty() {
                    true => false,
                    false => send(chance.one_of(&workers), "SIGKILL").is_ok(),
                }
            }
            Strike::Requeue => cluster.output(&["scontrol", "requeue", &task.id]).is_ok(),
            Strike::Preempt => {
                let nodes = format!("--nodes={}", 1 + chance.below(NODES as u64));
                let words = ["sbatch", "--partition=high", &nodes, "--ntasks-per-node=1"];
                let job = ["--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 2"];
                cluster.output(&[words.as_slice(), &job].concat()).is_ok()
            }
            Strike::TimeLimit => {
                let words = ["scancel", "--signal=USR1", &task.id];
                cluster.output(&words).is_ok()
            }
            _ if self.out.is_some() => false,
            Strike::KillDaemon => {
                let sent = cluster.daemon(node).map(|daemon| send(daemon, "SIGKILL"));
                sent.is_some_and(|sent| sent.is_ok())
            }
            Strike::Down | Strike::Cut | Strike::Crash => {
                match strike {
                    Strike::Down => set_state(cluster, node, "down")?,
                    Strike::Cut => {
                        cluster.cable(node, "down")?;
                        for worker in cluster.running(node, plw) {
                            send(worker, "SIGSTOP")?;
                            self.cut_off
                                .extend(number_on_node(worker).map(|process| Worker {
                                    host: name(node),
                                    process,
                                }));
                        }
                    }
                    _ => cluster.crash(node)?,
                }
                self.out = Some(Out {
                    node,
                    strike,
                    since: Instant::now(),
                    given_up: None,
                    stays: Duration::from_secs(1 + chance.below(5)),
                });
                true
            }
        };
        if is_done {
            self.due.retain(|due| *due != strike);
        }
        Ok(is_done.then_some(strike.label()))
    }

    /// Brings a node back whose time has come, or at once.
    pub(super) fn restore(
        &mut self,
        cluster: &mut Cluster,
        plw: &Path,
        at_once: bool,
    ) -> Result<()> {
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        if out.given_up.is_none() && cluster.state(out.node)?.starts_with("down") {
            out.given_up = Some(Instant::now());
        }
        // A node that comes back before Slurm has noticed is a case of its own.
        let is_unnoticed = out.strike == Strike::Crash && out.stays.as_secs() < 3;
        let since = out.given_up.or(is_unnoticed.then_some(out.since));
        let is_time = since.is_some_and(|since| since.elapsed() >= out.stays);
        if !is_time && !at_once && out.since.elapsed() < LONGEST_OUT {
            return Ok(());
        }
        match out.strike {
            Strike::Cut => {
                cluster.cable(out.node, "up")?;
                for worker in cluster.running(out.node, plw) {
                    send(worker, "SIGCONT")?;
                }
            }
            Strike::Crash => cluster.boot(out.node)?,
            _ if cluster.state(out.node)?.starts_with("down") => {
                set_state(cluster, out.node, "resume")?;
            }
            _ => {}
        }
        self.out = None;
        Ok(())
    }
}

/// The number that a process has in its own namespace.
fn number_on_node(process: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

fn set_state(cluster: &Cluster, node: usize, state: &str) -> Result<()> {
    let (node, state) = (format!("NodeName={}", name(node)), format!("State={state}"));
    let words = ["scontrol", "update", &node, &state, "Reason=check"];
    cluster.output(&words).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everything_is_done_sometimes() {
        let mut chance = Chance::new(1, 1);
        let labels: BTreeSet<&str> = (0..1000)
            .map(|_| Strike::choose(&mut chance, &[]).label())
            .collect();
        assert_eq!(labels.len(), Strike::ALL.len(), "{labels:?}");
        assert_eq!(Strikes::default().missing().len(), Strike::ALL.len());
    }
    #[test]
    fn those_that_wait_for_nodes_are_due_first() {
        let mut chance = Chance::new(1, 1);
        let mut due = Strike::ALL.to_vec();
        let mut takes_a_node = Vec::new();
        while !due.is_empty() {
            let strike = Strike::choose(&mut chance, &due);
            assert_eq!(strike, due.remove(0));
            takes_a_node.push(strike.takes_a_node());
        }
        assert!(takes_a_node.is_sorted_by(|first, second| first >= second));
    }
}
