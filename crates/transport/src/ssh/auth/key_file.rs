//! Key files: their keys, and whether they can be used.
//!
//! Here lives [`KeyFile`]. Invariants: a private key that others can read is not used, as with OpenSSH; a file
//! is bounded before it is read; of a key that cannot be used the public half is known where it stands in the file or
//! beside it, so that the agent's copy is found.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey, decode_secret_key};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::pem;
use ctl_local::file::{self, FileContent, ReadBounds};
use ctl_local::process;

/// No key comes near it.
const LONGEST_FILE: u64 = 1 << 20;

/// A file that was named as an identity, or is one by default.
#[derive(Clone)]
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    /// The public half, where it is known.
    pub(super) public: Option<KeyData>,
    pub(super) private: Result<Arc<PrivateKey>, KeyFileProblem>,
}

/// Why a file is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyFileProblem {
    Missing,
    /// Others can read it: the permission bits.
    Exposed(u32),
    /// It is encrypted; whether a wrong passphrase was given for it.
    Locked {
        wrong: bool,
    },
    /// Its private half is in a device.
    SecurityKey,
    /// It holds a public key only.
    PublicOnly,
    Unreadable(String),
    /// Of a kind that is not known here.
    Unknown(String),
    /// A certificate that does not hold now.
    NotValid(String),
    /// A certificate whose private key is nowhere.
    NoKey,
}

impl fmt::Display for KeyFileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::Exposed(mode) => {
                write!(f, "can be read by others (mode {mode:04o}), so it is not used")
            }
            Self::Locked { wrong: false } => f.write_str("is encrypted and no passphrase was given"),
            Self::Locked { wrong: true } => f.write_str("is encrypted and the passphrase was wrong"),
            Self::SecurityKey => f.write_str(
                "belongs to a security key, which works only through the agent, and the agent does not have it",
            ),
            Self::PublicOnly => f.write_str("is a public key, and the agent does not have the private one"),
            Self::Unreadable(reason) => write!(f, "cannot be read: {reason}"),
            Self::Unknown(reason) | Self::NotValid(reason) => f.write_str(reason),
            Self::NoKey => f.write_str("is a certificate, and neither a key file nor the agent has its private key"),
        }
    }
}

impl KeyFileProblem {
    /// What to do about it.
    pub(super) fn hint(&self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Exposed(_) => format!("chmod 600 {path}"),
            Self::Locked { .. } | Self::SecurityKey => format!("load it into the agent: ssh-add {path}"),
            Self::PublicOnly | Self::NoKey => {
                "load the private key into the agent with `ssh-add`, or name its file with --identity".to_owned()
            }
            Self::Missing | Self::Unreadable(_) => {
                "name a readable key with --identity, or load it into the agent with `ssh-add`".to_owned()
            }
            Self::Unknown(_) => format!("`ssh-keygen -p -f {path}` rewrites a key in OpenSSH's own format"),
            Self::NotValid(_) => "have the certificate signed again, and check this machine's clock".to_owned(),
        }
    }
}

/// Why a passphrase did not decrypt a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// It is not the passphrase of the file.
    #[error("wrong passphrase for {}", file.display())]
    WrongPassphrase {
        /// The key file.
        file: PathBuf,
    },
    /// The file holds no encrypted key that can be used.
    #[error("{} {reason}", file.display())]
    Unusable {
        /// The key file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
}

impl KeyFile {
    /// Reads a file without a passphrase.
    pub(super) fn read(path: &Path) -> Self {
        // As OpenSSH: whose key it is otherwise, is that user's affair.
        let own = rustix::process::getuid().as_raw();
        let (public, private) = match content(path) {
            Ok((text, exposed)) => parse(text.expose_secret(), exposed.filter(|&(uid, _)| uid == own)),
            Err(problem) => (None, Err(problem)),
        };
        // A public half makes it possible to use the agent's copy of a key that cannot be read here.
        let public = public.or_else(|| public_beside(path));
        Self { path: path.to_owned(), public, private }
    }

    /// The same file, with its key decrypted. Slow by design of the format.
    pub(super) fn unlocked(&self, passphrase: &SecretString) -> Result<Self, UnlockError> {
        let file = self.path.clone();
        let (text, _) =
            content(&file).map_err(|problem| UnlockError::Unusable { file, reason: problem.to_string() })?;
        // Before the first secret is decrypted: from here on the process must not be dumped or traced.
        process::protect_secrets();
        let (text, passphrase) = (text.expose_secret(), passphrase.expose_secret());
        // Of the old PEM encryption the library reads AES-128 only, so `pem.rs` makes a clear key of it first.
        let decoded = if pem::is_encrypted(text) {
            pem::decrypt(text, passphrase).and_then(|clear| decode_secret_key(&clear, None).ok())
        } else {
            decode_secret_key(text, Some(passphrase)).ok()
        };
        // The formats do not distinguish a wrong passphrase from damage; the passphrase is far more likely.
        let key = decoded.ok_or_else(|| UnlockError::WrongPassphrase { file: self.path.clone() })?;
        Ok(Self { path: self.path.clone(), public: Some(key.public_key().key_data().clone()), private: usable(key) })
    }

    /// A file whose key was decrypted elsewhere: see [`KeyFile::decrypted`].
    pub(super) fn of_decrypted(path: PathBuf, key: &SecretString) -> Self {
        process::protect_secrets();
        let bytes = STANDARD.decode(key.expose_secret()).map(Zeroizing::new);
        let key = bytes.ok().and_then(|bytes| PrivateKey::from_bytes(&bytes).ok());
        match key {
            Some(key) => Self { path, public: Some(key.public_key().key_data().clone()), private: usable(key) },
            None => Self { path, public: None, private: Err(KeyFileProblem::Unknown("is not a key".to_owned())) },
        }
    }

    /// Its key in clear, in base64; none if there is none that can be used.
    pub(super) fn decrypted(&self) -> Option<SecretString> {
        let bytes = self.private.as_ref().ok()?.to_bytes().ok()?;
        Some(SecretString::from(STANDARD.encode(&*bytes)))
    }

    /// Whether a passphrase would help.
    pub(super) fn is_locked(&self) -> bool {
        matches!(self.private, Err(KeyFileProblem::Locked { .. }))
    }

    /// The same file after a passphrase that was wrong.
    pub(super) fn still_locked(&self) -> Self {
        Self { private: Err(KeyFileProblem::Locked { wrong: true }), ..self.clone() }
    }
}

/// Text, and owner and permission bits of a file that others can read.
fn content(path: &Path) -> Result<(SecretString, Option<(u32, u32)>), KeyFileProblem> {
    // Only regular files: opening a pipe could wait for a writer.
    let bounds = ReadBounds { max_bytes: LONGEST_FILE, patience: file::PATIENCE, only_regular: true };
    let FileContent { bytes, access } = file::read(path, bounds).map_err(|error| {
        let kind = error.kind();
        if kind == io::ErrorKind::NotFound {
            KeyFileProblem::Missing
        } else if kind == io::ErrorKind::FileTooLarge {
            // Something so long is another file, not an unreadable key.
            KeyFileProblem::Unknown("is too long for a key".to_owned())
        } else {
            KeyFileProblem::Unreadable(error.to_string())
        }
    })?;
    let text =
        String::from_utf8(bytes).map_err(|_| KeyFileProblem::Unknown("contains no text, and so no key".to_owned()))?;
    let text = SecretString::from(text);
    Ok((text, (access.mode & 0o077 != 0).then_some((access.uid, access.mode))))
}

type KeyHalves = (Option<KeyData>, Result<Arc<PrivateKey>, KeyFileProblem>);

fn parse(text: &str, exposed: Option<(u32, u32)>) -> KeyHalves {
    // Before the permissions: a public key may be read by anybody.
    if let Some(public) = public_line(text) {
        return (Some(public), Err(KeyFileProblem::PublicOnly));
    }
    // Parsed even if others can read it, because the public half finds the key in the agent.
    let (public, private) = parse_private(text);
    match exposed {
        Some((_, mode)) => (public, Err(KeyFileProblem::Exposed(mode))),
        None => (public, private),
    }
}

fn parse_private(text: &str) -> KeyHalves {
    // OpenSSH's own format holds the public half in the clear, even of an encrypted key.
    if text.contains("-----BEGIN OPENSSH PRIVATE KEY-----") {
        return match PrivateKey::from_openssh(text) {
            Ok(key) => {
                let public = key.public_key().key_data().clone();
                let private =
                    if key.is_encrypted() { Err(KeyFileProblem::Locked { wrong: false }) } else { usable(key) };
                (Some(public), private)
            }
            Err(error) => (None, Err(KeyFileProblem::Unreadable(error.to_string()))),
        };
    }
    // PKCS#8 encrypts the public half as well, so it is not known before the passphrase.
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return (None, Err(KeyFileProblem::Locked { wrong: false }));
    }
    if pem::is_encrypted(text) {
        // An old cipher must not lead to a prompt for a passphrase that cannot help.
        let problem = if pem::is_known(text) {
            KeyFileProblem::Locked { wrong: false }
        } else {
            KeyFileProblem::Unknown("is encrypted in an old format that is not supported".to_owned())
        };
        return (None, Err(problem));
    }
    if !text.contains("-----BEGIN ") {
        return (None, Err(KeyFileProblem::Unknown("contains no private key".to_owned())));
    }
    if text.contains("-----BEGIN DSA PRIVATE KEY-----") {
        return (None, Err(KeyFileProblem::Unknown("is a DSA key, which is no longer supported".to_owned())));
    }
    match decode_secret_key(text, None) {
        Ok(key) => (Some(key.public_key().key_data().clone()), usable(key)),
        Err(error) => (None, Err(KeyFileProblem::Unreadable(error.to_string()))),
    }
}

/// A key that is not encrypted, if one can sign with it.
fn usable(key: PrivateKey) -> Result<Arc<PrivateKey>, KeyFileProblem> {
    let kind = key.algorithm();
    // The file of a security key holds a handle; only the device can sign.
    if matches!(kind, Algorithm::SkEcdsaSha2NistP256 | Algorithm::SkEd25519) {
        Err(KeyFileProblem::SecurityKey)
    } else if matches!(kind, Algorithm::Rsa { .. } | Algorithm::Ecdsa { .. } | Algorithm::Ed25519) {
        Ok(Arc::new(key))
    } else {
        Err(KeyFileProblem::Unknown(format!("is a key of type {kind}, which is not supported")))
    }
}

/// The public key of the first line that holds anything; of a certificate, the key that it certifies.
fn public_line(text: &str) -> Option<KeyData> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    // A certificate first, since the library reads its line as a public key of a type of its own.
    if let Ok(certificate) = Certificate::from_openssh(line) {
        return Some(certificate.public_key().clone());
    }
    PublicKey::from_openssh(line).ok().map(|key| key.key_data().clone())
}

fn public_beside(path: &Path) -> Option<KeyData> {
    let (text, _) = content(&with_suffix(path, ".pub")).ok()?;
    public_line(text.expose_secret())
}

/// The path with something added to its end.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The text of a file that may be public.
pub(super) fn public_text(path: &Path) -> Result<String, KeyFileProblem> {
    content(path).map(|(text, _)| text.expose_secret().to_owned())
}
