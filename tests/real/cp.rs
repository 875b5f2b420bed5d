//! `ctl cp` with real nodes: both ways, whole or not at all, whatever ends the copy.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::{Cluster, Instance, Node, NodeSpec, Program, Running, eventually};
use crate::sudo;

fn spec() -> NodeSpec {
    NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")))
}

/// Bytes of every value.
fn bytes(count: u32) -> Vec<u8> {
    (0..count).map(|number| (number.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect()
}

fn write(path: &Path, content: &[u8], mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn sha256(path: &Path) -> String {
    let output = std::process::Command::new("sha256sum").stdin(File::open(path).unwrap()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The names in a directory of a node.
fn names(node: &Node, directory: &str) -> String {
    node.sh(&format!("ls -A {directory} | tr '\\n' ' '"))
}

/// Whether a copy into this directory is in progress.
fn is_copying(node: &Node, directory: &str) -> bool {
    names(node, directory).contains(".ctl-cp-")
}

/// Content and permissions arrive on 16 nodes; an equal file is not sent again.
#[test]
fn files_go_to_every_node() {
    let cluster = Cluster::of(16, &spec());
    write(&cluster.path("data.bin"), &bytes(10_000_000), 0o640);
    write(&cluster.path("a b"), b"#!/bin/sh\n", 0o4755);
    let words = ["cp", "-y", "-o", "json", "data.bin", "a b", ":/run/lock"];
    let first = cluster.ctl_words(&words).expect(0);
    let document = first.json();
    assert_eq!((&document["command"], &document["action"]), (&"cp".into(), &"cp".into()), "{first}");
    assert_eq!((&document["summary"]["changed"], first.results().len()), (&16.into(), 16), "{first}");
    assert_eq!(first.result("a1")["message"], "2 files written", "{first}");
    for node in cluster.nodes() {
        assert_eq!(node.sh("sha256sum </run/lock/data.bin"), sha256(&cluster.path("data.bin")));
        // The owner is not copied, so the right to act as the owner is not either.
        assert_eq!(node.sh("cd /run/lock; stat -c '%a %n' 'a b' data.bin"), "755 a b\n640 data.bin\n");
        assert!(!is_copying(node, "/run/lock"));
    }
    let again = cluster.ctl_words(&words).expect(0);
    assert_eq!(again.json()["summary"]["ok"], 16, "{again}");
    cluster.node("a2").sh("echo x >>/run/lock/data.bin; chmod 600 /run/lock/data.bin");
    let third = cluster.ctl_words(&words).expect(0);
    assert_eq!(third.result("a2")["message"], "1 of 2 files written, the others already there", "{third}");
    assert_eq!((&third.result("a2")["outcome"], &third.result("a1")["outcome"]), (&"changed".into(), &"ok".into()));
    let shown = cluster.ctl("runs show last").expect(0);
    assert!(shown.stdout.contains("ctl cp -y -o json data.bin 'a b' :/run/lock"), "{shown}");
}

/// Through sudo: an existing file keeps its owner, so that its service can still read it.
#[test]
fn the_owner_of_a_replaced_file_stays() {
    let cluster = Cluster::builder().nodes("a", 1, &spec()).defaults("user: ctlops, sudo: true").start();
    let node = cluster.node("a1");
    node.sh("echo old >/run/lock/conf; chown ctlguest:ctlops /run/lock/conf; chmod 600 /run/lock/conf");
    write(&cluster.path("conf"), b"new\n", 0o640);
    cluster.ctl("cp -y conf :/run/lock/conf").expect(0);
    assert_eq!(node.sh("stat -c '%U:%G %a' /run/lock/conf; cat /run/lock/conf"), "ctlguest:ctlops 640\nnew\n");
    cluster.ctl("cp -y conf :/run/lock/fresh").expect(0);
    assert_eq!(node.sh("stat -c '%U %a' /run/lock/fresh"), "root 640\n");
    // A relative path begins where the login does.
    cluster.ctl("cp -y conf :").expect(0);
    assert_eq!(node.sh("cat ~ctlops/conf"), "new\n");
    let back = cluster.ctl("cp :~/conf copies").expect(0);
    assert_eq!(fs::read_to_string(cluster.path("copies/a1/conf")).unwrap(), "new\n", "{back}");
}

/// Through a sudo that asks for a password and runs commands at a terminal of its own: every byte arrives, and a copy
/// that is cut is cleaned up.
#[test]
fn a_sudo_with_a_password_and_a_terminal() {
    let spec = spec().sudoers("Defaults use_pty\nctlpass ALL=(ALL:ALL) ALL");
    let cluster = Cluster::builder().nodes("a", 2, &spec).defaults("user: ctlpass, sudo: true").start();
    write(&cluster.path("data.bin"), &bytes(3_000_000), 0o600);
    sudo::with_password(&cluster, "cp -y data.bin :/run/lock/", sudo::PASSWORD).expect(0);
    sudo::with_password(&cluster, "cp :/run/lock/data.bin copies", sudo::PASSWORD).expect(0);
    for node in cluster.nodes() {
        assert_eq!(node.sh("sha256sum </run/lock/data.bin"), sha256(&cluster.path("data.bin")));
        assert_eq!(node.sh("stat -c '%U %a' /run/lock/data.bin"), "root 600\n");
        assert_eq!(
            sha256(&cluster.path("copies").join(&node.name).join("data.bin")),
            sha256(&cluster.path("data.bin"))
        );
    }
    let node = cluster.node("a1");
    node.sh("mkdir /run/to; echo old >/run/to/much");
    File::create(cluster.path("much")).unwrap().set_len(400_000_000).unwrap();
    let mut screen = cluster.at_a_terminal("cp -y -w a1 much :/run/to/ -K");
    screen.answer_unseen(sudo::QUESTION, sudo::PASSWORD);
    eventually("the copy to begin", || is_copying(node, "/run/to").then_some(()));
    node.cut_connections();
    drop(screen.finish());
    eventually("the node to clean up", || (names(node, "/run/to") == "much ").then_some(()));
    assert_eq!(node.read("/run/to/much"), "old\n");
}

/// A file of each node, in a directory for each node.
#[test]
fn a_file_comes_from_every_node() {
    let cluster = Cluster::of(16, &spec());
    write(&cluster.path("data.bin"), &bytes(3_000_000), 0o600);
    cluster.ctl("cp -y data.bin :/run/lock/").expect(0);
    for node in cluster.nodes() {
        node.sh(&format!("printf %s {} >/run/lock/own; chmod 640 /run/lock/own", node.name));
    }
    // Nothing on the nodes is changed, so nothing is asked.
    let first = cluster.ctl("cp -o json :/run/lock/own copies/new/").expect(0);
    assert_eq!(first.json()["summary"]["changed"], 16, "{first}");
    cluster.ctl("cp :/run/lock/data.bin copies/new/").expect(0);
    for node in cluster.nodes() {
        let folder = cluster.path("copies/new").join(&node.name);
        assert_eq!(fs::read_to_string(folder.join("own")).unwrap(), node.name);
        assert_eq!(fs::metadata(folder.join("own")).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(sha256(&folder.join("data.bin")), sha256(&cluster.path("data.bin")));
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
    }
    assert_eq!(first.result("a3")["message"], "copies/new/a3/own", "{first}");
    cluster.node("a1").sh("rm /run/lock/own");
    cluster.node("a2").sh("echo more >>/run/lock/own");
    let again = cluster.ctl("cp -o json :/run/lock/own copies/new/").expect(1);
    assert_eq!(again.outcomes().iter().filter(|line| line.ends_with("ok")).count(), 14, "{again}");
    assert_eq!(again.result("a1")["failure"]["message"], "/run/lock/own: No such file", "{again}");
    assert_eq!(fs::read_to_string(cluster.path("copies/new/a1/own")).unwrap(), "a1", "the earlier copy stays");
    assert_eq!(fs::read_to_string(cluster.path("copies/new/a2/own")).unwrap(), "a2more\n");
}

/// Whatever ends a copy, the old file stays whole, and a resumed run copies the new one.
#[test]
fn a_copy_that_is_cut_leaves_the_old_file() {
    let cluster = Cluster::of(2, &spec());
    let node = cluster.node("a1");
    File::create(cluster.path("much")).unwrap().set_len(400_000_000).unwrap();
    let begin = || {
        for node in cluster.nodes() {
            node.sh("mkdir -p /run/to; echo old >/run/to/much");
        }
        let run = cluster.ctl_start("cp -y -o json --serial 1 --max-failures 0 much :/run/to/");
        eventually("the copy to begin", || is_copying(node, "/run/to").then_some(()));
        run
    };
    let is_old = |name: &str| {
        let node = cluster.node(name);
        eventually("the node to clean up", || (names(node, "/run/to") == "much ").then_some(()));
        assert_eq!(node.read("/run/to/much"), "old\n");
    };
    // The second signal gives up.
    let run = begin();
    run.signal("INT");
    run.signal("TERM");
    let run = run.finish();
    assert_eq!(run.outcomes(), ["a1 - unknown interrupted", "a2 - not_started interrupted"], "{run}");
    assert!(run.stderr.contains("Resume it with: ctl runs resume"), "{run}");
    is_old("a1");
    // The connection breaks.
    let run = begin();
    node.cut_connections();
    let run = run.finish();
    assert_eq!(run.outcomes(), ["a1 - unknown connection_lost", "a2 - not_started limit"], "{run}");
    is_old("a1");
    // The controller dies, and a resumed run begins again with the node that was in progress.
    let run = begin();
    run.signal("KILL");
    drop(run.finish());
    is_old("a1");
    is_old("a2");
    fs::write(cluster.path("much"), "new\n").unwrap();
    let resumed = cluster.ctl("runs resume last -o json").expect(0);
    assert_eq!(resumed.outcomes(), ["a1 - changed", "a2 - changed"], "{resumed}");
    assert_eq!((node.read("/run/to/much"), cluster.node("a2").read("/run/to/much")), ("new\n".into(), "new\n".into()));
}

/// The time limit and a full disk.
#[test]
fn a_copy_that_cannot_end_leaves_the_old_file() {
    let cluster = Cluster::of(2, &spec());
    for node in cluster.nodes() {
        node.sh("mkdir /run/small; mount -t tmpfs -o size=1m tmpfs /run/small; echo old >/run/small/much");
    }
    write(&cluster.path("much"), &bytes(5_000_000), 0o644);
    let full = cluster.ctl("cp -y -o json much :/run/small/much").expect(1);
    assert_eq!(full.outcomes(), ["a1 - failed command", "a2 - failed command"], "{full}");
    let message = "cannot write /run/small/much: No space left on device";
    assert_eq!(full.result("a1")["failure"]["message"], message, "{full}");
    assert_eq!(names(cluster.node("a1"), "/run/small"), "much ");
    assert_eq!(cluster.node("a1").read("/run/small/much"), "old\n");
    File::create(cluster.path("much")).unwrap().set_len(2_000_000_000).unwrap();
    let late = cluster.ctl("cp -y -o json -w a1 --timeout 1s much :/run/lock/").expect(1);
    assert_eq!(late.outcomes(), ["a1 - timed_out timed_out"], "{late}");
    eventually("the node to clean up", || (!is_copying(cluster.node("a1"), "/run/lock")).then_some(()));
    // Here, too: the old copy stays, and nothing half is left.
    cluster.node("a1").sh("truncate -s 2000M /run/lock/long");
    fs::create_dir_all(cluster.path("copies/a1")).unwrap();
    write(&cluster.path("copies/a1/long"), b"old", 0o644);
    let late = cluster.ctl("cp -o json -w a1 --timeout 1s :/run/lock/long copies").expect(1);
    assert_eq!(late.outcomes(), ["a1 - timed_out timed_out"], "{late}");
    assert_eq!(fs::read_to_string(cluster.path("copies/a1/long")).unwrap(), "old");
    assert_eq!(fs::read_dir(cluster.path("copies/a1")).unwrap().count(), 1);
}

/// The memory that `ctl` needs does not depend on the size of the file, in either direction.
#[test]
fn a_large_file_needs_little_memory() {
    let cluster = Cluster::of(1, &spec());
    let size = 300_000_000;
    File::create(cluster.path("much")).unwrap().set_len(size).unwrap();
    // In kB, the most that it ever needed.
    let peak = |line: &str| {
        let mut run = cluster.ctl_start(line);
        let mut peak = 0;
        while run.is_running() {
            let status = fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
            peak = line.trim().trim_end_matches(" kB").parse().unwrap_or(peak);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        run.finish().expect(0);
        peak
    };
    for line in ["cp -y much :/run/lock/much", "cp :/run/lock/much copies"] {
        let peak: u64 = peak(line);
        assert!((1_000..100_000).contains(&peak), "{line}: {peak} kB");
    }
    assert_eq!(fs::metadata(cluster.path("copies/a1/much")).unwrap().len(), size);
}

/// Targets are those of cp, and batches, limits and checks those of every change.
#[test]
fn targets_and_batches() {
    let cluster = Cluster::of(3, &spec());
    write(&cluster.path("-x"), b"new\n", 0o644);
    let target = "/run/lock/it's $(here)\n";
    let odd = cluster.ctl_words(&["cp", "-y", "--", "./-x", &format!(":{target}")]).expect(0);
    assert_eq!(cluster.node("a3").sh("cat \"/run/lock/it's \\$(here)\n\""), "new\n", "{odd}");
    for node in ["a1", "a2", "a3"] {
        cluster.node(node).sh("echo old >/run/lock/real; ln -s real /run/lock/link; mkdir -p /run/lock/d/-x");
    }
    cluster.ctl_words(&["cp", "-y", "--", "-x", ":/run/lock/link"]).expect(0);
    assert_eq!(cluster.node("a1").sh("readlink /run/lock/link; cat /run/lock/real"), "real\nnew\n");
    for (target, message) in [
        (":/run/lock/d", "/run/lock/d/-x: Is a directory"),
        (":/run/lock/none/", "/run/lock/none/: No such directory"),
        (":/dev/null", "/dev/null: Not a regular file"),
        (":/proc/1", "cannot write to /proc/1: "),
    ] {
        let refused = cluster.ctl_words(&["cp", "-y", "-o", "json", "--rolling", "--", "-x", target]).expect(5);
        assert_eq!(refused.outcomes(), ["a1 - failed command", "a2 - not_started limit", "a3 - not_started limit"]);
        let said = refused.result("a1")["failure"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(said.starts_with(message), "{refused}");
    }
    let check = ["cp", "-y", "-o", "json", "--serial", "1", "--check", "grep old /run/lock/real", "--"];
    let checked = cluster.ctl_words(&[&check[..], &["-x", ":/run/lock/new"]].concat()).expect(5);
    assert_eq!(checked.outcomes(), ["a1 - failed gate", "a2 - not_started gate", "a3 - not_started gate"], "{checked}");
}

/// Only one run at a time changes a node, and a login shell that prints is not part of the file.
#[test]
fn locks_and_login_shells() {
    let cluster = Cluster::of(1, &spec());
    let node = cluster.node("a1");
    write(&cluster.path("f"), b"content\n", 0o644);
    fs::write(node.inside("/run/home/root/.bashrc"), "echo Welcome\necho beware >&2\nprintf 'no end'\n").unwrap();
    cluster.ctl("cp -y f :/run/lock/f").expect(0);
    cluster.ctl("cp :/run/lock/f copies").expect(0);
    assert_eq!(
        (node.read("/run/lock/f"), fs::read_to_string(cluster.path("copies/a1/f")).unwrap()),
        ("content\n".into(), "content\n".into())
    );
    let holder = Running::start(cluster.ctl_command(["exec", "-y", "--", "touch /run/held; sleep 4321"]));
    eventually("the lock", || node.inside("/run/held").exists().then_some(()));
    let locked = cluster.ctl("cp -y -o json f :/run/lock/g").expect(6);
    assert_eq!(locked.outcomes(), ["a1 - not_started locked"], "{locked}");
    drop(holder);
    fs::write(node.inside("/run/home/root/.bashrc"), "echo closed; exit 0\n").unwrap();
    let closed = cluster.ctl("cp -y -o json --no-guard f :/run/lock/g").expect(1);
    assert_eq!(closed.outcomes(), ["a1 - failed command"], "{closed}");
    let message = closed.result("a1")["failure"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("did not run") && message.contains("closed"), "{closed}");
}
