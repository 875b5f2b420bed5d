//! Signatures: which kinds may be used, and where they come from.
//!
//! Here live [`choose`] and [`Signer`]. Invariants: SHA-1 signs only where the operator allowed `ssh-rsa` and
//! the node knows nothing better; what `PubkeyAcceptedAlgorithms` leaves out is not offered.

use std::sync::Arc;

use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{Algorithm, HashAlg, PrivateKey};

use super::agent::AgentHandle;
use crate::ssh::phase::{ConnectPhase, CurrentPhase};

/// The signatures by RSA keys that a node accepts (`server-sig-algs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeRsa {
    /// It does not say. OpenSSH does from 7.2 on.
    Silent,
    /// SHA-1 only.
    Sha1,
    /// At best with this hash.
    Sha2(HashAlg),
}

/// The hash to sign with, none for keys that have no choice and for SHA-1; or why the key is not offered.
pub(super) fn choose(
    algorithm: &Algorithm,
    certified: bool,
    accepted: Option<&[String]>,
    node: NodeRsa,
) -> Result<Option<HashAlg>, &'static str> {
    let allowed = |algorithm: &Algorithm| {
        let name = if certified { algorithm.to_certificate_type() } else { algorithm.as_str().to_owned() };
        match accepted {
            // An explicit list decides alone: it may allow `ssh-rsa`.
            Some(names) => names.contains(&name),
            None => !matches!(algorithm, Algorithm::Dsa | Algorithm::Rsa { hash: None }),
        }
    };
    if !matches!(algorithm, Algorithm::Rsa { .. }) {
        return if allowed(algorithm) { Ok(None) } else { Err("is left out by PubkeyAcceptedAlgorithms") };
    }
    let rsa = |hash| allowed(&Algorithm::Rsa { hash });
    let sha1 = rsa(None);
    // SHA-512 first, but not for a node whose best is SHA-256.
    let sha2 = [HashAlg::Sha512, HashAlg::Sha256]
        .into_iter()
        .find(|&hash| rsa(Some(hash)) && (hash == HashAlg::Sha256 || node != NodeRsa::Sha2(HashAlg::Sha256)));
    match (node, sha2) {
        // An operator who allows SHA-1 has nodes that know nothing else; without that, the better one may still be known.
        (NodeRsa::Silent | NodeRsa::Sha1, _) if sha1 => Ok(None),
        (NodeRsa::Sha1, _) => {
            Err("is an RSA key, which the node accepts with SHA-1 only (PubkeyAcceptedAlgorithms +ssh-rsa allows that)")
        }
        (NodeRsa::Silent | NodeRsa::Sha2(_), Some(hash)) => Ok(Some(hash)),
        // The node knows SHA-2, but the operator allows only SHA-1.
        (NodeRsa::Sha2(_), None) if sha1 => Ok(None),
        (NodeRsa::Silent | NodeRsa::Sha2(_), None) => Err("is left out by PubkeyAcceptedAlgorithms"),
    }
}

/// Where the signature of an offer comes from.
#[derive(Clone)]
pub(super) enum KeySource {
    File(Arc<PrivateKey>),
    /// The agent, which knows the key by this name.
    Agent(Arc<AgentHandle>, Box<AgentIdentity>),
}

/// Signs for one connection.
pub(super) struct Signer<'a> {
    pub(super) source: &'a KeySource,
    pub(super) binding: Option<AgentSessionBinding>,
    pub(super) phase: &'a CurrentPhase,
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignError {
    #[error("the connection was lost")]
    Lost(#[from] russh::SendError),
    #[error("{0}")]
    Agent(String),
    #[error("it cannot sign: {0}")]
    Key(String),
}

impl russh::Signer for Signer<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _key: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        match self.source {
            KeySource::File(key) => {
                let key = Arc::clone(key);
                // RSA takes its time.
                let signed = tokio::task::spawn_blocking(move || sign(&key, hash, data)).await;
                signed.unwrap_or_else(|error| Err(error.to_string())).map_err(SignError::Key)
            }
            KeySource::Agent(agent, identity) => {
                // The agent may ask a person, so a timeout during this time is explained by it.
                self.phase.enter(ConnectPhase::AskingAgent);
                let signed = agent.sign(self.binding.as_ref(), identity, hash, data).await;
                self.phase.enter(ConnectPhase::Authenticating);
                signed.map_err(SignError::Agent)
            }
        }
    }
}

/// The data with the signature added to it.
fn sign(key: &PrivateKey, hash: Option<HashAlg>, mut data: Vec<u8>) -> Result<Vec<u8>, String> {
    let signature: Result<Signature, _> =
        // For RSA the hash is a choice; the library's plain `try_sign` would always use SHA-512.
        if let KeypairData::Rsa(pair) = key.key_data() { (pair, hash).try_sign(&data) } else { key.try_sign(&data) };
    let signature = signature.map_err(|error| error.to_string())?;
    signature.encode_prefixed(&mut data).map_err(|error| error.to_string())?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rsa_signs_with_the_best_that_both_sides_allow() {
        use HashAlg::{Sha256, Sha512};
        let rsa = Algorithm::Rsa { hash: None };
        let lists: [Option<&[&str]>; 5] = [
            None,
            Some(&["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]),
            Some(&["rsa-sha2-256"]),
            Some(&["ssh-rsa"]),
            Some(&["ssh-ed25519", "rsa-sha2-512-cert-v01@openssh.com"]),
        ];
        let nodes = [NodeRsa::Silent, NodeRsa::Sha1, NodeRsa::Sha2(Sha256), NodeRsa::Sha2(Sha512)];
        // Rows: the lists; columns: the nodes. None: not offered.
        let expected: [[Option<Option<HashAlg>>; 4]; 5] = [
            [Some(Some(Sha512)), None, Some(Some(Sha256)), Some(Some(Sha512))],
            [Some(None), Some(None), Some(Some(Sha256)), Some(Some(Sha512))],
            [Some(Some(Sha256)), None, Some(Some(Sha256)), Some(Some(Sha256))],
            [Some(None), Some(None), Some(None), Some(None)],
            [None, None, None, None],
        ];
        for (list, row) in lists.iter().zip(expected) {
            let list: Option<Vec<String>> = list.map(|names| names.iter().map(|&name| name.to_owned()).collect());
            for (node, wanted) in nodes.into_iter().zip(row) {
                assert_eq!(choose(&rsa, false, list.as_deref(), node).ok(), wanted, "{list:?} {node:?}");
            }
        }
        let certificates = ["rsa-sha2-512-cert-v01@openssh.com".to_owned()];
        assert_eq!(choose(&rsa, true, Some(&certificates), NodeRsa::Silent), Ok(Some(Sha512)));
    }

    #[test]
    fn other_keys_are_in_the_list_or_not() {
        let accepted = ["ssh-ed25519-cert-v01@openssh.com".to_owned()];
        assert_eq!(choose(&Algorithm::Ed25519, true, Some(&accepted), NodeRsa::Silent), Ok(None));
        assert!(choose(&Algorithm::Ed25519, false, Some(&accepted), NodeRsa::Silent).is_err());
        assert_eq!(choose(&Algorithm::SkEd25519, false, None, NodeRsa::Sha1), Ok(None));
        assert!(choose(&Algorithm::Dsa, false, None, NodeRsa::Silent).is_err());
    }
}
