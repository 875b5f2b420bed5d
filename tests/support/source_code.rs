//! The Rust sources of this project, for tests that read them as text.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of every crate of this project: the program, what stands below it, and the lab.
pub(crate) fn crate_roots() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(top.join("crates")).expect("a readable directory");
    let mut roots: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    roots.sort();
    roots.extend([top.to_owned(), top.join("lab")]);
    roots
}

/// Every Rust file below a directory, sorted.
pub(crate) fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(directory, &mut files);
    files
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)
        .expect("cannot read the directory")
        .map(|entry| entry.expect("cannot read the directory entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The text with comments and literals replaced by spaces; line breaks are kept.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let blank = |out: &mut String, from: usize, to: usize| {
        // A literal ends a word, so it leaves at least one space.
        out.push(' ');
        out.extend(chars[from..to].iter().filter(|symbol| **symbol == '\n'));
    };
    while at < chars.len() {
        let end = literal_or_comment(&chars, at);
        if end > at {
            blank(&mut out, at, end);
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// The end of the comment or literal that begins at `at`, or `at` if none does.
fn literal_or_comment(chars: &[char], at: usize) -> usize {
    let starts =
        |offset: usize, text: &str| text.chars().enumerate().all(|(n, symbol)| chars.get(offset + n) == Some(&symbol));
    let len = chars.len();
    if starts(at, "//") {
        return (at..len).find(|n| chars[*n] == '\n').unwrap_or(len);
    }
    if starts(at, "/*") {
        let (mut depth, mut n) = (0, at);
        while n < len {
            if starts(n, "/*") {
                depth += 1;
                n += 2;
            } else if starts(n, "*/") {
                depth -= 1;
                n += 2;
                if depth == 0 {
                    return n;
                }
            } else {
                n += 1;
            }
        }
        return len;
    }
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if chars[at] == 'r' && (!in_word || chars[at - 1] == 'b') {
        let hashes = chars[at + 1..].iter().take_while(|symbol| **symbol == '#').count();
        if chars.get(at + 1 + hashes) == Some(&'"') {
            let close: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let body = at + 2 + hashes;
            return (body..len).find(|n| starts(*n, &close)).map_or(len, |n| n + 1 + hashes);
        }
    }
    if chars[at] == '"' {
        let mut n = at + 1;
        while n < len && chars[n] != '"' {
            n += if chars[n] == '\\' { 2 } else { 1 };
        }
        return (n + 1).min(len);
    }
    if chars[at] == '\'' {
        // 'a' and '\n' are literals; 'a without the closing quote is a lifetime.
        if chars.get(at + 1) == Some(&'\\') {
            return (at + 3..len).find(|n| chars[*n] == '\'').map_or(len, |n| n + 1);
        }
        if chars.get(at + 2) == Some(&'\'') {
            return at + 3;
        }
    }
    at
}
