//! Reads known_hosts files, and decides about host keys as OpenSSH does.
//!
//! Here live [`KnownHosts`], the index of one file or several, [`HostEntries`], their lines about one host, and
//! [`KnownHostNames`], the hosts that they name. The file
//! uses the SSH library's key types and the pattern lists of `openssh_config`; `host_keys.rs` caches and writes.
//! Invariants: a revoked key is never known, keys are compared without their comments, a bad line is skipped alone and
//! remembered, and the size of a file is bounded. Start reading at [`HostEntries::check`].
//!
//! The decisions are those of OpenSSH 9.2 (`hostfile.c`, `sshconnect.c`, and tried against its `ssh` and
//! `ssh-keygen -F`): also that a host known only by keys of other types has changed, since it is the peer who
//! chooses which type it shows. There are two differences, both to the careful side:
//!
//! - A revocation of the bare name counts for `[name]:port` too; `ssh` warns and treats the key as unknown.
//! - A marker may be followed by a tab; `ssh` ignores such a line if it has a space further on (`check_markers`).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::iter;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use openssh_config::{MAX_PATTERN_LENGTH, PatternList};
use russh::keys::ssh_encoding::base64::{Base64, Encoding};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;

use crate::error::TransportError;
use ctl_local::file::{self, ReadBounds};

/// The port that names in known_hosts leave out.
const DEFAULT_PORT: u16 = 22;
/// A file larger than this, in bytes, is an error.
const MAX_FILE: u64 = 64 << 20;
/// A line longer than this, in bytes, is skipped.
const MAX_LINE: usize = 256 << 10;
/// A line with a longer name, in bytes, is skipped: OpenSSH matches nothing with it.
pub(super) const MAX_NAME: usize = MAX_PATTERN_LENGTH;
/// So many skipped lines are remembered; the others are only counted.
const MAX_SKIPPED: usize = 100;

/// The verdict about a key that a host shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KnownHostsVerdict {
    /// The key is known for this host.
    Known(KnownHostsLine),
    /// No key is known for this host.
    Unknown,
    /// Only other keys are known for this host: never to be accepted.
    Changed {
        /// The first of them; the first of the type shown, if there is one.
        place: KnownHostsLine,
        /// That key.
        known: PublicKey,
    },
    /// The key is marked `@revoked`.
    Revoked(KnownHostsLine),
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownHostsLine {
    /// The file.
    pub(super) file: Arc<Path>,
    /// Line there, from 1.
    pub(super) line: usize,
}

impl fmt::Display for KnownHostsLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why a known_hosts file could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum KnownHostsError {
    /// The file is there and cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than 64 MiB.
    #[error("{} is larger than {MAX_FILE} bytes", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
}

/// A line that is skipped, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SkippedLine {
    /// Where it stands.
    pub(super) place: KnownHostsLine,
    /// Its problem.
    pub(super) reason: SkipReason,
}

/// The problem of a skipped line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SkipReason {
    /// Neither `@cert-authority` nor `@revoked`, or more than one.
    #[error("bad marker")]
    Marker,
    /// Nothing after the names.
    #[error("no key")]
    NoKey,
    /// The key cannot be read, or is of a type that is not known.
    #[error("unreadable key")]
    BadKey,
    /// `|1|…` without salt and hash.
    #[error("bad hashed name")]
    BadHash,
    /// The line, or a name in it.
    #[error("too long")]
    TooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineMarker {
    Plain,
    CertAuthority,
    Revoked,
}

#[derive(Debug)]
struct ParsedLine {
    place: KnownHostsLine,
    marker: LineMarker,
    key: PublicKey,
}

#[derive(Clone)]
struct HashedName {
    line: usize,
    /// Keyed with the salt, so that a look-up costs half.
    mac: Hmac<Sha1>,
    hash: [u8; 20],
    /// The name, once it was looked up: a hash stands for one name, so no other need be compared with it.
    name: OnceLock<Box<str>>,
}

impl HashedName {
    fn is(&self, name: &str) -> bool {
        if let Some(known) = self.name.get() {
            return **known == *name;
        }
        let mut mac = self.mac.clone();
        mac.update(name.as_bytes());
        let is_same = mac.finalize().into_bytes().as_slice() == self.hash;
        if is_same {
            self.name.get_or_init(|| name.into());
        }
        is_same
    }
}

/// The hashed names of files. What a look-up finds is kept, since it costs an HMAC for each of them, and a run looks for
/// each host several times.
#[derive(Default)]
struct HashedNames {
    names: Vec<HashedName>,
    found: Mutex<HashMap<String, FoundLines>>,
}

/// The lines of a name among the first hashed ones.
#[derive(Clone, Default)]
struct FoundLines {
    lines: Vec<usize>,
    /// How many of the hashed names were compared.
    compared: usize,
}

impl HashedNames {
    /// The indices of the lines that have this name.
    fn lines(&self, name: &str) -> Vec<usize> {
        if self.names.is_empty() {
            return Vec::new();
        }
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let FoundLines { mut lines, compared } = known.unwrap_or_default();
        // Not locked meanwhile: other hosts are looked up at the same time.
        lines.extend(self.names.iter().skip(compared).filter(|hashed| hashed.is(name)).map(|hashed| hashed.line));
        let found = FoundLines { lines: lines.clone(), compared: self.names.len() };
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), found);
        lines
    }
}

impl Clone for HashedNames {
    fn clone(&self) -> Self {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { names: self.names.clone(), found: Mutex::new(found) }
    }
}

/// The keys of known_hosts files, indexed by host.
#[derive(Clone, Default)]
pub(super) struct KnownHosts {
    lines: Vec<Arc<ParsedLine>>,
    exact: HashMap<String, Vec<usize>>,
    hashed: HashedNames,
    patterns: Vec<(usize, PatternList)>,
    /// Lines of the last file read, so that one more has its number.
    last_line: usize,
    skipped: Vec<SkippedLine>,
    skipped_count: usize,
}

impl fmt::Debug for KnownHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownHosts")
            .field("lines", &self.lines.len())
            .field("skipped", &self.skipped_count)
            .finish_non_exhaustive()
    }
}

impl KnownHosts {
    /// Reads the files, the user's first. A file that is not there is empty.
    ///
    /// # Errors
    /// [`KnownHostsError::Read`] for a file that is there and cannot be read,
    /// [`KnownHostsError::TooLarge`] for one of more than 64 MiB.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, KnownHostsError> {
        let mut known = Self::default();
        for path in files {
            let bounds = ReadBounds { max_bytes: MAX_FILE, patience: file::PATIENCE, only_regular: false };
            match file::read(path, bounds) {
                Ok(content) => known.add_text(path, &String::from_utf8_lossy(&content.bytes)),
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Err(KnownHostsError::TooLarge { file: path.clone() });
                }
                // `ssh` treats a missing file as empty too: a new operator has none.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(KnownHostsError::Read { file: path.clone(), source }),
            }
        }
        Ok(known)
    }

    /// The lines that speak of this host. One look-up serves both [`HostEntries::check`] and
    /// [`HostEntries::algorithms`]; the first for a name costs one HMAC for each hashed name of the files whose own name no
    /// look-up has found yet (two for a port other than 22).
    #[must_use]
    pub(super) fn lookup(&self, host: &str, port: u16) -> HostEntries {
        let (name, host) = (written_name(host, port), host.to_ascii_lowercase());
        let lines = |name: &str| self.matching(name).iter().filter_map(|at| self.lines.get(*at).cloned()).collect();
        // For port 22 both names are the same, and its lines must not count twice.
        let bare = if name == host { Vec::new() } else { lines(&host) };
        HostEntries { named: lines(&name), bare }
    }

    /// Adds a line that the file, the last one read, has just got.
    pub(super) fn push(&mut self, file: Arc<Path>, text: &str) {
        self.last_line += 1;
        let place = KnownHostsLine { file, line: self.last_line };
        if let Err(reason) = self.add_line(&place, text) {
            self.skipped_count += 1;
            // The number of reports is bounded, since the file may be large and all of it bad.
            if self.skipped.len() < MAX_SKIPPED {
                self.skipped.push(SkippedLine { place, reason });
            }
        }
    }

    /// Indices of the lines whose names match, in their order.
    fn matching(&self, name: &str) -> Vec<usize> {
        let mut found: Vec<usize> = self.exact.get(name).cloned().unwrap_or_default();
        found.extend(self.hashed.lines(name));
        found.extend(self.patterns.iter().filter(|(_, list)| list.matches(iter::once(name))).map(|(line, _)| *line));
        // In the order of the files, because the first line that decides is the one that messages name; a line may
        // match twice.
        found.sort_unstable();
        found.dedup();
        found
    }

    fn add_text(&mut self, path: &Path, text: &str) {
        let file: Arc<Path> = Arc::from(path);
        self.last_line = 0;
        for line in text.lines() {
            self.push(Arc::clone(&file), line);
        }
    }

    fn add_line(&mut self, place: &KnownHostsLine, text: &str) -> Result<(), SkipReason> {
        // The carriage return is that of files written on Windows.
        let text = text.trim_matches([' ', '\t', '\r']);
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        if text.len() > MAX_LINE {
            return Err(SkipReason::TooLong);
        }
        let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        let (marker, names) = match first {
            "@cert-authority" => (LineMarker::CertAuthority, words.next()),
            "@revoked" => (LineMarker::Revoked, words.next()),
            other => (LineMarker::Plain, Some(other)),
        };
        let names = names.ok_or(SkipReason::NoKey)?;
        // A second marker, or one that is not known: its meaning could be the opposite.
        if names.starts_with('@') {
            return Err(SkipReason::Marker);
        }
        let key = match (words.next(), words.next()) {
            // A comment in the place of a key means that the key is missing.
            (Some(kind), Some(blob)) if !kind.starts_with('#') && !blob.starts_with('#') => read_key(kind, blob)?,
            _ => return Err(SkipReason::NoKey),
        };
        let line = self.lines.len();
        // Indexed before it is pushed: a line with a bad name leaves no entry.
        self.index(line, names)?;
        self.lines.push(Arc::new(ParsedLine { place: place.clone(), marker, key }));
        Ok(())
    }

    fn index(&mut self, line: usize, names: &str) -> Result<(), SkipReason> {
        if names.starts_with('|') {
            // A hashed name stands alone on its line.
            self.hashed.names.push(hashed_name(line, names)?);
            return Ok(());
        }
        if names.split(',').any(|name| name.len() > MAX_NAME) {
            return Err(SkipReason::TooLong);
        }
        // A negation makes the whole list a matter of patterns, even without wildcards.
        if names.split(',').any(|name| name.starts_with('!') || name.contains(['*', '?'])) {
            self.patterns.push((line, PatternList::lowercase(names)));
        } else {
            for name in names.split(',') {
                self.exact.entry(name.to_ascii_lowercase()).or_default().push(line);
            }
        }
        Ok(())
    }
}

/// The hosts that known_hosts files name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownHostNames {
    /// The names of each host: those on one line, and those with the same key that may well be of one host. Machines that
    /// were cloned have equal keys, so the key alone does not decide.
    pub hosts: Vec<Vec<KnownHostName>>,
    /// How many names are hashed, and so cannot be read.
    pub hashed: usize,
}

/// A name of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHostName {
    /// Host name or address, in small letters.
    pub host: String,
    /// The port, if it is not 22.
    pub port: Option<u16>,
}

/// Whether a name may be another one of a host with the same key: an address beside names, or a short name beside a full
/// one.
fn is_other_name(name: &KnownHostName, host: &[KnownHostName]) -> bool {
    let is_address = |name: &KnownHostName| name.host.parse::<IpAddr>().is_ok();
    let label = |name: &KnownHostName| name.host.split('.').next().map(str::to_owned);
    let mut names = host.iter().filter(|own| !is_address(own)).peekable();
    match (is_address(name), names.peek().is_some()) {
        (true, has_name) => has_name,
        (false, false) => true,
        (false, true) => names.any(|own| label(own) == label(name)),
    }
}

impl KnownHostNames {
    /// Reads the files. A file that is not there is empty.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`] for a file that cannot be read.
    pub fn read(files: &[PathBuf]) -> Result<Self, TransportError> {
        let known =
            KnownHosts::read(files).map_err(|error| TransportError::KnownHosts { reason: error.to_string() })?;
        Ok(Self::of(&known))
    }

    fn of(known: &KnownHosts) -> Self {
        let mut names: Vec<(&usize, &str)> = Vec::new();
        for (name, lines) in &known.exact {
            names.extend(lines.iter().map(|line| (line, name.as_str())));
        }
        // In the order of the files; within a line there is none.
        names.sort_unstable();
        let mut found = Self { hosts: Vec::new(), hashed: known.hashed.names.len() };
        let mut by_key: HashMap<&KeyData, Vec<usize>> = HashMap::new();
        let mut by_line: HashMap<usize, usize> = HashMap::new();
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for (number, name) in names {
            let Some(line) = known.lines.get(*number).filter(|line| line.marker == LineMarker::Plain) else { continue };
            // A host has a key of each type, and often a line for its address besides that for its name.
            let own = read_name(name);
            let with_key = by_key.entry(line.key.key_data()).or_default();
            let place = by_name.get(name).or_else(|| by_line.get(number)).copied();
            let place =
                place.or_else(|| with_key.iter().copied().find(|place| is_other_name(&own, &found.hosts[*place])));
            let place = place.unwrap_or_else(|| {
                found.hosts.push(Vec::new());
                found.hosts.len() - 1
            });
            with_key.push(place);
            by_line.insert(*number, place);
            if by_name.insert(name, place).is_none() {
                found.hosts[place].push(own);
            }
        }
        found
    }
}

/// `host` or `[host]:port`.
fn read_name(name: &str) -> KnownHostName {
    let parts = name.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:"));
    let parts = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match parts {
        Some((host, port)) => KnownHostName { host: host.to_owned(), port: Some(port) },
        None => KnownHostName { host: name.to_owned(), port: None },
    }
}

/// The lines of the known_hosts files that speak of one host.
#[derive(Debug, Default)]
pub(super) struct HostEntries {
    /// Lines for the name as known_hosts writes it, with its port.
    named: Vec<Arc<ParsedLine>>,
    /// Lines for the bare name, if the port is not 22.
    bare: Vec<Arc<ParsedLine>>,
}

impl HostEntries {
    /// Adds the lines of another file about the same host.
    pub(super) fn extend(&mut self, other: Self) {
        self.named.extend(other.named);
        self.bare.extend(other.bare);
    }

    /// The verdict about a key that this host shows (`sshconnect.c`, `check_host_key`).
    ///
    /// A revocation comes first. Where nothing is known for `[host]:port`, a key of the bare name counts if it is
    /// this one, and does not count if it is another.
    #[must_use]
    pub(super) fn check(&self, key: &KeyData) -> KnownHostsVerdict {
        // First, so that no other line can make a revoked key known.
        if let Some(place) = self.revoked(key) {
            return KnownHostsVerdict::Revoked(place);
        }
        let named = of(&self.named, LineMarker::Plain);
        // Any plain line for the name with its port makes the bare name irrelevant, as in check_host_key
        // (sshconnect.c).
        if let Some(first) = named.clone().next() {
            if let Some(line) = named.clone().find(|line| line.key.key_data() == key) {
                return KnownHostsVerdict::Known(line.place.clone());
            }
            let kind = key.algorithm();
            // Naming the line of the same type helps the most: it is the one that the operator has to replace.
            let line = named.clone().find(|line| line.key.key_data().algorithm() == kind).unwrap_or(first);
            return KnownHostsVerdict::Changed { place: line.place.clone(), known: line.key.clone() };
        }
        match of(&self.bare, LineMarker::Plain).find(|line| line.key.key_data() == key) {
            Some(line) => KnownHostsVerdict::Known(line.place.clone()),
            None => KnownHostsVerdict::Unknown,
        }
    }

    /// Signature algorithms of the plain, unrevoked keys known for this host, each once, in the order of the files;
    /// for RSA `rsa-sha2-512`, `rsa-sha2-256` and `ssh-rsa`. The caller keeps those that it allows at all.
    ///
    /// Keys of the bare name are not among them, as with `ssh` (`sshconnect2.c`, `order_hostkeyalgs`): a host on
    /// another port is not asked for the kinds of key of the one on port 22.
    #[must_use]
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let mut found: Vec<Algorithm> = Vec::new();
        // A revoked key must not be asked for: it would be refused, though the host may have another that is known.
        for line in of(&self.named, LineMarker::Plain).filter(|line| self.revoked(line.key.key_data()).is_none()) {
            let algorithm = line.key.key_data().algorithm();
            // One RSA key makes three kinds of signature, and the strongest is asked for first.
            let wanted = if matches!(algorithm, Algorithm::Rsa { .. }) {
                [Some(HashAlg::Sha512), Some(HashAlg::Sha256), None].map(|hash| Algorithm::Rsa { hash }).to_vec()
            } else {
                vec![algorithm]
            };
            for algorithm in wanted {
                if !found.contains(&algorithm) {
                    found.push(algorithm);
                }
            }
        }
        found
    }

    /// The `@cert-authority` line that has this key, for the name or else for the bare name. It never makes a plain
    /// key known.
    #[must_use]
    pub(super) fn authority(&self, key: &KeyData) -> Option<KnownHostsLine> {
        let mut lines = of(&self.named, LineMarker::CertAuthority).chain(of(&self.bare, LineMarker::CertAuthority));
        lines.find(|line| line.key.key_data() == key).map(|line| line.place.clone())
    }

    /// Whether an authority is known for the name with its port.
    #[must_use]
    pub(super) fn has_authority(&self) -> bool {
        of(&self.named, LineMarker::CertAuthority).next().is_some()
    }

    /// Whether neither a key nor an authority is known for this host.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.named.iter().chain(&self.bare).all(|line| line.marker == LineMarker::Revoked)
    }

    /// The `@revoked` line that has this key.
    #[must_use]
    pub(super) fn revoked(&self, key: &KeyData) -> Option<KnownHostsLine> {
        let mut lines = of(&self.named, LineMarker::Revoked).chain(of(&self.bare, LineMarker::Revoked));
        lines.find(|line| line.key.key_data() == key).map(|line| line.place.clone())
    }
}

fn of(lines: &[Arc<ParsedLine>], marker: LineMarker) -> impl Iterator<Item = &ParsedLine> + Clone {
    lines.iter().map(|line| &**line).filter(move |line| line.marker == marker)
}

/// A host as known_hosts writes it: in small letters, and with its port if that is not 22.
#[must_use]
pub(super) fn written_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    // Port 0 stands for none, as in put_host_port (misc.c).
    if port == DEFAULT_PORT || port == 0 { host } else { format!("[{host}]:{port}") }
}

/// The key of a line. A certificate is none: known_hosts has the key of its authority.
fn read_key(kind: &str, blob: &str) -> Result<PublicKey, SkipReason> {
    let key = PublicKey::from_openssh(&format!("{kind} {blob}")).map_err(|_| SkipReason::BadKey)?;
    if matches!(key.key_data(), KeyData::Other(_) | KeyData::Certificate(_)) {
        return Err(SkipReason::BadKey);
    }
    Ok(key)
}

fn hashed_name(line: usize, text: &str) -> Result<HashedName, SkipReason> {
    let (salt, hash) = text.strip_prefix("|1|").and_then(|rest| rest.split_once('|')).ok_or(SkipReason::BadHash)?;
    let salt = Base64::decode_vec(salt).map_err(|_| SkipReason::BadHash)?;
    let hash = Base64::decode_vec(hash).map_err(|_| SkipReason::BadHash)?;
    let hash: [u8; 20] = hash.try_into().map_err(|_| SkipReason::BadHash)?;
    // As in extract_salt (hostfile.c): the salt has the length of the hash.
    if salt.len() != hash.len() {
        return Err(SkipReason::BadHash);
    }
    let mac = Hmac::<Sha1>::new_from_slice(&salt).map_err(|_| SkipReason::BadHash)?;
    Ok(HashedName { line, mac, hash, name: OnceLock::new() })
}

/// A name as `HashKnownHosts` has it written. `salt` must be random.
pub(super) fn hash_name(name: &str, salt: &[u8; 20]) -> String {
    // An HMAC takes a key of any length; a name that could not be hashed is written plainly.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else {
        return name.to_owned();
    };
    mac.update(name.as_bytes());
    let hash = mac.finalize().into_bytes();
    format!("|1|{}|{}", Base64::encode_string(salt), Base64::encode_string(hash.as_slice()))
}

#[cfg(test)]
mod tests;
