//! Reads files of revoked keys (`RevokedHostKeys`): public keys, a line each, or a key revocation list.
//!
//! Here lives [`RevokedKeys`]. Uses `krl.rs`. Invariants: a file is read whole or not at all, so that nothing
//! that could not be read lets a key through (as `ssh`, which then refuses every key).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use russh::keys::PublicKey;
use russh::keys::ssh_key::Certificate;
use russh::keys::ssh_key::public::KeyData;

use super::krl::{self, KrlError, RevocationList};
use ctl_local::file::{PATIENCE, ReadBounds};

/// A file larger than this, in bytes, is an error.
const MAX_FILE: u64 = 64 << 20;

/// Why a file of revoked keys could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RevokedKeysError {
    #[error("cannot read the revoked keys of {}: {source}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("the revoked keys of {} are more than {MAX_FILE} bytes", file.display())]
    TooLarge { file: PathBuf },
    #[error("cannot read the revoked keys of {}: line {line} is not a public key", file.display())]
    Line { file: PathBuf, line: usize },
    #[error("cannot read the key revocation list {}: {source}", file.display())]
    Krl { file: PathBuf, source: KrlError },
}

/// The revoked keys of one file.
#[derive(Debug)]
pub(super) enum RevokedKeys {
    /// Keys, and the line of each.
    List(HashMap<KeyData, usize>),
    /// A key revocation list.
    Krl(RevocationList),
}

/// What of a shown key is revoked, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyRevocation {
    /// Line of the file; none in a key revocation list.
    pub(super) line: Option<usize>,
    pub(super) what: RevokedEntry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RevokedEntry {
    Key,
    Certificate,
    Authority,
}

impl fmt::Display for RevokedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "host key",
            Self::Certificate => "host certificate",
            Self::Authority => "authority of the host certificate",
        })
    }
}

impl RevokedKeys {
    /// # Errors
    /// If anything in the file cannot be read; also if there is none.
    pub(super) fn read(path: &Path) -> Result<Self, RevokedKeysError> {
        let file = || path.to_owned();
        // A pipe is allowed too: the operator may pass the list by process substitution.
        let bounds = ReadBounds { max_bytes: MAX_FILE, patience: PATIENCE, only_regular: false };
        let bytes = match ctl_local::file::read(path, bounds) {
            Ok(content) => content.bytes,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(RevokedKeysError::TooLarge { file: file() });
            }
            Err(source) => return Err(RevokedKeysError::Read { file: file(), source }),
        };
        // The magic decides, as in ssh_krl_from_blob (krl.c): a text file never begins with it.
        if bytes.starts_with(krl::MAGIC) {
            let krl = RevocationList::read(&bytes).map_err(|source| RevokedKeysError::Krl { file: file(), source })?;
            return Ok(Self::Krl(krl));
        }
        let mut keys = HashMap::new();
        // Invalid UTF-8 in a comment is harmless; within a key it makes the line unreadable, which is an error.
        for (index, text) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let key = read_key(text).ok_or_else(|| RevokedKeysError::Line { file: file(), line: index + 1 })?;
            // The first line of a key is the one that messages name.
            keys.entry(key).or_insert(index + 1);
        }
        Ok(Self::List(keys))
    }

    /// Whether a host's key, its certificate or the authority that signed that is revoked.
    pub(super) fn find(&self, key: &KeyData, certificate: Option<&Certificate>) -> Option<KeyRevocation> {
        let has = |key: &KeyData| match self {
            Self::List(keys) => keys.get(key).map(|line| Some(*line)),
            Self::Krl(krl) => krl.revokes_key(key).then_some(None),
        };
        // The key first: another certificate for it would not help.
        if let Some(line) = has(key) {
            return Some(KeyRevocation { line, what: RevokedEntry::Key });
        }
        // Without a certificate there is no authority to look for.
        let certificate = certificate?;
        if let Some(line) = has(certificate.signature_key()) {
            return Some(KeyRevocation { line, what: RevokedEntry::Authority });
        }
        match self {
            Self::Krl(krl) if krl.revokes_certificate(certificate) => {
                Some(KeyRevocation { line: None, what: RevokedEntry::Certificate })
            }
            Self::Krl(_) | Self::List(_) => None,
        }
    }
}

/// A public key, or the one that a certificate is for.
fn read_key(text: &str) -> Option<KeyData> {
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let text = format!("{} {}", words.next()?, words.next()?);
    match PublicKey::from_openssh(&text) {
        // A type that the library cannot compare would never match, so the line must count as unreadable.
        Ok(key) if matches!(key.key_data(), KeyData::Other(_) | KeyData::Certificate(_)) => None,
        Ok(key) => Some(key.key_data().clone()),
        // A certificate in the list revokes the key that it certifies.
        Err(_) => Certificate::from_openssh(&text).ok().map(|certificate| certificate.public_key().clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_list_of_keys() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let keygen = |arguments: &[&str]| {
            let status = Command::new("ssh-keygen").current_dir(dir.path()).args(arguments).status();
            assert!(status.expect("ssh-keygen").success(), "{arguments:?}");
        };
        for name in ["k1", "k2", "ca"] {
            keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f", name]);
        }
        keygen(&["-q", "-s", "ca", "-h", "-I", "id", "-z", "7", "-n", "n1", "k1.pub"]);
        let text = |name: &str| fs::read_to_string(dir.path().join(name)).expect("a key");
        let key = |name: &str| PublicKey::from_openssh(&text(name)).expect("a key").key_data().clone();
        let certificate = Certificate::from_openssh(&text("k1-cert.pub")).expect("a certificate");
        let path = dir.path().join("revoked");
        let read = |text: &str| {
            fs::write(&path, text).expect("written");
            RevokedKeys::read(&path)
        };
        let at = |line, what| Some(KeyRevocation { line: Some(line), what });

        let list = read(&format!("# revoked\n\n  {}\n{}", text("k2.pub"), text("k1-cert.pub"))).expect("a list");
        assert_eq!(list.find(&key("k2.pub"), None), at(3, RevokedEntry::Key));
        assert_eq!(list.find(&key("k1.pub"), None), at(5, RevokedEntry::Key), "the key of a certificate");
        assert_eq!(list.find(&key("ca.pub"), None), None);
        let list = read(&text("ca.pub")).expect("a list");
        assert_eq!(list.find(&key("k1.pub"), Some(&certificate)), at(1, RevokedEntry::Authority));
        assert_eq!(list.find(&key("k1.pub"), None), None);

        fs::write(dir.path().join("spec"), "serial: 7\n").expect("written");
        keygen(&["-q", "-k", "-f", "revoked", "-s", "ca.pub", "spec"]);
        let krl = RevokedKeys::read(&path).expect("a list");
        let found = krl.find(&key("k1.pub"), Some(&certificate));
        assert_eq!(found, Some(KeyRevocation { line: None, what: RevokedEntry::Certificate }));
        assert_eq!(krl.find(&key("k1.pub"), None), None);

        for (bad, said) in [
            (format!("n1 {}", text("k1.pub")), "line 1 is not a public key"),
            (format!("{}ssh-ed25519 AAAA\n", text("k1.pub")), "line 2 is not a public key"),
            ("SSHKRL\n\0\0".to_owned(), "it ends too early, or is damaged"),
        ] {
            let error = read(&bad).expect_err("unreadable").to_string();
            assert!(error.ends_with(said) && error.contains(&path.display().to_string()), "{error}");
        }
        fs::remove_file(&path).expect("removed");
        let error = RevokedKeys::read(&path).expect_err("a missing file").to_string();
        assert!(error.starts_with(&format!("cannot read the revoked keys of {}: ", path.display())), "{error}");
    }
}
