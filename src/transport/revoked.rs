//! `RevokedHostKeys`: files of keys that are never to be accepted.
//!
//! Here lives [`RevokedKeys`]. A file holds public keys, a line each, or is a key revocation list of OpenSSH
//! (PROTOCOL.krl). What always holds: a file that cannot be read or understood in every part revokes every key, as with
//! `ssh`; a key is revoked as itself, in a certificate, and as the authority of one; what is read is bounded.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg, PublicKey};
use sha1::{Digest, Sha1};

/// A file larger than this, in bytes, is an error.
const MAX_FILE: u64 = 64 << 20;
/// The first bytes of a key revocation list.
const MAGIC: &[u8] = b"SSHKRL\n\0";

/// What a file revokes.
#[derive(Debug, Default)]
pub(super) struct RevokedKeys {
    /// Encoded public keys.
    keys: HashSet<Vec<u8>>,
    sha1: HashSet<Vec<u8>>,
    sha256: HashSet<Vec<u8>>,
    certificates: Vec<RevokedCertificates>,
}

/// Certificates of one authority.
#[derive(Debug, Default)]
struct RevokedCertificates {
    /// Encoded; none: of any authority.
    authority: Option<Vec<u8>>,
    /// First and last serial number.
    serials: Vec<(u64, u64)>,
    key_ids: HashSet<Vec<u8>>,
}

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RevokedError {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("it is larger than {MAX_FILE} bytes")]
    TooLarge,
    #[error("line {0} is no public key")]
    Line(usize),
    #[error("it is a key revocation list that cannot be understood: {0}")]
    List(&'static str),
}

impl RevokedKeys {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, RevokedError> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if !u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE) {
            return Err(RevokedError::TooLarge);
        }
        match bytes.strip_prefix(MAGIC) {
            Some(list) => Self::list(list).map_err(RevokedError::List),
            None => Self::lines(&bytes),
        }
    }

    fn lines(bytes: &[u8]) -> Result<Self, RevokedError> {
        let mut revoked = Self::default();
        for (index, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = PublicKey::from_openssh(line).map_err(|_| RevokedError::Line(index + 1))?;
            revoked.keys.insert(encoded(key.key_data()));
        }
        Ok(revoked)
    }

    fn list(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut revoked = Self::default();
        let mut list = Bytes(bytes);
        if list.u32()? != 1 {
            return Err("its version is not 1");
        }
        // Number, date and flags; then two texts.
        for _ in 0..3 {
            list.u64()?;
        }
        list.string()?;
        list.string()?;
        while !list.0.is_empty() {
            match (list.u8()?, list.string()?) {
                (1, section) => revoked.certificates.push(certificates(section)?),
                (2, section) => each(section, |key| revoked.keys.insert(key.to_vec()))?,
                (3, section) => each(section, |hash| revoked.sha1.insert(hash.to_vec()))?,
                (5, section) => each(section, |hash| revoked.sha256.insert(hash.to_vec()))?,
                // A signature, which `ssh` does not look at either; the second string is the signature itself.
                (4, _) => {
                    list.string()?;
                }
                (255, section) => extension(section)?,
                _ => return Err("it has a section of a kind that is not known"),
            }
        }
        Ok(revoked)
    }

    /// Whether a key is revoked.
    pub(super) fn has(&self, key: &KeyData) -> bool {
        let blob = encoded(key);
        self.keys.contains(&blob)
            || self.sha1.contains(Sha1::digest(&blob).as_slice())
            || self.sha256.contains(key.fingerprint(HashAlg::Sha256).as_bytes())
    }

    /// Whether a certificate is revoked: itself, its key, or its authority.
    pub(super) fn has_certificate(&self, certificate: &Certificate) -> bool {
        let authority = encoded(certificate.signature_key());
        let of_authority =
            self.certificates.iter().filter(|revoked| revoked.authority.as_ref().is_none_or(|own| *own == authority));
        self.has(certificate.public_key()) || self.has(certificate.signature_key()) || {
            let serial = certificate.serial();
            of_authority.into_iter().any(|revoked| {
                // 0 stands for no number.
                serial != 0 && revoked.serials.iter().any(|(first, last)| (*first..=*last).contains(&serial))
                    || revoked.key_ids.contains(certificate.key_id().as_bytes())
            })
        }
    }
}

fn encoded(key: &KeyData) -> Vec<u8> {
    PublicKey::new(key.clone(), String::new()).to_bytes().unwrap_or_default()
}

fn certificates(section: &[u8]) -> Result<RevokedCertificates, &'static str> {
    let mut section = Bytes(section);
    let authority = section.string()?;
    section.string()?;
    let mut revoked =
        RevokedCertificates { authority: (!authority.is_empty()).then(|| authority.to_vec()), ..Default::default() };
    while !section.0.is_empty() {
        let kind = section.u8()?;
        let mut part = Bytes(section.string()?);
        match kind {
            0x20 => {
                while !part.0.is_empty() {
                    let serial = part.u64()?;
                    revoked.serials.push((serial, serial));
                }
            }
            0x21 => revoked.serials.push((part.u64()?, part.u64()?)),
            0x22 => {
                let offset = part.u64()?;
                let bitmap = part.string()?;
                for (index, byte) in bitmap.iter().rev().enumerate() {
                    for bit in (0..8_u64).filter(|bit| byte >> bit & 1 == 1) {
                        let place = u64::try_from(index).unwrap_or(u64::MAX).saturating_mul(8).saturating_add(bit);
                        let serial = offset.checked_add(place).ok_or("a serial number is too large")?;
                        revoked.serials.push((serial, serial));
                    }
                }
            }
            0x23 => each(part.0, |id| revoked.key_ids.insert(id.to_vec()))?,
            0x39 => extension(part.0)?,
            _ => return Err("certificates are revoked in a way that is not known"),
        }
    }
    Ok(revoked)
}

/// An extension may be passed over unless it is critical.
fn extension(section: &[u8]) -> Result<(), &'static str> {
    let mut section = Bytes(section);
    section.string()?;
    if section.u8()? == 0 { Ok(()) } else { Err("it has a critical extension that is not known") }
}

fn each(section: &[u8], mut take: impl FnMut(&[u8]) -> bool) -> Result<(), &'static str> {
    let mut section = Bytes(section);
    while !section.0.is_empty() {
        take(section.string()?);
    }
    Ok(())
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

const SHORT: &str = "it ends too early";

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, &'static str> {
        Ok(u8::from_be_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    fn string(&mut self) -> Result<&'a [u8], &'static str> {
        let length = usize::try_from(self.u32()?).map_err(|_| SHORT)?;
        let (head, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    /// Runs ssh-keygen in a directory.
    fn keygen(dir: &Path, words: &str) {
        let status = Command::new("ssh-keygen").arg("-q").args(words.split(' ')).current_dir(dir).output().unwrap();
        assert!(status.status.success(), "{words}: {}", String::from_utf8_lossy(&status.stderr));
    }

    fn new_key(dir: &Path, name: &str) -> PublicKey {
        let output =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", name]).current_dir(dir).output();
        assert!(output.unwrap().status.success());
        PublicKey::read_openssh_file(&dir.join(format!("{name}.pub"))).unwrap()
    }

    fn certificate(dir: &Path, name: &str, id: &str, serial: u32) -> Certificate {
        keygen(dir, &format!("-s ca -h -I {id} -z {serial} -n host {name}.pub"));
        Certificate::read_file(&dir.join(format!("{name}-cert.pub"))).unwrap()
    }

    fn list(dir: &Path, words: &str) -> RevokedKeys {
        keygen(dir, &format!("-k -f list {words}"));
        RevokedKeys::read(&dir.join("list")).unwrap()
    }

    #[test]
    fn keys_a_line_each() {
        let dir = tempfile::tempdir().unwrap();
        let (bad, good) = (new_key(dir.path(), "bad"), new_key(dir.path(), "good"));
        let text = std::fs::read_to_string(dir.path().join("bad.pub")).unwrap();
        std::fs::write(dir.path().join("revoked"), format!("# gone\n\n{text}")).unwrap();
        let revoked = RevokedKeys::read(&dir.path().join("revoked")).unwrap();
        assert!(revoked.has(bad.key_data()) && !revoked.has(good.key_data()));
        std::fs::write(dir.path().join("revoked"), format!("{text}nonsense\n")).unwrap();
        assert!(matches!(RevokedKeys::read(&dir.path().join("revoked")), Err(RevokedError::Line(2))));
        assert!(matches!(RevokedKeys::read(&PathBuf::from("/nonexistent")), Err(RevokedError::Read(_))));
    }

    #[test]
    fn lists_that_ssh_keygen_makes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let (bad, good, _) = (new_key(dir, "bad"), new_key(dir, "good"), new_key(dir, "ca"));
        let revoked = list(dir, "bad.pub");
        assert!(revoked.has(bad.key_data()) && !revoked.has(good.key_data()));
        for hash in ["sha1", "sha256"] {
            let text = std::fs::read_to_string(dir.join("bad.pub")).unwrap();
            std::fs::write(dir.join("spec"), format!("{hash}: {text}")).unwrap();
            let revoked = list(dir, "spec");
            assert!(revoked.has(bad.key_data()) && !revoked.has(good.key_data()), "{hash}");
        }
        let certified = certificate(dir, "good", "one", 7);
        for (spec, expected) in [
            ("serial: 7", true),
            ("serial: 5-9", true),
            ("serial: 8", false),
            ("serial: 1\nserial: 3\nserial: 5\nserial: 7\nserial: 9", true),
            ("serial: 2\nserial: 4\nserial: 6\nserial: 8", false),
            ("id: one", true),
            ("id: two", false),
        ] {
            std::fs::write(dir.join("spec"), format!("{spec}\n")).unwrap();
            let revoked = list(dir, "-s ca.pub spec");
            assert_eq!(revoked.has_certificate(&certified), expected, "{spec}");
            assert!(!revoked.has(good.key_data()), "{spec}");
        }
        assert!(list(dir, "ca.pub").has_certificate(&certified));
        assert!(list(dir, "good.pub").has_certificate(&certified));
    }

    #[test]
    fn every_broken_list_is_an_error_and_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        new_key(dir, "bad");
        list(dir, "bad.pub");
        let whole = std::fs::read(dir.join("list")).unwrap();
        for end in MAGIC.len()..whole.len() {
            std::fs::write(dir.join("list"), &whole[..end]).unwrap();
            // One cut may fall between two sections.
            let header_only = end == MAGIC.len() + 4 + 24 + 8;
            assert!(RevokedKeys::read(&dir.join("list")).is_err() || header_only, "cut at {end}");
        }
        let mut strange = whole;
        strange[MAGIC.len() + 36] = 77;
        std::fs::write(dir.join("list"), strange).unwrap();
        assert!(matches!(RevokedKeys::read(&dir.join("list")), Err(RevokedError::List(_))));
    }
}
