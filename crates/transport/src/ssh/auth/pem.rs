//! PEM keys that are encrypted in the old way, with `Proc-Type` and `DEK-Info` lines: RFC 1421, as OpenSSL writes them.
//!
//! Pure. Invariants: only AES in CBC mode is read, of which `ssh-keygen -m PEM` writes AES-128 (sshkey.c,
//! `sshkey_private_to_blob_pem_pkcs8`); an older key is an error that says so.

use aes::{Aes128, Aes192, Aes256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use secrecy::zeroize::Zeroizing;

const MARK: &str = "Proc-Type: 4,ENCRYPTED";

/// Whether a text is one of those.
pub(super) fn is_encrypted(text: &str) -> bool {
    text.contains(MARK)
}

/// Whether it can be decrypted here.
pub(super) fn is_known(text: &str) -> bool {
    parse(text).is_some()
}

/// The same key as PEM that is not encrypted; none if the passphrase is wrong, as far as that can be seen.
pub(super) fn decrypt(text: &str, passphrase: &str) -> Option<Zeroizing<String>> {
    let PemParts { kind, cipher, iv, body } = parse(text)?;
    let clear = match cipher {
        PemCipher::Aes128 => unlock::<cbc::Decryptor<Aes128>>(&stretch(passphrase, &iv, 16), &iv, body),
        PemCipher::Aes192 => unlock::<cbc::Decryptor<Aes192>>(&stretch(passphrase, &iv, 24), &iv, body),
        PemCipher::Aes256 => unlock::<cbc::Decryptor<Aes256>>(&stretch(passphrase, &iv, 32), &iv, body),
    }?;
    let body = Zeroizing::new(STANDARD.encode(&*clear));
    Some(Zeroizing::new(format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", *body)))
}

struct PemParts<'a> {
    kind: &'a str,
    cipher: PemCipher,
    iv: [u8; 16],
    body: Vec<u8>,
}

enum PemCipher {
    Aes128,
    Aes192,
    Aes256,
}

fn parse(text: &str) -> Option<PemParts<'_>> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (kind, rest) = rest.split_once("-----")?;
    let (inside, _) = rest.split_once("-----END ")?;
    // Without the line the cipher is unknown, and nothing can be decrypted.
    let info = inside.lines().find_map(|line| line.trim().strip_prefix("DEK-Info: "))?;
    let (cipher, iv) = info.split_once(',')?;
    let cipher = match cipher {
        "AES-128-CBC" => PemCipher::Aes128,
        "AES-192-CBC" => PemCipher::Aes192,
        "AES-256-CBC" => PemCipher::Aes256,
        _ => return None,
    };
    // The length is checked because a shorter number would be padded at the wrong end.
    let iv = u128::from_str_radix(iv, 16).ok().filter(|_| iv.len() == 32)?.to_be_bytes();
    // The header lines have a colon, which base64 has not.
    let lines = inside.lines().map(str::trim).filter(|line| !line.contains(':'));
    let body = STANDARD.decode(lines.collect::<String>()).ok()?;
    Some(PemParts { kind, cipher, iv, body })
}

/// The key of `length` bytes from a passphrase: MD5 in a chain, salted with the first half of the vector.
fn stretch(passphrase: &str, iv: &[u8; 16], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(32));
    // The key derivation of OpenSSL (EVP_BytesToKey with MD5 and one round), which is fixed by the format.
    let mut last = Zeroizing::new(Vec::new());
    while key.len() < length {
        last.extend(passphrase.as_bytes());
        last.extend(&iv[..8]);
        let digest = md5::compute(&*last);
        key.extend(digest.0);
        last = Zeroizing::new(digest.0.to_vec());
    }
    key.truncate(length);
    key
}

fn unlock<D: KeyIvInit + BlockModeDecrypt>(key: &[u8], iv: &[u8], body: Vec<u8>) -> Option<Zeroizing<Vec<u8>>> {
    let mut body = Zeroizing::new(body);
    // A wrong passphrase nearly always breaks the padding; the rest fails when the key is parsed.
    let length = D::new_from_slices(key, iv).ok()?.decrypt_padded::<Pkcs7>(&mut body).ok()?.len();
    body.truncate(length);
    Some(body)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]
mod tests {
    use super::*;

    /// Made with `ssh-keygen -t ecdsa -m PEM -N secret`.
    const KEY: &str = "-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,11BE43130776A0343EA08CCAF4A75AF4

SWSFnZTGTSbkU/wbWdQwRcN2WDbRxPPYhPZENuOc+kChQYzfFRcnOZwEYTURrWQT
LDYh4afq5UKZHzZfecmUqJe4U6qvHKpTsaOqlnJYR3VzDBLs7hz+Agq7RgKE4VdF
WwwBy19mSNflPGib5y//fiJkaxJmFIe7d57YieoKiro=
-----END EC PRIVATE KEY-----
";

    #[test]
    fn what_ssh_keygen_writes() {
        assert!(is_encrypted(KEY) && is_known(KEY));
        let clear = decrypt(KEY, "secret").unwrap();
        assert!(russh::keys::decode_secret_key(&clear, None).is_ok(), "{}", *clear);
        let wrong = decrypt(KEY, "guess").map(|clear| russh::keys::decode_secret_key(&clear, None).is_ok());
        assert_ne!(wrong, Some(true));
    }

    #[test]
    fn what_is_not_known() {
        assert!(!is_known(&KEY.replace("AES-128-CBC", "DES-EDE3-CBC")));
        assert!(!is_known(&KEY.replace("DEK-Info", "Key-Info")));
        for end in 0..KEY.len() {
            drop(decrypt(&KEY[..end], "secret"));
        }
    }
}
