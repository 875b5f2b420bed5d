//! Whether a host's certificate holds for a name. Pure; uses the SSH library's certificates only.
//!
//! The caller decides which authorities may sign for the host; this file checks the certificate, as OpenSSH does
//! (`sshkey.c`, `sshkey_cert_check_host`). One difference, to the careful side: a certificate without principals holds for no name.
//! OpenSSH 9.2 takes it for every name; who forgot to name the host did not mean all of them.

use russh::keys::ssh_key::Certificate;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, HashAlg};

/// Why a certificate does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CertificateFlaw {
    #[error("it is for users, not for hosts")]
    NotForHosts,
    #[error("it names no host")]
    NoPrincipals,
    #[error("it is for {}, not for {name}", principals.join(", "))]
    Principals { principals: Vec<String>, name: String },
    #[error("it is not valid before {0}")]
    NotYet(String),
    #[error("it expired at {0}")]
    Expired(String),
    #[error("it has the unknown critical option `{0}`")]
    CriticalOption(String),
    #[error("it is signed with {0}, which is too weak")]
    WeakSignature(Algorithm),
    #[error("its signature is wrong")]
    BadSignature,
}

/// Judges a certificate that was shown by the host `name` (in small letters, without port) at `now`, in seconds of Unix
/// time.
///
/// # Errors
/// The first flaw found.
pub(super) fn check(certificate: &Certificate, name: &str, now: u64) -> Result<(), CertificateFlaw> {
    // A user certificate may have the same authority, and its principals are users: it proves nothing about a host.
    if certificate.cert_type() != CertType::Host {
        return Err(CertificateFlaw::NotForHosts);
    }
    if now < certificate.valid_after() {
        return Err(CertificateFlaw::NotYet(time(certificate.valid_after())));
    }
    // The end does not belong to the period (PROTOCOL.certkeys: `valid after <= current time < valid before`).
    if now >= certificate.valid_before() {
        return Err(CertificateFlaw::Expired(time(certificate.valid_before())));
    }
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return Err(CertificateFlaw::NoPrincipals);
    }
    // No wildcards, and no other letters: as `ssh` has it.
    if !principals.iter().any(|principal| principal == name) {
        return Err(CertificateFlaw::Principals { principals: principals.to_vec(), name: name.to_owned() });
    }
    // No critical option is defined for hosts, so each one is unknown, and an unknown one voids the certificate
    // (PROTOCOL.certkeys).
    if let Some(option) = certificate.critical_options().keys().next() {
        return Err(CertificateFlaw::CriticalOption(option.clone()));
    }
    let algorithm = certificate.signature().algorithm();
    // The default of CASignatureAlgorithms in OpenSSH 9.2 has neither of them.
    if matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err(CertificateFlaw::WeakSignature(algorithm));
    }
    let signer = certificate.signature_key().fingerprint(HashAlg::Sha256);
    // The caller has checked the authority; naming it again only makes the library check the signature.
    certificate.validate_at(now, [&signer]).map_err(|_| CertificateFlaw::BadSignature)
}

fn time(seconds: u64) -> String {
    // `valid before` may be 2^64 - 1, "forever", which is no date.
    let timestamp = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(|| "the end of time".to_owned(), |timestamp| timestamp.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn keygen(dir: &Path, arguments: &[&str]) {
        let output = Command::new("ssh-keygen").current_dir(dir).args(arguments).output().expect("ssh-keygen");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn what_a_certificate_holds_for() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let dir = dir.path();
        keygen(dir, &["-q", "-t", "ed25519", "-N", "", "-f", "ca"]);
        keygen(dir, &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "rsa"]);
        keygen(dir, &["-q", "-t", "ed25519", "-N", "", "-f", "host"]);
        // 2020-01-01 to 2030-01-01.
        let valid = ["-V", "20200101000000Z:20300101000000Z"];
        let now = 1_750_000_000;
        let sign = |ca: &str, options: &[&str]| {
            keygen(dir, &[&["-q", "-s", ca, "-I", "id"][..], &valid, options, &["host.pub"]].concat());
            let text = fs::read_to_string(dir.join("host-cert.pub")).expect("a certificate");
            Certificate::from_openssh(&text).expect("a certificate")
        };
        let said = |certificate: &Certificate, at| {
            check(certificate, "n1", at).map_or_else(|flaw| flaw.to_string(), |()| "holds".to_owned())
        };
        for (ca, options, expected) in [
            ("ca", &["-h", "-n", "n1"][..], "holds"),
            ("ca", &["-h", "-n", "n0,n1"], "holds"),
            ("ca", &["-h", "-n", "n1", "-t", "ssh-ed25519"], "holds"),
            ("rsa", &["-h", "-n", "n1"], "holds"),
            ("rsa", &["-h", "-n", "n1", "-t", "rsa-sha2-256"], "holds"),
            ("rsa", &["-h", "-n", "n1", "-t", "ssh-rsa"], "it is signed with ssh-rsa, which is too weak"),
            ("ca", &["-n", "n1"], "it is for users, not for hosts"),
            ("ca", &["-h"], "it names no host"),
            ("ca", &["-h", "-n", "n2,n3"], "it is for n2, n3, not for n1"),
            ("ca", &["-h", "-n", "n*"], "it is for n*, not for n1"),
            ("ca", &["-h", "-n", "N1"], "it is for N1, not for n1"),
            ("ca", &["-h", "-n", "n1", "-O", "critical:x@y=z"], "it has the unknown critical option `x@y`"),
            ("ca", &["-h", "-n", "n1", "-O", "extension:x@y=z"], "holds"),
        ] {
            assert_eq!(said(&sign(ca, options), now), expected, "{ca} {options:?}");
        }
        let good = sign("ca", &["-h", "-n", "n1"]);
        assert_eq!(said(&good, 1_577_836_800), "holds");
        assert_eq!(said(&good, 1_577_836_799), "it is not valid before 2020-01-01T00:00:00Z");
        assert_eq!(said(&good, 1_893_456_000), "it expired at 2030-01-01T00:00:00Z");
        let mut forged = good.to_bytes().expect("bytes");
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(said(&Certificate::from_bytes(&forged).expect("readable"), now), "its signature is wrong");
    }
}
