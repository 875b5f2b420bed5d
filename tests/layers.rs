//! The dependencies between the modules of `src/`: fails if a module uses one that it may not use.
//!
//! Reads the sources as text without comments and literals, and looks at every `crate::…` path and every `super::…`
//! path that leaves its module, in test modules too. It does not see paths made by macros, nor re-exports. The allowed
//! dependencies are in [`MAY_USE`]; docs/architecture.md describes them.

#[path = "support/source_code.rs"]
mod source_code;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use self::source_code::{code_only, rust_files};

/// Every module, and its allowed dependencies. `local` and `event` are the leaf modules, open to every module but
/// each other. `run` must never see `sink`, and no module may use `cli`. The crates in `crates/` are open to every module
/// and not listed: the compiler guards that they use none of these.
const MAY_USE: &[(&str, &[&str])] = &[
    ("local", &[]),
    ("event", &[]),
    ("inventory", &["local", "event"]),
    ("select", &["inventory"]),
    ("overview", &["event"]),
    ("snapshot", &["overview", "local", "event"]),
    // Of `snapshot` only the type: a gate compares with one.
    ("plan", &["snapshot", "select", "inventory", "local", "event"]),
    ("transport", &["local", "event"]),
    ("remote", &["transport", "event"]),
    ("guard", &["remote", "transport", "event"]),
    // Of the inventory only the description of an instance: its addresses are data. Of the guard only the type of a rescue:
    // a backend knows the words that start a service.
    ("supervisor", &["guard", "remote", "transport", "inventory", "event"]),
    // Of `select` and `inventory` only its tests: a plan is made of their types.
    ("journal", &["plan", "select", "inventory", "local", "event"]),
    (
        "run",
        &["snapshot", "guard", "supervisor", "remote", "transport", "plan", "select", "inventory", "local", "event"],
    ),
    ("sink", &["snapshot", "overview", "event"]),
    // Of `sink` only what makes text safe, of `plan` the word for an action.
    ("top", &["sink", "overview", "plan", "event"]),
    (
        "cli",
        &[
            "top",
            "sink",
            "snapshot",
            "overview",
            "run",
            "journal",
            "guard",
            "remote",
            "transport",
            "plan",
            "select",
            "inventory",
            "local",
            "event",
        ],
    ),
];

/// One dependency that the list does not have.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    file: PathBuf,
    line: usize,
    from: String,
    to: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: `{}` may not use `{}`", self.file.display(), self.line, self.from, self.to)
    }
}

#[test]
fn no_module_uses_another_that_it_may_not() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&src);
    assert!(!files.is_empty(), "no sources below {}", src.display());
    let mut breaches = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a readable source file");
        let relative = file.strip_prefix(&src).expect("a file below src");
        breaches.extend(check(relative, &text));
    }
    let report: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    assert!(report.is_empty(), "dependencies that tests/layers.rs does not allow:\n{}", report.join("\n"));
}

/// Every breach in one file; `file` is relative to `src`.
fn check(file: &Path, text: &str) -> Vec<Breach> {
    let module = module_of(file);
    let breach =
        |line, from: &str, to: &str| Breach { file: file.to_owned(), line, from: from.to_owned(), to: to.to_owned() };
    let top = match module.first().map(String::as_str) {
        // The map: it names every module and holds no logic.
        Some("lib") if module.len() == 1 => return Vec::new(),
        // Sees the library as a user does.
        Some("main") if module.len() == 1 => "main",
        Some(top) => top,
        None => return Vec::new(),
    };
    let allowed = match MAY_USE.iter().find(|(name, _)| *name == top) {
        Some((_, allowed)) => *allowed,
        None if top == "main" => &["cli"],
        None => return vec![breach(1, top, "anything: it has no place in MAY_USE")],
    };
    used_modules(&code_only(text), &module)
        .into_iter()
        .filter(|(_, to)| to != top && !allowed.contains(&to.as_str()))
        .map(|(line, to)| breach(line, top, &to))
        .collect()
}

/// Every top-level module that the code names by a path from the crate's root, with the line.
fn used_modules(code: &str, module: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let bytes = code.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let word = word_at(code, at);
        if word.is_empty() {
            at += 1;
            continue;
        }
        let mut end = at + word.len();
        let line = code[..at].matches('\n').count() + 1;
        let from_root = match word {
            "crate" | "contrail_ctl" => after_colons(code, end),
            "super" => {
                let mut depth = 1;
                let mut next = after_colons(code, end);
                while let Some(start) = next.filter(|start| word_at(code, *start) == "super") {
                    depth += 1;
                    end = start + "super".len();
                    next = after_colons(code, end);
                }
                // A module inside the file adds a level that is not seen here, so `super` may seem to lead to the
                // root when it does not; what follows is then no module's name.
                next.filter(|_| depth >= module.len())
            }
            _ => None,
        };
        if let Some(start) = from_root {
            let known = |name: &&str| word != "super" || MAY_USE.iter().any(|(top, _)| top == name);
            found.extend(first_names(code, start).into_iter().filter(known).map(|name| (line, name.to_owned())));
        }
        at = end;
    }
    found
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

/// The first segment of the path at `start`, or of each path in the braces there.
fn first_names(code: &str, start: usize) -> Vec<&str> {
    if !code[start..].starts_with('{') {
        let word = word_at(code, start);
        return if word.is_empty() { Vec::new() } else { vec![word] };
    }
    let mut names = Vec::new();
    let mut depth = 0;
    let mut expecting = false;
    for (offset, symbol) in code[start..].char_indices() {
        match symbol {
            '{' => {
                depth += 1;
                expecting = depth == 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            ',' => expecting = depth == 1,
            _ if symbol.is_whitespace() => {}
            _ => {
                if expecting {
                    names.push(word_at(code, start + offset));
                    expecting = false;
                }
            }
        }
    }
    names
}

/// A file, its text, and the breaches that must be found in it: the line, and the module used there.
type Sample = (&'static str, &'static str, &'static [(usize, &'static str)]);

/// The checker itself.
#[test]
fn the_checker_sees_what_it_must() {
    let samples: &[Sample] = &[
        ("run/mod.rs", "use crate::sink::Table;", &[(1, "sink")]),
        ("run/mod.rs", "use crate::plan::Plan;\nuse crate::{event::Event, cli};", &[(2, "cli")]),
        ("run/gate.rs", "fn f() {\n    crate::sink::draw();\n}", &[(2, "sink")]),
        ("run/gate.rs", "use crate::{\n    plan::{Plan, sink},\n    sink::{self, Table},\n};", &[(1, "sink")]),
        ("run/gate.rs", "use super::super::sink::Table;", &[(1, "sink")]),
        ("run/gate.rs", "use super::sink_like;\nmod tests { use super::*; }", &[]),
        ("run/mod.rs", "use super::sink::Table;", &[(1, "sink")]),
        ("event/mod.rs", "use crate::local::file;", &[(1, "local")]),
        ("supervisor/rpc.rs", "use crate :: transport::Session;\nuse crate::supervisor::Action;", &[]),
        ("sink/table.rs", "use crate::event::Ledger;\n#[cfg(test)]\nmod tests { use crate::run::Run; }", &[(3, "run")]),
        (
            "plan/mod.rs",
            "// use crate::cli::Args;\n/* crate::cli /* nested */ crate::cli */ const A: &str = \"crate::cli\";",
            &[],
        ),
        (
            "plan/mod.rs",
            "const A: &str = r#\"\"crate::cli\"#; const B: char = '\"'; fn f<'a>() { crate::cli::g() }",
            &[(1, "cli")],
        ),
        ("plan/mod.rs", "use mycrate::cli; macro_rules! m { () => { $crate::run::x() } }", &[(1, "run")]),
        ("cli/args.rs", "use crate::{run, sink, plan, transport};", &[]),
        ("select.rs", "pub(crate) fn f() {}\nuse crate::plan::Plan;", &[(2, "plan")]),
        ("main.rs", "fn main() { contrail_ctl::cli::main() }", &[]),
        ("main.rs", "use contrail_ctl::run::Run;", &[(1, "run")]),
        ("lib.rs", "pub mod cli;", &[]),
        ("attic/mod.rs", "", &[(1, "anything: it has no place in MAY_USE")]),
    ];
    for (file, text, expected) in samples {
        let found = check(Path::new(file), text);
        let found: Vec<(usize, &str)> = found.iter().map(|breach| (breach.line, breach.to.as_str())).collect();
        assert_eq!(&found, expected, "{file}: {text}");
    }
}

/// The list allows nothing that no file needs.
#[test]
fn every_allowed_dependency_is_used() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut used: BTreeSet<(String, String)> = BTreeSet::new();
    for file in rust_files(&src) {
        let module = module_of(file.strip_prefix(&src).expect("a file below src"));
        let text = fs::read_to_string(&file).expect("a readable source file");
        if let Some(from) = module.first() {
            used.extend(used_modules(&code_only(&text), &module).into_iter().map(|(_, to)| (from.clone(), to)));
        }
    }
    for (module, allowed) in MAY_USE {
        for other in *allowed {
            assert!(used.contains(&((*module).to_owned(), (*other).to_owned())), "`{module}` does not need `{other}`");
        }
    }
}

/// The list itself has no circle.
#[test]
fn the_list_has_no_circle() {
    for (place, (top, allowed)) in MAY_USE.iter().enumerate() {
        for used in *allowed {
            let used_place = MAY_USE.iter().position(|(name, _)| name == used);
            assert!(
                used_place.is_some_and(|used_place| used_place < place),
                "`{top}` uses `{used}`, which stands after it"
            );
        }
    }
}

/// Modules within which files use each other in one direction only.
const WITHOUT_CIRCLE: &[&str] = &[
    "local",
    "event",
    "inventory",
    "overview",
    "snapshot",
    "plan",
    "transport",
    "remote",
    "guard",
    "supervisor",
    "journal",
    "run",
    "sink",
    "top",
    "cli",
];

#[test]
fn files_use_each_other_in_one_direction() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for module in WITHOUT_CIRCLE {
        let files = rust_files(&src.join(module));
        let sources: Vec<(Vec<String>, String)> = files
            .iter()
            .map(|file| {
                let text = fs::read_to_string(file).expect("a readable source file");
                (module_of(file.strip_prefix(&src).expect("a file below src")), text)
            })
            .collect();
        assert_eq!(circle(&sources), Vec::<String>::new(), "files that use each other in a circle");
    }
}

/// The module that a file is, as a path from the crate's root.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// Files that reach themselves over others, if there are any. Test modules inside a file do not count.
///
/// A file that only declares and re-exports stands for what it re-exports: it uses nothing itself.
fn circle(sources: &[(Vec<String>, String)]) -> Vec<String> {
    let place = |path: &[String]| {
        (1..=path.len()).rev().find_map(|end| sources.iter().position(|(module, _)| module == &path[..end]))
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
