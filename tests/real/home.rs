//! The home directory: where `ssh` uses the password database, `ctl` does too; for its own files `ctl` uses `HOME`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Cluster, Finished, Instance, NodeSpec, Program, Running};

/// The ssh_config in both homes; it contains the name of the home.
const CONFIG: &str = "Host asked
  User NAME
  Include ~/.ssh/more
  Include relative
  IdentityFile %d/by-token
  IdentityFile ~/by-tilde
  IdentityFile ${HOME}/by-variable
  UserKnownHostsFile ~/.ssh/known %d/known ${HOME}/known
  ProxyCommand nc %d NAME
";

/// A cluster, and a second home that only `HOME` refers to, with wrong keys and known hosts.
struct Homes {
    cluster: Cluster,
    elsewhere: PathBuf,
}

impl Homes {
    fn new() -> Self {
        let cluster = Cluster::of(1, &NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector"))));
        let elsewhere = cluster.path("elsewhere");
        fs::create_dir_all(elsewhere.join(".ssh")).unwrap();
        for (home, name) in [(&cluster.home(), "database"), (&elsewhere, "variable")] {
            fs::write(home.join(".ssh/config"), CONFIG.replace("NAME", name)).unwrap();
            fs::write(home.join(".ssh/more"), format!("HostName {name}.example.net\n")).unwrap();
            fs::write(home.join(".ssh/relative"), format!("HostKeyAlias {name}\n")).unwrap();
        }
        let wrong = fs::read_to_string(cluster.new_key("wrong").with_extension("pub")).unwrap();
        let endpoint = cluster.node("a1").endpoint;
        let known = format!("[{}]:{} {wrong}", endpoint.ip(), endpoint.port());
        fs::write(elsewhere.join(".ssh/known_hosts"), known).unwrap();
        Self { cluster, elsewhere }
    }

    fn run(&self, mut command: Command, words: &[&str]) -> Finished {
        command.env("HOME", &self.elsewhere).env("CTL_INVENTORY", self.cluster.inventory()).args(words);
        Running::start(command).finish()
    }

    fn ctl(&self, words: &[&str]) -> Finished {
        self.run(self.cluster.at_home(env!("CARGO_BIN_EXE_ctl")), words)
    }
}

#[test]
fn settings_come_from_the_home_that_ssh_takes() {
    let homes = Homes::new();
    let ours = homes.ctl(&["ssh-config", "asked"]).expect(0);
    let theirs = homes.run(homes.cluster.at_home("ssh"), &["-G", "asked"]).expect(0);
    for key in ["user", "hostname", "hostkeyalias", "identityfile", "userknownhostsfile", "proxycommand"] {
        let lines = |finished: &Finished| {
            let of_key = |line: &&str| line.split(' ').next() == Some(key);
            finished.stdout.lines().filter(of_key).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&ours), lines(&theirs), "{ours}\n{theirs}");
    }
    // `ssh` expands `Include` with glob(3), which uses the variable.
    for line in ["\nuser database\n", "\nhostname variable.example.net\n"] {
        assert!(ours.stdout.contains(line), "{ours}");
    }
}

/// The keys and known hosts come from one home, the journal from the other.
#[test]
fn keys_come_from_the_home_that_ssh_takes_and_the_journal_from_home() {
    let homes = Homes::new();
    homes.ctl(&["exec", "-y", "--", "true"]).expect(0);
    assert!(homes.elsewhere.join(".local/state/ctl/journal.db").exists());
    assert!(!homes.cluster.home().join(".local").exists());
}

/// `ssh` refuses to run for a user who is not in the password database; `ctl` then falls back to `HOME`.
#[test]
fn home_counts_for_a_user_whom_the_password_database_does_not_have() {
    let homes = Homes::new();
    let passwd = homes.cluster.path("passwd.nobody");
    fs::write(&passwd, "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n").unwrap();
    // Sources other than the file may know root as well.
    let sources = homes.cluster.path("nsswitch.conf");
    fs::write(&sources, "passwd: files\n").unwrap();
    let with = |program| {
        let mut command = homes.cluster.with_passwd(&passwd, "sh");
        command.args(["-c", "mount --bind \"$0\" /etc/nsswitch.conf && exec \"$@\""]).arg(&sources).arg(program);
        command
    };
    let theirs = homes.run(with("ssh"), &["-G", "asked"]).expect(255);
    assert!(theirs.stderr.contains("No user exists for uid 0"), "{theirs}");
    let ours = homes.run(with(env!("CARGO_BIN_EXE_ctl")), &["ssh-config", "asked"]).expect(0);
    assert!(ours.stdout.contains("\nuser variable\n"), "{ours}");
}
