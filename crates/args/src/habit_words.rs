//! The words of a line of another tool: split, quoted, and put into the rows of `habits.rs`. Pure; `advice.rs` applies it.

use std::ffi::OsString;

use crate::habits::{KINDS, OPTIONS, OTHER_KINDS};
use crate::word_order::is_option;
use ctl_inventory::{built_in_role, roles_of_service};

/// Each text once, in the order in which they came.
pub(crate) fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    texts.fold(Vec::new(), |mut all, text| {
        if !all.contains(&text) {
            all.push(text);
        }
        all
    })
}

/// The line as a shell reads it.
pub(crate) fn shown(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        // Fewer quotes than shlex writes: `--dry-run=live` needs none.
        let is_plain = |symbol: char| symbol.is_ascii_alphanumeric() || "@%_+=:,./-".contains(symbol);
        if !word.is_empty() && word.chars().all(is_plain) {
            return word.clone();
        }
        // Only a NUL cannot be quoted, and no argument has one.
        shlex::try_quote(word).map_or_else(|_| word.clone(), |quoted| quoted.into_owned())
    });
    std::iter::once("ctl".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}

pub(crate) fn os_words(words: &[String]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// The words of a line of the table, with these words for its `{}`.
pub(crate) fn filled(line: &str, rest: &[String]) -> Vec<String> {
    words_of(line)
        .into_iter()
        .flat_map(|word| match word.as_str() {
            "{}" => rest.to_vec(),
            "{supervisorctl}" => own_supervisorctl(rest),
            "{role}" => {
                let role = rest.iter().find_map(|word| role_that_runs(word));
                role.into_iter().flat_map(|role| ["-r".to_owned(), role.to_owned()]).collect()
            }
            "{wait}" => rest.iter().map(|word| word.replacen("--timeout", "--wait-timeout", 1)).collect(),
            _ => vec![word],
        })
        .collect()
}

pub(crate) fn words_of(line: &str) -> Vec<String> {
    shlex::split(line).unwrap_or_default()
}

/// The role whose supervisord runs a service. The catalogue gives some services to more roles than run them.
pub(crate) fn role_that_runs(service: &str) -> Option<&'static str> {
    let group = service.split(':').next().unwrap_or(service);
    let roles = roles_of_service(service);
    let runs = |role: &&str| {
        let supervisors = built_in_role(role).map(|role| role.supervisors).unwrap_or_default();
        supervisors.iter().any(|own| own.name == group || own.services.iter().any(|name| name == group))
    };
    roles.iter().copied().find(runs).or_else(|| roles.first().copied())
}

/// What reaches the supervisorctl of the nodes, for the first service among the words.
fn own_supervisorctl(rest: &[String]) -> Vec<String> {
    let found = rest.iter().find_map(|word| Some((word.as_str(), role_that_runs(word)?)));
    let (service, role) = found.unwrap_or(("contrail-collector", "analytics"));
    let group = service.split(':').next().unwrap_or(service);
    let role = built_in_role(role);
    let supervisors = role.as_ref().map(|role| role.supervisors.as_slice()).unwrap_or_default();
    let supervisor = supervisors
        .iter()
        .find(|supervisor| supervisor.name == group || supervisor.services.iter().any(|name| name == group))
        .or_else(|| supervisors.first());
    let address = supervisor.and_then(|supervisor| supervisor.addresses.first()).map(ToString::to_string);
    let mut words: Vec<String> = role.iter().flat_map(|role| ["-r".to_owned(), role.name.clone()]).collect();
    words.extend(["--", "supervisorctl"].map(str::to_owned));
    words.extend(address.into_iter().flat_map(|address| ["-s".to_owned(), address]));
    words
}

/// Without kubectl's kind as a word of its own, as in `describe pod NAME`.
pub(crate) fn without_kind_word(mut rest: Vec<String>) -> Vec<String> {
    let is_kind = |word: &String| {
        OTHER_KINDS.contains(&word.as_str()) || KINDS.iter().any(|kind| kind.strip_suffix('/') == Some(word))
    };
    if let Some(at) = rest.iter().position(|word| !is_option(word.as_ref())).filter(|at| is_kind(&rest[*at])) {
        rest.remove(at);
    }
    rest
}

/// Ansible's host pattern as a node set.
pub(crate) fn node_pattern(pattern: &str) -> String {
    let parts = pattern.replace(":!", "!").replace(":&", "&").replace(':', ",");
    parts.split(',').map(|part| glob_of_regex(part).unwrap_or_else(|| part.to_owned())).collect::<Vec<_>>().join(",")
}

/// The glob that means the same as a regular expression of Ansible's (`~web.*`), which holds from the start of a name; none
/// for one that no glob can express.
fn glob_of_regex(pattern: &str) -> Option<String> {
    let regex = pattern.strip_prefix('~')?;
    let (regex, end) = match regex.strip_suffix('$') {
        Some(regex) => (regex, ""),
        None => (regex, "*"),
    };
    let glob = regex.trim_start_matches('^').replace(".*", "*").replace("\\.", "\0");
    // A single dot is any character, and the other signs are beyond globs.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_*\0".contains(c);
    let glob = glob.chars().all(is_plain).then(|| glob.replace('\0', "."))?;
    Some(format!("{}{end}", glob.trim_end_matches(if end.is_empty() { '\0' } else { '*' })))
}

/// `USER@NODE`, with the user split off if it is that of all nodes.
pub(crate) fn logins(pattern: &str) -> (String, Option<String>) {
    let parts: Vec<(&str, &str)> = pattern.split(',').filter_map(|part| part.split_once('@')).collect();
    let user = parts.first().map(|(user, _)| *user).filter(|user| !user.is_empty() && !user.contains(['!', '&', '[']));
    match user {
        Some(user) if parts.len() == pattern.split(',').count() && parts.iter().all(|(other, _)| *other == user) => {
            let nodes: Vec<&str> = parts.iter().map(|(_, node)| *node).collect();
            (nodes.join(","), Some(user.to_owned()))
        }
        _ => (pattern.to_owned(), None),
    }
}

/// What kubectl names first selects nodes: one of them, or those of a service.
pub(crate) fn place_of(name: &str) -> [String; 2] {
    match role_that_runs(name) {
        Some(role) => ["-r".to_owned(), role.to_owned()],
        None => ["-w".to_owned(), name.to_owned()],
    }
}

/// An option's name, and a value that is glued to it.
pub(crate) fn split_option(word: &str) -> (&str, Option<&str>) {
    if word.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())) {
        return ("-NUM", word.get(1..));
    }
    if word.starts_with("--") && !OPTIONS.iter().any(|habit| habit.typed.contains(&word)) {
        return word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    }
    // `-gNAME`, but `-it` is a word of its own.
    let is_whole = OPTIONS.iter().any(|habit| habit.typed.contains(&word));
    match word.char_indices().nth(2) {
        Some((end, _)) if word.starts_with('-') && !is_whole => (&word[..end], Some(&word[end..])),
        _ => (word, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_ansible_becomes_a_node_set() {
        for (typed, expected) in [
            ("web:&rack1:!w3", "web&rack1!w3"),
            ("~web", "web*"),
            ("~^web.*", "web*"),
            ("~web.*1$", "web*1"),
            ("~web\\.example\\.com$,db", "web.example.com,db"),
            // Beyond globs: the node set is refused with what there is instead.
            ("~(web|db).*", "~(web|db).*"),
            ("~web.", "~web."),
        ] {
            assert_eq!(node_pattern(typed), expected, "{typed}");
        }
    }
}
