//! Network namespaces in the place of machines: each has its own interface and its own host name,
//! and reaches the others over a bridge.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use miette::{IntoDiagnostic, Result, WrapErr};

use crate::peer::scratch::Scratch;
use crate::process;

const COUNT: usize = 4;
const BRIDGE: &str = "plwpbr";
/// Of the bridge's network: private (RFC 1918), and unlikely to be anybody's.
const NETWORK: &str = "10.211.77";

/// Namespaces `plwp0`, `plwp1` and so on, which go when this is dropped.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// What mpirun calls in the place of ssh.
    agent: PathBuf,
}

impl Namespaces {
    /// Makes them, which takes root and iproute2.
    pub(super) fn make(scratch: &Scratch) -> Result<Self> {
        remove();
        let agent = scratch.path("agent.sh");
        let script = "#!/bin/sh\n# Called as: agent HOST COMMAND...\n\
            number=$((${1##*.} - 1))\nshift\n\
            exec ip netns exec plwp$number unshare --uts sh -c \"hostname plwp$number; $*\"\n";
        fs::create_dir_all(scratch.path("")).into_diagnostic()?;
        fs::write(&agent, script).into_diagnostic()?;
        process::output(Command::new("chmod").arg("+x").arg(&agent))?;
        // From here on dropping removes what was made.
        let namespaces = Self { agent };
        ip(&format!("link add {BRIDGE} type bridge"))?;
        ip(&format!("addr add {NETWORK}.254/24 dev {BRIDGE}"))?;
        ip(&format!("link set {BRIDGE} up"))?;
        for number in 0..COUNT {
            let (namespace, here) = (format!("plwp{number}"), format!("plwpv{number}"));
            ip(&format!("netns add {namespace}"))?;
            ip(&format!(
                "link add {here} type veth peer name eth0 netns {namespace}"
            ))?;
            ip(&format!("link set {here} master {BRIDGE} up"))?;
            let address = format!("{NETWORK}.{}/24", number + 1);
            ip(&format!("-n {namespace} addr add {address} dev eth0"))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(namespaces)
    }

    pub(super) fn count(&self) -> usize {
        COUNT
    }

    /// What mpirun needs to start a process in each, and to use TCP alone.
    pub(super) fn arguments(&self) -> Vec<String> {
        let network = format!("{NETWORK}.0/24");
        let parameters = [
            ("plm_rsh_agent", self.agent.display().to_string()),
            ("btl", "tcp,self".to_string()),
            ("btl_tcp_if_include", network.clone()),
            ("oob_tcp_if_include", network),
        ];
        let hosts: Vec<String> = (1..=COUNT).map(|n| format!("{NETWORK}.{n}")).collect();
        let mut arguments = vec!["--host".to_string(), hosts.join(",")];
        for (name, value) in parameters {
            arguments.extend(["--mca".to_string(), name.to_string(), value]);
        }
        arguments
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        remove();
    }
}

fn ip(arguments: &str) -> Result<()> {
    let made = process::output(Command::new("ip").args(arguments.split(' ')));
    made.map(drop)
        .wrap_err("network namespaces take root and iproute2 (apt-get install iproute2)")
}

/// Removes what is there, of this check or of one that was killed.
fn remove() {
    for number in 0..COUNT {
        let _ = ip(&format!("netns del plwp{number}"));
        // A namespace's interfaces go a little after it.
        let _ = ip(&format!("link del plwpv{number}"));
    }
    let _ = ip(&format!("link del {BRIDGE}"));
}
