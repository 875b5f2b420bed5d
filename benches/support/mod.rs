//! Shared parts of the `ctl status` benches: the nodes, the commands to compare with, and the clock.
//!
//! Nodes are OpenSSH's sshd and supervisord in namespaces of this machine, as in `tests/real`. Has the same
//! requirements as `tests/run`, and needs `clush` (Debian: clustershell) and root.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../../tests/real/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use the other functions")]
pub(crate) mod harness;
mod spread;

use harness::{Cluster, Instance, NodeSpec, Program};
use spread::report;

const NODES: usize = 16;
const RUNS: usize = 10;

/// Sixteen nodes, each with these programs.
pub(crate) fn cluster(programs: impl IntoIterator<Item = Program>) -> Cluster {
    let instance = programs.into_iter().fold(Instance::analytics(), Instance::with);
    Cluster::of(u32::try_from(NODES).unwrap(), &NodeSpec::new(instance))
}

/// `supervisorctl status` on all nodes, run with other tools.
pub(crate) struct Others {
    options: String,
    hosts: Vec<String>,
    question: String,
}

impl Others {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let first = cluster.nodes().first().unwrap();
        let ssh = cluster.ssh("root", &first.name, &[]);
        let words: Vec<String> = ssh.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        // The ssh command line without the host, which comes last.
        let options = words.get(..words.len() - 1).unwrap_or_default().join(" ");
        let hosts = cluster.nodes().iter().map(|node| node.endpoint.ip().to_string()).collect();
        let question = format!("supervisorctl -s {} status", Instance::analytics().address());
        Self { options, hosts, question }
    }

    /// With clush: all nodes at once, identical output gathered.
    pub(crate) fn clush(&self) -> Command {
        let mut command = Command::new("clush");
        command.args(["-b", "-q", "-l", "root", "-f", "64", "-w", &self.hosts.join(","), "-o", &self.options]);
        command.args(self.question.split(' '));
        command
    }

    /// With a shell loop, one node after the other.
    pub(crate) fn ssh_loop(&self) -> Command {
        let Self { options, hosts, question } = self;
        let mut command = Command::new("sh");
        let hosts = hosts.join(" ");
        command.args(["-c", &format!("for host in {hosts}; do ssh {options} -l root $host {question}; done")]);
        command
    }
}

/// Runs a command once without measuring, and checks how often its output contains `word`: once for each program.
pub(crate) fn warm_up(mut command: Command, word: &str, times: usize) {
    let seen = command.stdin(Stdio::null()).output().unwrap();
    let found = String::from_utf8_lossy(&seen.stdout).matches(word).count();
    assert!(seen.status.success() && found == times * NODES, "{found} of {word}: {seen:?}");
}

/// Measures the commands alternately, so that load of the machine affects all of them; returns the medians.
pub(crate) fn measure(commands: &[(&str, &dyn Fn() -> Command)]) -> Vec<Duration> {
    let mut times = vec![Vec::new(); commands.len()];
    for _ in 0..RUNS {
        for ((_, command), times) in commands.iter().zip(&mut times) {
            times.push(time(command()));
        }
    }
    commands.iter().zip(times).map(|((name, _), times)| report(name, times)).collect()
}

fn time(mut command: Command) -> Duration {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
    began.elapsed()
}
