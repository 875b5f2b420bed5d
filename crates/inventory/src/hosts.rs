//! Names and addresses of hosts, their users, and jump hosts.
//!
//! Here live [`check_host`], [`check_jump`] and [`expand`]. They use [`super::values`] and `nodeset`. Invariants: an
//! accepted value has nothing that a shell, a terminal or ssh interprets. Start reading at [`check_host`].

use std::net::{Ipv4Addr, Ipv6Addr};

use nodeset::{NodeSet, ParseError, expand_in_order};

use super::problem::quoted;
use super::values::{ValueError, check_name, check_user, digits};

/// Why a pattern cannot be expanded.
pub(super) enum UnexpandablePattern {
    /// Its syntax is invalid.
    Pattern(ParseError),
    /// It expands to this number of names, which exceeds the limit.
    TooMany(u64),
}

/// Whether a name or address is a pattern: without ranges and commas it is literal.
pub(super) fn is_pattern(said: &str) -> bool {
    said.contains(['[', ']', ','])
}

/// The names or addresses of a pattern, in the order written; at most `most` of them, since a few characters could
/// expand for seconds.
pub(super) fn expand(said: &str, most: usize) -> Result<Vec<String>, UnexpandablePattern> {
    if !is_pattern(said) {
        return Ok(vec![said.to_owned()]);
    }
    // Count first, without expanding: a short pattern may stand for billions of names. `expand_in_order` reports any
    // error.
    if let Ok(set) = NodeSet::parse(said)
        && set.len() > most as u64
    {
        return Err(UnexpandablePattern::TooMany(set.len()));
    }
    expand_in_order(said).map_err(UnexpandablePattern::Pattern)
}

/// Whether the text is valid as a node's name or address: a host name, or an IP address. With `zone`, an IPv6 address
/// may name its interface (`fe80::1%eth0`).
pub fn check_host(said: &str, zone: bool) -> Result<(), ValueError> {
    check_name(said, if zone { "._-:%" } else { "._-:" })?;
    // Only a link-local IPv6 address has a zone, as in `fe80::1%eth0`.
    let address = said.split('%').next().unwrap_or(said);
    let is_v6 = address.parse::<Ipv6Addr>().is_ok();
    let sign = if is_v6 { None } else { said.find([':', '%']) };
    match sign {
        Some(at) => Err(ValueError {
            part: at..said.len(),
            why: "it contains `:` or `%` but is not an IPv6 address".to_owned(),
        }),
        None => check_numbers(said),
    }
}

/// Numbers separated by dots must be a plain IPv4 address: the C library reads `010.1.2.3` as 8.1.2.3 and `10.1` as
/// 10.0.0.1.
fn check_numbers(said: &str) -> Result<(), ValueError> {
    let is_hex = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = |label: &str| {
        // inet_aton(3), which many programs use, also reads hexadecimal and octal numbers.
        let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
        hex.map_or(!label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()), is_hex)
    };
    if !said.contains('.') || !said.split('.').all(is_number) || said.parse::<Ipv4Addr>().is_ok() {
        return Ok(());
    }
    let mut start = 0;
    for label in said.split('.') {
        if label.len() > 1 && label.starts_with('0') {
            let why = format!("{} has a leading 0, which some programs read as octal: remove it", quoted(label));
            return Err(ValueError { part: start..start + label.len(), why });
        }
        start += label.len() + 1;
    }
    Err(ValueError { part: 0..said.len(), why: "an IPv4 address has four numbers from 0 to 255".to_owned() })
}

/// Whether the text is a list of jump hosts, `[user@]host[:port]` separated by commas, or `none`.
pub(super) fn check_jump(said: &str) -> Result<(), ValueError> {
    let mut start = 0;
    for hop in said.split(',') {
        // `check_hop` reports the empty name if the whole text is empty.
        if hop.is_empty() && !said.is_empty() {
            return Err(ValueError { part: start..start, why: "one of the bastions has no name".to_owned() });
        }
        check_hop(hop)
            .map_err(|flaw| ValueError { part: start + flaw.part.start..start + flaw.part.end, why: flaw.why })?;
        start += hop.len() + 1;
    }
    Ok(())
}

fn check_hop(hop: &str) -> Result<(), ValueError> {
    // The last `@` counts, as in ssh: a user name may contain one.
    let (user, rest) = match hop.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, hop),
    };
    let begin = hop.len() - rest.len();
    if let Some(user) = user {
        check_user(user)?;
    }
    let (host, at, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) => {
            let port = match after.strip_prefix(':') {
                Some(port) => Some(port),
                None if after.is_empty() => None,
                None => {
                    return Err(ValueError {
                        part: hop.len() - after.len()..hop.len(),
                        why: "expected `:port` or nothing after `]`".to_owned(),
                    });
                }
            };
            (host, begin + 1, port)
        }
        // An IPv6 address without brackets has no port, since its own colons would be ambiguous.
        None if rest.parse::<Ipv6Addr>().is_ok() => (rest, begin, None),
        None => match rest.split_once(':') {
            Some((host, port)) => (host, begin, Some(port)),
            None => (rest, begin, None),
        },
    };
    check_host(host, true)
        .map_err(|flaw| ValueError { part: at + flaw.part.start..at + flaw.part.end, why: flaw.why })?;
    match port {
        Some(port) if digits::<u16>(port).is_none_or(|port| port == 0) => Err(ValueError {
            part: hop.len() - port.len()..hop.len(),
            why: format!("{} is not a valid port", quoted(port)),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "a",
            "a6s01",
            "10.0.0.1",
            "node-1.example.net",
            "_x",
            "::1",
            "2001:db8::1",
            "001",
            "0.0.0.0",
            "10.0.0.1.example.net",
            "1.2.3.x4",
        ] {
            assert_eq!(check_host(good, false), Ok(()), "{good}");
        }
        assert_eq!(check_host("fe80::1%eth0", true), Ok(()));
        for (bad, part, why) in [
            ("", 0..0, "it is empty"),
            ("-oProxyCommand=x", 0..1, "it begins with `-`"),
            ("a b", 1..2, "it contains a space"),
            ("a\tb", 1..2, "it contains a space"),
            ("a\u{1b}b", 1..2, "it contains `\\u{1b}`"),
            ("a;b", 1..2, "it contains `;`"),
            ("a$b", 1..2, "it contains `$`"),
            ("a/b", 1..2, "it contains `/`"),
            ("né", 1..3, "it contains `é`"),
            ("10.0.0.1:22", 8..11, "it contains `:` or `%` but is not an IPv6 address"),
            ("fe80::1%eth0", 7..8, "it contains `%`"),
            ("010.1.2.3", 0..3, "`010` has a leading 0, which some programs read as octal: remove it"),
            ("10.0.0.08", 7..9, "`08` has a leading 0, which some programs read as octal: remove it"),
            ("0x0a.1.2.3", 0..4, "`0x0a` has a leading 0, which some programs read as octal: remove it"),
            ("10.1", 0..4, "an IPv4 address has four numbers from 0 to 255"),
            ("10.0.0.256", 0..10, "an IPv4 address has four numbers from 0 to 255"),
            ("10.0.0.1.2", 0..10, "an IPv4 address has four numbers from 0 to 255"),
        ] {
            assert_eq!(check_host(bad, false), Err(ValueError { part, why: why.to_owned() }), "{bad:?}");
        }
        assert!(check_host(&"x".repeat(254), false).is_err());
        assert!(check_host("a%b", true).is_err());
    }

    #[test]
    fn jumps() {
        for good in ["bastion", "none", "me@bastion:2222", "a,b@c,d:1", "[::1]:22", "u@[::1]", "::1", "CORP\\me@b"] {
            assert_eq!(check_jump(good), Ok(()), "{good}");
        }
        for (bad, part, why) in [
            ("", 0..0, "it is empty"),
            ("a,,b", 2..2, "one of the bastions has no name"),
            ("a,-b", 2..3, "it begins with `-`"),
            ("a:0", 2..3, "`0` is not a valid port"),
            ("a,b:x", 4..5, "`x` is not a valid port"),
            ("a:70000", 2..7, "`70000` is not a valid port"),
            ("a b", 1..2, "it contains a space"),
            ("-x@b", 0..1, "it begins with `-`"),
            ("a,u;@b", 3..4, "it contains `;`"),
            ("@b", 0..0, "it is empty"),
            ("[::1]x", 5..6, "expected `:port` or nothing after `]`"),
            ("[a;b]", 2..3, "it contains `;`"),
            ("u@010.0.0.1:22", 2..5, "`010` has a leading 0, which some programs read as octal: remove it"),
        ] {
            assert_eq!(check_jump(bad), Err(ValueError { part, why: why.to_owned() }), "{bad:?}");
        }
    }
}
