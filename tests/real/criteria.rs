//! `Match` criteria of OpenSSH newer than 9.2 that depend on this machine.

use std::fs;
use std::process::Command;

use crate::harness::{Running, Sshds};

#[test]
fn criteria_that_ask_this_machine() {
    // Used only for its directory and network.
    let sshds = Sshds::new();
    let config = sshds.path("ssh_config");
    let user = |criteria: &str| {
        fs::write(&config, format!("Tag blue\nMatch {criteria}\n  User found\nMatch all\n  User other\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ctl"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", sshds.path("")).current_dir(sshds.path(""));
        command.args(["ssh-config", "host", "--ssh-config"]).arg(&config);
        let finished = Running::start(command).finish().expect(0);
        finished.stdout.lines().find_map(|line| line.strip_prefix("user ")).unwrap_or_default().to_owned()
    };
    let ssh = Command::new("ssh").arg("-V").output().unwrap();
    let version = String::from_utf8_lossy(&ssh.stderr).into_owned();
    let version = version.split(['p', ' ', ',']).next().unwrap().to_owned();
    for criteria in [
        "localnetwork 127.0.0.0/8".to_owned(),
        "localnetwork 127.0.0.1".to_owned(),
        "localnetwork 203.0.113.0/24,127.0.0.0/8 tagged blue".to_owned(),
        "!localnetwork 203.0.113.0/24".to_owned(),
        format!("version {version}*"),
        "!version OpenSSH_1.*".to_owned(),
        "tagged blue sessiontype exec !command rsync*".to_owned(),
    ] {
        assert_eq!(user(&criteria), "found", "{criteria}");
    }
    for criteria in
        ["localnetwork 203.0.113.0/24", "version OpenSSH_1.*", "tagged red", "!tagged blue", "sessiontype shell"]
    {
        assert_eq!(user(criteria), "other", "{criteria}");
    }
}
