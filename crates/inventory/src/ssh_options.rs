//! `ssh_options`: the algorithms for old nodes, in the syntax of ssh_config.
//!
//! Here live [`read`], which checks the five keywords and their values, and [`of_nodes`], which resolves their
//! precedence. It uses [`super::values`]. Invariants: an accepted value is a list of names that OpenSSH knows, with an
//! optional `+`, `-` or `^`: the names are those of the ssh_config reader, which computes the effective list and so never
//! rejects one of them. Start reading at [`read`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use openssh_config::AlgorithmKind;

use super::model::{OptionOrigin, SshKeyword, SshOption};
use super::problem::{Diagnostic, nearest, quoted};
use super::raw::RawValue;
use super::values::{self, FieldEntry, ValueReader};

/// Maximum length of a value in bytes: all names of OpenSSH together are shorter.
const MAX_VALUE: usize = 4096;

/// Keywords of ssh_config with a key of their own in the inventory.
const OWN_KEYS: [(&str, &str); 6] = [
    ("hostname", "address"),
    ("port", "port"),
    ("user", "user"),
    ("identityfile", "identity"),
    ("proxyjump", "jump"),
    ("connecttimeout", "connect_timeout"),
];

/// One option of a mapping in the file.
#[derive(Debug, Clone)]
pub(super) struct GivenOption {
    keyword: SshKeyword,
    value: Arc<str>,
    /// The place of the value.
    place: Range<usize>,
}

/// Reads the mapping under `ssh_options`.
pub(super) fn read(reader: &mut ValueReader<'_>, field: FieldEntry<'_>) -> Vec<GivenOption> {
    let mut given: Vec<GivenOption> = Vec::new();
    let mut keys: Vec<&RawValue> = Vec::new();
    for option in values::pairs(reader, field.key, field.value, "keyword").unwrap_or_default() {
        // Keywords of ssh_config ignore case.
        let Some(keyword) = SshKeyword::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(option.name))
        else {
            unknown(reader, option);
            continue;
        };
        let before = given.iter().zip(&keys).find(|(known, _)| known.keyword == keyword);
        if let Some((_, before)) = before {
            let fault = Diagnostic::new(option.key.span.clone(), format!("the keyword `{keyword}` is defined twice"))
                .label("defined again here")
                .related(before.span.clone(), "first defined here");
            reader.fault(fault);
            continue;
        }
        if let Some(value) = list(reader, keyword, option) {
            given.push(GivenOption { keyword, value: value.into(), place: option.value.place() });
            keys.push(option.key);
        }
    }
    given
}

/// Reports an unknown keyword, with the key to use instead.
fn unknown(reader: &mut ValueReader<'_>, option: FieldEntry<'_>) {
    let names = SshKeyword::ALL.map(SshKeyword::name);
    let own = OWN_KEYS.iter().find(|(theirs, _)| option.name.eq_ignore_ascii_case(theirs));
    let help = match own {
        Some((_, ours)) => format!("the inventory has a separate key for it, outside `ssh_options`: `{ours}`"),
        // Its name before OpenSSH 8.5.
        None if option.name.eq_ignore_ascii_case("PubkeyAcceptedKeyTypes") => {
            "did you mean PubkeyAcceptedAlgorithms?".to_owned()
        }
        None => match nearest(option.name, names) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("it supports {}; set anything else in ssh_config", names.join(", ")),
        },
    };
    let message = format!("unknown keyword {} in `ssh_options`", quoted(option.name));
    reader.fault(Diagnostic::new(option.key.span.clone(), message).label("unknown keyword").help(help));
}

/// The value of a keyword, trimmed.
fn list<'r>(reader: &mut ValueReader<'_>, keyword: SshKeyword, option: FieldEntry<'r>) -> Option<&'r str> {
    const EXPECTED: &str = "names of algorithms separated by commas, such as \"+ssh-rsa\"";
    let whole = values::text(reader, option, EXPECTED)?;
    let said = whole.trim();
    let start = whole.len() - whole.trim_start().len();
    if said.len() > MAX_VALUE {
        let message = format!("`{keyword}` is longer than {MAX_VALUE} bytes");
        reader.fault(Diagnostic::new(option.value.place(), message));
        return None;
    }
    let known = match keyword {
        SshKeyword::HostKeyAlgorithms | SshKeyword::PubkeyAcceptedAlgorithms => AlgorithmKind::Keys,
        SshKeyword::KexAlgorithms => AlgorithmKind::Kex,
        SshKeyword::Ciphers => AlgorithmKind::Ciphers,
        SshKeyword::Macs => AlgorithmKind::Macs,
    };
    let known = known.names();
    let names = said.strip_prefix(['+', '-', '^']).unwrap_or(said);
    let takes_away = said.starts_with('-');
    let mut at = start + (said.len() - names.len());
    let mut is_right = true;
    for name in names.split(',') {
        let place = option.value.part(at..at + name.len());
        at += name.len() + 1;
        let (message, help) = if known.contains(&name) {
            continue;
        } else if name.is_empty() {
            (format!("`{keyword}` contains an empty name: {}", quoted(said)), None)
        } else if name.contains(char::is_whitespace) {
            (
                format!("`{keyword}` contains a space: {}", quoted(said)),
                Some("separate the names with commas only".to_owned()),
            )
        } else if name.contains(['*', '?']) {
            // As in ssh_config(5): only a list that removes algorithms may have wildcards.
            if takes_away {
                continue;
            }
            let help = "wildcards can only remove names: `-NAME*`".to_owned();
            (format!("{} matches several names", quoted(name)), Some(help))
        } else if name.starts_with(['+', '-', '^']) {
            let help = "put `+`, `-` or `^` once, before the whole list".to_owned();
            (format!("`{keyword}` has a prefix inside its list: {}", quoted(name)), Some(help))
        } else {
            let near = if reader.report.affords(known.len()) { nearest(name, known.iter().copied()) } else { None };
            let help = near.map_or_else(
                || "`ssh -Q` lists the names that OpenSSH knows".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            (format!("`{keyword}` has no algorithm {}", quoted(name)), Some(help))
        };
        let place = if place.is_empty() { option.value.place() } else { place };
        reader.fault(Diagnostic::new(place, message).help_if(help));
        is_right = false;
    }
    is_right.then_some(said)
}

/// The options of an entry's nodes, by keyword: its own value wins, then that of its roles, then that of `defaults`.
/// `key` is the entry's. Roles that contradict each other are a fault unless the entry itself decides.
pub(super) fn of_nodes(
    reader: &mut ValueReader<'_>,
    key: &RawValue,
    own: &[GivenOption],
    roles: &[String],
    of_roles: &BTreeMap<String, Vec<GivenOption>>,
    defaults: &[GivenOption],
) -> Vec<SshOption> {
    fn find(given: &[GivenOption], keyword: SshKeyword) -> Option<&GivenOption> {
        given.iter().find(|given| given.keyword == keyword)
    }
    let mut options = Vec::new();
    for keyword in SshKeyword::ALL {
        let mut said =
            roles.iter().filter_map(|role| find(of_roles.get(role)?, keyword).map(|given| (role.as_str(), given)));
        let (given, origin) = if let Some(given) = find(own, keyword) {
            (given, OptionOrigin::Node)
        } else if let Some((role, given)) = said.next() {
            // The order of the roles means nothing, so a contradiction has no winner.
            if let Some((other, against)) = said.find(|(_, other)| other.value != given.value) {
                let message = format!(
                    "the roles {} and {} of {} have different values for `{keyword}`",
                    quoted(role),
                    quoted(other),
                    quoted(key.as_text().unwrap_or_default()),
                );
                let fault = Diagnostic::new(against.place.clone(), message)
                    .label(format!("of the role {other}"))
                    .related(given.place.clone(), format!("of the role {role}"))
                    .help(format!("set it for the node: `ssh_options: {{{keyword}: …}}`"));
                reader.fault(fault);
            }
            (given, OptionOrigin::Role(role.into()))
        } else if let Some(given) = find(defaults, keyword) {
            (given, OptionOrigin::Defaults)
        } else {
            continue;
        };
        options.push(SshOption { keyword, value: Arc::clone(&given.value), origin });
    }
    options
}
