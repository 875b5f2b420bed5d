//! Text that no tool has written: the readers give an error or a fleet, and never panic.

use std::fs;
use std::path::Path;

use ctl_import::{ansible, clustershell, testbed};
use proptest::collection::vec;
use proptest::prelude::*;

/// Pieces of every format, so that random texts reach further than the first line.
const PIECES: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ":",
    "=",
    ",",
    ".",
    "'",
    "\"",
    "#",
    "\n",
    "\n\n",
    " ",
    "  ",
    "-",
    "\\",
    "\\\n",
    "@",
    "!",
    "&",
    "*",
    "^",
    "all",
    "web",
    "[web]",
    "[web:vars]",
    "[web:children]",
    "hosts",
    "vars",
    "children",
    "ansible_host",
    "ansible_port=",
    "ansible_group_priority=",
    "w[1:3]",
    "w[a:f]",
    "[01:10:2]",
    ":22",
    "::1",
    "'''",
    "u'x'",
    "0x",
    "9999999999999999999",
    "env",
    ".roledefs",
    "env.hosts = ",
    "_meta",
    "{\"_meta\": ",
    "hostvars",
    "null",
    "é",
    "\u{1b}",
    "&a ",
    "*a",
];

fn text() -> impl Strategy<Value = String> {
    let pieces = vec(prop::sample::select(PIECES), 0..60).prop_map(|pieces| pieces.concat());
    prop_oneof![pieces, any::<String>()]
}

fn read_all(folder: &Path, bytes: &[u8]) {
    for name in ["hosts", "hosts.ini", "hosts.yml", "hosts.json", "groups.conf", "groups.cfg"] {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("written");
        if name.starts_with("hosts") {
            drop(ansible::read_path(&path));
        }
        drop(clustershell::read(&path));
        drop(testbed::read(&path));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_read_or_rejected(text in text()) {
        let folder = tempfile::tempdir().expect("a directory");
        read_all(folder.path(), text.as_bytes());
        drop(ansible::read_list(&text, Path::new("list")));
        // As the variables of a host, beside an inventory that is valid.
        fs::write(folder.path().join("hosts"), "[web]\nw1\n").expect("written");
        fs::create_dir_all(folder.path().join("host_vars")).expect("made");
        fs::write(folder.path().join("host_vars/w1"), &text).expect("written");
        drop(ansible::read_path(&folder.path().join("hosts")));
    }

    #[test]
    fn any_connection_is_read_or_left_out(name in "[ -~é]{1,12}", value in text()) {
        let names = ["ansible_host", "ansible_port", "ansible_become", "ansible_ssh_common_args", "ansible_connection"];
        let variables: serde_json::Map<String, serde_json::Value> =
            names.into_iter().map(|name| (name.to_owned(), value.clone().into())).collect();
        let list = serde_json::json!({"_meta": {"hostvars": {name: variables}}}).to_string();
        let fleet = ansible::read_list(&list, Path::new("list")).expect("valid JSON");
        drop(ansible::read_list(&ansible::write_list(&fleet), Path::new("list")).expect("our own JSON"));
    }

    #[test]
    fn bytes_that_are_no_text(bytes in vec(any::<u8>(), 0..100)) {
        let folder = tempfile::tempdir().expect("a directory");
        read_all(folder.path(), &bytes);
    }
}
