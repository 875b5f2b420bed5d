//! Invalid inventories are rejected with the position of the error, before any node is contacted.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{COLLECTOR, Cluster, Running, uniform};

/// Asserts that a file is rejected, at a position (`line:column`, or a line) if one is given.
#[track_caller]
fn refused(cluster: &Cluster, name: &str, text: &[u8], place: Option<&str>, said: &str) {
    let file = cluster.write(name, text);
    refused_file(cluster, &file, place, said);
}

#[track_caller]
fn refused_file(cluster: &Cluster, file: &std::path::Path, place: Option<&str>, said: &str) {
    for line in ["status", "ping", &format!("service {COLLECTOR} restart -y")] {
        let run = Running::start(cluster.command_with(line, file)).finish().expect(2);
        assert!(run.stdout.is_empty(), "{run}");
        let path = file.display().to_string();
        let expected = place.map_or_else(|| path.clone(), |place| format!("{path}:{place}"));
        assert!(run.stderr.contains(&expected), "expected {expected}\n{run}");
        assert!(run.stderr.contains(said), "expected `{said}`\n{run}");
    }
    let mut check = cluster.bare("inventory check -i");
    check.arg(file);
    Running::start(check).finish().expect(2);
    assert_eq!(cluster.connections(), 0, "a node was contacted");
}

/// Without the mistake, every one of these inventories would reach the nodes of the lab.
#[test]
fn each_bad_inventory_is_refused_with_its_place() {
    let cluster = Cluster::start(uniform(2));
    let good = cluster.inventory();
    let next = good.lines().count() + 1;
    // An additional line, and its wrong part.
    let lines = [
        ("\tn03: {roles: [analytics]}", "\t", "tab"),
        ("  n01: {roles: [analytics]}", "n01", "n01"),
        ("  n[01-03]: {roles: [analytics]}", "n[01-03]", "n01"),
        ("  node[3-1]: {roles: [analytics]}", "3-1", "3-1"),
        ("  n03: {roles: [analitics]}", "analitics", "did you mean analytics?"),
        ("  n03: {rolls: [analytics]}", "rolls", "did you mean roles?"),
        ("  n03: {roles: [analytics], port: 99999}", "99999", "65535"),
        ("  n[03-05]: {roles: [analytics], address: \"10.0.0.[1-2]\"}", "\"10.0.0.[1-2]\"", "3"),
        ("  n03: {roles: [analytics], maintainance: x}", "maintainance", "maintenance"),
        ("  n03: [analytics]", "[analytics]", "mapping"),
    ];
    for (line, wrong, said) in lines {
        let column = line.find(wrong).expect("the line does not contain the wrong part") + 1;
        refused(&cluster, "line.yaml", format!("{good}{line}\n").as_bytes(), Some(&format!("{next}:{column}")), said);
    }
    let instead = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        good.replace(from, to).into_bytes()
    };
    refused(&cluster, "empty.yaml", b"", Some("1:1"), "empty");
    refused(&cluster, "blank.yaml", b"\n\n# nothing\n", Some("1:1"), "empty");
    refused(&cluster, "binary.yaml", b"\x7fELF\x02\x01\x01\0\0\0\xff\xfe", Some("1:"), "text");
    refused(&cluster, "group.yaml", &instead("nodes:\n", "groups: {g: \"@nosuch\"}\nnodes:\n"), Some("3:"), "nosuch");
    refused(&cluster, "both.yaml", &instead("nodes:\n", "groups: {analytics: n01}\nnodes:\n"), Some("3:"), "analytics");
    refused(&cluster, "version.yaml", &instead("version: 1", "version: 2"), Some("1:10"), "version");
}

#[test]
fn a_yaml_bomb() {
    let cluster = Cluster::start(uniform(1));
    let mut bomb = String::from("version: 1\nx-0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 9].join(",");
        bomb.push_str(&format!("x-{level}: &a{level} [{below}]\n"));
    }
    bomb.push_str(&cluster.inventory().replace("version: 1\n", ""));
    refused(&cluster, "bomb.yaml", bomb.as_bytes(), None, "");
}

#[test]
fn a_file_of_100_mb() {
    let cluster = Cluster::start(uniform(1));
    let path = cluster.path("large.yaml");
    let good = cluster.inventory();
    std::fs::write(&path, good).expect("cannot write the file");
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(100 << 20))
        .expect("cannot create the sparse file");
    refused_file(&cluster, &path, None, "4 MiB");
}

#[test]
fn what_is_no_file() {
    let cluster = Cluster::start(uniform(1));
    refused_file(&cluster, &cluster.path("none.yaml"), None, "no such file");
    refused_file(&cluster, &cluster.path(""), None, "directory");
}

/// All errors of a file are reported at once, each with its position and the expected value.
#[test]
fn all_errors_at_once() {
    let cluster = Cluster::start(uniform(1));
    let lines = cluster.inventory().lines().count();
    let text = cluster.inventory()
        + "  n02: {roles: [analitics]}\n  n03: {rolls: [analytics]}\n  n04: {roles: [config], port: 99999}\n";
    let file = cluster.write("many.yaml", text);
    let run = Running::start(cluster.command_with("status", &file)).finish().expect(2);
    for (line, said) in [(1, "did you mean analytics?"), (2, "did you mean roles?"), (3, "99999")] {
        let place = format!("{}:{}:", file.display(), lines + line);
        assert!(run.stderr.contains(&place) && run.stderr.contains(said), "{place} {said}\n{run}");
    }
    assert!(run.stderr.contains("^"), "expected a caret under the wrong part\n{run}");
    assert_eq!(cluster.connections(), 0);
}

/// The default locations of the inventory.
#[test]
fn the_inventory_is_found() {
    let cluster = Cluster::start(uniform(1));
    let text = cluster.inventory();
    let list = |change: &dyn Fn(&mut std::process::Command)| {
        let mut command = cluster.bare("inventory list -o json");
        change(&mut command);
        Running::start(command).finish()
    };
    let none = list(&|_| {}).expect(2);
    assert!(none.stderr.contains("inventory.yaml") && none.stderr.contains("-i"), "{none}");
    // $HOME/.config, then $XDG_CONFIG_HOME, then the current directory, then $CTL_INVENTORY: later ones take
    // precedence.
    let named = |node: &str| text.replace("n01", node);
    std::fs::create_dir_all(cluster.path(".config/ctl")).expect("cannot create the directory");
    cluster.write(".config/ctl/inventory.yaml", named("home"));
    assert!(list(&|_| {}).expect(0).stdout.contains("\"home\""));
    std::fs::create_dir_all(cluster.path("xdg/ctl")).expect("cannot create the directory");
    cluster.write("xdg/ctl/inventory.yaml", named("xdg"));
    let xdg = cluster.path("xdg");
    let with_xdg = |command: &mut std::process::Command| {
        command.env("XDG_CONFIG_HOME", &xdg);
    };
    assert!(list(&with_xdg).expect(0).stdout.contains("\"xdg\""));
    cluster.write("inventory.yaml", named("here"));
    assert!(list(&with_xdg).expect(0).stdout.contains("\"here\""));
    let other = cluster.write("other.yaml", named("other"));
    let with_both = |command: &mut std::process::Command| {
        with_xdg(command);
        command.env("CTL_INVENTORY", &other);
    };
    assert!(list(&with_both).expect(0).stdout.contains("\"other\""));
    let last = cluster.write("last.yaml", named("last"));
    let with_all = |command: &mut std::process::Command| {
        with_both(command);
        command.arg("-i").arg(&last);
    };
    assert!(list(&with_all).expect(0).stdout.contains("\"last\""));
}

/// A later part of a run acts on the nodes that the source printed when the run began, and does not run the source again.
#[test]
fn a_run_keeps_the_nodes_of_its_source() {
    let cluster = Cluster::start(uniform(2));
    let mut list = cluster.bare("inventory list -o json -i");
    list.arg(cluster.inventory_path());
    let known = Running::start(list).finish().expect(0).document();
    let mut hostvars = serde_json::Map::new();
    for node in known["nodes"].as_array().expect("nodes") {
        let variables = serde_json::json!({
            "ansible_host": node["address"], "ansible_port": node["port"], "ansible_user": node["user"],
            "ansible_private_key_file": node["identity"][0], "ansible_password": "hunter2",
        });
        hostvars.insert(node["node"].as_str().expect("a name").to_owned(), variables);
    }
    let printed = serde_json::json!({"_meta": {"hostvars": hostvars}, "collector": {"hosts": ["n01", "n02"]}});
    cluster.write("list.json", printed.to_string());
    let script = cluster.write("hosts.sh", "#!/bin/sh\necho >> times; cat list.json\n");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).expect("cannot make it executable");
    let file = cluster.write("source.yaml", "version: 1\nsource: {command: [./hosts.sh]}\n");
    let mut exec = cluster.command_with("exec -y -o json", &file);
    exec.args(["--", "false"]);
    let run = Running::start(exec).finish().expect(1);
    assert_eq!(run.outcomes(), ["n01 - failed command", "n02 - failed command"], "{run}");
    cluster.write("list.json", "{}");
    let again = Running::start(cluster.bare("runs retry last -o json")).finish().expect(1);
    assert_eq!(again.outcomes(), ["n01 - failed command", "n02 - failed command"], "{again}");
    assert_eq!(std::fs::read_to_string(cluster.path("times")).expect("it ran").lines().count(), 1);
    let journal = std::fs::read(cluster.path(".local/state/ctl/journal.db")).expect("a journal");
    assert!(!journal.windows(7).any(|bytes| bytes == b"hunter2"), "the journal has a secret");
    let status = Running::start(cluster.command_with("status", &file)).finish().expect(2);
    assert!(status.stderr.contains("the source has no hosts"), "{status}");
}
