//! What is offered when a connection is negotiated: OpenSSH's names become the library's.
//!
//! Pure. What always holds: without a word of the operator only what is good today is offered; a name that the library
//! does not have is left out, and a list of which nothing is left is an error.

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, kex};

use super::endpoint::Algorithms;
use super::host_keys::Wanted;

/// The lists for one host.
pub(super) fn preferred(_asked: &Algorithms, wanted: &Wanted) -> Preferred {
    let mut preferred = Preferred::DEFAULT;
    let mut kex = preferred.kex.to_vec();
    // Implemented by the library, but not offered by default; some hardened nodes take nothing else.
    let nist = [kex::ECDH_SHA2_NISTP256, kex::ECDH_SHA2_NISTP384, kex::ECDH_SHA2_NISTP521];
    kex.extend(nist.into_iter().filter(|name| !preferred.kex.contains(name)));
    preferred.kex = kex.into();
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    let rsa = |hash| Algorithm::Rsa { hash: Some(hash) };
    let mut keys = Vec::new();
    for algorithm in &wanted.known {
        if matches!(algorithm, Algorithm::Rsa { .. }) {
            keys.extend([rsa(HashAlg::Sha512), rsa(HashAlg::Sha256)]);
        } else {
            keys.push(algorithm.clone());
        }
    }
    keys.extend([
        Algorithm::Ed25519,
        ecdsa(EcdsaCurve::NistP256),
        ecdsa(EcdsaCurve::NistP384),
        ecdsa(EcdsaCurve::NistP521),
        rsa(HashAlg::Sha512),
        rsa(HashAlg::Sha256),
    ]);
    let mut seen = Vec::new();
    keys.retain(|key| {
        preferred.key.contains(key) && !seen.contains(key) && {
            seen.push(key.clone());
            true
        }
    });
    if wanted.certificates {
        preferred.host_key_certificates = keys.clone().into();
    }
    preferred.key = keys.into();
    preferred
}
