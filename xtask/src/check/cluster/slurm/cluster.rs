//! A Slurm cluster in a folder: munged, slurmctld, and a slurmd on each of several nodes. It needs
//! root, but no systemd and nothing of the machine's own Slurm.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, miette};

use super::nodes::{Head, Node, address};
use crate::process;

/// Nodes that run jobs.
pub(super) const NODES: usize = 3;

/// Processors of a node. Slurm believes it, whatever the machine has.
const PROCESSORS: usize = 2;

/// The head: the key that nodes trust each other by, then the two daemons. The folder is `$2`.
const HEAD: &str = r#"
head -c 128 /dev/urandom > "$2/munge.key"
chmod 400 "$2/munge.key"
munged --force --key-file="$2/munge.key" --socket="$2/munge.socket" --pid-file="$2/munge.pid" \
    --log-file="$2/munge.log" --seed-file="$2/munge.seed"
exec slurmctld -D
"#;

/// A node: slurmd, which comes back when it is killed. What is a node's own has the same path on
/// all, as Slurm's PMIx expects.
const NODE: &str = r#"
mount --bind "$2/spool/$0" "$2/spool"
# Of a crash before: PMIx does not start a step of the same number beside them.
rm -rf "$2/spool/"*pmix*
while :; do slurmd -D -N "$0" || :; sleep 3; done
"#;

/// A running cluster.
pub(super) struct Cluster {
    folder: PathBuf,
    head: Head,
    /// None where one has crashed.
    nodes: Vec<Option<Node>>,
}

/// A task of an array in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    /// `ARRAY_INDEX`.
    pub(super) id: String,
    pub(super) state: String,
    /// Where it runs.
    pub(super) node: String,
    /// Why it waits.
    reason: String,
}

impl Task {
    /// Whether Slurm keeps it from starting until an operator releases it, as where its node failed
    /// while it was starting there.
    pub(super) fn is_held(&self) -> bool {
        self.state == "PENDING" && self.reason.to_lowercase().contains("held")
    }
}

impl Cluster {
    /// Starts one in an empty folder.
    pub(super) fn start(folder: &Path) -> Result<Self> {
        for node in 0..NODES {
            let spool = folder.join("spool").join(name(node));
            std::fs::create_dir_all(spool).into_diagnostic()?;
        }
        let state = folder.join("state");
        std::fs::create_dir_all(state).into_diagnostic()?;
        let of_pmix = format!("PMIxCliTmpDirBase={}/spool\n", folder.display());
        for (name, text) in [("slurm.conf", configuration(folder)), ("mpi.conf", of_pmix)] {
            plw_files::write_atomic(folder.join(name), text).into_diagnostic()?;
        }
        let script = with_folder(HEAD, folder);
        let head = Head::start("head", &script, &folder.join("head.log"))?;
        let mut cluster = Self {
            folder: folder.to_path_buf(),
            head,
            nodes: (0..NODES).map(|_| None).collect(),
        };
        for node in 0..NODES {
            cluster.boot(node)?;
        }
        let is_ready = |cluster: &Self| Ok(cluster.idle_nodes()? == NODES);
        cluster.wait("the nodes are ready", Duration::from_secs(60), is_ready)?;
        Ok(cluster)
    }

    /// Starts a node that has crashed.
    pub(super) fn boot(&mut self, node: usize) -> Result<()> {
        let name = name(node);
        let log = self.folder.join(format!("{name}.log"));
        let script = with_folder(NODE, &self.folder);
        self.nodes[node] = Some(self.head.connect(&name, node + 2, &script, &log)?);
        Ok(())
    }

    /// A program of Slurm's, such as `sbatch`.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = self.head.command(program);
        command.env("SLURM_CONF", self.folder.join("slurm.conf"));
        command
    }

    /// What such a program prints.
    pub(super) fn output(&self, words: &[&str]) -> Result<String> {
        process::output(self.command(words[0]).args(&words[1..]))
    }

    /// Ends a node as a power failure does.
    pub(super) fn crash(&mut self, node: usize) -> Result<()> {
        match self.nodes[node].take() {
            Some(mut node) => node.crash(),
            None => Ok(()),
        }
    }

    /// Cuts the cable of a node, or repairs it: `down` or `up`.
    pub(super) fn cable(&self, node: usize, state: &str) -> Result<()> {
        match &self.nodes[node] {
            Some(node) => self.head.cable(node, state),
            None => Ok(()),
        }
    }

    /// Processes on a node that run a program.
    pub(super) fn running(&self, node: usize, program: &Path) -> Vec<u32> {
        let node = self.nodes[node].as_ref();
        node.map_or(Vec::new(), |node| node.running(program))
    }

    /// The slurmd of a node.
    pub(super) fn daemon(&self, node: usize) -> Option<u32> {
        self.nodes[node].as_ref()?.daemon("slurmd")
    }

    /// The tasks of arrays that are not over. A task that waits is listed by itself.
    pub(super) fn queue(&self) -> Result<Vec<Task>> {
        let format = "--format=%F_%K|%T|%N|%r";
        let partition = "--partition=low";
        let listed = self.output(&["squeue", "--noheader", "--array", partition, format])?;
        Ok(listed.lines().filter_map(task).collect())
    }

    /// The state of a node, as sinfo has it, such as `idle` or `down*`.
    pub(super) fn state(&self, node: usize) -> Result<String> {
        let name = name(node);
        let words = [
            "sinfo",
            "--noheader",
            "--format=%t",
            "--partition=low",
            "--nodes",
            &name,
        ];
        Ok(self.output(&words)?.trim().to_string())
    }

    fn idle_nodes(&self) -> Result<usize> {
        // slurmctld may not listen yet.
        let states = (0..NODES).map(|node| self.state(node).unwrap_or_default());
        Ok(states.filter(|state| state == "idle").count())
    }

    /// Waits for something.
    pub(super) fn wait(
        &self,
        what: &str,
        longest: Duration,
        mut is_so: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let began = Instant::now();
        while !is_so(self)? {
            process::check_stopped()?;
            if began.elapsed() > longest {
                let queue = self.output(&["squeue"]).unwrap_or_default();
                let nodes = self.output(&["sinfo", "--Node"]).unwrap_or_default();
                return Err(miette!(
                    help = format!("the logs lie in {}", self.folder.display()),
                    "after {} s it is not yet so that {what}\n{queue}{nodes}",
                    longest.as_secs()
                ));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// The name of a node, counted from 0.
pub(super) fn name(node: usize) -> String {
    format!("node{}", node + 1)
}

/// A script that finds the cluster's folder in `$2` and its configuration in the environment.
fn with_folder(script: &str, folder: &Path) -> String {
    let folder = folder.display().to_string().replace('\'', r"'\''");
    format!("set -- \"$1\" '{folder}'\nexport SLURM_CONF=\"$2/slurm.conf\"\n{script}")
}

fn task(line: &str) -> Option<Task> {
    let mut fields = line.trim().split('|').map(str::to_string);
    Some(Task {
        id: fields.next()?,
        state: fields.next()?,
        node: fields.next()?,
        reason: fields.next()?,
    })
}

/// `slurm.conf`. Jobs of the partition `high` pre-empt those of `low`. What would wait for minutes
/// on a real cluster (a node's silence, a requeued job) waits for seconds.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    let head = address(1);
    let nodes: String = (0..NODES)
        .map(|node| {
            let (name, address) = (name(node), address(node + 2));
            format!("NodeName={name} NodeAddr={address} CPUs={PROCESSORS} RealMemory=1000\n")
        })
        .collect();
    format!(
        "ClusterName=plw
SlurmctldHost=head({head})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=bf_interval=1,sched_interval=1,requeue_delay=1
KillWait=10
SlurmdTimeout=6
MessageTimeout=5
MinJobAge=3600
MailProg=/bin/true
{nodes}PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read_from_lines_of_squeue() {
        let read = task("12_3|RUNNING|node2|None\n").expect("a task");
        assert_eq!((read.id.as_str(), read.node.as_str()), ("12_3", "node2"));
        let waiting = task("12_4|PENDING||Resources").expect("a task");
        assert!(!read.is_held() && !waiting.is_held());
        for reason in ["launch failed requeued held", "JobHeldAdmin"] {
            let held = task(&format!("12_5|PENDING||{reason}")).expect("a task");
            assert!(held.is_held(), "{reason}");
        }
        assert_eq!(
            (waiting.state.as_str(), waiting.node.as_str()),
            ("PENDING", "")
        );
        assert_eq!(task("slurm_load_jobs error"), None);
    }

    #[test]
    fn every_node_is_configured() {
        let text = configuration(Path::new("/tmp/a cluster"));
        for node in 0..NODES {
            assert!(
                text.contains(&format!("NodeName={} ", name(node))),
                "{text}"
            );
        }
        assert!(text.contains("StateSaveLocation=/tmp/a cluster/state\n"));
    }
}
