//! The dependencies between crates and between files.
//!
//! The compiler holds the layers: each is a crate, and its manifest is the list of those it may use. Here is checked that no
//! manifest has more than its crate uses, that the layers which must never meet do not, and that the files of a crate use each
//! other in one direction only. Reads the sources as text without comments and literals; it does not see paths made by
//! macros. docs/architecture.md describes the layers.

#[path = "support/source_code.rs"]
mod source_code;

use std::fs;
use std::path::{Path, PathBuf};

use self::source_code::{code_only, crate_roots, rust_files};

/// Dependencies that a manifest must never have, with the reason.
const NEVER: &[(&str, &str, &str)] = &[
    ("run", "ctl-sink", "a run emits events, and knows nobody who shows them"),
    ("run", "ctl-journal", "events are recorded where they arrive, not where they happen"),
    ("sink", "ctl-run", "a sink shows the ledger, and decides nothing"),
    ("plan", "ctl-transport", "a plan is made without a node"),
    ("event", "ctl-local", "an event is data"),
];

/// The crates that a section of a manifest names.
fn dependencies(manifest: &str, section: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| line.trim() != format!("[{section}]")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let names = lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn manifest_of(root: &Path) -> String {
    fs::read_to_string(root.join("Cargo.toml")).expect("a readable manifest")
}

/// The code below some directories of a crate.
fn code_below(root: &Path, directories: &[&str]) -> String {
    let files = directories.iter().map(|directory| root.join(directory)).filter(|directory| directory.is_dir());
    let files: Vec<PathBuf> = files.flat_map(|directory| rust_files(&directory)).collect();
    files.iter().map(|file| code_only(&fs::read_to_string(file).expect("a readable source file"))).collect()
}

/// Whether the code names a crate.
fn names(code: &str, dependency: &str) -> bool {
    let name = dependency.replace('-', "_");
    code.match_indices(&name).any(|(at, _)| word_at(code, at) == name)
}

#[test]
fn no_manifest_has_more_than_its_crate_uses() {
    for root in crate_roots() {
        let (manifest, place) = (manifest_of(&root), root.display());
        let own = code_below(&root, &["src"]);
        for dependency in dependencies(&manifest, "dependencies") {
            assert!(names(&own, &dependency), "{place}: nothing in src uses `{dependency}`");
        }
        let with_tests = own + &code_below(&root, &["tests", "benches", "examples"]);
        for dependency in dependencies(&manifest, "dev-dependencies") {
            assert!(names(&with_tests, &dependency), "{place}: no test uses `{dependency}`");
        }
    }
}

#[test]
fn layers_that_must_not_meet_do_not() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    for (layer, other, reason) in NEVER {
        let manifest = manifest_of(&crates.join(layer));
        for section in ["dependencies", "dev-dependencies"] {
            let found = dependencies(&manifest, section);
            assert!(!found.iter().any(|name| name == other), "crates/{layer} must not use {other}: {reason}");
        }
    }
}

#[test]
fn a_manifest_is_read() {
    let manifest = "[package]\nname = \"a\"\n\n[dependencies]\n# why\nctl-b.workspace = true\nc = { version = \"1\" }\n\n\
                    [dev-dependencies]\nd = \"1\"\n";
    assert_eq!(dependencies(manifest, "dependencies"), ["ctl-b", "c"]);
    assert_eq!(dependencies(manifest, "dev-dependencies"), ["d"]);
    assert_eq!(dependencies(manifest, "features"), Vec::<String>::new());
    assert!(names("use ctl_b::C;", "ctl-b") && !names("use ctl_bc::C; let my_ctl_b = 1;", "ctl-b"));
}

#[test]
fn files_use_each_other_in_one_direction() {
    for root in crate_roots() {
        // The simulated cluster is one machine whose parts know each other.
        if root.ends_with("lab") {
            continue;
        }
        let src = root.join("src");
        let sources: Vec<(Vec<String>, String)> = (rust_files(&src).iter())
            .map(|file| {
                let text = fs::read_to_string(file).expect("a readable source file");
                (module_of(file.strip_prefix(&src).expect("a file below src")), text)
            })
            .collect();
        assert_eq!(circle(&sources), Vec::<String>::new(), "{}: files that use each other in a circle", src.display());
    }
}

/// The module that a file is, as a path from the crate's root.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

/// Files that reach themselves over others, if there are any. Test modules inside a file do not count.
///
/// A file that only declares and re-exports stands for what it re-exports: it uses nothing itself.
fn circle(sources: &[(Vec<String>, String)]) -> Vec<String> {
    let place = |path: &[String]| {
        (0..=path.len()).rev().find_map(|end| sources.iter().position(|(module, _)| module == &path[..end]))
    };
    let codes: Vec<String> = sources
        .iter()
        .map(|(_, text)| code_only(text).split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned())
        .collect();
    let own_paths: Vec<Vec<Vec<String>>> = (sources.iter().zip(&codes))
        .map(|((module, _), code)| paths_after(code, |word| (word == "self").then(|| module.clone())))
        .collect();
    let file_of = |mut path: Vec<String>| loop {
        let at = place(&path)?;
        let name = path.get(sources[at].0.len()).filter(|_| only_declares(&codes[at]));
        match name.and_then(|name| own_paths[at].iter().find(|own| own.last() == Some(name) && **own != path)) {
            Some(exported) => path.clone_from(exported),
            None => return Some(at),
        }
    };
    let uses: Vec<Vec<usize>> = (sources.iter().zip(&codes).zip(&own_paths).enumerate())
        .map(|(own, (((module, _), code), own_paths))| {
            let mut paths = used_paths(code, module);
            if only_declares(code) {
                paths.clear();
            } else {
                paths.extend_from_slice(own_paths);
            }
            paths.into_iter().filter_map(file_of).filter(|used| *used != own).collect()
        })
        .collect();
    let reaches_itself = |start: usize| {
        let (mut seen, mut next) = (vec![false; uses.len()], uses[start].clone());
        while let Some(at) = next.pop() {
            if !std::mem::replace(&mut seen[at], true) {
                next.extend(&uses[at]);
            }
        }
        seen[start]
    };
    (0..sources.len()).filter(|start| reaches_itself(*start)).map(|start| sources[start].0.join("::")).collect()
}

/// Whether the file declares modules and has no other item but re-exports of theirs.
fn only_declares(code: &str) -> bool {
    let items = ["const", "enum", "fn", "impl", "static", "struct", "trait", "type"];
    let mut words = code.split(|symbol: char| !symbol.is_alphanumeric() && symbol != '_');
    words.clone().any(|word| word == "mod") && !words.any(|word| items.contains(&word))
}

/// Every path in the code that starts at the crate's root or at a parent, from the root on.
fn used_paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    paths_after(code, |word| match word {
        "crate" => Some(Vec::new()),
        "super" => Some(module[..module.len().saturating_sub(1)].to_vec()),
        _ => None,
    })
}

/// Every path in the code that starts with a word for which `prefix_of` has a prefix, from the root on.
fn paths_after(code: &str, prefix_of: impl Fn(&str) -> Option<Vec<String>>) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let word = if code.is_char_boundary(at) { word_at(code, at) } else { "" };
        let is_visibility = code.get(..at).is_some_and(|before| before.trim_end().ends_with("(in"));
        let prefix = prefix_of(word).filter(|_| !is_visibility);
        if let (Some(prefix), Some(next)) = (prefix, after_colons(code, at + word.len())) {
            at = extend_path(code, next, prefix, &mut found);
        } else {
            at += word.len().max(1);
        }
    }
    found
}

/// Adds the path at `start`, or each of those in the braces there, behind `prefix`. Returns where it ends.
fn extend_path(code: &str, start: usize, mut prefix: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    if !code[start..].starts_with('{') {
        let word = word_at(code, start);
        match word {
            "super" => drop(prefix.pop()),
            "self" => {}
            _ => prefix.push(word.to_owned()),
        }
        let end = start + word.len();
        return match after_colons(code, end).filter(|_| !word.is_empty()) {
            Some(next) => extend_path(code, next, prefix, found),
            None => {
                found.push(prefix);
                end
            }
        };
    }
    let mut at = start + 1;
    while let Some(symbol) = code[at..].chars().next().filter(|symbol| *symbol != '}') {
        let is_path = symbol == '{' || symbol.is_alphanumeric() || symbol == '_';
        at = if is_path { extend_path(code, at, prefix.clone(), found) } else { at + symbol.len_utf8() };
    }
    at + 1
}

/// The search itself.
#[test]
fn a_circle_is_found() {
    let circle_of = |files: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(file, text)| (module_of(Path::new(file)), (*text).to_owned())).collect();
        circle(&files)
    };
    let line = [
        ("a/mod.rs", "mod b;\nmod c;\npub use self::b::B;"),
        (
            "a/b.rs",
            "use super::c::{D as E, self};\npub(in crate::a) struct B;\n#[cfg(test)]\nmod tests {\n use super::*; }",
        ),
        ("a/c.rs", "// use super::b::B;"),
    ];
    assert_eq!(circle_of(&line), Vec::<String>::new());
    let back = [line[0], line[1], ("a/c.rs", "use crate::{event::Event, a::{x::Y, b::B}};")];
    assert_eq!(circle_of(&back), ["a::b", "a::c"]);
    let parent = [("a/mod.rs", "use self::b::B; fn f(_: crate::a::b::B) {}"), ("a/b.rs", "fn f(_: super::A) {}")];
    assert_eq!(circle_of(&parent), ["a", "a::b"]);
    let parent = [("a/mod.rs", "pub use self::b::B; pub struct A;"), parent[1]];
    assert_eq!(circle_of(&parent), ["a", "a::b"]);
    let facade = [
        ("a/mod.rs", "mod b; mod c; pub use self::{b::B, c::C};"),
        ("a/b.rs", "use super::C;"),
        ("a/c.rs", "use crate::a::B;"),
    ];
    assert_eq!(circle_of(&facade), ["a::b", "a::c"]);
    let facade = [facade[0], facade[1], ("a/c.rs", "pub struct C;")];
    assert_eq!(circle_of(&facade), Vec::<String>::new());
}

/// The identifier that begins at `at`, empty if none does.
fn word_at(code: &str, at: usize) -> &str {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = code.as_bytes();
    if at > 0 && is_word(bytes[at - 1]) {
        return "";
    }
    let length = bytes[at.min(bytes.len())..].iter().take_while(|byte| is_word(**byte)).count();
    &code[at..at + length]
}

/// Where a path goes on after `::`, if it does.
fn after_colons(code: &str, at: usize) -> Option<usize> {
    let rest = code[at..].trim_start();
    let rest = rest.strip_prefix("::")?.trim_start();
    Some(code.len() - rest.len())
}
