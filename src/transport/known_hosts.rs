//! Reads known_hosts files, and decides about host keys as OpenSSH does.
//!
//! Here live [`KnownHosts`], the index of one file or several, and [`HostEntries`], what they say of one host. The file
//! uses the SSH library's key types and nothing of ours; `host_keys.rs` keeps what was read, and writes. What always
//! holds: a revoked key is never known, a key is compared by what it is and not by its comment, a bad line is skipped
//! alone and remembered, and what is read is bounded. Start reading at [`HostEntries::check`].
//!
//! The decisions are those of OpenSSH 9.2 (`hostfile.c`, `sshconnect.c`, and tried against its `ssh` and
//! `ssh-keygen -F`): also that a host known only by keys of other types has changed, since it is the peer who
//! chooses which type it shows. There are two differences, both to the careful side:
//!
//! - A revocation of the bare name counts for `[name]:port` too; `ssh` warns and goes on.
//! - A marker may be followed by a tab; `ssh` ignores such a line.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_encoding::base64::{Base64, Encoding};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;

use crate::local::file::{self, ReadBounds};

/// The port that names in known_hosts leave out.
const DEFAULT_PORT: u16 = 22;
/// A file larger than this, in bytes, is an error.
const MAX_FILE: u64 = 64 << 20;
/// A line longer than this, in bytes, is skipped.
const MAX_LINE: usize = 256 << 10;
/// OpenSSH matches nothing with a list that holds a longer name (`match.c`, `match_pattern_list`).
pub(super) const MAX_NAME: usize = 1022;
/// So many skipped lines are remembered; the others are only counted.
const MAX_SKIPPED: usize = 100;

/// What is known of a key that a host shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownHostsVerdict {
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
pub struct KnownHostsLine {
    /// The file.
    pub file: Arc<Path>,
    /// Line there, from 1.
    pub line: usize,
}

impl fmt::Display for KnownHostsLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why a known_hosts file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
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

/// A line that says nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedLine {
    /// Where it stands.
    pub place: KnownHostsLine,
    /// What is wrong with it.
    pub reason: SkipReason,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
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
}

#[derive(Clone)]
struct KnownHostPattern {
    negated: bool,
    text: String,
}

/// The keys of known_hosts files, indexed by host.
#[derive(Clone, Default)]
pub struct KnownHosts {
    lines: Vec<Arc<ParsedLine>>,
    exact: HashMap<String, Vec<usize>>,
    hashed: Vec<HashedName>,
    patterns: Vec<(usize, Vec<KnownHostPattern>)>,
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
    pub fn read(files: &[PathBuf]) -> Result<Self, KnownHostsError> {
        let mut known = Self::default();
        for path in files {
            let bounds = ReadBounds { max_bytes: MAX_FILE, patience: file::PATIENCE, only_regular: false };
            match file::read(path, bounds) {
                Ok(content) => known.add_text(path, &String::from_utf8_lossy(&content.bytes)),
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Err(KnownHostsError::TooLarge { file: path.clone() });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(KnownHostsError::Read { file: path.clone(), source }),
            }
        }
        Ok(known)
    }

    /// The same for texts: each with the name of its file.
    #[must_use]
    pub fn parse(texts: &[(PathBuf, String)]) -> Self {
        let mut known = Self::default();
        for (path, text) in texts {
            known.add_text(path, text);
        }
        known
    }

    /// What is known of `key`, shown by `host` at `port`.
    ///
    /// `host` is the name as asked for; for a `HostKeyAlias` it is the alias, and `port` is 22.
    #[must_use]
    pub fn check(&self, host: &str, port: u16, key: &PublicKey) -> KnownHostsVerdict {
        self.lookup(host, port).check(key.key_data())
    }

    /// The signature algorithms of the keys known for this host, to be put first among those that the client asks
    /// for. See [`HostEntries::algorithms`].
    #[must_use]
    pub fn algorithms_for(&self, host: &str, port: u16) -> Vec<Algorithm> {
        self.lookup(host, port).algorithms()
    }

    /// The lines that speak of this host. One look-up serves both [`HostEntries::check`] and
    /// [`HostEntries::algorithms`]; it costs one HMAC for each hashed name of the files (two for a port other than 22).
    #[must_use]
    pub fn lookup(&self, host: &str, port: u16) -> HostEntries {
        let (name, host) = (written_name(host, port), host.to_ascii_lowercase());
        let lines = |name: &str| self.matching(name).iter().filter_map(|at| self.lines.get(*at).cloned()).collect();
        let bare = if name == host { Vec::new() } else { lines(&host) };
        HostEntries { named: lines(&name), bare }
    }

    /// Adds a line that the file, the last one read, has just got.
    pub(super) fn push(&mut self, file: Arc<Path>, text: &str) {
        self.last_line += 1;
        let place = KnownHostsLine { file, line: self.last_line };
        if let Err(reason) = self.add_line(&place, text) {
            self.skipped_count += 1;
            if self.skipped.len() < MAX_SKIPPED {
                self.skipped.push(SkippedLine { place, reason });
            }
        }
    }

    /// Lines that were skipped, the first hundred of them.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedLine] {
        &self.skipped
    }

    /// How many lines were skipped.
    #[must_use]
    pub fn skipped_count(&self) -> usize {
        self.skipped_count
    }

    /// Indices of the lines whose names match, in their order.
    fn matching(&self, name: &str) -> Vec<usize> {
        let mut found: Vec<usize> = self.exact.get(name).cloned().unwrap_or_default();
        for hashed in &self.hashed {
            let mut mac = hashed.mac.clone();
            mac.update(name.as_bytes());
            if mac.finalize().into_bytes().as_slice() == hashed.hash {
                found.push(hashed.line);
            }
        }
        found.extend(self.patterns.iter().filter(|(_, list)| list_matches(list, name)).map(|(line, _)| *line));
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
        if names.starts_with('@') {
            return Err(SkipReason::Marker);
        }
        let key = match (words.next(), words.next()) {
            (Some(kind), Some(blob)) if !kind.starts_with('#') && !blob.starts_with('#') => read_key(kind, blob)?,
            _ => return Err(SkipReason::NoKey),
        };
        let line = self.lines.len();
        self.index(line, names)?;
        self.lines.push(Arc::new(ParsedLine { place: place.clone(), marker, key }));
        Ok(())
    }

    fn index(&mut self, line: usize, names: &str) -> Result<(), SkipReason> {
        if names.starts_with('|') {
            self.hashed.push(hashed_name(line, names)?);
            return Ok(());
        }
        let names: Vec<String> = names.split(',').map(str::to_ascii_lowercase).collect();
        if names.iter().any(|name| name.len() > MAX_NAME) {
            return Err(SkipReason::TooLong);
        }
        if names.iter().any(|name| name.starts_with('!') || name.contains(['*', '?'])) {
            let list = names
                .iter()
                .map(|name| match name.strip_prefix('!') {
                    Some(rest) => KnownHostPattern { negated: true, text: rest.to_owned() },
                    None => KnownHostPattern { negated: false, text: name.clone() },
                })
                .collect();
            self.patterns.push((line, list));
        } else {
            for name in names {
                self.exact.entry(name).or_default().push(line);
            }
        }
        Ok(())
    }
}

/// The lines of the known_hosts files that speak of one host.
#[derive(Debug, Default)]
pub struct HostEntries {
    /// Lines for the name as known_hosts writes it, with its port.
    named: Vec<Arc<ParsedLine>>,
    /// Lines for the bare name, if the port is not 22.
    bare: Vec<Arc<ParsedLine>>,
}

impl HostEntries {
    /// Puts what other files say of the same host behind it.
    pub(super) fn extend(&mut self, other: Self) {
        self.named.extend(other.named);
        self.bare.extend(other.bare);
    }

    /// What is known of a key that this host shows (`sshconnect.c`, `check_host_key`).
    ///
    /// A revocation comes first. Where nothing is known for `[host]:port`, a key of the bare name counts if it is
    /// this one, and does not count if it is another.
    #[must_use]
    pub fn check(&self, key: &KeyData) -> KnownHostsVerdict {
        if let Some(place) = self.revoked(key) {
            return KnownHostsVerdict::Revoked(place);
        }
        let named = of(&self.named, LineMarker::Plain);
        if let Some(first) = named.clone().next() {
            if let Some(line) = named.clone().find(|line| line.key.key_data() == key) {
                return KnownHostsVerdict::Known(line.place.clone());
            }
            let kind = key.algorithm();
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
    /// Keys of the bare name are not among them, as with `ssh` (`sshconnect2.c`, `order_hostkeyalgs`): what a host on
    /// another port shows is not made to fit what is known of the one on port 22.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let mut found: Vec<Algorithm> = Vec::new();
        for line in of(&self.named, LineMarker::Plain).filter(|line| self.revoked(line.key.key_data()).is_none()) {
            let algorithm = line.key.key_data().algorithm();
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
    pub fn authority(&self, key: &KeyData) -> Option<KnownHostsLine> {
        let mut lines = of(&self.named, LineMarker::CertAuthority).chain(of(&self.bare, LineMarker::CertAuthority));
        lines.find(|line| line.key.key_data() == key).map(|line| line.place.clone())
    }

    /// Whether an authority is known for the name with its port.
    #[must_use]
    pub fn has_authority(&self) -> bool {
        of(&self.named, LineMarker::CertAuthority).next().is_some()
    }

    /// Whether neither a key nor an authority is known for this host.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.iter().chain(&self.bare).all(|line| line.marker == LineMarker::Revoked)
    }

    /// The `@revoked` line that has this key.
    #[must_use]
    pub fn revoked(&self, key: &KeyData) -> Option<KnownHostsLine> {
        let mut lines = of(&self.named, LineMarker::Revoked).chain(of(&self.bare, LineMarker::Revoked));
        lines.find(|line| line.key.key_data() == key).map(|line| line.place.clone())
    }
}

fn of(lines: &[Arc<ParsedLine>], marker: LineMarker) -> impl Iterator<Item = &ParsedLine> + Clone {
    lines.iter().map(|line| &**line).filter(move |line| line.marker == marker)
}

/// A host as known_hosts writes it: in small letters, and with its port if that is not 22.
#[must_use]
pub fn written_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
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
    if salt.len() != hash.len() {
        return Err(SkipReason::BadHash);
    }
    let mac = Hmac::<Sha1>::new_from_slice(&salt).map_err(|_| SkipReason::BadHash)?;
    Ok(HashedName { line, mac, hash })
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

/// A negated pattern that matches ends it; else one that matches is enough (`match.c`, `match_pattern_list`).
fn list_matches(list: &[KnownHostPattern], name: &str) -> bool {
    let mut positive = false;
    for pattern in list {
        if wildcard(&pattern.text, name) {
            if pattern.negated {
                return false;
            }
            positive = true;
        }
    }
    positive
}

/// Whether `text` matches a pattern in which `*` stands for any text and `?` for any one byte
/// (`match.c`, `match_pattern`). Never takes longer than the product of both lengths.
pub(super) fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    p = at + 1;
                    t = taken + 1;
                    star = Some((at, t));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    const ED1: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const ED2: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";
    const EC1: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBzwndddBb5W29J7wAm/WJsuyKVFBWxaS64MVaRPUETUNK3b/WR8G0A1f89a7YYrvOH0zkvKI/59FTqk/GOr0nY=";
    const RSA1: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDgZliIi6ON5anSUI4ntlZ+klkVrWctgADsm/96hTGam35IeEZQIkCNVaRYX2pB5r0WxxGCvjTsRKZFPmUOSzwwiq3BanFWKQFhrbnt0onug6wjVnVnSSeyRERffhcNY07OYxRV7s5AHQsl9ZA6EV25/3H1IRYhcBhaEzJeetMOIw==";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).expect("test key")
    }

    fn known(text: &str) -> KnownHosts {
        KnownHosts::parse(&[(PathBuf::from("kh"), text.to_owned())])
    }

    /// The verdict as one word and a line.
    fn said(verdict: &KnownHostsVerdict) -> String {
        match verdict {
            KnownHostsVerdict::Known(place) => format!("known {}", place.line),
            KnownHostsVerdict::Unknown => "unknown".to_owned(),
            KnownHostsVerdict::Changed { place, .. } => format!("changed {}", place.line),
            KnownHostsVerdict::Revoked(place) => format!("revoked {}", place.line),
        }
    }

    #[test]
    fn decisions() {
        let cases: &[(&str, &str, u16, &str, &str)] = &[
            ("n1 ED1", "n1", 22, ED1, "known 1"),
            ("n1 ED1 some comment # x", "n1", 22, ED1, "known 1"),
            ("# c\n\n  n1 ED1", "n1", 22, ED1, "known 3"),
            ("n1\tED1", "n1", 22, ED1, "known 1"),
            ("n1  \t ED1\r", "n1", 22, ED1, "known 1"),
            ("n1 ED1", "N1", 22, ED1, "known 1"),
            ("N1.DC ED1", "n1.dc", 22, ED1, "known 1"),
            ("n1,10.0.0.1 ED1", "10.0.0.1", 22, ED1, "known 1"),
            ("n1 ED1", "n2", 22, ED1, "unknown"),
            ("n1 ED2", "n1", 22, ED1, "changed 1"),
            ("n1 ED2\nn1 ED1", "n1", 22, ED1, "known 2"),
            ("n1 EC1", "n1", 22, ED1, "changed 1"),
            ("n1 EC1\nn1 ED2", "n1", 22, ED1, "changed 2"),
            ("*.dc1 ED1", "a.dc1", 22, ED1, "known 1"),
            ("*.dc1 ED1", "a.dc2", 22, ED1, "unknown"),
            ("n? ED1", "n7", 22, ED1, "known 1"),
            ("n*,!n1 ED1", "n1", 22, ED1, "unknown"),
            ("!n1,n* ED1", "n1", 22, ED1, "unknown"),
            ("n*,!n1 ED1", "n2", 22, ED1, "known 1"),
            ("n*,!n1 ED1\nn1 ED1", "n1", 22, ED1, "known 2"),
            ("@revoked * ED1\nn1 ED1", "n1", 22, ED1, "revoked 1"),
            ("n1 ED1\n@revoked n1 ED1", "n1", 22, ED1, "revoked 2"),
            ("@revoked\tn1\tED1\nn1 ED1", "n1", 22, ED1, "revoked 1"),
            ("@revoked n2 ED1\nn1 ED1", "n1", 22, ED1, "known 2"),
            ("@revoked * ED2\nn1 ED1", "n1", 22, ED1, "known 2"),
            ("@cert-authority * ED1", "n1", 22, ED1, "unknown"),
            ("@cert-authority * ED2\nn1 ED1", "n1", 22, ED1, "known 2"),
            ("@other n1 ED1", "n1", 22, ED1, "unknown"),
            ("@revoked @revoked n1 ED1\nn1 ED1", "n1", 22, ED1, "known 2"),
            ("n1 ssh-ed25519 AAAA\nn1 ED1", "n1", 22, ED1, "known 2"),
            ("n1\nn1 ED1", "n1", 22, ED1, "known 2"),
            ("n1 1024 35 1234567890\nn1 ED1", "n1", 22, ED1, "known 2"),
            // Ports.
            ("[n1]:2222 ED1", "n1", 2222, ED1, "known 1"),
            ("[n1]:2222 ED1", "n1", 22, ED1, "unknown"),
            ("n1 ED1", "n1", 2222, ED1, "known 1"),
            ("n1 ED2", "n1", 2222, ED1, "unknown"),
            ("[n1]:2222 ED2\nn1 ED1", "n1", 2222, ED1, "changed 1"),
            ("[n1]:2222 EC1\nn1 ED1", "n1", 2222, ED1, "changed 1"),
            ("[*]:2222 ED1", "n1", 2222, ED1, "known 1"),
            ("[n1]:* ED1", "n1", 2222, ED1, "known 1"),
            ("@revoked n1 ED1\n[n1]:2222 ED1", "n1", 2222, ED1, "revoked 1"),
            ("[fe80::1]:2222 ED1", "fe80::1", 2222, ED1, "known 1"),
        ];
        for (text, host, port, shown, expected) in cases {
            let text = text.replace("ED1", ED1).replace("ED2", ED2).replace("EC1", EC1);
            assert_eq!(said(&known(&text).check(host, *port, &key(shown))), *expected, "{text:?} for {host}:{port}");
        }
    }

    #[test]
    fn a_comment_does_not_change_a_key() {
        assert_eq!(said(&known(&format!("n1 {ED1}")).check("n1", 22, &key(&format!("{ED1} root@x")))), "known 1");
    }

    #[test]
    fn changed_tells_the_key_of_the_same_type() {
        let verdict = known(&format!("n1 {EC1}\nn1 {ED2}")).check("n1", 22, &key(ED1));
        let KnownHostsVerdict::Changed { place, known } = verdict else { panic!("{verdict:?}") };
        assert_eq!((place.to_string(), known.key_data()), ("kh:2".to_owned(), key(ED2).key_data()));
    }

    #[test]
    fn files_come_in_their_order() {
        let texts = [("a", format!("n1 {ED2}")), ("b", format!("n1 {ED1}"))];
        let texts: Vec<(PathBuf, String)> = texts.into_iter().map(|(p, t)| (PathBuf::from(p), t)).collect();
        let known = KnownHosts::parse(&texts);
        let b = KnownHostsLine { file: Arc::from(Path::new("b")), line: 1 };
        assert_eq!(known.check("n1", 22, &key(ED1)), KnownHostsVerdict::Known(b));
        let KnownHostsVerdict::Changed { place, .. } = known.check(
            "n1",
            22,
            &key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ) else {
            panic!("must be changed")
        };
        assert_eq!(&*place.file, Path::new("a"));
    }

    #[test]
    fn bad_lines_are_remembered() {
        let long = "x".repeat(MAX_LINE + 1);
        let name = "x".repeat(MAX_NAME + 1);
        let text = format!(
            "ok {ED1}\n@nope n1 {ED1}\nn1\nn1 ssh-ed25519 AAAA\n|1|x|y {ED1}\n{long}\n{name} {ED1}\nn1 made-up@x AAAA\n@revoked n1 {}",
            ED1.replace("ssh-ed25519", "ssh-rsa")
        );
        let known = known(&text);
        let found: Vec<(usize, SkipReason)> = known.skipped().iter().map(|s| (s.place.line, s.reason)).collect();
        assert_eq!(
            found,
            [
                (2, SkipReason::Marker),
                (3, SkipReason::NoKey),
                (4, SkipReason::BadKey),
                (5, SkipReason::BadHash),
                (6, SkipReason::TooLong),
                (7, SkipReason::TooLong),
                (8, SkipReason::BadKey),
                (9, SkipReason::BadKey),
            ]
        );
        assert_eq!(known.skipped_count(), 8);
    }

    #[test]
    fn preferred_algorithms() {
        let rsa = [Some(HashAlg::Sha512), Some(HashAlg::Sha256), None].map(|hash| Algorithm::Rsa { hash });
        let ed = Algorithm::Ed25519;
        let text =
            format!("n1 {RSA1}\nn1 {ED1}\nn1 {ED2}\n@cert-authority n2 {ED1}\n@revoked * {ED1}\nn3 {ED1}\nn4 {ED2}");
        let known = known(&text);
        let with_ed: Vec<Algorithm> = rsa.iter().cloned().chain([ed.clone()]).collect();
        assert_eq!(known.algorithms_for("n1", 22), with_ed);
        assert_eq!(known.algorithms_for("n2", 22), []);
        assert_eq!(known.algorithms_for("n3", 22), []);
        assert_eq!(known.algorithms_for("n4", 22), [ed]);
        assert_eq!(known.algorithms_for("n4", 2222), [], "the bare name does not say what is shown on another port");
        assert!(known.lookup("n2", 22).authority(key(ED1).key_data()).is_some());
        assert!(known.lookup("n2", 22).authority(key(ED2).key_data()).is_none());
        assert!(known.lookup("n2", 2222).authority(key(ED1).key_data()).is_some());
        assert!(!known.lookup("n2", 2222).has_authority());
        for (host, empty) in [("n1", false), ("n2", false), ("n9", true)] {
            assert_eq!(known.lookup(host, 22).is_empty(), empty, "{host}");
        }
    }

    #[test]
    fn wildcards() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "abc", true),
            ("?", "", false),
            ("a*b?c", "axxbyc", true),
            ("a*b?c", "axxbyb", false),
            ("*a*a*a", "aaaa", true),
            ("*.dc1", ".dc1", true),
            ("a?", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
        assert!(!wildcard(&"*a".repeat(500), &"b".repeat(100_000)));
    }

    #[test]
    fn files_missing_and_unreadable() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let missing = dir.path().join("none");
        assert_eq!(
            said(&KnownHosts::read(&[missing]).expect("missing is empty").check("n1", 22, &key(ED1))),
            "unknown"
        );
        let error = KnownHosts::read(&[dir.path().to_owned()]).expect_err("a directory cannot be read");
        assert!(error.to_string().starts_with(&format!("cannot read {}: ", dir.path().display())), "{error}");
        let latin = dir.path().join("latin");
        fs::write(&latin, [b"n1 ", ED1.as_bytes(), b" M\xfcller\nn2 ", ED1.as_bytes()].concat()).expect("write");
        let known = KnownHosts::read(&[latin]).expect("readable");
        assert_eq!(said(&known.check("n1", 22, &key(ED1))), "known 1");
        assert_eq!(said(&known.check("n2", 22, &key(ED1))), "known 2");
    }

    fn keygen(arguments: &[&str]) -> String {
        let output = Command::new("ssh-keygen")
            .args(arguments)
            .output()
            .expect("ssh-keygen must be installed (Debian: apt-get install openssh-client)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `ssh-keygen -F` finds the same lines.
    #[test]
    fn agrees_with_ssh_keygen() {
        let names = [
            "n1",
            "n2,n3",
            "*.dc1",
            "!a.dc1,*.dc1",
            "*.dc1,!a.dc1",
            "n?",
            "[n1]:2222",
            "[*]:2222",
            "*",
            "n1,,n2",
            "!n1",
            "10.0.0.*",
            "!!n1,n*",
            "@revoked n1",
            "@cert-authority *.dc1",
            "  n1",
            "N1",
            "n1\t",
        ];
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("kh");
        let text: String = names.iter().map(|name| format!("{name} {ED1}\n")).collect();
        fs::write(&path, &text).expect("write");
        let path = path.to_str().expect("plain path");
        let known = known(&text);
        for host in ["n1", "n2", "n3", "a.dc1", "b.dc1", "[n1]:2222", "[n2]:2222", "10.0.0.7", "n10", "other"] {
            let output = keygen(&["-F", host, "-f", path]);
            let theirs: Vec<usize> = output
                .lines()
                .filter_map(|line| line.strip_prefix("# Host ")?.split("line ").nth(1)?.split(' ').next()?.parse().ok())
                .collect();
            let ours: Vec<usize> =
                known.matching(host).into_iter().filter_map(|line| Some(known.lines.get(line)?.place.line)).collect();
            assert_eq!(ours, theirs, "{host}: {output}");
        }
    }

    /// `ssh-keygen -H` makes hashed names that are found, and `ssh-keygen -F` finds ours.
    #[test]
    fn agrees_with_ssh_keygen_on_hashes() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("kh");
        fs::write(&path, format!("n1,10.0.0.1 {ED1}\n[n1]:2222 {ED2}\n")).expect("write");
        keygen(&["-q", "-H", "-f", path.to_str().expect("plain path")]);
        let text = fs::read_to_string(&path).expect("read");
        assert!(text.lines().all(|line| line.starts_with("|1|")), "{text}");
        let known = known(&text);
        assert_eq!(said(&known.check("N1", 22, &key(ED1))), "known 1");
        assert_eq!(said(&known.check("10.0.0.1", 22, &key(ED1))), "known 2");
        assert_eq!(said(&known.check("n1", 2222, &key(ED2))), "known 3");
        assert_eq!(said(&known.check("n1", 2222, &key(ED1))), "changed 3");
        assert_eq!(said(&known.check("n2", 22, &key(ED1))), "unknown");

        let ours = format!("{} {ED1}\n", hash_name("[n5]:2022", &[9; 20]));
        fs::write(&path, text + &ours).expect("write");
        let found = keygen(&["-F", "[n5]:2022", "-f", path.to_str().expect("plain path")]);
        assert!(found.contains("line 4"), "{found}");
    }

    #[test]
    fn large_files_are_looked_up_quickly() {
        let mut text = String::new();
        for host in 0..20_000 {
            text.push_str(&format!("host{host},10.1.{}.{} {ED1}\n", host / 250, host % 250));
        }
        let known = known(&text);
        let found: BTreeMap<usize, usize> =
            (0..5_000).map(|host| (host, known.matching(&format!("host{host}")).len())).collect();
        assert!(found.values().all(|count| *count == 1));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}", host in "\\PC{0,20}", port: u16) {
            let known = known(&text);
            let _verdict = known.check(&host, port, &key(ED1));
            let _algorithms = known.algorithms_for(&host, port);
        }

        #[test]
        fn no_line_of_the_right_kind_panics(words in prop::collection::vec(
            prop::sample::select(vec!["n1", "@revoked", "@cert-authority", "|1|", "|1|AAAA|AAAA", "*", "!n1", ",", ED1, EC1, "\t", " ", "\n", "#", "\r"]), 0..20)
        ) {
            let known = known(&words.concat());
            let verdict = known.check("n1", 22, &key(ED1));
            let revoked = known.lookup("n1", 22).revoked(key(ED1).key_data()).is_some();
            prop_assert_eq!(revoked, matches!(verdict, KnownHostsVerdict::Revoked(_)));
        }

        #[test]
        fn wildcard_agrees_with_a_plain_matcher(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            fn plain(p: &[u8], t: &[u8]) -> bool {
                match p.split_first() {
                    None => t.is_empty(),
                    Some((b'*', rest)) => (0..=t.len()).any(|n| plain(rest, &t[n..])),
                    Some((b'?', rest)) => !t.is_empty() && plain(rest, &t[1..]),
                    Some((c, rest)) => t.first() == Some(c) && plain(rest, &t[1..]),
                }
            }
            prop_assert_eq!(wildcard(&pattern, &text), plain(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
