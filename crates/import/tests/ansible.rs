//! The reader of Ansible's inventories against the real `ansible-inventory`.
//!
//! Every directory of `corpus` is one inventory. Its hosts, its groups, and the variables of every connection must be those that
//! `ansible-inventory --list` prints. `tests/run` installs ansible-core; without it this test fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ctl_import::ansible::{AnsibleValue, PlacedValue, read_list, read_path, resolve_path, write_list};
use ctl_import::{ImportedFleet, ImportedHost, SourcePlace};
use serde_json::Value;

/// The program, and a directory without any configuration to run it in.
struct RealAnsible {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl RealAnsible {
    fn find() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let program = root.join("target/tools/ansible-core-2.19.14/bin/ansible-inventory");
        assert!(
            program.exists(),
            "no {}: run `tests/run -p ctl-import`, which installs it from PyPI",
            program.display()
        );
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("ansible.cfg"), "").expect("written");
        Self { program, home }
    }

    /// What `ansible-inventory --list` prints.
    fn list(&self, inventory: &Path) -> String {
        let home = self.home.path();
        let output = Command::new(&self.program)
            .args(["--list", "-i"])
            .arg(inventory)
            .current_dir(home)
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8")])
            .env("HOME", home)
            .env("ANSIBLE_CONFIG", home.join("ansible.cfg"))
            .output()
            .expect("ansible-inventory runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", inventory.display());
        // A file of the corpus that Ansible cannot read would be left out with a warning only.
        assert!(
            !said.contains("Failed to parse") && !said.contains("Unable to parse"),
            "{}: {said}",
            inventory.display()
        );
        String::from_utf8(output.stdout).expect("text")
    }
}

/// The only file of a case, or its directory if it has several.
fn inventory_of(case: &Path) -> PathBuf {
    let entries = fs::read_dir(case).expect("a case").map(|entry| entry.expect("an entry").path());
    let files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    if let [only] = files.as_slice() { only.clone() } else { case.to_owned() }
}

fn cases() -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(corpus).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    cases
}

fn to_json(value: &PlacedValue) -> Value {
    match &value.value {
        AnsibleValue::Null => Value::Null,
        AnsibleValue::Bool(value) => Value::from(*value),
        AnsibleValue::Int(number) => Value::from(*number),
        AnsibleValue::Text(text) => Value::from(text.as_str()),
        AnsibleValue::Other => Value::from("(not a scalar)"),
    }
}

/// A value of Ansible's JSON in the same form.
fn reduced(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.as_i64().is_none() => Value::from("(not a scalar)"),
        // No template may change it.
        Value::Object(map) if map.contains_key("__ansible_unsafe") => map["__ansible_unsafe"].clone(),
        Value::Array(_) | Value::Object(_) => Value::from("(not a scalar)"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The members of each group in `--list` JSON, those of subgroups included.
fn members(list: &Value) -> BTreeMap<String, BTreeSet<String>> {
    fn collect(list: &Value, group: &str, hosts: &mut BTreeSet<String>) {
        let names = |key: &str| -> Vec<String> {
            let items = list[group][key].as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        hosts.extend(names("hosts"));
        names("children").iter().for_each(|child| collect(list, child, hosts));
    }
    let names = list.as_object().expect("an object").keys();
    let names = names.filter(|name| !matches!(name.as_str(), "_meta" | "all" | "ungrouped"));
    let with_hosts = names.map(|name| {
        let mut hosts = BTreeSet::new();
        collect(list, name, &mut hosts);
        (name.clone(), hosts)
    });
    with_hosts.filter(|(_, hosts)| !hosts.is_empty()).collect()
}

/// The connections, without their places, which differ between the files and the JSON.
fn connections(fleet: ImportedFleet) -> BTreeMap<String, ImportedHost> {
    let nowhere = SourcePlace { file: Path::new("").into(), line: 0 };
    let hosts = fleet.hosts.into_iter();
    hosts.map(|host| (host.name.clone(), ImportedHost { place: nowhere.clone(), ..host })).collect()
}

#[test]
fn every_inventory_is_read_as_ansible_reads_it() {
    let ansible = RealAnsible::find();
    let cases = cases();
    assert!(cases.len() >= 30, "only {} cases", cases.len());
    let mut differences = Vec::new();
    for case in &cases {
        let path = inventory_of(case);
        let name = case.file_name().expect("a name").to_string_lossy().into_owned();
        let text = ansible.list(&path);
        let list: Value = serde_json::from_str(&text).expect("JSON");
        let resolved = resolve_path(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut differ = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                differences.push(format!("{name}: {what}\n  ctl:     {ours}\n  Ansible: {theirs}"));
            }
        };

        let groups: BTreeMap<String, BTreeSet<String>> = (resolved.groups.iter())
            .filter(|(_, hosts)| !hosts.is_empty())
            .map(|(name, hosts)| (name.clone(), hosts.iter().cloned().collect()))
            .collect();
        differ("groups", format!("{groups:?}"), format!("{:?}", members(&list)));

        let vars = list["_meta"]["hostvars"].as_object().cloned().unwrap_or_default();
        let mut theirs: BTreeSet<String> = vars.keys().cloned().collect();
        theirs.extend(members(&list).into_values().flatten());
        theirs.extend(
            list["ungrouped"]["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
        );
        let ours: BTreeSet<String> = resolved.hosts.iter().map(|host| host.name.clone()).collect();
        differ("hosts", format!("{ours:?}"), format!("{theirs:?}"));

        for host in &resolved.hosts {
            let ours: BTreeMap<&String, Value> =
                host.variables.iter().map(|(name, value)| (name, to_json(value))).collect();
            let theirs = vars.get(&host.name).and_then(Value::as_object).into_iter().flatten();
            // Those that are named as left out are compared below, by their absence from the connection.
            let omitted = |name: &String| resolved.omissions.iter().any(|omission| omission.what == *name);
            let theirs: BTreeMap<&String, Value> =
                theirs.filter(|(name, _)| !omitted(name)).map(|(name, value)| (name, reduced(value))).collect();
            differ(&host.name, format!("{ours:?}"), format!("{theirs:?}"));
        }

        let ours = connections(read_path(&path).expect("read before"));
        let theirs = connections(read_list(&text, Path::new("list")).expect("Ansible's own JSON"));
        differ("connections", format!("{ours:?}"), format!("{theirs:?}"));
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn no_secret_is_kept_and_the_rest_can_be_written() {
    for case in cases() {
        let fleet = read_path(&inventory_of(&case)).expect("an inventory");
        let written = write_list(&fleet);
        let reread = read_list(&written, Path::new("list")).expect("our own JSON");
        let with_hosts = |fleet: &ImportedFleet| -> Vec<String> {
            fleet.groups.iter().filter(|(_, hosts)| !hosts.is_empty()).map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(with_hosts(&reread), with_hosts(&fleet), "{}", case.display());
        assert_eq!(connections(reread), connections(fleet.clone()), "{}", case.display());
        assert!(!format!("{fleet:?}").contains("hunter"), "{}", case.display());
    }
}

/// The connections of a case, and the omissions, one a line.
fn shown(case: &str) -> Vec<String> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let fleet = read_path(&inventory_of(&corpus.join(case))).expect("an inventory");
    let hosts = fleet.hosts.iter().map(|host| {
        let parts = [
            Some(host.name.clone()),
            host.user.as_ref().map(|user| format!("user={user}")),
            host.address.as_ref().map(|address| format!("address={address}")),
            host.port.map(|port| format!("port={port}")),
            host.identity.as_ref().map(|identity| format!("identity={identity}")),
            host.jump.as_ref().map(|jump| format!("jump={jump}")),
            host.sudo.map(|sudo| format!("sudo={sudo}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    });
    let omissions = fleet.omissions.iter().map(|omission| {
        let file = omission.place.file.file_name().unwrap_or_default().to_string_lossy();
        let mark = if omission.changes_connection { "!" } else { "-" };
        format!("{mark} {file}:{}: {}: {}", omission.place.line, omission.what, omission.why)
    });
    hosts.chain(omissions).collect()
}

#[test]
fn connections_and_what_is_left_out_of_them() {
    assert_eq!(
        shown("25-jump-hosts"),
        ["p1 jump=ops@gateway.example.com", "p2 jump=ops@gw2.example.net:2222", "p3 jump=ops@gateway.example.com",]
    );
    assert_eq!(
        shown("26-connections"),
        [
            "real",
            "old",
            "- hosts:1: localhost: Ansible does not connect to it with SSH (ansible_connection is local)",
            "- hosts:2: box: Ansible does not connect to it with SSH (ansible_connection is docker)",
            "- hosts:3: switch: Ansible does not connect to it with SSH (ansible_connection is ansible.netcommon.network_cli)",
        ]
    );
    assert_eq!(
        shown("27-old-names"),
        ["o1 user=legacy address=192.0.2.51 port=2251", "o2 user=old address=192.0.2.53", "o3 identity=/keys/a",]
    );
    assert_eq!(
        shown("28-become"),
        [
            "b1 sudo=true",
            "b2",
            "b3",
            "b4 sudo=false",
            "b5",
            "b6 sudo=true",
            "- hosts.yml:4: ansible_become_method: ctl uses only sudo, not su",
            "- hosts.yml:5: ansible_become_user: with sudo, ctl becomes root and not contrail",
            "! hosts.yml:7: ansible_become: only Ansible can evaluate its template, or decrypt it",
        ]
    );
    assert_eq!(
        shown("30-templates"),
        [
            "t1 port=2222",
            "t2 address=192.0.2.72 port=2222",
            "! hosts.yml:6: ansible_host: only Ansible can evaluate its template, or decrypt it",
            "! hosts.yml:7: ansible_user: only Ansible can evaluate its template, or decrypt it",
        ]
    );
    assert_eq!(
        shown("31-secrets"),
        [
            "s1 user=root sudo=true",
            "- hosts:4: ansible_become_password: secrets are not carried over; use an SSH key, --ask-pass or -K",
            "- hosts:2: ansible_password: secrets are not carried over; use an SSH key, --ask-pass or -K",
            "- web.yml:1: ansible_ssh_pass: secrets are not carried over; use an SSH key, --ask-pass or -K",
            "- web.yml:2: ansible_ssh_private_key_passphrase: secrets are not carried over; use an SSH key, --ask-pass or -K",
        ]
    );
}

#[test]
fn every_group_has_a_place() {
    for case in cases() {
        let fleet = read_path(&inventory_of(&case)).expect("an inventory");
        for name in fleet.groups.keys() {
            assert!(fleet.group_places.contains_key(name), "{}: {name}", case.display());
        }
    }
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("hosts");
    fs::write(&path, "h1\n[a+b]\nh1\n[c]\nh1\n").expect("written");
    let places = read_path(&path).expect("an inventory").group_places;
    assert_eq!(places["a+b"].line, 2);
    assert_eq!(places["c"].line, 4);
}

#[test]
fn what_ansible_rejects_is_an_error_with_its_line() {
    let folder = tempfile::tempdir().expect("a directory");
    for (name, text, line, message) in [
        ("a.ini", "[web\nx", 1, "`[` without `]`"),
        ("b.ini", "[web:things]\n", 1, "unknown kind of section `things`"),
        ("c.ini", "[web:vars]\nx=1\n", 1, "the group web is not defined"),
        ("d.ini", "ok\n[a:children]\nb\n", 3, "the group b is not defined"),
        ("e.ini", "w[1:3\n", 1, "`[` without `]`"),
        ("f.ini", "w1 'open\n", 1, "a quote that is not closed"),
        ("g.ini", "[a]\nw1 word\n", 2, "expected `variable=value`, not word"),
        ("h.yml", "all:\n  hosts: [a]\n", 2, "`hosts` must be a mapping"),
        ("i.yml", "- a\n", 1, "an inventory must be a mapping of groups"),
        ("j.yml", "a: {children: {b: {children: {a: }}}}\n", 1, "contains itself"),
        ("k.json", "{\"_meta\": {}, \"web\": 1}", 0, "the group web must be an object or a list of hosts"),
        ("l.ini", "[a]\n[a:vars]\nansible_group_priority=high\n", 3, "`ansible_group_priority` must be a whole number"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        let error = read_path(&path).expect_err(name);
        assert!(error.message.contains(message), "{name}: {error}");
        assert_eq!(error.place.line, line, "{name}: {error}");
    }
}
