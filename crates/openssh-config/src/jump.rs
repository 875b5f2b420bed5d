//! `ProxyJump`: the bastions on the way.

use std::sync::Arc;

use super::operator::{OperatorEnv, is_valid_user};
use super::time;

/// A bastion.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JumpHop {
    /// The user to log in as; by default that of ssh_config or the operator.
    pub user: Option<String>,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port; else what ssh_config says, or 22.
    pub port: Option<u16>,
}

impl JumpHop {
    /// Whether `ssh` would connect to it: it puts each bastion on the command line of another `ssh`, which refuses what a
    /// shell could interpret (`valid_hostname` and `valid_ruser`), wherever the bastion was named.
    pub fn is_accepted_by_ssh(&self) -> bool {
        is_valid_host(&self.host) && self.user.as_deref().is_none_or(is_valid_user)
    }
}

/// A value of ProxyJump that names at least one bastion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpHosts {
    hops: Vec<JumpHop>,
    /// As `ssh -G` writes it.
    text: Arc<str>,
}

impl JumpHosts {
    /// The bastions, in the order in which they are passed.
    pub fn hops(&self) -> &[JumpHop] {
        &self.hops
    }

    /// The value as `ssh -G` prints it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A value of ProxyJump that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{hop:?} is not a valid jump host: expected [user@]host[:port] or ssh://[user@]host[:port]")]
pub struct JumpError {
    /// The part that is not understood.
    pub hop: String,
}

/// Reads a value of ProxyJump: hops joined by commas, each `[user@]host[:port]` or a `ssh://` URI; `none` is no hop.
///
/// # Errors
/// [`JumpError`] for a hop that is neither.
pub fn parse_jump(text: &str, operator: &OperatorEnv) -> Result<Vec<JumpHop>, JumpError> {
    Ok(parse(text, &|name| operator.service(name))?.map(|jump| jump.hops).unwrap_or_default())
}

/// As [`parse_jump`]; `service` finds the port of a name.
pub(crate) fn parse(text: &str, service: &dyn Fn(&str) -> Option<u16>) -> Result<Option<JumpHosts>, JumpError> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    // Text after a space or a comment does not count, except that then `none` is a name.
    let chain = text.split(['#', ' ', '\t', '\r', '\n']).next().unwrap_or("");
    let hop = |part: &str| hop(part, service).ok_or_else(|| JumpError { hop: part.to_owned() });
    let hops = chain.split(',').map(hop).collect::<Result<Vec<_>, _>>()?;
    let mut shown = String::new();
    // All but the last hop are shown as they were written.
    if let Some((before, _)) = chain.rsplit_once(',')
        && !before.is_empty()
    {
        shown.push_str(before);
        shown.push(',');
    }
    if let Some(last) = hops.last() {
        if let Some(user) = &last.user {
            shown.push_str(user);
            shown.push('@');
        }
        // dump_client_config (readconf.c) puts brackets around digits and dots as well as around IPv6.
        let numeric = last.host.contains(':') || last.host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        shown.push_str(&if numeric { format!("[{}]", last.host) } else { last.host.clone() });
        if let Some(port) = last.port {
            shown.push_str(&format!(":{port}"));
        }
    }
    Ok(Some(JumpHosts { hops, text: shown.into() }))
}

fn is_valid_host(host: &str) -> bool {
    // As valid_hostname (ssh.c of OpenSSH 9.6, later ssh_valid_hostname in readconf.c): a leading `-` would be an
    // option of the `ssh` that ProxyCommand starts, and the rest means something to a shell.
    !host.starts_with('-')
        && !host.contains(|c: char| c.is_ascii_whitespace() || c.is_control() || "'`\"$\\;&<>|(){},".contains(c))
}

/// A port by number, or else by name.
pub(crate) fn port(text: &str, service: &dyn Fn(&str) -> Option<u16>) -> Option<u16> {
    let number = time::number(text, i64::from(u16::MAX)).and_then(|number| u16::try_from(number).ok());
    number.or_else(|| service(text)).filter(|port| *port > 0)
}

fn hop(part: &str, service: &dyn Fn(&str) -> Option<u16>) -> Option<JumpHop> {
    match part.strip_prefix("ssh://") {
        Some(uri) => from_uri(uri, service),
        None => {
            // The last `@` ends the user, as in parse_user_host_port (misc.c): the name of a user may contain one.
            let (user, place) = match part.rsplit_once('@') {
                Some(("", _)) => return None,
                Some((user, place)) => (Some(user.to_owned()), place),
                None => (None, part),
            };
            let (host, delimiter, rest) = host(place)?;
            let port = match (delimiter, rest) {
                // Only a URI may have a path.
                (Some('/'), _) => return None,
                (_, "") => None,
                (_, text) => Some(port(text, service)?),
            };
            Some(JumpHop { user, host: host.to_owned(), port })
        }
    }
}

fn from_uri(uri: &str, service: &dyn Fn(&str) -> Option<u16>) -> Option<JumpHop> {
    let (user, place) = match uri.split_once('@') {
        Some((info, place)) => {
            // Connection parameters after `;` are allowed in the URI and have no meaning, as in parse_uri (misc.c).
            let user = info.split(';').next().filter(|user| !user.is_empty())?;
            (Some(percent_decoded(user)?), place)
        }
        None => (None, uri),
    };
    let (host, delimiter, rest) = host(place)?;
    // Only URIs are held to the rules of a domain name (valid_domain in misc.c); the plain form takes any host.
    if !is_domain(host) {
        return None;
    }
    let (port_text, path) = match delimiter {
        Some(':') => rest.split_once('/').unwrap_or((rest, "")),
        _ => ("", rest),
    };
    let port = match (delimiter, rest, port_text) {
        // A colon without a port passes, and leaves the port to ssh_config.
        (_, "", _) | (None | Some('/'), ..) => None,
        _ => Some(port(port_text, service)?),
    };
    path.is_empty().then(|| JumpHop { user, host: host.to_owned(), port })
}

/// The host at the front, the delimiter behind it, and the rest. Brackets around it are taken off.
fn host(place: &str) -> Option<(&str, Option<char>, &str)> {
    let end = match place.strip_prefix('[') {
        // The `]` belongs to the host, so the delimiter stands behind it: `[::1]:22`.
        Some(inner) => inner.find(']')? + 2,
        None => place.find([':', '/']).unwrap_or(place.len()),
    };
    let (host, rest) = place.split_at_checked(end)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut chars = rest.chars();
    let delimiter = chars.next();
    let known = delimiter.is_none_or(|delimiter| matches!(delimiter, ':' | '/'));
    (known && !host.is_empty()).then_some((host, delimiter, chars.as_str()))
}

/// Letters, digits, `-`, `_` and single dots, beginning with a letter or a digit.
pub(crate) fn is_domain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.contains("..")
        // An underscore is invalid in a domain name but common, so valid_domain in misc.c lets it pass.
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// A user name of a URI with its `%xx` and `+` resolved.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            // A plus sign is a space, as in urldecode (misc.c).
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                bytes.push(digit(*high)? << 4 | digit(*low)?);
                rest = after;
            }
            (b'%', _) => return None,
            _ => bytes.push(*first),
        }
    }
    // A NUL would end the name early for every program in C that receives it.
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_would_refuse() {
        let accepted =
            |text: &str| parse_jump(text, &OperatorEnv::default()).expect(text).iter().all(JumpHop::is_accepted_by_ssh);
        for text in ["u@a", "CORP\\u@a", "$u@a", "u@[fe80::1%eth0]:22", "ssh://u+x@a"] {
            assert!(accepted(text), "{text}");
        }
        for text in [
            "u@-a",
            "-u@a",
            "u;@a",
            "$(id)@a",
            "u@a$b",
            "a;b",
            "u\\@a",
            "'u'@a",
            "ssh://%60id%60@a",
            "ssh://u+-x@a",
            "ok,u@(a)",
        ] {
            assert!(!accepted(text), "{text}");
        }
    }

    #[test]
    fn jumps() {
        let good: &[(&str, &str)] = &[
            ("none", "-"),
            ("NONE", "-"),
            ("a", "a"),
            ("u@a:22", "u@a:22"),
            ("a:", "a"),
            ("u@v@a", "u@v@a"),
            ("a,b:2,u@c", "a,b:2,u@c"),
            ("a,b # c", "a,b"),
            ("a,b#c,d", "a,b"),
            ("a b,c", "a"),
            ("none # c", "none"),
            ("[::1]:22", "[::1]:22"),
            ("10.0.0.1", "[10.0.0.1]"),
            ("ssh://u@a:22", "u@a:22"),
            ("ssh://u%40v;x=y@a/", "u@v@a"),
            ("none,a", "none,a"),
        ];
        for (text, expected) in good {
            let jump = parse(text, &|_| None).expect(text);
            assert_eq!(jump.as_ref().map_or("-", |jump| &jump.text), *expected, "{text}");
        }
        for text in [
            "",
            "a,,b",
            "a,",
            "@a",
            "a:x",
            "a:0",
            "::1",
            "[::1",
            "a/b",
            "ssh://",
            "ssh://[::1]",
            "ssh://a/b",
            "a:70000",
            "ssh://a:x",
        ] {
            assert!(parse_jump(text, &OperatorEnv::default()).is_err(), "{text}");
        }
        let hops = parse_jump("a,u@[fe80::1]:5", &OperatorEnv::default()).expect("hops");
        assert_eq!(hops.last(), Some(&JumpHop { user: Some("u".into()), host: "fe80::1".into(), port: Some(5) }));
        assert_eq!(hops.len(), 2);
    }
}
