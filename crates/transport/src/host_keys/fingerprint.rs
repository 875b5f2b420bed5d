//! Keys as `ssh-keygen -l` prints them. Pure; uses the SSH library's key types only.

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{EcdsaCurve, HashAlg};

/// `256 SHA256:… NAME (ED25519)`.
pub(super) fn line(key: &KeyData, name: &str) -> String {
    format!("{} {} {name} ({})", bits(key), key.fingerprint(HashAlg::Sha256), kind(key))
}

/// The size of a key, in bits.
pub(super) fn bits(key: &KeyData) -> u32 {
    if let Some(key) = key.rsa() {
        key.n().as_positive_bytes().map_or(0, length)
    } else if let Some(key) = key.dsa() {
        key.p().as_positive_bytes().map_or(0, length)
    } else if let Some(key) = key.ecdsa() {
        match key.curve() {
            EcdsaCurve::NistP256 => 256,
            EcdsaCurve::NistP384 => 384,
            EcdsaCurve::NistP521 => 521,
        }
    } else {
        // All others that the library reads have this size.
        256
    }
}

/// The length of a number without leading zeros, in bits.
fn length(bytes: &[u8]) -> u32 {
    // The wire form has a leading zero byte if the highest bit is set; it is not part of the size.
    let significant = bytes.iter().skip_while(|byte| **byte == 0);
    let first = significant.clone().next().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(significant.count()).unwrap_or(u32::MAX).saturating_mul(8).saturating_sub(first)
}

fn kind(key: &KeyData) -> &'static str {
    let kinds = [
        (key.is_rsa(), "RSA"),
        (key.is_dsa(), "DSA"),
        (key.is_ecdsa(), "ECDSA"),
        (key.is_ed25519(), "ED25519"),
        (key.is_sk_ecdsa_p256(), "ECDSA-SK"),
        (key.is_sk_ed25519(), "ED25519-SK"),
    ];
    kinds.into_iter().find_map(|(is, kind)| is.then_some(kind)).unwrap_or("UNKNOWN")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use russh::keys::PublicKey;

    use super::*;

    #[test]
    fn lines_are_those_of_ssh_keygen() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let kinds =
            [("ed25519", ""), ("rsa", "1024"), ("rsa", "1031"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")];
        for (kind, bits) in kinds {
            let path = dir.path().join(format!("{kind}{bits}"));
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", kind, "-N", "", "-C", "[n1]:2222", "-f"]).arg(&path);
            if !bits.is_empty() {
                command.args(["-b", bits]);
            }
            assert!(command.status().expect("ssh-keygen must be installed").success());
            let printed = Command::new("ssh-keygen").arg("-lf").arg(&path).output().expect("ssh-keygen").stdout;
            let key = PublicKey::read_openssh_file(path.with_extension("pub")).expect("a public key");
            assert_eq!(line(key.key_data(), "[n1]:2222"), String::from_utf8_lossy(&printed).trim_end());
        }
    }
}
