//! The algorithms that a negotiation offers, and the error when the two sides have none in common: OpenSSH's names
//! become the library's.
//!
//! Here live [`preferred`] and [`disagreement`], the lists that are offered by default, and the lists that only old
//! nodes need. Pure; uses `endpoint.rs` and `host_keys.rs` for their data. Invariants: without a setting of the
//! operator only algorithms that are secure today are offered, and no signature with SHA-1; a name that the library
//! does not have is left out, and a list of which nothing is left is an error; text of a node is cut and printable.

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{AlgorithmKind, Preferred, cipher, kex, mac};
use tracing::debug;

use crate::endpoint::AlgorithmLists;
use crate::host_keys::HostKeyRequest;

/// The extensions that a client announces among its key exchanges: strict key exchange (against Terrapin), and that it
/// wants to know which signatures the node takes. No setting of the operator takes them away.
const EXTENSIONS: [kex::Name; 2] = [kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT];

const KEX: [kex::Name; 12] = [
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::DH_GEX_SHA256,
    kex::DH_G18_SHA512,
    kex::DH_G17_SHA512,
    kex::DH_G16_SHA512,
    kex::DH_G15_SHA512,
    kex::DH_G14_SHA256,
    // Some hardened nodes take nothing else.
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
];
const OLD_KEX: [kex::Name; 3] = [kex::DH_GEX_SHA1, kex::DH_G14_SHA1, kex::DH_G1_SHA1];

const CIPHERS: [cipher::Name; 6] = [
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];
const OLD_CIPHERS: [cipher::Name; 3] = [cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC];

const MACS: [mac::Name; 6] = [
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512,
    mac::HMAC_SHA256,
    // SHA-1 is not broken as a MAC, and `ssh` offers it as well.
    mac::HMAC_SHA1_ETM,
    mac::HMAC_SHA1,
];

const HOST_KEYS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];
const OLD_HOST_KEYS: [Algorithm; 1] = [Algorithm::Rsa { hash: None }];

/// Why two sides cannot negotiate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NegotiationFailure {
    /// The missing algorithm.
    pub(super) reason: String,
    /// What to do about it.
    pub(super) hint: String,
}

/// A list of the negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NegotiatedList {
    HostKeys,
    Kex,
    Ciphers,
    Macs,
}

impl NegotiatedList {
    /// The keyword of ssh_config.
    fn keyword(self) -> &'static str {
        match self {
            Self::HostKeys => "HostKeyAlgorithms",
            Self::Kex => "KexAlgorithms",
            Self::Ciphers => "Ciphers",
            Self::Macs => "MACs",
        }
    }

    /// What its items are.
    fn noun(self) -> &'static str {
        match self {
            Self::HostKeys => "host key algorithm",
            Self::Kex => "key exchange",
            Self::Ciphers => "cipher",
            Self::Macs => "MAC",
        }
    }

    /// The keyword of the node's sshd_config by which it offers another.
    fn of_the_node(self) -> &'static str {
        match self {
            Self::HostKeys => "HostKey",
            Self::Kex | Self::Ciphers | Self::Macs => self.keyword(),
        }
    }

    /// The operator's list.
    fn asked(self, asked: &AlgorithmLists) -> Option<&[String]> {
        let list = match self {
            Self::HostKeys => &asked.host_keys,
            Self::Kex => &asked.kex,
            Self::Ciphers => &asked.ciphers,
            Self::Macs => &asked.macs,
        };
        list.as_deref()
    }

    /// Everything that we could do, the best first.
    fn implemented(self) -> Vec<&'static str> {
        fn names<T: AsRef<str>>(modern: &'static [T], old: &'static [T]) -> Vec<&'static str> {
            modern.iter().chain(old).map(AsRef::as_ref).collect()
        }
        match self {
            Self::HostKeys => names(&HOST_KEYS, &OLD_HOST_KEYS),
            Self::Kex => names(&KEX, &OLD_KEX),
            Self::Ciphers => names(&CIPHERS, &OLD_CIPHERS),
            Self::Macs => names(&MACS, &[]),
        }
    }
}

/// The lists for one host.
///
/// Algorithms of the keys that are known for it come first among those that are allowed, as with OpenSSH; unlike there,
/// also where the operator wrote the list out. Nothing else is offered by that, and a host with several keys would look
/// unknown otherwise.
///
/// # Errors
/// [`NegotiationFailure`] if the operator allows nothing that the library has.
pub(super) fn preferred(asked: &AlgorithmLists, wanted: &HostKeyRequest) -> Result<Preferred, NegotiationFailure> {
    let mut kex = chosen(NegotiatedList::Kex, asked, &KEX, &OLD_KEX)?;
    // After the choice, so that a list of the operator's cannot leave strict key exchange out.
    kex.extend(EXTENSIONS);
    let (keys, certificates) = host_keys(asked, wanted)?;
    Ok(Preferred {
        kex: kex.into(),
        key: keys.into(),
        host_key_certificates: certificates.into(),
        cipher: chosen(NegotiatedList::Ciphers, asked, &CIPHERS, &OLD_CIPHERS)?.into(),
        mac: chosen(NegotiatedList::Macs, asked, &MACS, &[])?.into(),
        ..Preferred::DEFAULT
    })
}

/// The items of one list that are asked for, by default the modern ones.
fn chosen<T: AsRef<str> + Clone>(
    list: NegotiatedList,
    asked: &AlgorithmLists,
    modern: &[T],
    old: &[T],
) -> Result<Vec<T>, NegotiationFailure> {
    // The old algorithms are offered only by name: a default must be secure.
    let Some(names) = list.asked(asked) else { return Ok(modern.to_vec()) };
    let found = select(list, names, modern, old, |item, name| item.as_ref() == name);
    if found.is_empty() { Err(nothing_left(list, names)) } else { Ok(found) }
}

/// The items that are named, in the order of the names, each once.
fn select<T: AsRef<str> + Clone>(
    list: NegotiatedList,
    names: &[String],
    modern: &[T],
    old: &[T],
    is: impl Fn(&T, &str) -> bool,
) -> Vec<T> {
    let mut found: Vec<T> = Vec::with_capacity(names.len());
    for name in names {
        match modern.iter().chain(old).find(|item| is(item, name)) {
            Some(item) if found.iter().any(|known| known.as_ref() == item.as_ref()) => {}
            Some(item) => found.push(item.clone()),
            // A name of OpenSSH's that the library lacks is common in a list and no error, as long as another name is
            // left.
            None => debug!(keyword = list.keyword(), name, "not supported: left out"),
        }
    }
    found
}

/// The host keys to ask for, and those whose certificates are asked for before any of them: the order of OpenSSH
/// (`sshconnect2.c`, `order_hostkeyalgs`), as far as the library can say it.
///
/// If the kind of key that is liked best is known, or none is, the list stands as it is. Certificates come first in it
/// also where no authority is known: a host may have two keys of a kind, and shows the certified one only in its
/// certificate; the key in that is then judged as if it had come alone. Otherwise the known kinds come first, and
/// certificates only of those, or of all if an authority is known.
fn host_keys(
    asked: &AlgorithmLists,
    wanted: &HostKeyRequest,
) -> Result<(Vec<Algorithm>, Vec<Algorithm>), NegotiationFailure> {
    let list = NegotiatedList::HostKeys;
    let (mut keys, mut certificates) = match list.asked(asked) {
        None => (HOST_KEYS.to_vec(), HOST_KEYS.to_vec()),
        Some(names) => named_host_keys(names),
    };
    if keys.is_empty() && certificates.is_empty() {
        return Err(nothing_left(list, list.asked(asked).unwrap_or_default()));
    }
    // One RSA key makes all RSA signatures, so a known `ssh-rsa` key counts for the SHA-2 names too.
    let is_known = |algorithm: &Algorithm| wanted.known.iter().any(|known| is_of_one_key(algorithm, known));
    let best = certificates.first().or(keys.first());
    // Nothing to reorder: the best kind is known already, or no known kind is in the list.
    if best.is_some_and(is_known)
        || !wanted.known.iter().any(|known| keys.iter().chain(&certificates).any(|key| is_of_one_key(key, known)))
    {
        return Ok((keys, certificates));
    }
    // Stable: among the known ones, and among the others, the order stays.
    keys.sort_by_key(|algorithm| !is_known(algorithm));
    // Without a known authority a certificate only counts by its key, so kinds whose key is not known gain nothing.
    if !wanted.authority && !keys.is_empty() {
        certificates.retain(is_known);
    }
    Ok((keys, certificates))
}

/// The host keys of a list of the operator's. A certificate behind its own plain key is not asked for: a host that has
/// the certificate has the key as well, and it is liked better.
fn named_host_keys(names: &[String]) -> (Vec<Algorithm>, Vec<Algorithm>) {
    let place = |name: &str| names.iter().position(|other| other == name).unwrap_or(names.len());
    let (certificates, plain): (Vec<String>, Vec<String>) =
        names.iter().cloned().partition(|name| name.contains("-cert-v01@"));
    let select = |names: &[String], is: &dyn Fn(&Algorithm, &str) -> bool| {
        select(NegotiatedList::HostKeys, names, &HOST_KEYS, &OLD_HOST_KEYS, |key, name| is(key, name))
    };
    let keys = select(&plain, &|key, name| key.as_ref() == name);
    let mut certificates = select(&certificates, &|key, name| key.to_certificate_type() == name);
    // Listed behind its own key, a certificate would never be chosen first.
    certificates.retain(|key| place(&key.to_certificate_type()) < place(key.as_ref()));
    (keys, certificates)
}

/// Whether one key can make both signatures.
fn is_of_one_key(one: &Algorithm, other: &Algorithm) -> bool {
    one == other || matches!((one, other), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
}

fn nothing_left(list: NegotiatedList, names: &[String]) -> NegotiationFailure {
    NegotiationFailure {
        reason: format!("ctl supports nothing in `{} {}`", list.keyword(), shown(names, ",")),
        hint: format!("it supports {}", list.implemented().join(", ")),
    }
}

/// Why the two sides have nothing in common, by what the node offers (`theirs`).
pub(super) fn disagreement(kind: &AlgorithmKind, theirs: &[String], asked: &AlgorithmLists) -> NegotiationFailure {
    let list = match kind {
        AlgorithmKind::Kex => NegotiatedList::Kex,
        AlgorithmKind::Key => NegotiatedList::HostKeys,
        AlgorithmKind::Cipher => NegotiatedList::Ciphers,
        AlgorithmKind::Mac => NegotiatedList::Macs,
        AlgorithmKind::Compression => {
            return NegotiationFailure {
                reason: format!("the node requires compression ({})", shown(theirs, ", ")),
                hint:
                    "ctl does not support compression: allow connections without it (`Compression` in its sshd_config)"
                        .to_owned(),
            };
        }
    };
    let (keyword, noun) = (list.keyword(), list.noun());
    let reason = match theirs {
        [] => format!("no common {noun}: the node offers none"),
        _ => format!("no common {noun}: the node offers only {}", shown(theirs, ", ")),
    };
    let works = list.implemented().into_iter().find(|ours| theirs.iter().any(|name| name == ours));
    let hint = match (works, list.asked(asked)) {
        // An algorithm that only the default leaves out is the usual case: an old node.
        (Some(name), None) => format!(
            "an old node: allow it with `{keyword} +{name}` for its host in ssh_config, or with `{keyword}: \"+{name}\"` \
             under `ssh_options` in the inventory"
        ),
        (Some(name), Some(_)) => format!(
            "`{keyword}` is set for this node without {name}: add it in ssh_config or under `ssh_options` in the inventory"
        ),
        (None, _) => {
            format!(
                "ctl supports none of these: enable another one on the node (`{}` in its sshd_config)",
                list.of_the_node()
            )
        }
    };
    NegotiationFailure { reason, hint }
}

/// Names as they may be shown: not too many, not too long, without control characters.
fn shown(names: &[String], between: &str) -> String {
    const MOST: usize = 12;
    const LONGEST: usize = 64;
    // Names come from the peer: control characters could change the terminal, and a long list would hide the rest.
    let mut text = String::new();
    for (index, name) in names.iter().take(MOST).enumerate() {
        if index > 0 {
            text.push_str(between);
        }
        for c in name.chars().take(LONGEST) {
            if c.is_ascii_graphic() {
                text.push(c);
            } else {
                text.extend(c.escape_default());
            }
        }
        if name.chars().nth(LONGEST).is_some() {
            text.push('…');
        }
    }
    if let Some(more) = names.len().checked_sub(MOST).filter(|more| *more > 0) {
        text.push_str(&format!("{between}and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Option<Vec<String>> {
        Some(list.split(',').map(str::to_owned).collect())
    }

    fn text<T: AsRef<str>>(items: &[T]) -> String {
        items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(",")
    }

    fn offered(asked: &AlgorithmLists, wanted: &HostKeyRequest) -> Preferred {
        preferred(asked, wanted).expect("something to offer")
    }

    fn keys(asked: Option<Vec<String>>, known: &[Algorithm], authority: bool) -> (String, String) {
        let asked = AlgorithmLists { host_keys: asked, ..AlgorithmLists::default() };
        let preferred = offered(&asked, &HostKeyRequest { known: known.to_vec(), authority });
        let certificates: Vec<String> =
            preferred.host_key_certificates.iter().map(Algorithm::to_certificate_type).collect();
        (text(&preferred.key), certificates.join(","))
    }

    const RSA: Algorithm = Algorithm::Rsa { hash: None };

    #[test]
    fn by_default_only_what_is_good() {
        let preferred = offered(&AlgorithmLists::default(), &HostKeyRequest::default());
        assert_eq!(
            text(&preferred.key),
            "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256"
        );
        let certificates = &preferred.host_key_certificates;
        assert_eq!(text(certificates), text(&preferred.key), "certificates of the same keys are asked for first");
        let kex = text(&preferred.kex);
        assert!(kex.starts_with("mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,"), "{kex}");
        assert!(kex.ends_with(",ecdh-sha2-nistp521,ext-info-c,kex-strict-c-v00@openssh.com"), "{kex}");
        assert_eq!(
            text(&preferred.cipher),
            "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr"
        );
        assert_eq!(
            text(&preferred.mac),
            "hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-512,hmac-sha2-256,\
             hmac-sha1-etm@openssh.com,hmac-sha1"
        );
        for list in [&kex, &text(&preferred.key), &text(certificates)] {
            assert!(!list.contains("sha1") && !list.contains("ssh-rsa"), "{list}");
        }
    }

    #[test]
    fn all_that_the_library_has_is_in_the_lists() {
        let known = |list: NegotiatedList, all: Vec<&str>| {
            let ours = list.implemented();
            let missing: Vec<&str> = all.into_iter().filter(|name| !ours.contains(name)).collect();
            assert_eq!(missing, ["none"], "{list:?}");
        };
        known(NegotiatedList::Kex, kex::ALL_KEX_ALGORITHMS.iter().map(|name| name.as_ref()).collect());
        known(NegotiatedList::Macs, mac::ALL_MAC_ALGORITHMS.iter().map(|name| name.as_ref()).collect());
        let ciphers = cipher::ALL_CIPHERS.iter().map(|name| name.as_ref()).filter(|name| *name != "clear");
        known(NegotiatedList::Ciphers, ciphers.collect());
        let asked = AlgorithmLists {
            host_keys: Some(NegotiatedList::HostKeys.implemented().into_iter().map(str::to_owned).collect()),
            ..AlgorithmLists::default()
        };
        assert_eq!(offered(&asked, &HostKeyRequest::default()).key.len(), 7);
    }

    #[test]
    fn the_operators_lists_in_their_order() {
        let asked = AlgorithmLists {
            host_keys: names("ssh-rsa,ssh-ed25519,ssh-rsa"),
            kex: names("sntrup761x25519-sha512@openssh.com,diffie-hellman-group1-sha1,diffie-hellman-group14-sha1"),
            ciphers: names("arcfour,aes128-cbc,aes128-ctr,none,clear"),
            macs: names("hmac-md5,hmac-sha1,umac-64@openssh.com,none"),
            accepted: None,
        };
        let preferred = offered(&asked, &HostKeyRequest::default());
        assert_eq!(text(&preferred.key), "ssh-rsa,ssh-ed25519");
        assert_eq!(
            text(&preferred.kex),
            "diffie-hellman-group1-sha1,diffie-hellman-group14-sha1,ext-info-c,kex-strict-c-v00@openssh.com"
        );
        assert_eq!(text(&preferred.cipher), "aes128-cbc,aes128-ctr");
        assert_eq!(text(&preferred.mac), "hmac-sha1");
    }

    #[test]
    fn known_keys_come_first_but_only_if_allowed() {
        let p256 = Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 };
        let (all, _) = keys(None, &[RSA], false);
        assert!(all.starts_with("rsa-sha2-512,rsa-sha2-256,ssh-ed25519,ecdsa"), "{all}");
        let (all, _) = keys(None, &[p256.clone(), RSA, p256.clone()], false);
        assert!(all.starts_with("ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256,ssh-ed25519"), "{all}");
        assert_eq!(
            keys(names("ssh-ed25519,rsa-sha2-256,ssh-rsa"), &[RSA], false).0,
            "rsa-sha2-256,ssh-rsa,ssh-ed25519"
        );
        assert_eq!(keys(names("ssh-ed25519"), &[RSA], false).0, "ssh-ed25519");
        assert_eq!(keys(names("ssh-ed25519"), &[Algorithm::Dsa, Algorithm::SkEd25519], false).0, "ssh-ed25519");
    }

    #[test]
    fn a_known_key_of_the_best_kind_leaves_the_list_as_it_is() {
        let all = keys(None, &[], false);
        assert!(all.0.starts_with("ssh-ed25519,ecdsa-sha2-nistp256"), "{all:?}");
        // A host that has another RSA key by now is known by its ed25519 key.
        assert_eq!(keys(None, &[RSA, Algorithm::Ed25519], false), all);
        assert_eq!(keys(None, &[Algorithm::SkEd25519], false), all, "of no use");
        let list = names("rsa-sha2-512,ssh-ed25519");
        assert_eq!(keys(list.clone(), &[Algorithm::Ed25519, RSA], false).0, "rsa-sha2-512,ssh-ed25519");
        assert_eq!(keys(list, &[Algorithm::Ed25519], false).0, "ssh-ed25519,rsa-sha2-512");
    }

    #[test]
    fn certificates_come_first() {
        let of_rsa = "rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com";
        let all = keys(None, &[], false).1;
        assert!(all.starts_with("ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert"), "{all}");
        assert!(all.ends_with(of_rsa), "{all}");
        for (known, authority, expected) in [
            (&[Algorithm::Ed25519][..], false, all.as_str()),
            (&[Algorithm::Ed25519, RSA], false, &all),
            // The certificate of a key that is known; another would be shown before the known key.
            (&[RSA], false, of_rsa),
            (&[RSA], true, &all),
            (&[], true, &all),
        ] {
            assert_eq!(keys(None, known, authority).1, expected, "{known:?} {authority}");
        }

        let list = names(
            "ssh-ed25519,rsa-sha2-512-cert-v01@openssh.com,ssh-rsa-cert-v01@openssh.com,ssh-rsa,ssh-ed25519-cert-v01@openssh.com",
        );
        let (plain, certificates) = keys(list, &[], true);
        assert_eq!(plain, "ssh-ed25519,ssh-rsa");
        assert_eq!(
            certificates, "rsa-sha2-512-cert-v01@openssh.com,ssh-rsa-cert-v01@openssh.com",
            "not behind its key"
        );

        let only = names("ssh-ed25519-cert-v01@openssh.com,sk-ssh-ed25519-cert-v01@openssh.com");
        for known in [&[][..], &[RSA], &[Algorithm::Ed25519]] {
            let expected = (String::new(), "ssh-ed25519-cert-v01@openssh.com".to_owned());
            assert_eq!(keys(only.clone(), known, false), expected, "{known:?}");
        }
    }

    #[test]
    fn a_list_of_which_nothing_is_left() {
        let error =
            |asked: AlgorithmLists| preferred(&asked, &HostKeyRequest::default()).expect_err("nothing to offer");
        let none = AlgorithmLists::default;
        for (asked, reason) in [
            (
                AlgorithmLists { kex: names("sntrup761x25519-sha512,none"), ..none() },
                "ctl supports nothing in `KexAlgorithms sntrup761x25519-sha512,none`",
            ),
            (
                AlgorithmLists { host_keys: names("sk-ssh-ed25519@openssh.com,ssh-dss"), ..none() },
                "ctl supports nothing in `HostKeyAlgorithms sk-ssh-ed25519@openssh.com,ssh-dss`",
            ),
            (AlgorithmLists { ciphers: names("3des-cbc"), ..none() }, "ctl supports nothing in `Ciphers 3des-cbc`"),
            (AlgorithmLists { macs: Some(Vec::new()), ..none() }, "ctl supports nothing in `MACs `"),
        ] {
            assert_eq!(error(asked).reason, reason);
        }
        let hint = error(AlgorithmLists { macs: names("umac-64@openssh.com"), ..none() }).hint;
        assert!(hint.starts_with("it supports hmac-sha2-512-etm@openssh.com, "), "{hint}");
    }

    #[test]
    fn a_failed_negotiation_names_the_setting_that_helps() {
        let theirs = |list: &str| names(list).unwrap_or_default();
        let none = AlgorithmLists::default();
        for (kind, offer, reason, hint) in [
            (
                AlgorithmKind::Key,
                "ssh-dss,ssh-rsa",
                "no common host key algorithm: the node offers only ssh-dss, ssh-rsa",
                "`HostKeyAlgorithms +ssh-rsa` for its host in ssh_config, or with `HostKeyAlgorithms: \"+ssh-rsa\"` under `ssh_options`",
            ),
            (
                AlgorithmKind::Kex,
                "diffie-hellman-group1-sha1,diffie-hellman-group14-sha1",
                "no common key exchange: the node offers only diffie-hellman-group1-sha1, diffie-hellman-group14-sha1",
                "`KexAlgorithms +diffie-hellman-group14-sha1`",
            ),
            (
                AlgorithmKind::Cipher,
                "3des-cbc,aes128-cbc,aes256-cbc",
                "no common cipher: the node offers only 3des-cbc, aes128-cbc, aes256-cbc",
                "`Ciphers +aes256-cbc`",
            ),
            (
                AlgorithmKind::Mac,
                "hmac-md5",
                "no common MAC: the node offers only hmac-md5",
                "ctl supports none of these: enable another one on the node (`MACs` in its sshd_config)",
            ),
            (
                AlgorithmKind::Key,
                "ssh-dss",
                "no common host key algorithm: the node offers only ssh-dss",
                "ctl supports none of these: enable another one on the node (`HostKey` in its sshd_config)",
            ),
            (
                AlgorithmKind::Cipher,
                "arcfour",
                "no common cipher: the node offers only arcfour",
                "ctl supports none of these: enable another one on the node (`Ciphers` in its sshd_config)",
            ),
            (AlgorithmKind::Compression, "zlib", "the node requires compression (zlib)", "`Compression`"),
        ] {
            let said = disagreement(&kind, &theirs(offer), &none);
            assert_eq!(said.reason, reason);
            assert!(said.hint.contains(hint), "{}", said.hint);
        }
        let asked = AlgorithmLists { ciphers: names("aes256-gcm@openssh.com"), ..none.clone() };
        assert_eq!(
            disagreement(&AlgorithmKind::Cipher, &theirs("aes128-ctr,aes256-ctr"), &asked).hint,
            "`Ciphers` is set for this node without aes256-ctr: add it in ssh_config or under `ssh_options` in the inventory"
        );
        assert_eq!(disagreement(&AlgorithmKind::Mac, &[], &none).reason, "no common MAC: the node offers none");
    }

    #[test]
    fn names_of_a_node_are_cut_and_made_visible() {
        let long = "x".repeat(100);
        let mut theirs = vec!["a\u{1b}[31m\n".to_owned(), "ü".to_owned(), long];
        theirs.extend((0..1000).map(|number| format!("n{number}")));
        let reason = disagreement(&AlgorithmKind::Kex, &theirs, &AlgorithmLists::default()).reason;
        let expected = format!(
            "no common key exchange: the node offers only a\\u{{1b}}[31m\\n, \\u{{fc}}, {}…, n0, ",
            "x".repeat(64)
        );
        assert!(reason.starts_with(&expected), "{reason}");
        assert!(reason.ends_with(", n8, and 991 more"), "{reason}");
    }
}
