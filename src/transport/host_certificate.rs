//! Whether the certificate that a host shows proves that it is the host (PROTOCOL.certkeys of OpenSSH).
//!
//! Pure but for the clock that is handed in. What always holds: a certificate without a list of names proves nothing, though
//! OpenSSH 9.2 takes it for any host; no critical option is known for hosts, so that each one is a refusal.

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

/// Why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("its authority {0} is not one that is known for this host")]
    Authority(String),
    #[error("it is a user's certificate")]
    NotOfAHost,
    #[error("its signature is wrong")]
    Signature,
    #[error("it is signed with SHA-1")]
    WeakSignature,
    #[error("it is valid only from {0} on")]
    NotYet(String),
    #[error("it expired at {0}")]
    Expired(String),
    #[error("it names no host")]
    NoPrincipal,
    #[error("it is for {0}, not for this host")]
    Principal(String),
    #[error("it has a critical option that is not known: {0}")]
    CriticalOption(String),
}

/// So many names of a certificate are shown, each cut after this many characters.
const NAMES_SHOWN: usize = 5;
const NAME_SHOWN: usize = 64;

/// Judges a certificate that `name` shows at `now`, in seconds since 1970. `authorities` are those known for the host.
pub(super) fn check(certificate: &Certificate, name: &str, authorities: &[&PublicKey], now: u64) -> Result<(), Flaw> {
    let authority = certificate.signature_key();
    if !authorities.iter().any(|known| known.key_data() == authority) {
        return Err(Flaw::Authority(key_fingerprint(authority)));
    }
    if certificate.cert_type() != CertType::Host {
        return Err(Flaw::NotOfAHost);
    }
    if matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None }) {
        return Err(Flaw::WeakSignature);
    }
    // The time is judged apart, so that it can be told.
    let fingerprint = authority.fingerprint(HashAlg::Sha256);
    let inside = certificate.valid_after().max(now.min(certificate.valid_before().saturating_sub(1)));
    certificate.validate_at(inside, [&fingerprint]).map_err(|_| Flaw::Signature)?;
    if now < certificate.valid_after() {
        return Err(Flaw::NotYet(time(certificate.valid_after())));
    }
    if now >= certificate.valid_before() {
        return Err(Flaw::Expired(time(certificate.valid_before())));
    }
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return Err(Flaw::NoPrincipal);
    }
    if !principals.iter().any(|principal| super::known_hosts::wildcard(&principal.to_ascii_lowercase(), name)) {
        return Err(Flaw::Principal(shown(principals.iter().map(String::as_str))));
    }
    if let Some((option, _)) = certificate.critical_options().iter().next() {
        return Err(Flaw::CriticalOption(shown([option.as_str()])));
    }
    Ok(())
}

fn key_fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "the end of time".to_owned(), |time| time.to_string())
}

/// Words of the certificate, cut and made visible.
fn shown<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names = names.into_iter().take(NAMES_SHOWN);
    let cut = names.map(|name| name.chars().take(NAME_SHOWN).collect::<String>().escape_debug().to_string());
    cut.collect::<Vec<_>>().join(", ")
}
