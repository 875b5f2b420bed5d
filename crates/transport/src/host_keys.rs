//! Judges the key that a host shows, by the files that its endpoint names, and writes accepted keys down.
//!
//! Here lives [`HostKeyStore`], one for all connections of a run. It uses the SSH library's key types, `known_hosts.rs`
//! and [`super::endpoint`]; below it `certificate.rs`, `revoked.rs` and `krl.rs` are pure readers, `cache.rs` keeps the
//! contents of files, `writing.rs` writes. Invariants: a changed or revoked key is never taken, whatever the
//! policy; each decision uses the files as they are at that moment, so that two runs at once do not contradict each
//! other; a file that cannot be read lets no key through; nothing here blocks the runtime. Start at [`HostKeyStore::judge`].
//!
//! The decisions are those of OpenSSH 9.2 (`sshconnect.c`, `verify_host_key` and `check_host_key`). Where it is known
//! to differ, `known_hosts.rs` and `certificate.rs` say so; besides, `ssh` continues when it cannot write a new key down
//! or cannot read a known_hosts file, and here that is an error: the next run would take any key again.

mod cache;
mod certificate;
mod fingerprint;
mod krl;
mod revoked;
mod writing;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::Certificate;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};

use self::cache::FileCache;
use self::revoked::RevokedKeys;
use self::writing::LockedFile;
use super::endpoint::{HostKeyPolicy, HostKeySettings};
use super::error::TransportError;
use super::known_hosts::{HostEntries, KnownHosts, KnownHostsError, KnownHostsVerdict, written_name};

/// A key as `ssh-keygen -l` prints it, with `name` in place of its comment.
#[must_use]
pub fn fingerprint(key: &PublicKey, name: &str) -> String {
    fingerprint::line(key.key_data(), name)
}

/// The kinds of key that a host is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HostKeyRequest {
    /// Signature algorithms of the keys that are known for the host: they are preferred, or a host known by its RSA key
    /// would show its ed25519 key and look unknown.
    pub(super) known: Vec<Algorithm>,
    /// Whether an authority is known for the host: certificates of all kinds are then preferred.
    pub(super) authority: bool,
}

/// Known host keys of all endpoints of a run, and what may be added to them.
#[derive(Default)]
pub(super) struct HostKeyStore {
    known: FileCache<KnownHosts>,
    revoked: FileCache<RevokedKeys>,
    /// Keys taken in this run, by file and name, where the file may be one that keeps nothing. Held while a key is
    /// written down.
    accepted: Mutex<HashMap<(PathBuf, String), KeyData>>,
}

impl HostKeyStore {
    /// The kinds of key to ask the host for.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`] if a file cannot be read.
    pub(super) async fn wanted(
        self: &Arc<Self>,
        settings: &Arc<HostKeySettings>,
        host: &str,
        port: u16,
    ) -> Result<HostKeyRequest, TransportError> {
        // An owned handle, because the work moves to a thread that outlives this future if it is dropped.
        let (this, asked) = (Arc::clone(self), QueriedHost::new(settings, host, port));
        blocking(move || {
            let entries = this.entries(&asked)?;
            Ok(HostKeyRequest { known: entries.algorithms(), authority: entries.has_authority() })
        })
        .await
    }

    /// Judges the key that a host shows. An accepted key is written down first.
    ///
    /// # Errors
    /// [`TransportError::HostKeyUnknown`], [`TransportError::HostKeyChanged`], [`TransportError::HostKeyRevoked`],
    /// [`TransportError::HostKeyTooShort`], [`TransportError::KnownHosts`], [`TransportError::RevokedKeys`].
    pub(super) async fn judge(
        self: &Arc<Self>,
        settings: &Arc<HostKeySettings>,
        host: &str,
        port: u16,
        shown: &ShownKey,
    ) -> Result<(), TransportError> {
        let (this, asked, shown) = (Arc::clone(self), QueriedHost::new(settings, host, port), shown.clone());
        // Revocations and changed keys are errors of `decide`, so the policy only chooses about unknown keys.
        blocking(move || match this.decide(&asked, &shown)? {
            KeyDecision::Known => Ok(()),
            KeyDecision::Unknown(flaw) => match asked.settings.policy {
                HostKeyPolicy::AcceptNew => this.take(&asked, &shown.key, flaw),
                // `Ask` is strict here: the operator was asked before the first connection, and an accepted key is in
                // the file by now.
                HostKeyPolicy::Strict | HostKeyPolicy::Ask => Err(asked.unknown(&shown.key, flaw)),
            },
        })
        .await
    }

    /// Writes down a key that the operator has confirmed, whatever the policy.
    ///
    /// # Errors
    /// As [`judge`](Self::judge): a key that is changed or revoked by now is not taken.
    pub(super) async fn accept(
        self: &Arc<Self>,
        settings: &Arc<HostKeySettings>,
        host: &str,
        port: u16,
        key: &PublicKey,
    ) -> Result<(), TransportError> {
        let (this, asked) = (Arc::clone(self), QueriedHost::new(settings, host, port));
        let shown = ShownKey { key: key.key_data().clone(), certificate: None };
        // Judged anew, because the files may have changed while the operator was thinking.
        blocking(move || match this.decide(&asked, &shown)? {
            KeyDecision::Known => Ok(()),
            KeyDecision::Unknown(flaw) => this.take(&asked, &shown.key, flaw),
        })
        .await
    }

    /// Whether no line, neither a key nor an authority, speaks of the host.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`] if a file cannot be read.
    pub(super) fn has_no_known_key(
        &self,
        settings: &Arc<HostKeySettings>,
        host: &str,
        port: u16,
    ) -> Result<bool, TransportError> {
        let asked = QueriedHost::new(settings, host, port);
        let mut entries = HostEntries::default();
        for file in asked.files() {
            // This is asked of every host before the first connection, just after the files were read, and decides about no
            // key: the connection looks again.
            let known = self.known.last(file, || read_known(file)).map_err(known_hosts_error)?;
            entries.extend(known.lookup(&asked.host, asked.port));
        }
        Ok(entries.is_empty())
    }

    /// Reads all files of an endpoint.
    ///
    /// # Errors
    /// [`TransportError::KnownHosts`], [`TransportError::RevokedKeys`] for the first that cannot be read.
    pub(super) fn check_files(&self, settings: &HostKeySettings) -> Result<(), TransportError> {
        // All files are read before the first connection, so that a broken one stops the run and not each node by
        // itself.
        for file in settings.user_files.iter().chain(&settings.global_files) {
            self.known.get_in_time(file, || read_known(file)).map_err(known_hosts_error)?;
        }
        for file in &settings.revoked {
            self.revoked.get_in_time(file, || RevokedKeys::read(file)).map_err(revoked_keys_error)?;
        }
        Ok(())
    }

    fn known_of(&self, file: &Path) -> Result<Arc<KnownHosts>, TransportError> {
        self.known.get(file, || read_known(file)).map_err(known_hosts_error)
    }

    fn revoked_of(&self, file: &Path) -> Result<Arc<RevokedKeys>, TransportError> {
        self.revoked.get(file, || RevokedKeys::read(file)).map_err(revoked_keys_error)
    }

    /// The lines of the files about a host, as they are now.
    fn entries(&self, asked: &QueriedHost) -> Result<HostEntries, TransportError> {
        let mut entries = HostEntries::default();
        for file in asked.files() {
            entries.extend(self.known_of(file)?.lookup(&asked.host, asked.port));
        }
        Ok(entries)
    }

    fn decide(&self, asked: &QueriedHost, shown: &ShownKey) -> Result<KeyDecision, TransportError> {
        let key = &shown.key;
        // First the size: RequiredRSASize holds for known keys too.
        let (bits, min) = (fingerprint::bits(key), asked.settings.min_rsa_bits);
        if key.is_rsa() && bits < min {
            return Err(TransportError::HostKeyTooShort { name: asked.name(), key: asked.print(key), min });
        }
        // Before known_hosts, so that a key that is both known and revoked is refused.
        for file in &asked.settings.revoked {
            if let Some(found) = self.revoked_of(file)?.find(key, shown.certificate.as_ref()) {
                let line = found.line.map(|line| format!(":{line}")).unwrap_or_default();
                return Err(asked.revoked(key, found.what, format!("{}{line}", file.display())));
            }
        }
        let entries = self.entries(asked)?;
        let flaw = match &shown.certificate {
            Some(certificate) => match judge_certificate(&entries, asked, key, certificate)? {
                None => return Ok(KeyDecision::Known),
                flaw => flaw,
            },
            None => None,
        };
        // A certificate that does not hold makes nothing worse: the key in it is judged as if it had come alone.
        asked.by_entries(&entries, key, flaw)
    }

    /// Writes a key down that is not known, unless another run has done it meanwhile.
    fn take(&self, asked: &QueriedHost, key: &KeyData, flaw: Option<String>) -> Result<(), TransportError> {
        // `UserKnownHostsFile none`: there is nowhere to write, and a key that is not written would be taken anew in
        // each run.
        let Some(path) = asked.settings.user_files.first() else {
            return Err(asked.unknown(key, flaw));
        };
        let unwritable = |reason: &dyn std::fmt::Display| TransportError::KnownHosts {
            reason: format!("cannot add the key of {} to {}: {reason}", asked.name(), path.display()),
        };
        // A new salt for each line, or equal names would have equal hashes.
        let salt = asked.settings.hash_names.then(rand::random);
        let line = writing::line(&asked.host, asked.port, key, salt)
            .ok_or_else(|| unwritable(&"the name has a special meaning there"))?;

        // A wait for another connection of this run leaves no more time for a lock that another process holds.
        let deadline = Instant::now() + writing::LOCK_PATIENCE;
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = LockedFile::open(path, deadline).map_err(|error| unwritable(&error))?;
        // Only the lines that are read under the lock count.
        let entries = self.entries(asked)?;
        if let KeyDecision::Known = asked.by_entries(&entries, key, flaw)? {
            return Ok(());
        }
        // A file such as /dev/null keeps nothing, so the keys of this run are compared as well.
        let place = (path.clone(), asked.name());
        if let Some(before) = accepted.get(&place).filter(|before| *before != key) {
            return Err(TransportError::HostKeyChanged {
                name: asked.name(),
                key: asked.print(key),
                known: format!("but it presented {} earlier", asked.print(before)),
                remove: None,
            });
        }
        let appended = file.append(line).map_err(|error| unwritable(&error))?;
        // Without stamps somebody else has written too, and the cache must read the file again.
        if let Some((before, after)) = appended.stamps {
            let file: Arc<Path> = Arc::from(path.as_path());
            self.known.follow(path, before, after, |known| known.push(file, &appended.line));
        }
        // Remembered only after the write: a key that could not be written down was not accepted.
        accepted.insert(place, key.clone());
        Ok(())
    }
}

fn read_known(file: &Path) -> Result<KnownHosts, KnownHostsError> {
    KnownHosts::read(&[file.to_owned()])
}

fn known_hosts_error(error: impl std::fmt::Display) -> TransportError {
    TransportError::KnownHosts { reason: error.to_string() }
}

fn revoked_keys_error(error: impl std::fmt::Display) -> TransportError {
    TransportError::RevokedKeys { reason: error.to_string() }
}

/// How long the files of host keys may take: reading one and waiting for the lock of another.
const FILES_PATIENCE: Duration = Duration::from_secs(30);

/// Runs work that reads and locks files on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TransportError> + Send + 'static,
) -> Result<T, TransportError> {
    // Locks and dead mounts can block for seconds, which would hold up every connection on a runtime thread.
    let ended = tokio::time::timeout(FILES_PATIENCE, tokio::task::spawn_blocking(work)).await;
    let seconds = FILES_PATIENCE.as_secs();
    let silent = |_| Err(known_hosts_error(format!("the files of host keys did not answer within {seconds} s")));
    // Only a panic ends up in the inner error; it must not let a key through.
    ended.map_or_else(silent, |ended| {
        ended.unwrap_or_else(|error| Err(known_hosts_error(format!("host keys: {error}"))))
    })
}

/// The decision about a shown key.
enum KeyDecision {
    Known,
    /// Nothing is known of the host; and why the certificate that it showed does not hold.
    Unknown(Option<String>),
}

/// The key that a host shows.
#[derive(Clone)]
pub(super) struct ShownKey {
    key: KeyData,
    certificate: Option<Certificate>,
}

impl From<&PublicKeyOrCertificate> for ShownKey {
    fn from(shown: &PublicKeyOrCertificate) -> Self {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => Self { key: key.key_data().clone(), certificate: None },
            PublicKeyOrCertificate::Certificate(certificate) => {
                Self { key: certificate.public_key().clone(), certificate: Some(certificate.clone()) }
            }
        }
    }
}

/// Whether a certificate makes the host known; if not, why.
///
/// # Errors
/// [`TransportError::HostKeyRevoked`] for its key and for the authority that signed it.
fn judge_certificate(
    entries: &HostEntries,
    asked: &QueriedHost,
    key: &KeyData,
    certificate: &Certificate,
) -> Result<Option<String>, TransportError> {
    let signer = certificate.signature_key();
    // Before the authority is looked up: a revoked signer would otherwise only count as unknown.
    for (what, revoked) in [(revoked::RevokedEntry::Key, key), (revoked::RevokedEntry::Authority, signer)] {
        if let Some(place) = entries.revoked(revoked) {
            return Err(asked.revoked(revoked, what, place.to_string()));
        }
    }
    // No error: the key in the certificate may still be known by itself.
    if entries.authority(signer).is_none() {
        let signer = signer.fingerprint(russh::keys::HashAlg::Sha256);
        return Ok(Some(format!("its authority {signer} is unknown for this host")));
    }
    // A clock before 1970 makes every certificate "not yet valid", which is the safe side.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(certificate::check(certificate, &asked.host, now).err().map(|flaw| flaw.to_string()))
}

/// A host as the files are asked for it.
struct QueriedHost {
    settings: Arc<HostKeySettings>,
    /// In small letters, as `ssh` asks; the alias, if there is one.
    host: String,
    /// An alias has none: 22 then.
    port: u16,
}

impl QueriedHost {
    fn new(settings: &Arc<HostKeySettings>, host: &str, port: u16) -> Self {
        // HostKeyAlias replaces the name and drops the port (get_hostfile_hostname_ipaddr in sshconnect.c).
        let (host, port) = settings.alias.as_deref().map_or((host, port), |alias| (alias, 22));
        Self { settings: Arc::clone(settings), host: host.to_ascii_lowercase(), port }
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.settings.user_files.iter().chain(&self.settings.global_files)
    }

    fn name(&self) -> String {
        written_name(&self.host, self.port)
    }

    fn print(&self, key: &KeyData) -> String {
        fingerprint::line(key, &self.name())
    }

    fn by_entries(
        &self,
        entries: &HostEntries,
        key: &KeyData,
        flaw: Option<String>,
    ) -> Result<KeyDecision, TransportError> {
        match entries.check(key) {
            KnownHostsVerdict::Known(_) => Ok(KeyDecision::Known),
            KnownHostsVerdict::Unknown => Ok(KeyDecision::Unknown(flaw)),
            KnownHostsVerdict::Revoked(place) => Err(self.revoked(key, revoked::RevokedEntry::Key, place.to_string())),
            KnownHostsVerdict::Changed { place, known } => {
                // The command is meant to be pasted into a shell; a name that cannot be quoted gets none.
                let quoted = |word: &str| shlex::try_quote(word).map(std::borrow::Cow::into_owned).ok();
                let remove = quoted(&place.file.to_string_lossy())
                    .zip(quoted(&self.name()))
                    .map(|(file, name)| format!("ssh-keygen -f {file} -R {name}"));
                Err(TransportError::HostKeyChanged {
                    name: self.name(),
                    key: self.print(key),
                    known: format!("{place} has {}", self.print(known.key_data())),
                    remove,
                })
            }
        }
    }

    fn unknown(&self, key: &KeyData, certificate: Option<String>) -> TransportError {
        let files = self.files().cloned().collect();
        TransportError::HostKeyUnknown { name: self.name(), key: self.print(key), files, certificate }
    }

    fn revoked(&self, key: &KeyData, what: revoked::RevokedEntry, place: String) -> TransportError {
        let (name, key) = (self.name(), self.print(key));
        TransportError::HostKeyRevoked { name, key, what: what.to_string(), place }
    }
}

#[cfg(test)]
mod tests;
