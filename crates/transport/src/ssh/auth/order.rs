//! The keys to offer, in their order.
//!
//! Here lives [`order`]. Pure. Each refused key counts against sshd's MaxAuthTries, so the likely ones go first and
//! none goes twice. The order is OpenSSH's, with one difference: certificates that were named; the identities that the
//! agent holds too; then, if the identities were named, the others of them (OpenSSH offers the agent's other keys
//! before those, which ends many a login before the key that was meant); the agent's other keys, unless IdentitiesOnly;
//! the remaining identities. A certificate beside a key file comes after the key itself, as there.

use std::path::Path;
use std::sync::Arc;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg};

use super::agent::{AgentHandle, AgentKey};
use super::certificate::{self, CertificateFile};
use super::key_file::{KeyFile, KeyFileProblem};
use super::signature::KeySource;
use crate::ssh::peer_text::printable;

/// Everything that there is to log in with.
pub(super) struct Credentials {
    /// Files with certificates that were named.
    pub(super) certificates: Vec<CertificateFile>,
    pub(super) identities: Vec<IdentityKey>,
    pub(super) identities_named: bool,
    pub(super) identities_only: bool,
    /// The agent and its keys.
    pub(super) agent: Option<(Arc<AgentHandle>, Arc<[AgentKey]>)>,
}

/// A key file and the certificates that belong to it.
pub(super) struct IdentityKey {
    pub(super) file: KeyFile,
    /// The public key, where it is a certificate: as with OpenSSH, it is offered in place of the key.
    pub(super) public: Option<CertificateFile>,
    /// The one beside it, `-cert.pub`.
    pub(super) beside: Option<CertificateFile>,
}

/// One key or certificate to offer.
#[derive(Clone)]
pub(super) struct KeyOffer {
    /// Its file, or that it is the agent's.
    pub(super) name: String,
    pub(super) key: KeyData,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) source: KeySource,
    /// Whether the operator named it.
    pub(super) named: bool,
}

impl KeyOffer {
    pub(super) fn algorithm(&self) -> Algorithm {
        self.certificate.as_ref().map_or_else(|| self.key.algorithm(), |certificate| certificate.algorithm())
    }

    /// Name, kind and fingerprint.
    pub(super) fn describe(&self) -> String {
        let kind = match &self.certificate {
            Some(_) => self.algorithm().to_certificate_type(),
            None => self.algorithm().as_str().to_owned(),
        };
        format!("{} ({kind} {})", self.name, self.key.fingerprint(HashAlg::Sha256))
    }
}

/// Something that is there and is not offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnusedKey {
    pub(super) name: String,
    pub(super) problem: KeyFileProblem,
    /// Whether the operator meant it to be used.
    pub(super) meant: bool,
    pub(super) hint: String,
}

impl UnusedKey {
    fn file(path: &Path, problem: &KeyFileProblem, meant: bool) -> Self {
        Self { name: path.display().to_string(), problem: problem.clone(), meant, hint: problem.hint(path) }
    }
}

/// The offers, and what cannot be one.
pub(super) fn order(credentials: &Credentials) -> (Vec<KeyOffer>, Vec<UnusedKey>) {
    let mut queue = OfferQueue { credentials, offers: Vec::new(), unused: Vec::new() };
    for file in &credentials.certificates {
        queue.certificate(file, true);
    }
    // As in pubkey_prepare (sshconnect2.c): first the identities that the agent holds too.
    let (held, others): (Vec<_>, Vec<_>) = credentials
        .identities
        .iter()
        .partition(|identity| identity.file.public.as_ref().is_some_and(|key| queue.agent_holds(key)));
    for identity in &held {
        queue.identity(identity);
    }
    // Before the agent's other keys: MaxAuthTries could end the login before a key that the operator named.
    if credentials.identities_named {
        others.iter().for_each(|identity| queue.identity(identity));
    }
    if !credentials.identities_only {
        queue.rest_of_the_agent();
    }
    // Default files come last, as there: nobody said that they are for this host.
    if !credentials.identities_named {
        others.iter().for_each(|identity| queue.identity(identity));
    }
    (queue.offers, queue.unused)
}

struct OfferQueue<'a> {
    credentials: &'a Credentials,
    offers: Vec<KeyOffer>,
    unused: Vec<UnusedKey>,
}

impl OfferQueue<'_> {
    fn agent_keys(&self) -> &[AgentKey] {
        self.credentials.agent.as_ref().map_or(&[], |(_, keys)| keys)
    }

    fn agent_holds(&self, key: &KeyData) -> bool {
        self.agent_keys().iter().any(|held| held.key == *key)
    }

    /// What can sign with a key. A file is quicker than the agent, and does not hang; of the agent's names for the
    /// key the very one is taken where it has it.
    fn source(&self, key: &KeyData, certificate: Option<&Arc<Certificate>>) -> Option<KeySource> {
        let own = self.credentials.identities.iter().find_map(|identity| {
            identity.file.private.as_ref().ok().filter(|private| private.public_key().key_data() == key)
        });
        if let Some(own) = own {
            return Some(KeySource::File(Arc::clone(own)));
        }
        let (agent, keys) = self.credentials.agent.as_ref()?;
        let mut held: Vec<_> = keys.iter().filter(|held| held.key == *key).collect();
        // The entry with the same certificate first, then the bare key: an agent may know one key by several names.
        held.sort_by_key(|held| (held.certificate.as_ref() != certificate, held.certificate.is_some()));
        held.first().map(|held| KeySource::Agent(Arc::clone(agent), Box::new(held.identity())))
    }

    fn push(&mut self, offer: KeyOffer) {
        // A certificate and its bare key are two offers; the same one twice would waste an attempt.
        let known = self.offers.iter().any(|known| known.key == offer.key && known.certificate == offer.certificate);
        if !known {
            self.offers.push(offer);
        }
    }

    /// One that lies beside a key which cannot be used is not reported: the key is.
    fn certificate(&mut self, file: &CertificateFile, named: bool) {
        // Checked when it is offered, not when it is read: it may expire during the run.
        let checked = file.certificate.clone().and_then(|found| certificate::check(&found).map(|()| found));
        let offer = checked.and_then(|found| {
            let source = self.source(found.public_key(), Some(&found)).ok_or(KeyFileProblem::NoKey)?;
            Ok(KeyOffer {
                name: file.path.display().to_string(),
                key: found.public_key().clone(),
                certificate: Some(found),
                source,
                named: true,
            })
        });
        match offer {
            Ok(offer) => self.push(offer),
            // Without its key it is useless; the file of the key is reported instead.
            Err(KeyFileProblem::NoKey) if !named => {}
            Err(problem) => self.unused.push(UnusedKey::file(&file.path, &problem, true)),
        }
    }

    /// The key, then what certificates there are for it.
    fn identity(&mut self, IdentityKey { file, public, beside }: &IdentityKey) {
        let named = self.credentials.identities_named;
        match public {
            Some(certificate) => self.certificate(certificate, named),
            None => self.key_of(file, named),
        }
        // Most keys have no certificate beside them, which is no problem to report.
        if let Some(beside) = beside.as_ref().filter(|beside| beside.certificate != Err(KeyFileProblem::Missing)) {
            self.certificate(beside, false);
        }
        let held: Vec<_> =
            self.agent_keys().iter().filter(|held| Some(&held.key) == file.public.as_ref()).cloned().collect();
        for key in held {
            self.of_agent(&key, named);
        }
    }

    fn key_of(&mut self, file: &KeyFile, named: bool) {
        let source = file.public.as_ref().and_then(|key| Some((key, self.source(key, None)?)));
        match (source, &file.private) {
            (Some((key, source)), _) => self.push(KeyOffer {
                name: file.path.display().to_string(),
                key: key.clone(),
                certificate: None,
                source,
                named,
            }),
            // Nobody misses a file that is there by default only.
            (None, Err(KeyFileProblem::Missing | KeyFileProblem::PublicOnly)) if !named => {}
            (None, Err(problem)) => self.unused.push(UnusedKey::file(&file.path, problem, named)),
            // A private key is its own source, so this arm is never reached.
            (None, Ok(_)) => {}
        }
    }

    fn rest_of_the_agent(&mut self) {
        for key in self.agent_keys().to_vec() {
            self.of_agent(&key, false);
        }
    }

    fn of_agent(&mut self, held: &AgentKey, named: bool) {
        let Some((agent, _)) = &self.credentials.agent else { return };
        let name = if held.comment.is_empty() {
            "agent key".to_owned()
        } else {
            format!("agent key {}", printable(&held.comment))
        };
        // One message for all certificates with the same problem.
        if let Some(Err(problem)) = held.certificate.as_ref().map(|held| certificate::check(held)) {
            let hint = problem.hint(Path::new("-"));
            let known = self.unused.iter().any(|known| known.problem == problem);
            if !known {
                self.unused.push(UnusedKey { name, problem, meant: named, hint });
            }
            return;
        }
        let source = KeySource::Agent(Arc::clone(agent), Box::new(held.identity()));
        self.push(KeyOffer { name, key: held.key.clone(), certificate: held.certificate.clone(), source, named });
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]
mod tests {
    use std::path::PathBuf;

    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::certificate::{Builder, CertType};

    use super::*;
    use crate::ssh::auth::agent::AgentPool;

    fn key(seed: u8) -> PrivateKey {
        let pair = russh::keys::ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]);
        PrivateKey::new(pair.into(), "").unwrap()
    }

    fn certificate(seed: u8, until: u64) -> Arc<Certificate> {
        let subject = key(seed).public_key().key_data().clone();
        let mut builder = Builder::new(vec![seed; 16], subject, 0, until).unwrap();
        builder.cert_type(CertType::User).unwrap().valid_principal("root").unwrap();
        Arc::new(builder.sign(&key(99)).unwrap())
    }

    fn file(seed: u8, private: Result<(), KeyFileProblem>) -> KeyFile {
        KeyFile {
            path: PathBuf::from(format!("k{seed}")),
            public: Some(key(seed).public_key().key_data().clone()),
            private: private.map(|()| Arc::new(key(seed))),
        }
    }

    fn held(seed: u8, certificate: Option<Arc<Certificate>>) -> AgentKey {
        AgentKey { key: key(seed).public_key().key_data().clone(), certificate, comment: format!("a{seed}") }
    }

    fn credentials(identities: Vec<KeyFile>, held: Vec<AgentKey>) -> Credentials {
        Credentials {
            certificates: Vec::new(),
            identities: identities.into_iter().map(|file| IdentityKey { file, public: None, beside: None }).collect(),
            identities_named: true,
            identities_only: false,
            agent: Some((AgentPool::default().at(Path::new("socket")), held.into())),
        }
    }

    /// The offers, each with its kind and its signer, and the names of the unused keys.
    fn shown(credentials: &Credentials) -> (Vec<String>, Vec<String>) {
        let (offers, unused) = order(credentials);
        let offer = |offer: KeyOffer| {
            let kind = if offer.certificate.is_some() { " certificate" } else { "" };
            let source = if matches!(offer.source, KeySource::File(_)) { "file" } else { "agent" };
            format!("{}{kind} by {source}", offer.name)
        };
        (offers.into_iter().map(offer).collect(), unused.into_iter().map(|unused| unused.name).collect())
    }

    #[test]
    fn what_was_named_goes_first_and_nothing_twice() {
        let all = || vec![held(1, None), held(2, None), held(3, None)];
        let mut both = credentials(vec![file(7, Ok(())), file(3, Ok(())), file(3, Ok(()))], all());
        let named = ["k3 by file", "k7 by file", "agent key a1 by agent", "agent key a2 by agent"];
        assert_eq!(shown(&both).0, named);
        both.identities_only = true;
        assert_eq!(shown(&both).0, named[..2]);
        both = Credentials { identities_named: false, identities_only: false, ..both };
        assert_eq!(shown(&both).0, ["k3 by file", "agent key a1 by agent", "agent key a2 by agent", "k7 by file"]);
    }

    #[test]
    fn the_agent_signs_for_files_that_cannot() {
        let locked = KeyFileProblem::Locked { wrong: false };
        let files = [
            locked.clone(),
            KeyFileProblem::Exposed(0o644),
            KeyFileProblem::Missing,
            KeyFileProblem::PublicOnly,
            KeyFileProblem::SecurityKey,
        ];
        let files = || (1..).zip(&files).map(|(seed, problem)| file(seed, Err(problem.clone()))).collect();
        let held = (1..=5).map(|seed| held(seed, None)).collect();
        let with = Credentials { identities_only: true, ..credentials(files(), held) };
        let by_agent: Vec<_> = (1..=5).map(|seed| format!("k{seed} by agent")).collect();
        assert_eq!(shown(&with), (by_agent, Vec::new()));
        let without = credentials(files(), Vec::new());
        assert_eq!(shown(&without), (Vec::new(), ["k1", "k2", "k3", "k4", "k5"].map(str::to_owned).to_vec()));
        let by_default = Credentials { identities_named: false, ..without };
        assert_eq!(shown(&by_default).1, ["k1", "k2", "k5"], "what is not there by default is not missed");
    }

    #[test]
    fn certificates_named_beside_and_in_the_agent() {
        let of = |name: &str, certificate| CertificateFile { path: PathBuf::from(name), certificate };
        let mut all = credentials(vec![file(1, Ok(()))], vec![held(2, None), held(2, Some(certificate(2, u64::MAX)))]);
        all.certificates = vec![
            of("c2", Ok(certificate(2, u64::MAX))),
            of("c3", Ok(certificate(3, u64::MAX))),
            of("old", Ok(certificate(1, 5))),
        ];
        let (offers, unused) = shown(&all);
        assert_eq!(offers, ["c2 certificate by agent", "k1 by file", "agent key a2 by agent"]);
        assert_eq!(unused, ["c3", "old"]);

        all.certificates.clear();
        all.identities[0].beside = Some(of("k1-cert.pub", Ok(certificate(1, u64::MAX))));
        let (offers, unused) = shown(&all);
        let last = "agent key a2 certificate by agent";
        assert_eq!(offers, ["k1 by file", "k1-cert.pub certificate by file", "agent key a2 by agent", last]);
        assert!(unused.is_empty());
        all.identities[0].beside = Some(of("k1-cert.pub", Err(KeyFileProblem::Missing)));
        assert_eq!(shown(&all).1, [""; 0]);

        // A certificate where the public key would be stands for the key.
        all.identities[0].public = Some(of("k1.pub", Ok(certificate(1, u64::MAX))));
        assert_eq!(shown(&all).0[0], "k1.pub certificate by file");
        assert!(!shown(&all).0.contains(&"k1 by file".to_owned()));
        all.identities[0].public = Some(of("k1.pub", Ok(certificate(1, 5))));
        assert_eq!(shown(&all).1, ["k1.pub"]);
    }
}
