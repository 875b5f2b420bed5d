//! `ctl cp`: what it copies where, its batches and its journal. tests/real/cp.rs has the files themselves.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Cluster, Running, uniform, word};

/// A file in the home of the user who runs `ctl`.
fn write(cluster: &Cluster, name: &str, text: &str) -> PathBuf {
    let path = cluster.path(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("cannot make the directory");
    fs::write(&path, text).expect("cannot write the file");
    path
}

fn content(cluster: &Cluster, node: &str, path: &str) -> String {
    let run = cluster.exec(&format!("-o json -w {node}"), &["cat", path]).finish();
    word(&run.result(node)["stdout"]).to_owned()
}

/// Files reach every node; an equal file is `ok`, and the summary and the table say so.
#[test]
fn files_to_the_nodes() {
    let cluster = Cluster::start(uniform(3));
    write(&cluster, "a.conf", "a\n");
    write(&cluster, "dir/b.conf", "b\n");
    let first = cluster.ctl("cp -y -o json a.conf dir/b.conf :/etc/contrail").expect(0);
    assert_eq!(first.outcomes(), ["n01 - changed", "n02 - changed", "n03 - changed"], "{first}");
    assert_eq!(content(&cluster, "n02", "/etc/contrail/b.conf"), "b\n");
    let again = cluster.ctl("cp -y -o json a.conf :/etc/contrail/a.conf").expect(0);
    assert_eq!(again.outcomes(), ["n01 - ok", "n02 - ok", "n03 - ok"], "{again}");
    assert!(!again.result("n01").as_object().expect("an object").contains_key("stdout"), "{again}");
    let table = cluster.ctl("cp -y a.conf :").expect(0);
    assert!(table.stdout.contains("changed"), "{table}");
    assert_eq!(content(&cluster, "n03", "/root/a.conf"), "a\n");
    cluster.at_rest();
}

/// A file of each node, under the node's name; reading needs no confirmation.
#[test]
fn a_file_from_the_nodes() {
    let cluster = Cluster::start(uniform(3));
    for name in ["n01", "n03"] {
        cluster.node(name).put_file("/etc/release", format!("of {name}\n"));
    }
    let run = cluster.ctl("cp -o json :/etc/release copies").expect(1);
    assert_eq!(run.outcomes(), ["n01 - changed", "n02 - failed command", "n03 - changed"], "{run}");
    assert_eq!(word(&run.result("n02")["failure"]["message"]), "/etc/release: No such file");
    assert_eq!(word(&run.result("n03")["message"]), "copies/n03/release");
    let copy = |node: &str| fs::read_to_string(cluster.path(&format!("copies/{node}/release"))).ok();
    assert_eq!([copy("n01"), copy("n02"), copy("n03")], [Some("of n01\n".into()), None, Some("of n03\n".into())]);
    assert!(!cluster.path("copies/n02").exists(), "an empty directory was left");
    let again = cluster.ctl("cp -o json -w n01,n03 :/etc/release copies/").expect(0);
    assert_eq!(again.outcomes(), ["n01 - ok", "n03 - ok"], "{again}");
}

/// Batches and limits, and the rest of the run afterwards: a copy in progress is simply made again.
#[test]
fn batches_and_the_rest_of_a_run() {
    let cluster = Cluster::start(uniform(4));
    let file = write(&cluster, "a.conf", "a\n");
    let run = cluster.ctl("cp -y -o json --serial 1 --check false a.conf :/etc").expect(5);
    assert_eq!(
        run.outcomes(),
        ["n01 - failed gate", "n02 - not_started gate", "n03 - not_started gate", "n04 - not_started gate"],
        "{run}"
    );
    assert_eq!(content(&cluster, "n02", "/etc/a.conf"), "");
    let run = cluster.ctl("cp -y -o jsonl --serial 1,3 a.conf :/etc").expect(0);
    assert_eq!(run.batches(), ["n01", "n02 n03 n04"], "{run}");
    let run = cluster.ctl("cp -y -o json --serial 1 a.conf :/missing/").expect(5);
    assert_eq!(run.outcomes()[..2], ["n01 - failed command", "n02 - not_started limit"], "{run}");
    // Run again from the journal, the file is as needed as the first time.
    fs::remove_file(&file).expect("cannot remove the file");
    let refused = Running::start(cluster.bare("runs retry last")).finish().expect(2);
    assert!(refused.stderr.contains("cannot read a.conf"), "{refused}");
    write(&cluster, "a.conf", "a\n");
    let retried = Running::start(cluster.bare("runs retry last -o json")).finish().expect(5);
    assert_eq!(retried.outcomes().len(), 4, "{retried}");
    cluster.at_rest();
}

/// Mistakes are found before any node is contacted.
#[test]
fn mistakes_touch_no_node() {
    let cluster = Cluster::start(uniform(2));
    write(&cluster, "a.conf", "a\n");
    write(&cluster, "dir/a.conf", "b\n");
    for (words, said) in [
        ("cp -y a.conf", "a source and a target are needed"),
        ("cp -y a.conf b.conf", "a path there begins with a colon"),
        ("cp -y a.conf root@n01:/tmp", "ctl cp -w n01 -u root a.conf :/tmp"),
        ("cp -y n01:/etc/hosts dir", "ctl cp -w n01 :/etc/hosts dir"),
        ("cp -y :/a :/b", "from nodes to nodes"),
        ("cp -y :/a :/b dir", "only one file"),
        ("cp -y none :/tmp", "cannot read none: No such file"),
        ("cp -y dir :/tmp", "tar c DIR | ctl exec"),
        ("cp -y /dev/zero :/tmp", "not a regular file"),
        ("cp -y a.conf dir/a.conf :/tmp", "two files are called a.conf"),
        ("cp -y :/etc/ dir", "is a directory; ctl cp copies files"),
        ("cp -y :/etc/.. dir", "is a directory; ctl cp copies files"),
        ("cp -y :/etc/hosts a.conf", "a.conf is not a directory"),
        ("cp -y :/etc/hosts a.conf/below", "cannot create a.conf/below"),
        ("cp a.conf :/tmp", "this copies a.conf to /tmp on all 2 nodes of the inventory"),
    ] {
        let refused = cluster.ctl(words).expect(2);
        assert!(refused.stderr.contains(said), "{words}: {refused}");
    }
    let plan = cluster.ctl("cp --dry-run :/etc/hosts new").expect(0);
    assert!(plan.stdout.contains("copy /etc/hosts into new (2 nodes, 1 batch)"), "{plan}");
    assert!(!cluster.path("new").exists());
    assert_eq!(cluster.connections(), 0);
}
