//! No input reaches a shell as code: users and hosts of the command line, where ssh_config passes them to one.

use std::fs;
use std::path::Path;

use crate::harness::{Cluster, Finished, Instance, NodeSpec, Program, Running};

fn client() -> Cluster {
    Cluster::of(1, &NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector"))))
}

/// An ssh_config with a `ProxyCommand` and a `Match exec` that receive the input, and create the file `ran`.
fn config(cluster: &Cluster, ran: &Path) -> String {
    let path = cluster.path("ssh_config");
    let text = format!(
        "Match exec \"true %r %h %n; touch {0}.match\"\nHost *\n  ProxyCommand sh -c 'touch {0}; exit 1' %r %h\n  User root\n",
        ran.display()
    );
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn users_and_hosts_that_are_typed() {
    let cluster = client();
    let (ran, injected) = (cluster.path("ran"), cluster.path("injected"));
    let config = config(&cluster, &ran);
    let run = |words: &[&str]| -> Finished {
        let mut all = vec!["ping", "-o", "json", "--ssh-config", &config, "--retries", "0"];
        all.extend(words);
        cluster.ctl_words(&all)
    };
    // With harmless input the command runs, so that its absence below proves something.
    assert_eq!(run(&["-u", "ops"]).expect(4).result("a1")["failure"]["kind"], "proxy");
    assert!(ran.exists());
    let mark = injected.display();
    for user in [
        format!("x$(touch {mark})"),
        format!("x`touch {mark}`"),
        format!("x;touch {mark}"),
        format!("x|touch {mark}"),
        format!("x&touch {mark}&"),
        format!("x\ntouch {mark}"),
        format!("x' touch {mark} '"),
        format!("x\" touch {mark}"),
        format!("x>{mark}"),
        format!("x -oProxyCommand=touch {mark}"),
        "-x".to_owned(),
        "x\\".to_owned(),
        "${IFS}x".to_owned(),
        String::new(),
    ] {
        for file in [&ran, &cluster.path("ran.match")] {
            drop(fs::remove_file(file));
        }
        let jump = format!("{user}@bastion");
        let typed_host = format!("{user}@host");
        let host = ["ssh-config", "--ssh-config", &config, "--", &typed_host];
        for refused in [run(&["-u", &user]), run(&["-J", &jump]), cluster.ctl_words(&host)] {
            let refused = refused.expect(2);
            assert!(refused.stdout.is_empty() && refused.stderr.starts_with("error: "), "{refused}");
        }
        assert!(!ran.exists() && !cluster.path("ran.match").exists(), "a shell was run for {user:?}");
        assert!(!injected.exists(), "{user:?} ran as code");
    }
    // Hosts that `ssh` rejects too.
    for host in ["$(id)", "a;b", "-a", "a b", "`id`", "a\\b", "a|b", "a{b}"] {
        let jump = format!("ops@{host}");
        run(&["-J", &jump]).expect(2);
        cluster.ctl_words(&["ssh-config", "--ssh-config", &config, "--", &jump]).expect(2);
        let mut ssh = std::process::Command::new("ssh");
        cluster.environment(&mut ssh);
        ssh.args(["-F", "none", "-G", "-l", "ops", "--", host]);
        assert_ne!(Running::start(ssh).finish().code(), Some(0), "ssh accepts {host:?}");
    }
}

/// `ssh` puts a bastion from ssh_config on a command line, so it is checked like one; a user or host name from
/// ssh_config is not.
#[test]
fn what_ssh_config_says() {
    let cluster = client();
    let file = cluster.path("ssh_config");
    let written = |lines: &str| {
        fs::write(&file, format!("Host *\n{lines}\n")).unwrap();
        file.display().to_string()
    };
    for jump in ["ops;id@bastion", "-ops@bastion", "ops@bas$tion", "ops@-bastion"] {
        let config = written(&format!("  ProxyJump {jump}"));
        let refused = cluster.ctl_words(&["ping", "--ssh-config", &config]).expect(2);
        assert!(refused.stderr.contains("is not a valid bastion"), "{refused}");
    }
    let config = written("  User x$y\n  HostName a{b");
    let trusted = cluster.ctl_words(&["ssh-config", "--ssh-config", &config, "other"]).expect(0);
    assert!(trusted.stdout.contains("\nuser x$y\n") && trusted.stdout.contains("\nhostname a{b\n"), "{trusted}");
}
