//! The result of every reader: hosts, groups, and the omissions.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Maximum number of hosts, as in our own inventory.
pub(crate) const MAX_HOSTS: usize = 100_000;

/// Maximum number of omissions in the message of an error.
const MAX_EXPLAINED: usize = 10;

/// The content of another tool's inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportedFleet {
    /// Every host, in the order of the source.
    pub hosts: Vec<ImportedHost>,
    /// Every group with the names of its hosts, those of its subgroups included.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Where each group is first named.
    pub group_places: BTreeMap<String, SourcePlace>,
    /// The omissions, in the order of their discovery.
    pub omissions: Vec<Omission>,
}

/// A host, and how to connect to it. The values are as the source has them, and not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedHost {
    /// Its name.
    pub name: String,
    /// Where it is first named.
    pub place: SourcePlace,
    /// Host name or address to connect to, if it is not the name.
    pub address: Option<String>,
    /// TCP port, 1 to 65535.
    pub port: Option<u16>,
    /// User to log in as.
    pub user: Option<String>,
    /// Private key file.
    pub identity: Option<String>,
    /// Jump hosts in the syntax of ssh's `-J`.
    pub jump: Option<String>,
    /// Whether commands use sudo.
    pub sudo: Option<bool>,
}

impl ImportedHost {
    pub(crate) fn new(name: String, place: SourcePlace) -> Self {
        Self { name, place, address: None, port: None, user: None, identity: None, jump: None, sudo: None }
    }
}

/// A line of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourcePlace {
    /// The file, or the command.
    pub file: Arc<Path>,
    /// Its line, from 1; 0 for the source as a whole.
    pub line: usize,
}

impl SourcePlace {
    pub(crate) fn new(file: &Arc<Path>, line: usize) -> Self {
        Self { file: Arc::clone(file), line }
    }
}

impl fmt::Display for SourcePlace {
    /// `FILE:LINE`, or `FILE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 { write!(f, ":{}", self.line) } else { Ok(()) }
    }
}

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Omission {
    /// Where it is.
    pub place: SourcePlace,
    /// What it is, such as `ansible_password`; never the value of a secret.
    pub what: String,
    /// Why it is left out.
    pub why: String,
    /// Whether without it a host would be connected to elsewhere or in another way.
    pub changes_connection: bool,
}

impl fmt::Display for Omission {
    /// `FILE:LINE: WHAT: WHY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.what, self.why)
    }
}

/// The omissions found so far, each once: a variable of a group concerns all of its hosts.
#[derive(Debug, Default)]
pub(crate) struct OmissionList {
    known: HashSet<Omission>,
    pub(crate) list: Vec<Omission>,
}

impl OmissionList {
    /// Adds something that does not change the connection.
    pub(crate) fn note(&mut self, place: &SourcePlace, what: impl Into<String>, why: impl Into<String>) {
        self.add(place, what.into(), why.into(), false);
    }

    /// Adds something without which the connection is another.
    pub(crate) fn warn(&mut self, place: &SourcePlace, what: impl Into<String>, why: impl Into<String>) {
        self.add(place, what.into(), why.into(), true);
    }

    /// The message of a source without any host. The omissions are the reason.
    pub(crate) fn explain(&self, message: &str) -> String {
        let lines: Vec<String> = self.list.iter().take(MAX_EXPLAINED).map(ToString::to_string).collect();
        if lines.is_empty() { message.to_owned() } else { format!("{message}; left out: {}", lines.join("; ")) }
    }

    fn add(&mut self, place: &SourcePlace, what: String, why: String, changes_connection: bool) {
        let omission = Omission { place: place.clone(), what, why, changes_connection };
        if self.known.insert(omission.clone()) {
            self.list.push(omission);
        }
    }
}

impl From<Vec<Omission>> for OmissionList {
    fn from(list: Vec<Omission>) -> Self {
        Self { known: list.iter().cloned().collect(), list }
    }
}

/// Why a source cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportError {
    /// Where.
    pub place: SourcePlace,
    /// Why.
    pub message: String,
}

impl ImportError {
    pub(crate) fn new(place: SourcePlace, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for ImportError {}
