//! OpenSSH's user certificates: read from files, and judged by type and time.
//!
//! Invariants: a certificate that does not hold now, or that is none of a user, is never offered. Whether the
//! node trusts its authority only the node knows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use russh::keys::Certificate;
use russh::keys::ssh_key::certificate::CertType;

use super::key_file::{KeyFileProblem, public_text};

/// A file that was named as a certificate, or lies beside a key as one.
#[derive(Clone)]
pub(super) struct CertificateFile {
    pub(super) path: PathBuf,
    pub(super) certificate: Result<Arc<Certificate>, KeyFileProblem>,
}

impl CertificateFile {
    pub(super) fn read(path: &Path) -> Self {
        Self { path: path.to_owned(), certificate: read(path).map(Arc::new) }
    }
}

fn read(path: &Path) -> Result<Certificate, KeyFileProblem> {
    let text = public_text(path)?;
    // Like a key file, a certificate may have comments and empty lines before it.
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    Certificate::from_openssh(line).map_err(|error| KeyFileProblem::Unknown(format!("is not a certificate: {error}")))
}

/// Whether a certificate may be offered now.
pub(super) fn check(certificate: &Certificate) -> Result<(), KeyFileProblem> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    check_at(certificate.cert_type(), certificate.valid_after(), certificate.valid_before(), now)
}

fn check_at(kind: CertType, after: u64, before: u64, now: u64) -> Result<(), KeyFileProblem> {
    // The node would refuse it, and each refusal counts against MaxAuthTries.
    if kind != CertType::User {
        return Err(KeyFileProblem::Unknown("is a certificate of a host, not of a user".to_owned()));
    }
    if now < after {
        return Err(KeyFileProblem::NotValid(format!(
            "is a certificate that is not yet valid: valid from {}, now {}",
            time(after),
            time(now)
        )));
    }
    // The end does not belong to the period (PROTOCOL.certkeys).
    if now >= before {
        return Err(KeyFileProblem::NotValid(format!(
            "is a certificate that has expired: valid from {} to {}",
            time(after),
            time(before)
        )));
    }
    Ok(())
}

fn time(seconds: u64) -> String {
    // `valid before` may be 2^64 - 1, "forever", which is no date.
    let timestamp = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(|| "the end of time".to_owned(), |timestamp| timestamp.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_of_users_that_hold_now() {
        assert_eq!(check_at(CertType::User, 10, 20, 10), Ok(()));
        assert_eq!(check_at(CertType::User, 0, u64::MAX, 10), Ok(()));
        assert!(matches!(check_at(CertType::Host, 10, 20, 15), Err(KeyFileProblem::Unknown(_))));
        let early = check_at(CertType::User, 1_700_000_000, u64::MAX, 1_600_000_000).unwrap_err();
        assert_eq!(
            early.to_string(),
            "is a certificate that is not yet valid: valid from 2023-11-14T22:13:20Z, now 2020-09-13T12:26:40Z"
        );
        let late = check_at(CertType::User, 0, 1_600_000_000, 1_600_000_000).unwrap_err();
        assert_eq!(
            late.to_string(),
            "is a certificate that has expired: valid from 1970-01-01T00:00:00Z to 2020-09-13T12:26:40Z"
        );
    }
}
