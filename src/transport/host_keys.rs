//! Judges the key that a host shows, by the files that its endpoint names, and writes down what is taken.
//!
//! Here lives [`HostKeyStore`], one for all connections of a run: each set of files is read once. It uses the SSH
//! library's key types, `known_hosts.rs` and [`super::endpoint`]. What always holds: a changed or revoked key is never
//! taken; two connections of a run to one host take the same key.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::public::{KeyData, RsaPublicKey};
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};
use tracing::debug;

use super::TransportError;
use super::endpoint::{HostKeyPolicy, HostKeySettings};
use super::host_certificate;
use super::known_hosts::{self, HostEntries, KnownHosts, KnownHostsError, Verdict};
use super::revoked::RevokedKeys;

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

/// The files that are there; where none is, the one that would be written.
fn looked_in(settings: &HostKeySettings) -> Vec<PathBuf> {
    let all = settings.user_files.iter().chain(&settings.global_files);
    let mut there: Vec<PathBuf> = all.filter(|file| file.exists()).cloned().collect();
    if there.is_empty() {
        there.extend(settings.user_files.first().cloned());
    }
    there
}

/// Known host keys of all endpoints of a run, and what may be added to them.
#[derive(Default)]
pub(super) struct HostKeyStore {
    read: Mutex<HashMap<Vec<PathBuf>, Arc<KnownHosts>>>,
    revoked: Mutex<HashMap<PathBuf, Arc<Result<RevokedKeys, String>>>>,
    /// Keys taken in this run, by file and name.
    accepted: Mutex<HashMap<(PathBuf, String), PublicKey>>,
}

/// A host as its key is looked up.
struct Place<'a> {
    settings: &'a HostKeySettings,
    /// The host's name or its alias, in lower case.
    name: String,
    /// 22 for an alias, which has none.
    port: u16,
}

impl<'a> Place<'a> {
    fn new(settings: &'a HostKeySettings, host: &str, port: u16) -> Self {
        match &settings.alias {
            Some(alias) => Self { settings, name: alias.to_ascii_lowercase(), port: 22 },
            None => Self { settings, name: host.to_ascii_lowercase(), port },
        }
    }

    /// As known_hosts writes it.
    fn written(&self) -> String {
        if self.port == 22 { self.name.clone() } else { format!("[{}]:{}", self.name, self.port) }
    }

    fn entries<'k>(&self, known: &'k KnownHosts) -> HostEntries<'k> {
        known.lookup(&self.name, self.port)
    }

    fn changed(&self, key: &PublicKey, place: String) -> TransportError {
        TransportError::HostKeyChanged { name: self.written(), key: fingerprint(key), place }
    }

    fn revoked(&self, key: &PublicKey, place: String) -> TransportError {
        TransportError::HostKeyRevoked { name: self.written(), key: fingerprint(key), place }
    }
}

impl HostKeyStore {
    /// Reads the files of an endpoint.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`] if one is there and cannot be read.
    pub(super) fn check_files(&self, settings: &HostKeySettings) -> Result<(), TransportError> {
        self.known(settings).map(drop)
    }

    fn known(&self, settings: &HostKeySettings) -> Result<Arc<KnownHosts>, TransportError> {
        let files: Vec<PathBuf> = settings.user_files.iter().chain(&settings.global_files).cloned().collect();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.get(&files) {
            return Ok(Arc::clone(known));
        }
        let known =
            KnownHosts::read(&files).map_err(|error| TransportError::KnownHosts { reason: error.to_string() })?;
        if known.skipped_count() > 0 {
            debug!(count = known.skipped_count(), lines = ?known.skipped(), "lines of known_hosts say nothing");
        }
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
        let entries = Place::new(settings, host, port).entries(&known);
        Ok(Wanted { known: entries.algorithms(), certificates: !entries.authorities().is_empty() })
    }

    /// Whether no line of the files speaks of the host.
    pub(super) fn is_unheard_of(&self, settings: &HostKeySettings, host: &str, port: u16) -> bool {
        self.wanted(settings, host, port).is_ok_and(|wanted| wanted == Wanted::default())
    }

    /// Writes down a key that the operator trusts.
    ///
    /// # Errors
    /// As [`HostKeyStore::judge`], if another was written down meanwhile.
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

    /// Judges what a host shows. A key that is taken is written down first.
    ///
    /// # Errors
    /// [`TransportError::HostKeyUnknown`], [`TransportError::HostKeyChanged`], [`TransportError::HostKeyRevoked`],
    /// [`TransportError::HostKeyWeak`], [`TransportError::KnownHosts`].
    pub(super) async fn judge(
        self: &Arc<Self>,
        settings: &Arc<HostKeySettings>,
        host: &str,
        port: u16,
        shown: &PublicKeyOrCertificate,
    ) -> Result<(), TransportError> {
        let place = Place::new(settings, host, port);
        let known = self.known(settings)?;
        let entries = place.entries(&known);
        let key = shown.public_key();
        if let KeyData::Rsa(rsa) = key.key_data()
            && rsa_bits(rsa) < settings.min_rsa_bits
        {
            let (name, least) = (place.written(), settings.min_rsa_bits);
            return Err(TransportError::HostKeyWeak { name, key: fingerprint(&key), least });
        }
        let certificate = match shown {
            PublicKeyOrCertificate::Certificate(certificate) => Some(certificate),
            PublicKeyOrCertificate::PublicKey { .. } => None,
        };
        self.check_revoked(&place, &key, certificate)?;
        let mut flaw = None;
        if let Some(certificate) = certificate {
            let authority = PublicKey::new(certificate.signature_key().clone(), String::new());
            if let Some((file, line)) = entries.revocation(&authority) {
                return Err(place.revoked(&authority, format!("{}:{line}", file.display())));
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            match host_certificate::check(certificate, &place.name, &entries.authorities(), now) {
                Ok(()) => return self.unless_revoked(&place, &entries, &key),
                // As with `ssh`, the key in it may still be known by itself.
                Err(error) => {
                    debug!(host, %error, "the host's certificate proves nothing");
                    flaw = Some(error.to_string());
                }
            }
        }
        match entries.check(&key) {
            Verdict::Known { file, line } => {
                debug!(host, file = %file.display(), line, "the host's key is known");
                Ok(())
            }
            Verdict::Changed { file, line, .. } => Err(place.changed(&key, format!("{}:{line}", file.display()))),
            Verdict::Revoked { file, line } => Err(place.revoked(&key, format!("{}:{line}", file.display()))),
            Verdict::Unknown => match settings.user_files.first() {
                Some(file) if settings.policy == HostKeyPolicy::AcceptNew => {
                    self.take(settings, file.clone(), host, port, key).await
                }
                _ => Err(TransportError::HostKeyUnknown {
                    name: place.written(),
                    key: fingerprint(&key),
                    files: looked_in(settings),
                    certificate: flaw,
                }),
            },
        }
    }

    /// The key of a certificate that holds may have been revoked by itself.
    fn unless_revoked(
        &self,
        place: &Place<'_>,
        entries: &HostEntries<'_>,
        key: &PublicKey,
    ) -> Result<(), TransportError> {
        match entries.revocation(key) {
            Some((file, line)) => Err(place.revoked(key, format!("{}:{line}", file.display()))),
            None => Ok(()),
        }
    }

    /// `RevokedHostKeys`: a file that cannot be used revokes every key.
    fn check_revoked(
        &self,
        place: &Place<'_>,
        key: &PublicKey,
        certificate: Option<&Certificate>,
    ) -> Result<(), TransportError> {
        for file in &place.settings.revoked {
            let read = {
                let mut all = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
                let read = || Arc::new(RevokedKeys::read(file).map_err(|error| error.to_string()));
                Arc::clone(all.entry(file.clone()).or_insert_with(read))
            };
            let revoked = read.as_ref().as_ref().map_err(|error| TransportError::KnownHosts {
                reason: format!("RevokedHostKeys {}: {error}; so no host key is accepted", file.display()),
            })?;
            if revoked.has(key.key_data()) || certificate.is_some_and(|shown| revoked.has_certificate(shown)) {
                return Err(place.revoked(key, format!("RevokedHostKeys {}", file.display())));
            }
        }
        Ok(())
    }

    /// Takes a key of a host never seen before. The file is locked while it is written, maybe by another run.
    async fn take(
        self: &Arc<Self>,
        settings: &Arc<HostKeySettings>,
        file: PathBuf,
        host: &str,
        port: u16,
        key: PublicKey,
    ) -> Result<(), TransportError> {
        let (this, settings, host) = (Arc::clone(self), Arc::clone(settings), host.to_owned());
        let written =
            tokio::task::spawn_blocking(move || this.accept(&Place::new(&settings, &host, port), &file, &key));
        written.await.unwrap_or_else(|error| Err(TransportError::KnownHosts { reason: error.to_string() }))
    }

    fn accept(&self, place: &Place<'_>, file: &Path, key: &PublicKey) -> Result<(), TransportError> {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let known = (file.to_owned(), place.written());
        match accepted.get(&known) {
            Some(other) if other.key_data() == key.key_data() => return Ok(()),
            Some(_) => return Err(place.changed(key, "what this run took a moment ago".to_owned())),
            None => {}
        }
        let written = if place.settings.hash_names {
            known_hosts::append_hashed(file, &place.name, place.port, key, rand::random())
        } else {
            known_hosts::append(file, &place.name, place.port, key)
        };
        match written {
            Ok(_) => {
                debug!(host = place.name, file = %file.display(), "its key is written down");
                accepted.insert(known, key.clone());
                Ok(())
            }
            // Another run was faster, with another key.
            Err(KnownHostsError::Conflict { file, line, .. }) => {
                Err(place.changed(key, format!("{}:{line}", file.display())))
            }
            Err(error) => Err(TransportError::KnownHosts { reason: error.to_string() }),
        }
    }
}
