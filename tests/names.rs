//! The names of the types: none is declared twice in the program and its layers, so that a search for one finds the one.
//!
//! Reads the sources of every crate as text. `Error` and `Kind` may stand in several modules, where the module says whose
//! they are; types inside functions and in test modules count as well, since a reader searches these too.

#[path = "support/source_code.rs"]
mod source_code;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::source_code::{code_only, crate_roots, rust_files};

/// Names that several modules may give to a type of their own.
const MAY_STAND_TWICE: [&str; 2] = ["Error", "Kind"];

/// Crates that share no name with the program.
const STAND_ALONE: [&str; 3] = ["crates/nodeset", "crates/openssh-config", "lab"];

/// The names of the types that `code` declares, without associated types.
fn declared(code: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for line in code.lines() {
        let item = line.trim_start();
        let is_nested = item.len() < line.len();
        let item = match item.strip_prefix("pub") {
            Some(rest) => rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest),
            None => item,
        };
        let mut words = item.split_whitespace();
        let is_type = match words.next() {
            Some("struct" | "enum" | "trait" | "union") => true,
            // A nested one belongs to a trait or its implementation.
            Some("type") => !is_nested,
            _ => false,
        };
        // In a macro the name stands for one that a use of it gives.
        if is_type
            && let Some(name) = words.next()
            && !name.starts_with('$')
        {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            names.push(&name[..end]);
        }
    }
    names
}

#[test]
fn no_type_name_stands_twice() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The program and its layers are read as one; the lab and the two crates that know nothing of it stand alone.
    let (apart, layers): (Vec<PathBuf>, Vec<PathBuf>) =
        crate_roots().into_iter().partition(|path| STAND_ALONE.iter().any(|name| path.ends_with(name)));
    let groups = apart.into_iter().map(|path| vec![path]).chain([layers]);
    for sources in groups {
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in sources.iter().flat_map(|path| rust_files(&path.join("src"))) {
            let text = std::fs::read_to_string(&file).expect("a readable source file");
            for name in declared(&code_only(&text)) {
                let place = file.strip_prefix(root).expect("a file below the root").display().to_string();
                places.entry(name.to_owned()).or_default().push(place);
            }
        }
        assert!(places.len() > 20, "hardly any types in {sources:?}");
        let twice: Vec<String> = places
            .iter()
            .filter(|(name, places)| places.len() > 1 && !MAY_STAND_TWICE.contains(&name.as_str()))
            .map(|(name, places)| format!("{name}: {}", places.join(", ")))
            .collect();
        assert!(twice.is_empty(), "give these types names of their own:\n{}", twice.join("\n"));
    }
}

#[test]
fn declarations_are_found() {
    let code = "pub(super) struct One;\npub enum Two<'a> {}\n    pub(in crate::x) trait Three: Sized {}\n\
                impl A for B {\n    type Output = u8;\n}\ntype Four<T> = Vec<T>;\nunion Five { a: u8 }\nlet structure = 1;";
    assert_eq!(declared(code), ["One", "Two", "Three", "Four", "Five"]);
}
