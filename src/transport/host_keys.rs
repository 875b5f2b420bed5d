//! Judges the key that a host shows, by the files that its endpoint names, and writes down what is taken.
//!
//! Here lives [`HostKeyStore`], one for all connections of a run: each set of files is read once. It uses the SSH
//! library's key types, `known_hosts.rs` and [`super::endpoint`]. What always holds: a changed or revoked key is never
//! taken; two connections of a run to one host take the same key.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::ssh_key::public::{KeyData, RsaPublicKey};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::TransportError;
use super::endpoint::{HostKeyPolicy, HostKeySettings};
use super::known_hosts::{self, KnownHosts, Verdict};

/// A key as `ssh-keygen -l` shows it: bits, fingerprint, type.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> String {
    let (bits, kind) = match key.key_data() {
        KeyData::Ed25519(_) => (256, "ED25519"),
        KeyData::Ecdsa(key) => (
            match key.curve() {
                EcdsaCurve::NistP256 => 256,
                EcdsaCurve::NistP384 => 384,
                EcdsaCurve::NistP521 => 521,
            },
            "ECDSA",
        ),
        KeyData::Rsa(key) => (rsa_bits(key), "RSA"),
        other => return format!("{} {}", key.fingerprint(HashAlg::Sha256), other.algorithm()),
    };
    format!("{bits} {} ({kind})", key.fingerprint(HashAlg::Sha256))
}

fn rsa_bits(key: &RsaPublicKey) -> u32 {
    let bytes = key.n().as_positive_bytes().unwrap_or_default();
    let leading = bytes.first().map_or(0, |byte| byte.leading_zeros());
    (u32::try_from(bytes.len()).unwrap_or(u32::MAX / 8) * 8).saturating_sub(leading)
}

/// What a host is asked to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Signature algorithms of the keys that are known for the host: they are preferred, or a host known by its RSA key
    /// would show its ed25519 key and look unknown.
    pub(super) known: Vec<Algorithm>,
    /// Whether an authority is known for the host, so that its certificate can be judged.
    pub(super) certificates: bool,
}

/// Known host keys of all endpoints of a run, and what may be added to them.
#[derive(Default)]
pub(super) struct HostKeyStore {
    read: Mutex<HashMap<Vec<PathBuf>, Arc<KnownHosts>>>,
    /// Keys taken in this run, by file and name.
    accepted: Mutex<HashMap<(PathBuf, String), PublicKey>>,
}

impl HostKeyStore {
    /// The files of an endpoint, read when they are first asked for.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`] if one is there and cannot be read.
    fn known(&self, settings: &HostKeySettings) -> Result<Arc<KnownHosts>, TransportError> {
        let files: Vec<PathBuf> = settings.user_files.iter().chain(&settings.global_files).cloned().collect();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.get(&files) {
            return Ok(Arc::clone(known));
        }
        let known =
            KnownHosts::read(&files).map_err(|error| TransportError::KnownHosts { reason: error.to_string() })?;
        let known = Arc::new(known);
        read.insert(files, Arc::clone(&known));
        Ok(known)
    }

    /// What the host is to be asked for.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`] if a file cannot be read.
    pub(super) fn wanted(&self, settings: &HostKeySettings, host: &str, port: u16) -> Result<Wanted, TransportError> {
        let known = self.known(settings)?;
        Ok(Wanted { known: known.algorithms_for(host, port), certificates: false })
    }

    /// Reads the files of an endpoint.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`] if one is there and cannot be read.
    pub(super) fn check_files(&self, settings: &HostKeySettings) -> Result<(), TransportError> {
        self.known(settings).map(drop)
    }

    /// Writes down a key that the operator trusts.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`], also if another was written down meanwhile.
    pub(super) async fn trust(
        self: &Arc<Self>,
        settings: &Arc<HostKeySettings>,
        host: &str,
        port: u16,
        key: &PublicKey,
    ) -> Result<(), TransportError> {
        let accepting =
            Arc::new(HostKeySettings { policy: HostKeyPolicy::AcceptNew, ..HostKeySettings::clone(settings) });
        let shown = PublicKeyOrCertificate::PublicKey { key: key.clone(), hash_alg: None };
        let taken = self.judge(&accepting, host, port, &shown).await;
        // What is known has changed.
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clear();
        taken
    }

    /// Whether no line of the files speaks of the host.
    pub(super) fn is_unheard_of(&self, settings: &HostKeySettings, host: &str, port: u16) -> bool {
        self.known(settings).is_ok_and(|known| {
            let entries = known.lookup(host, port);
            entries.algorithms().is_empty() && entries.authorities().is_empty()
        })
    }

    /// Judges what a host shows. A key that is taken is written down first.
    ///
    /// # Errors
    /// [`TransportError::HostKeyUnknown`], [`TransportError::HostKeyChanged`], [`TransportError::HostKeyRevoked`],
    /// [`TransportError::KnownHosts`].
    pub(super) async fn judge(
        self: &Arc<Self>,
        settings: &Arc<HostKeySettings>,
        host: &str,
        port: u16,
        shown: &PublicKeyOrCertificate,
    ) -> Result<(), TransportError> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Err(TransportError::HostKeyUnknown {
                name: host.to_owned(),
                key: "a host certificate".to_owned(),
                file: None,
            });
        };
        let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
        let shown = format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
        let place = |file: &Path, line: usize| format!("{}:{line}", file.display());
        let file = settings.user_files.first();
        match self.known(settings)?.check(host, port, key) {
            Verdict::Known { .. } => Ok(()),
            Verdict::Changed { file, line, .. } => {
                Err(TransportError::HostKeyChanged { name, key: shown, place: place(&file, line) })
            }
            Verdict::Revoked { file, line, .. } => {
                Err(TransportError::HostKeyRevoked { name, key: shown, place: place(&file, line) })
            }
            Verdict::Unknown => match (settings.policy, file) {
                (HostKeyPolicy::AcceptNew, Some(file)) => {
                    // The file is locked while it is written, maybe by another run.
                    let (this, file, host, key) = (Arc::clone(self), file.clone(), host.to_owned(), key.clone());
                    let written =
                        tokio::task::spawn_blocking(move || this.accept(&file, &host, port, name, shown, &key)).await;
                    written.unwrap_or_else(|error| Err(TransportError::KnownHosts { reason: error.to_string() }))
                }
                (HostKeyPolicy::AcceptNew | HostKeyPolicy::Ask | HostKeyPolicy::Strict, file) => {
                    Err(TransportError::HostKeyUnknown { name, key: shown, file: file.cloned() })
                }
            },
        }
    }

    fn accept(
        &self,
        file: &Path,
        host: &str,
        port: u16,
        name: String,
        shown: String,
        key: &PublicKey,
    ) -> Result<(), TransportError> {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (file.to_owned(), name);
        match accepted.get(&place) {
            Some(other) if other.key_data() == key.key_data() => Ok(()),
            Some(_) => Err(TransportError::HostKeyChanged {
                name: place.1,
                key: shown,
                place: "the key taken a moment ago".to_owned(),
            }),
            None => {
                known_hosts::append(file, host, port, key)
                    .map_err(|error| TransportError::KnownHosts { reason: error.to_string() })?;
                accepted.insert(place, key.clone());
                Ok(())
            }
        }
    }
}
