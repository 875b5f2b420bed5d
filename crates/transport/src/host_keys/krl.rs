//! Reads OpenSSH's key revocation lists (`PROTOCOL.krl`, what `ssh-keygen -k` makes). Pure: bytes in, answer out.
//!
//! Invariants: a list is read whole or not at all, since what could not be read might revoke the key in question;
//! nothing is set aside that is not in the input. A signature on a list is not looked at: the list is trusted because
//! the operator named its file. Extensions are newer than OpenSSH 9.2, which rejects a list that has one.

use std::collections::HashSet;

use russh::keys::HashAlg;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::Certificate;
use russh::keys::ssh_key::public::KeyData;
use sha1::{Digest, Sha1};

/// The first bytes of a list, which no text file has.
pub(super) const MAGIC: &[u8] = b"SSHKRL\n\0";

/// A list could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KrlError {
    #[error("it ends too early, or is damaged")]
    Damaged,
    #[error("it has the unknown format {0}")]
    Format(u32),
    #[error("it has a section of the unknown type {0}")]
    Section(u8),
    #[error("it has an unknown critical extension")]
    Extension,
}

/// What a list revokes.
#[derive(Debug, Default)]
pub(super) struct RevocationList {
    /// Public keys as they go over the wire.
    keys: HashSet<Vec<u8>>,
    sha1: HashSet<Vec<u8>>,
    sha256: HashSet<Vec<u8>>,
    certificates: Vec<ByAuthority>,
}

/// Revoked certificates of one authority.
#[derive(Debug, Default)]
struct ByAuthority {
    /// The authority's key as it goes over the wire; none: any authority.
    authority: Option<Vec<u8>>,
    serials: HashSet<u64>,
    /// First and last serial.
    ranges: Vec<(u64, u64)>,
    bitmaps: Vec<SerialBitmap>,
    ids: HashSet<Vec<u8>>,
}

/// Serials from `first` on, one a bit, the lowest in the last byte.
#[derive(Debug)]
struct SerialBitmap {
    first: u64,
    bits: Vec<u8>,
}

impl RevocationList {
    /// # Errors
    /// If anything in it cannot be understood.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, KrlError> {
        let mut input = KrlInput(bytes.strip_prefix(MAGIC).ok_or(KrlError::Damaged)?);
        let format = input.u32()?;
        // Another version may mean something else by the same bytes.
        if format != 1 {
            return Err(KrlError::Format(format));
        }
        // Version, date and flags say nothing about keys; then a reserved field and a comment.
        for _ in 0..3 {
            input.u64()?;
        }
        input.string()?;
        input.string()?;
        let mut krl = Self::default();
        while !input.is_empty() {
            let kind = input.u8()?;
            let mut section = KrlInput(input.string()?);
            // The section types of PROTOCOL.krl: certificates, explicit keys, SHA-1, signature, SHA-256, extension.
            match kind {
                1 => krl.certificates.push(ByAuthority::read(&mut section)?),
                2 => section.strings_into(&mut krl.keys)?,
                3 => section.strings_into(&mut krl.sha1)?,
                5 => section.strings_into(&mut krl.sha256)?,
                // A signature: a second field follows, and maybe more signatures.
                4 => {
                    input.string()?;
                }
                255 => section.extension()?,
                // Skipping it could let a revoked key through.
                other => return Err(KrlError::Section(other)),
            }
        }
        Ok(krl)
    }

    /// Whether the list has this key, whatever it is used for.
    pub(super) fn revokes_key(&self, key: &KeyData) -> bool {
        let Ok(blob) = key.encode_vec() else {
            // A key that cannot be written cannot be looked for.
            return true;
        };
        // The kinds of entry that `ssh-keygen -k` writes; one is enough.
        self.sha256.contains(key.fingerprint(HashAlg::Sha256).as_bytes())
            || self.sha1.contains(Sha1::digest(&blob).as_slice())
            || self.keys.contains(&blob)
    }

    /// Whether the list has this certificate by its serial or its id.
    pub(super) fn revokes_certificate(&self, certificate: &Certificate) -> bool {
        let Ok(signer) = certificate.signature_key().encode_vec() else {
            // As in `revokes_key`: in doubt it is revoked.
            return true;
        };
        self.certificates
            .iter()
            .filter(|by| by.authority.as_ref().is_none_or(|authority| *authority == signer))
            .any(|by| by.has(certificate.serial(), certificate.key_id()))
    }
}

impl ByAuthority {
    fn read(input: &mut KrlInput<'_>) -> Result<Self, KrlError> {
        let authority = input.string()?;
        // An empty key stands for any authority (PROTOCOL.krl, certificate section).
        let mut found = Self { authority: (!authority.is_empty()).then(|| authority.to_vec()), ..Self::default() };
        // A reserved field.
        input.string()?;
        while !input.is_empty() {
            let kind = input.u8()?;
            let mut section = KrlInput(input.string()?);
            // The subsections of PROTOCOL.krl: serial list, serial range, bitmap, key ids, extension.
            match kind {
                0x20 => {
                    while !section.is_empty() {
                        found.serials.insert(section.u64()?);
                    }
                }
                0x21 => {
                    found.ranges.push((section.u64()?, section.u64()?));
                    // A range is two numbers and no list, so more bytes mean damage.
                    section.end()?;
                }
                0x22 => {
                    found.bitmaps.push(SerialBitmap { first: section.u64()?, bits: section.string()?.to_vec() });
                    section.end()?;
                }
                0x23 => section.strings_into(&mut found.ids)?,
                0x39 => section.extension()?,
                other => return Err(KrlError::Section(other)),
            }
        }
        Ok(found)
    }

    fn has(&self, serial: u64, id: &str) -> bool {
        // An authority that numbers nothing gives all its certificates the serial 0: it revokes none by it.
        let numbered = serial != 0
            && (self.serials.contains(&serial)
                || self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&serial))
                || self.bitmaps.iter().any(|bitmap| bitmap.has(serial)));
        numbered || self.ids.contains(id.as_bytes())
    }
}

impl SerialBitmap {
    fn has(&self, serial: u64) -> bool {
        // A serial below the first one is not in the bitmap.
        let Some(offset) = serial.checked_sub(self.first) else {
            return false;
        };
        // The bitmap is an mpint, most significant byte first, so the lowest serial is in the last byte.
        let byte = usize::try_from(offset / 8).ok().and_then(|byte| self.bits.iter().rev().nth(byte));
        byte.is_some_and(|byte| byte >> (offset % 8) & 1 == 1)
    }
}

/// Bytes that are still to be read.
struct KrlInput<'a>(&'a [u8]);

impl<'a> KrlInput<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn end(&self) -> Result<(), KrlError> {
        if self.is_empty() { Ok(()) } else { Err(KrlError::Damaged) }
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], KrlError> {
        // A length from the file may be larger than the file: nothing is allocated before this check.
        let (taken, rest) = self.0.split_at_checked(count).ok_or(KrlError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], KrlError> {
        self.bytes(N)?.try_into().map_err(|_| KrlError::Damaged)
    }

    fn u8(&mut self) -> Result<u8, KrlError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, KrlError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, KrlError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A length and so many bytes.
    fn string(&mut self) -> Result<&'a [u8], KrlError> {
        let length = usize::try_from(self.u32()?).map_err(|_| KrlError::Damaged)?;
        self.bytes(length)
    }

    /// All that is left, as strings.
    fn strings_into(&mut self, found: &mut HashSet<Vec<u8>>) -> Result<(), KrlError> {
        while !self.is_empty() {
            found.insert(self.string()?.to_vec());
        }
        Ok(())
    }

    /// A name, whether it matters, and what it says.
    fn extension(&mut self) -> Result<(), KrlError> {
        self.string()?;
        // An extension that is not critical may be skipped (PROTOCOL.krl).
        if self.u8()? != 0 {
            return Err(KrlError::Extension);
        }
        self.string()?;
        self.end()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use proptest::prelude::*;
    use russh::keys::PublicKey;

    use super::*;

    fn keygen(dir: &Path, arguments: &[&str]) -> (bool, String) {
        let output = Command::new("ssh-keygen").current_dir(dir).args(arguments).output().expect("ssh-keygen");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[track_caller]
    fn made(dir: &Path, arguments: &[&str]) {
        let (good, said) = keygen(dir, arguments);
        assert!(good, "{arguments:?}: {said}");
    }

    /// Each list that ssh-keygen makes, against the answer of `ssh-keygen -Q` for each key and certificate.
    #[test]
    fn agrees_with_ssh_keygen() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let dir = dir.path();
        for name in ["ca", "ca2", "k1", "k2"] {
            made(dir, &["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name]);
        }
        made(dir, &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "r", "-f", "r"]);
        let mut shown = vec!["k1.pub".to_owned(), "k2.pub".to_owned(), "r.pub".to_owned(), "ca.pub".to_owned()];
        for (ca, serial, id) in [
            ("ca", "0", "zero"),
            ("ca", "1", "one"),
            ("ca", "5", "five"),
            ("ca", "64", "many"),
            ("ca", "500", "far"),
            ("ca2", "5", "other"),
        ] {
            made(dir, &["-q", "-s", ca, "-h", "-I", id, "-z", serial, "-n", "n1", "k1.pub"]);
            let name = format!("{id}-cert.pub");
            fs::rename(dir.join("k1-cert.pub"), dir.join(&name)).expect("renamed");
            shown.push(name);
        }
        let print = |name: &str| {
            let key = PublicKey::read_openssh_file(dir.join(name)).expect("a key");
            key.fingerprint(HashAlg::Sha256).to_string()
        };
        let (k1, k2) = (fs::read_to_string(dir.join("k1.pub")).expect("a key"), print("k2.pub"));
        let many: String = (1..200).step_by(3).map(|serial| format!("serial: {serial}\n")).collect();
        let lists = [
            (String::new(), None),
            (format!("key: {k1}"), None),
            (format!("sha1: {k1}"), None),
            (format!("sha256: {k1}"), None),
            (format!("hash: {k2}"), None),
            ("serial: 5".to_owned(), Some("ca.pub")),
            ("serial: 5".to_owned(), Some("none")),
            ("serial: 1-5\nserial: 64-9223372036854775808".to_owned(), Some("ca.pub")),
            ("serial: 3\nserial: 5\nserial: 400-500".to_owned(), Some("ca.pub")),
            (many, Some("ca.pub")),
            ("id: zero\nid: other".to_owned(), Some("ca.pub")),
            ("id: zero\nid: other".to_owned(), Some("none")),
            (format!("key: {}", fs::read_to_string(dir.join("ca.pub")).expect("a key")), None),
        ];
        for (number, (text, ca)) in lists.iter().enumerate() {
            fs::write(dir.join("spec"), format!("{text}\n")).expect("written");
            let mut arguments = vec!["-q", "-k", "-f", "krl"];
            arguments.extend(ca.iter().flat_map(|ca| ["-s", ca]));
            arguments.push("spec");
            made(dir, &arguments);
            let krl =
                RevocationList::read(&fs::read(dir.join("krl")).expect("a list")).expect("a list that can be read");
            for name in &shown {
                let text = fs::read_to_string(dir.join(name)).expect("a key");
                let ours = match Certificate::from_openssh(&text) {
                    Ok(certificate) => {
                        krl.revokes_key(certificate.public_key())
                            || krl.revokes_key(certificate.signature_key())
                            || krl.revokes_certificate(&certificate)
                    }
                    Err(_) => krl.revokes_key(PublicKey::from_openssh(&text).expect("a key").key_data()),
                };
                let theirs = !keygen(dir, &["-Q", "-f", "krl", name]).0;
                assert_eq!(ours, theirs, "{name} in list {number}: {text}");
            }
        }
    }

    fn list(sections: &[u8]) -> Vec<u8> {
        [MAGIC, &[0, 0, 0, 1], &[0; 24], &[0; 8], sections].concat()
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        assert!(RevocationList::read(&list(&[])).is_ok());
        for (sections, expected) in [
            (&[9, 0, 0, 0, 0][..], KrlError::Section(9)),
            (&[2, 0, 0, 0, 9, 1], KrlError::Damaged),
            (&[2, 0, 0, 0, 1, 1], KrlError::Damaged),
            (&[1, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0], KrlError::Section(0x30)),
            (&[255, 0, 0, 0, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0], KrlError::Extension),
        ] {
            assert_eq!(RevocationList::read(&list(sections)).expect_err("unreadable"), expected, "{sections:?}");
        }
        assert!(RevocationList::read(&list(&[255, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0])).is_ok(), "no matter");
        assert!(RevocationList::read(&list(&[4, 0, 0, 0, 1, 7, 0, 0, 0, 1, 8])).is_ok(), "a signature");
        assert_eq!(RevocationList::read(b"SSHKRL\n\0\0\0\0\x02").expect_err("unreadable"), KrlError::Format(2));
        assert_eq!(RevocationList::read(b"SSHKRL\n").expect_err("unreadable"), KrlError::Damaged);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(sections in prop::collection::vec(any::<u8>(), 0..200)) {
            let _read = RevocationList::read(&sections);
            let _read = RevocationList::read(&list(&sections));
        }
    }
}
