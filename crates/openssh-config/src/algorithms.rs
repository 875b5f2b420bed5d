//! Lists of algorithms: the names that exist, and the meaning of `+`, `-`, `^` and wildcards.
//!
//! The names and their order are OpenSSH 9.2's. Invariants: a [`AlgorithmKind`] assembled here has no name twice, and
//! none that OpenSSH does not know.

use std::iter;
use std::sync::{Arc, LazyLock};

use super::pattern::{ConfigPattern, PatternList};

/// Which list a keyword sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlgorithmKind {
    /// `Ciphers`.
    Ciphers,
    /// `MACs`.
    Macs,
    /// `KexAlgorithms`.
    Kex,
    /// Host keys, and keys and certificates to authenticate with.
    Keys,
    /// What a certificate may be signed with.
    Signatures,
    /// Key exchange with GSSAPI, of which only the syntax matters.
    Gssapi,
}

impl AlgorithmKind {
    /// Every name that can be chosen, as `ssh -Q` lists them.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Ciphers => CIPHERS,
            Self::Macs => MACS,
            Self::Kex => KEX,
            Self::Keys => KEYS,
            Self::Signatures => SIGNATURES,
            Self::Gssapi => GSSAPI,
        }
    }

    /// The list in force without a setting.
    fn default_names(self) -> &'static [&'static str] {
        match self {
            Self::Ciphers => DEFAULT_CIPHERS,
            Self::Macs => DEFAULT_MACS,
            Self::Kex => DEFAULT_KEX,
            Self::Keys => DEFAULT_KEYS,
            Self::Signatures => DEFAULT_SIGNATURES,
            Self::Gssapi => GSSAPI,
        }
    }

    /// The list in force without a setting, joined by commas.
    pub(crate) fn default_text(self) -> Arc<str> {
        static TEXTS: LazyLock<[Arc<str>; 6]> = LazyLock::new(|| {
            let lists = [
                AlgorithmKind::Ciphers,
                AlgorithmKind::Macs,
                AlgorithmKind::Kex,
                AlgorithmKind::Keys,
                AlgorithmKind::Signatures,
                AlgorithmKind::Gssapi,
            ];
            lists.map(|list| list.default_names().join(",").into())
        });
        let [ciphers, macs, kex, keys, signatures, gssapi] = &*TEXTS;
        Arc::clone(match self {
            Self::Ciphers => ciphers,
            Self::Macs => macs,
            Self::Kex => kex,
            Self::Keys => keys,
            Self::Signatures => signatures,
            Self::Gssapi => gssapi,
        })
    }

    /// Whether `ssh` reads the value at all: every name up to the first empty one is known.
    ///
    /// Names to remove (`-`) are not checked. Of keys, patterns pass that say something of any key.
    pub(crate) fn reads(self, value: &str) -> bool {
        // `ciphers_valid` and its like are skipped for `-` (readconf.c): removing an unknown name changes nothing.
        if value.starts_with('-') {
            return true;
        }
        let names = value.strip_prefix(['+', '^']).unwrap_or(value);
        // The check ends at the first empty name because the loops of OpenSSH do: `p && *p != '\0'`.
        !names.is_empty() && names.split(',').take_while(|name| !name.is_empty()).all(|name| self.knows(name))
    }

    fn knows(self, name: &str) -> bool {
        match self {
            Self::Ciphers | Self::Macs => self.names().contains(&name),
            // The name of the mechanism may follow.
            Self::Gssapi => GSSAPI.iter().any(|known| name.starts_with(known)),
            Self::Kex => KEX.contains(&name) || Self::Gssapi.knows(name),
            Self::Keys | Self::Signatures => {
                // sshkey_names_valid2 (sshkey.c) allows wildcards, and sshkey_type_from_name the short names of key
                // types.
                let pattern = ConfigPattern::new(name.strip_prefix('!').unwrap_or(name));
                SHORT_NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
                    || KEYS.iter().any(|known| pattern.matches(known))
            }
        }
    }

    /// The names that a value stands for, joined by commas; `None` if it has a negation or stands for none.
    ///
    /// Only `-` may leave nothing.
    pub(crate) fn assemble(self, value: &str) -> Option<Arc<str>> {
        let mut chosen: Vec<&str> = Vec::new();
        let defaults = self.default_names();
        if let Some(removed) = value.strip_prefix('-') {
            let removed = PatternList::new(removed);
            // Removed names may be patterns, so all of the default is searched.
            chosen.extend(defaults.iter().filter(|name| !removed.matches(iter::once(**name))));
            return Some(chosen.join(",").into());
        }
        let named = |names: &'static str| names;
        let (before, own, after) = match value.split_at_checked(1) {
            // `+` appends to the default and `^` puts in front of it (kex.c, kex_assemble_names).
            Some(("+", own)) => (defaults, until_empty(own), &[] as &[&str]),
            Some(("^", own)) => (&[] as &[&str], own.split(',').collect(), defaults),
            _ => (&[] as &[&str], value.split(',').collect(), &[] as &[&str]),
        };
        for name in before.iter().map(|name| named(name)).chain(own).chain(after.iter().copied()) {
            // kex_assemble_names refuses negation, which has no clear meaning in an ordered list.
            if name.starts_with('!') {
                return None;
            }
            let pattern = ConfigPattern::new(name);
            for known in self.names() {
                if pattern.matches(known) && !chosen.contains(known) {
                    chosen.push(known);
                }
            }
        }
        (!chosen.is_empty()).then(|| chosen.join(",").into())
    }
}

/// The names appended to the default end at an empty one.
fn until_empty(names: &str) -> Vec<&str> {
    names.split(',').take_while(|name| !name.is_empty()).collect()
}

/// Kinds of keys, which pass where algorithms are expected, and choose none.
const SHORT_NAMES: &[&str] = &["ED25519", "ED25519-SK", "ECDSA", "ECDSA-SK", "DSA", "RSA"];

/// The method names of key exchange with GSSAPI.
const GSSAPI: &[&str] = &[
    "gss-gex-sha1-",
    "gss-group1-sha1-",
    "gss-group14-sha1-",
    "gss-group14-sha256-",
    "gss-group16-sha512-",
    "gss-nistp256-sha256-",
    "gss-curve25519-sha256-",
];

/// What `ssh -Q cipher` lists.
const CIPHERS: &[&str] = &[
    "3des-cbc",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
];
/// The algorithms offered without a setting, the best first.
const DEFAULT_CIPHERS: &[&str] = &[
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
];
/// What `ssh -Q mac` lists.
const MACS: &[&str] = &[
    "hmac-sha1",
    "hmac-sha1-96",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-md5",
    "hmac-md5-96",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "hmac-sha1-96-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-md5-etm@openssh.com",
    "hmac-md5-96-etm@openssh.com",
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
];
/// The algorithms offered without a setting, the best first.
const DEFAULT_MACS: &[&str] = &[
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1",
];
/// What `ssh -Q kex` lists, and at the end what OpenSSH 9.9 has added.
const KEX: &[&str] = &[
    "diffie-hellman-group1-sha1",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha1",
    "diffie-hellman-group-exchange-sha256",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "mlkem768x25519-sha256",
];
/// The algorithms offered without a setting, the best first.
const DEFAULT_KEX: &[&str] = &[
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
];
/// What `ssh -Q HostKeyAlgorithms` lists.
const KEYS: &[&str] = &[
    "ssh-ed25519",
    "ssh-ed25519-cert-v01@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
    "ssh-dss-cert-v01@openssh.com",
    "ssh-rsa",
    "ssh-rsa-cert-v01@openssh.com",
    "rsa-sha2-256",
    "rsa-sha2-256-cert-v01@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-512-cert-v01@openssh.com",
];
/// The algorithms offered without a setting, the best first.
const DEFAULT_KEYS: &[&str] = &[
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
];
/// What `ssh -Q sig` lists.
const SIGNATURES: &[&str] = &[
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
    "ssh-rsa",
    "rsa-sha2-256",
    "rsa-sha2-512",
];
/// What a CA may sign with without a setting.
const DEFAULT_SIGNATURES: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_or_not() {
        let cases = [
            (AlgorithmKind::Ciphers, "aes128-ctr", true),
            (AlgorithmKind::Ciphers, "+3des-cbc", true),
            (AlgorithmKind::Ciphers, "aes*", false),
            (AlgorithmKind::Ciphers, "-made-up", true),
            (AlgorithmKind::Ciphers, "+", false),
            (AlgorithmKind::Ciphers, "none", false),
            (AlgorithmKind::Macs, "hmac-sha1,", true),
            (AlgorithmKind::Macs, ",made-up", true),
            (AlgorithmKind::Macs, "hmac-sha1,made-up", false),
            (AlgorithmKind::Kex, "gss-gex-sha1-", true),
            (AlgorithmKind::Kex, "*", false),
            (AlgorithmKind::Keys, "ssh-*", true),
            (AlgorithmKind::Keys, "!ssh-rsa", true),
            (AlgorithmKind::Keys, "rsa", true),
            (AlgorithmKind::Keys, "rsa-cert", false),
            (AlgorithmKind::Keys, "a,,b", false),
        ];
        for (list, value, expected) in cases {
            assert_eq!(list.reads(value), expected, "{list:?} {value}");
        }
    }

    #[test]
    fn lists_are_put_together() {
        let all = |list: AlgorithmKind, value| list.assemble(value);
        assert_eq!(all(AlgorithmKind::Ciphers, "3des-cbc,aes128-ctr,3des-cbc").as_deref(), Some("3des-cbc,aes128-ctr"));
        assert_eq!(all(AlgorithmKind::Macs, "-*,!hmac-sha1").as_deref(), Some("hmac-sha1"));
        assert_eq!(all(AlgorithmKind::Macs, "-*").as_deref(), Some(""));
        assert_eq!(all(AlgorithmKind::Keys, "RSA"), None);
        assert_eq!(all(AlgorithmKind::Keys, "!ssh-rsa"), None);
        assert_eq!(all(AlgorithmKind::Keys, "+!ssh-rsa"), None);
        assert_eq!(all(AlgorithmKind::Keys, "ssh-rsa*").as_deref(), Some("ssh-rsa,ssh-rsa-cert-v01@openssh.com"));
        let appended = all(AlgorithmKind::Ciphers, "+3des-cbc,aes128-ctr").expect("names");
        assert_eq!(&*appended, format!("{},3des-cbc", DEFAULT_CIPHERS.join(",")));
        let first = all(AlgorithmKind::Ciphers, "^aes256-ctr").expect("names");
        assert!(first.starts_with("aes256-ctr,chacha20"), "{first}");
        assert_eq!(first.matches("aes256-ctr").count(), 1);
    }
}
