//! The words before the cursor, as a shell passes them: with its quotes, and incomplete. Pure.

use std::ffi::OsString;
use std::path::PathBuf;

/// The inventory that the words name.
pub(super) fn inventory(words: &[OsString], home: Option<PathBuf>) -> Option<PathBuf> {
    // The last word is the one at the cursor, and not finished.
    let (_, words) = words.split_last()?;
    let mut words = words.iter().filter_map(|word| word.to_str()).take_while(|word| *word != "--");
    let mut found = None;
    while let Some(word) = words.next() {
        let value = match word {
            "-i" | "--inventory" => words.next(),
            _ => word.strip_prefix("--inventory=").or_else(|| word.strip_prefix("-i").filter(|rest| !rest.is_empty())),
        };
        found = value.or(found);
    }
    let path = unquoted(found?);
    Some(match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    })
}

/// A word without the shell's quotes; as it is if they are not closed.
fn unquoted(word: &str) -> String {
    match shlex::split(word).as_deref() {
        Some([word]) => word.clone(),
        Some(_) | None => word.to_owned(),
    }
}

/// The value at the cursor without a quote that the shell has not closed yet.
pub(super) fn without_open_quote(value: &str) -> &str {
    value.strip_prefix(['\'', '"']).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(line: &str) -> Option<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        inventory(&words, Some("/home/ops".into())).map(|path| path.display().to_string())
    }

    #[test]
    fn the_inventory_is_found_in_every_form() {
        for line in ["ctl status -i a.yaml -w ", "ctl -ia.yaml status ", "ctl --inventory=a.yaml ", "ctl -i 'a.yaml' x"]
        {
            assert_eq!(named(line).as_deref(), Some("a.yaml"), "{line}");
        }
        assert_eq!(named("ctl -i ~/a.yaml ").as_deref(), Some("/home/ops/a.yaml"));
        assert_eq!(named("ctl --inventory a.yaml -i b.yaml ").as_deref(), Some("b.yaml"), "the last one counts");
    }

    #[test]
    fn no_inventory_is_found_where_none_is_named() {
        assert_eq!(named("ctl status -w "), None);
        assert_eq!(named("ctl status -i a.y"), None, "this is the word at the cursor");
        assert_eq!(named("ctl exec -- grep -i a.yaml "), None, "this belongs to the command");
        assert_eq!(inventory(&[], None), None);
    }
}
