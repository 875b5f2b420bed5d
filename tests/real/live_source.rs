//! A live source: the real `ansible-inventory`, which `tests/run` installs, prints the nodes.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn the_real_ansible_inventory_prints_the_nodes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("target/tools/ansible-core-2.19.14/bin/ansible-inventory");
    assert!(program.exists(), "no {}: run tests/run, which installs it from PyPI", program.display());
    let folder = tempfile::tempdir().unwrap();
    let hosts = "[collector]\na[1:3] ansible_user=root\n[rack1]\na1\ndb1 ansible_host=10.0.0.9\n";
    fs::write(folder.path().join("hosts"), hosts).unwrap();
    let command = format!("[{}, -i, hosts, --list]", program.display());
    let text = format!("version: 1\nsource: {{command: {command}, roles: {{rack1: database}}}}\n");
    fs::write(folder.path().join("inventory.yaml"), text).unwrap();
    let mut list = Command::new(env!("CARGO_BIN_EXE_ctl"));
    let listed = list.args(["inventory", "list", "-o", "json"]).current_dir(folder.path()).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let nodes: Vec<String> = (listed["nodes"].as_array().unwrap().iter())
        .map(|node| format!("{} {} {} {}", node["node"], node["address"], node["user"], node["roles"]))
        .collect();
    assert_eq!(
        nodes,
        [
            r#""a1" "a1" "root" ["database","analytics"]"#,
            r#""a2" "a2" "root" ["analytics"]"#,
            r#""a3" "a3" "root" ["analytics"]"#,
            r#""db1" "10.0.0.9" null ["database"]"#,
        ]
    );
}
