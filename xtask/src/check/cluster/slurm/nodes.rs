//! Nodes of a cluster on one machine: each has its own network, host name, processes and mounts.
//! All see the same files, as on a cluster with a network file system.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, WrapErr, miette};

use crate::process;
use crate::process_tree::{children, send};

/// The address of the node of a number; 1 is the head.
pub(super) fn address(number: usize) -> String {
    format!("10.88.0.{number}")
}

/// A process in namespaces of its own, which ends with this process, and all in it with it.
const NAMESPACES: [&str; 12] = [
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--net",
    "--uts",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "sh",
];

/// What a node runs first: its name, then its end of the cable, once that is there.
const NODE: &str = r#"
hostname "$0"
ip link set lo up
while ! ip link show cable >/dev/null 2>&1; do sleep 0.02; done
ip addr add "$1/24" dev cable
ip link set cable up
"#;

/// The head's network: a switch for the cables of all nodes.
const HEAD: &str = r#"
hostname "$0"
ip link set lo up
ip link add switch type bridge
ip addr add "$1/24" dev switch
ip link set switch up
"#;

/// A node that runs.
pub(super) struct Node {
    child: Child,
    /// The head's end of its cable.
    cable: String,
}

/// The node that all others are connected to.
pub(super) struct Head {
    node: Node,
    /// Cables so far, of which no two have one name.
    cables: usize,
}

impl Head {
    /// Starts it; it runs `script`, whose output goes to `log`.
    pub(super) fn start(name: &str, script: &str, log: &Path) -> Result<Self> {
        let node = Node::start(name, &address(1), &format!("{HEAD}{script}"), log)?;
        let head = Self { node, cables: 0 };
        let has_switch = || head.ip(&["link", "show", "switch", "up"]).is_ok();
        wait_for(name, log, has_switch)?;
        Ok(head)
    }

    /// A program in the head's network.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        let head = self.node.child.id().to_string();
        command.args(["--target", &head, "--net", "--"]);
        command.arg(program.as_ref());
        command
    }

    fn ip(&self, words: &[&str]) -> Result<()> {
        process::output(self.command("ip").args(words)).map(drop)
    }

    /// Starts a node and connects it.
    pub(super) fn connect(
        &mut self,
        name: &str,
        number: usize,
        script: &str,
        log: &Path,
    ) -> Result<Node> {
        let mut node = Node::start(name, &address(number), &format!("{NODE}{script}"), log)?;
        self.cables += 1;
        node.cable = format!("cable{}", self.cables);
        let id = node.child.id().to_string();
        let cable = &node.cable;
        self.ip(&[
            "link", "add", cable, "type", "veth", "peer", "name", "cable", "netns", &id,
        ])?;
        self.ip(&["link", "set", cable, "master", "switch", "up"])?;
        Ok(node)
    }

    /// Cuts a node's cable, or repairs it.
    pub(super) fn cable(&self, node: &Node, state: &str) -> Result<()> {
        self.ip(&["link", "set", &node.cable, state])
    }
}

impl Node {
    fn start(name: &str, address: &str, script: &str, log: &Path) -> Result<Self> {
        let file = File::create(log).into_diagnostic();
        let file = file.wrap_err_with(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(NAMESPACES[0]);
        command.args(&NAMESPACES[1..]);
        command.args(["-ec", script, name, address]);
        command.stdin(Stdio::null()).process_group(0);
        command
            .stdout(file.try_clone().into_diagnostic()?)
            .stderr(file);
        let child = command
            .spawn()
            .into_diagnostic()
            .wrap_err("cannot run setpriv")?;
        let node = Self {
            child,
            cable: String::new(),
        };
        wait_for(name, log, || node.first_process().is_some())?;
        Ok(node)
    }

    /// The first process in its namespaces, by this machine's numbers, once it is there.
    fn first_process(&self) -> Option<u32> {
        let first = *children(self.child.id()).first()?;
        let is_apart = namespace(first, "pid").is_some_and(|of_first| {
            namespace(std::process::id(), "pid").is_some_and(|own| own != of_first)
        });
        is_apart.then_some(first)
    }

    /// Its processes that run this program, by this machine's numbers.
    pub(super) fn running(&self, program: &Path) -> Vec<u32> {
        let Some(namespace_of_node) = self
            .first_process()
            .and_then(|first| namespace(first, "pid"))
        else {
            return Vec::new();
        };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_it = |process: &u32| {
            let runs = std::fs::read_link(format!("/proc/{process}/exe"));
            runs.is_ok_and(|runs| runs == program)
                && namespace(*process, "pid").as_ref() == Some(&namespace_of_node)
        };
        numbers.filter(is_it).collect()
    }

    /// The process that its script runs now, if it has this name. Debian's slurmd is a link to
    /// another program, so the name of the file says less.
    pub(super) fn daemon(&self, name: &str) -> Option<u32> {
        let has_name = |process: &u32| {
            let found = std::fs::read_to_string(format!("/proc/{process}/comm"));
            found.is_ok_and(|found| found.trim() == name)
        };
        children(self.first_process()?).into_iter().find(has_name)
    }

    /// Ends it and all its processes at once, as a power failure does.
    pub(super) fn crash(&mut self) -> Result<()> {
        send(self.child.id(), "SIGKILL")?;
        self.child.wait().into_diagnostic().map(drop)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.crash();
    }
}

/// Waits for a sign that a node starts.
fn wait_for(name: &str, log: &Path, is_there: impl Fn() -> bool) -> Result<()> {
    let began = Instant::now();
    while !is_there() {
        process::check_stopped()?;
        if began.elapsed() > Duration::from_secs(10) {
            let told = std::fs::read_to_string(log).unwrap_or_default();
            return Err(miette!("{name} does not start: {}", told.trim()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// What tells a namespace of a process from others.
fn namespace(process: u32, kind: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()
}
