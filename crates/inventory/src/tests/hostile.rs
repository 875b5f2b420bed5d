//! Hostile inputs: binary, endless, exploding, or random. None may cause a panic or take long.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{InventoryError, load};
use super::{bad, environment, faults, good, read};

/// Far more than any of these needs, and far less than an unbounded one takes.
const PATIENCE: Duration = Duration::from_secs(30);

#[track_caller]
fn load_fault(path: &Path) -> (String, InventoryError) {
    let error = load(path, &environment()).expect_err("no inventory");
    let said = error.to_string();
    let said = said.strip_prefix(&path.display().to_string()).unwrap_or(&said).to_owned();
    (said, error)
}

#[test]
fn inputs_that_are_not_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let (said, error) = load_fault(&folder.path().join("none.yaml"));
    assert_eq!(said, ": no such file");
    assert!(!error.problems[0].has_place());
    let (said, _) = load_fault(folder.path());
    assert_eq!(said, ": it is a directory, not a file (give the inventory file in that directory)");
    std::fs::create_dir(folder.path().join("group_vars")).expect("created");
    let (said, _) = load_fault(folder.path());
    assert!(said.contains("ctl inventory import --from ansible /"), "{said}");
}

#[test]
fn the_file_of_another_tool_has_one_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    for (text, command) in [
        ("[web]\nh1\n", "ctl inventory import --from ansible "),
        ("all:\n  hosts:\n    h1:\n", "ctl inventory import --from ansible "),
        ("Host h1\n", "ctl init --from ssh-config "),
    ] {
        let path = folder.path().join("hosts");
        std::fs::write(&path, text).expect("written");
        let (said, error) = load_fault(&path);
        assert!(said.contains(command) && error.problems.len() == 1, "{said}");
    }
}

#[test]
fn a_large_file_is_refused_unread() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.yaml");
    // A sparse file: reading it would take 100 GB.
    std::fs::File::create(&path).and_then(|file| file.set_len(100 << 30)).expect("written");
    let began = Instant::now();
    let (said, _) = load_fault(&path);
    assert_eq!(said, ": it is larger than 4 MiB (is it an inventory?)");
    assert!(began.elapsed() < PATIENCE);
}

#[cfg(unix)]
#[test]
fn an_endless_file_is_refused() {
    let began = Instant::now();
    let (said, _) = load_fault(Path::new("/dev/zero"));
    assert_eq!(said, ": it is larger than 4 MiB (is it an inventory?)");
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn inputs_that_are_not_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("binary.yaml");
    let binary: &[(&[u8], &str)] = &[
        (b"version: 1\nnodes: \xc3\x28", ":2:8: this is not UTF-8: byte 0xc3 at offset 18"),
        (b"\x7fELF\x02\x01\x01\0", ":1:8: this is not a text file: byte 0x00 at offset 7"),
        (b"\xff\xfev\0e\0", ":1:1: this is UTF-16: byte 0xff at offset 0"),
        (b"a: \xc3\xa9\n\xff", ":2:1: this is not UTF-8: byte 0xff at offset 6"),
        (b"a: b\n\xe2\x82", ":2:1: this is not UTF-8: byte 0xe2 at offset 5"),
    ];
    for (bytes, expected) in binary {
        std::fs::write(&path, bytes).expect("written");
        let (said, error) = load_fault(&path);
        assert_eq!(said, format!("{expected} (an inventory must be a UTF-8 text file)"));
        assert!(error.text.get(error.problems[0].span.clone()).is_some());
    }
    std::fs::write(&path, b"").expect("written");
    assert!(load_fault(&path).0.contains(":1:1: the inventory is empty"));
}

#[test]
fn exploding_anchors_are_refused() {
    let mut text = String::from("version: 1\nx-0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        writeln!(text, "x-{level}: &a{level} [{}]", vec![below; 9].join(",")).expect("written");
    }
    let began = Instant::now();
    let said = faults(&text);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("too large or too deeply nested"), "{said:?}");
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn nesting_is_bounded() {
    for deep in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        let began = Instant::now();
        let said = faults(&deep);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn endless_ranges_are_refused_unwritten() {
    let began = Instant::now();
    let range = "[0-999999]".repeat(50);
    for text in [
        format!("version: 1\nnodes: {{\"a{range}\": {{}}}}"),
        format!("version: 1\nnodes: {{a: {{address: \"{range}\"}}}}"),
        format!("version: 1\nnodes: {{a: {{}}}}\ngroups: {{g: \"a{range}\"}}"),
    ] {
        assert_eq!(bad(&text).problems.len(), 1, "{text}");
    }
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn a_hundred_thousand_nodes_are_an_inventory() {
    let began = Instant::now();
    let inventory = good(
        "version: 1\nnodes:\n  c[000001-100000]: {roles: [compute], address: \"10.[0-99].[0-99].[0-9]\"}\ngroups: {g: \"c*\"}",
    );
    assert_eq!(inventory.nodes.len(), 100_000);
    assert_eq!(inventory.groups["g"].len(), 100_000);
    let mut text = String::from("version: 1\nnodes:\n");
    for number in 0..10_000 {
        writeln!(text, "  n{number}: {{roles: [compute]}}").expect("written");
    }
    assert_eq!(good(&text).nodes.len(), 10_000);
    assert!(began.elapsed() < 4 * PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn a_file_with_faults_everywhere_is_reported_in_time() {
    let began = Instant::now();
    let mut text = String::from("version: 1\ngroups:\n");
    for number in 0..5_000 {
        writeln!(text, "  g{number}: \"@misspelt{number},zz{number}\"").expect("written");
    }
    text.push_str("nodes:\n");
    for number in 0..5_000 {
        writeln!(text, "  node{number}: {{roles: [nope{number}], prot: x}}").expect("written");
    }
    let error = bad(&text);
    assert_eq!(error.problems.len(), 1001);
    assert_eq!(error.problems[1000].message, "14000 more problems are not shown");
    assert!(began.elapsed() < 4 * PATIENCE, "{:?}", began.elapsed());
}

/// A valid text with every key, short enough to be read thousands of times.
const SEED: &str = "version: 1\nx-a: &a {jump: \"u@b:22\", connect_timeout: 5s}\ndefaults: {user: root, sudo: no, via: auto, identity: ~/k}\n\
    roles:\n  analytics: {max_unavailable: 25%}\n  b: {supervisor: s-b, socket: [/b, \"http://localhost:1\"], services: [i], introspect: {i: 1}}\n  \
    c: {supervisors: [{name: x, socket: /x, username: u, password_file: $KEYS/p}], init_services: y}\n  d: {extends: cfgm}\n\
    groups:\n  g: \"a[01-03],@h\"\n  h: \"@analytics&a*\"\nnodes:\n  a[01-03]: {<<: *a, roles: [analytics, b]}\n  \
    'x[1-2]': {address: \"10.0.0.[1-2]\", port: 2222, timeout: 2m, maintenance: \"é\"}\n";

/// The properties of any text.
fn check(text: &str) {
    let Err(error) = read(text) else { return };
    assert!(!error.problems.is_empty());
    for problem in &error.problems {
        let before = error.text.get(..problem.span.start).expect("a place in the text");
        assert!(error.text.get(problem.span.clone()).is_some(), "{problem:?}");
        assert_eq!(problem.line, before.matches('\n').count() + 1, "{problem:?}");
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        assert_eq!(problem.column, before[line_start..].chars().count() + 1, "{problem:?}");
        assert!(!problem.message.is_empty() && !problem.message.contains(char::is_control), "{problem:?}");
        if let Some((span, _)) = &problem.related {
            assert!(error.text.get(span.clone()).is_some(), "{problem:?}");
        }
    }
    assert!(error.problems.is_sorted_by_key(|problem| problem.span.start));
}

#[test]
fn text_quoted_by_another_module_is_made_visible() {
    for text in [
        "version: 1\nnodes: {\"a[\\x01]\": {}}",
        "version: 1\nnodes: {a: {}}\ngroups: {g: \"a,\\x1b\"}",
        "version: 1\nnodes: {a: {user: \"\\x1b[2J\"}}",
    ] {
        assert!(bad(text).to_string().contains("\\u{1"), "{}", bad(text));
        check(text);
    }
}

#[test]
fn the_seed_is_right() {
    assert_eq!(good(SEED).nodes.len(), 5);
}

#[test]
fn every_beginning_of_a_right_text_is_read_without_a_panic() {
    for (at, _) in SEED.char_indices() {
        check(&SEED[..at]);
        check(&SEED[at..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_text_of_yaml_signs_is_read_without_a_panic(text in "[ \\n\\t\\r:#&*!|>'\"%@`{}\\[\\],?~<a1é\\-\u{85}\u{2028}\u{feff}]{0,60}") {
        check(&text);
        check(&format!("version: 1\nnodes:\n  {text}"));
        check(&format!("version: 1\nnodes: {{a: {{}}}}\ngroups:\n  g: {text}"));
    }

    #[test]
    fn any_value_anywhere_is_read_without_a_panic(
        value in "[ -~é\u{1f600}]{0,30}",
        key in "roles|address|port|user|identity|jump|sudo|via|timeout|maintenance|x|<<",
    ) {
        let quoted = value.replace('\'', "''");
        check(&format!("version: 1\nnodes:\n  a: {{{key}: '{quoted}'}}"));
        check(&format!("version: 1\nnodes:\n  '{quoted}': {{{key}: ['{quoted}', *x]}}"));
        check(&format!("version: 1\nroles:\n  '{quoted}': {{socket: '{quoted}', services: '{quoted}'}}\ngroups:\n  g: '{quoted}'\nnodes: {{a: }}"));
    }

    #[test]
    fn a_right_text_with_changes_is_read_without_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..9, "[\\PC\\n\\t\u{0}]{0,5}"), 1..6),
    ) {
        let mut chars: Vec<char> = SEED.chars().collect();
        for (at, gone, new) in changes {
            let at = at.index(chars.len().max(1)).min(chars.len());
            let end = (at + gone).min(chars.len());
            chars.splice(at..end, new.chars());
        }
        check(&chars.into_iter().collect::<String>());
    }
}
