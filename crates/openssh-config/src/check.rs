//! The values of keywords that are read only to know if `ssh` would read them.

use super::jump;
use super::operator::OperatorEnv;
use super::time;
use super::tokens;

pub(crate) fn control_persist(value: &str) -> bool {
    matches!(value, "no" | "false" | "yes" | "true") || time::seconds(value).is_some()
}

pub(crate) fn escape_char(value: &str) -> bool {
    value == "none"
        || match value.as_bytes() {
            [_] => true,
            // A control character as `^c`: the letter is any from `@` to the end of ASCII (readconf.c, oEscapeChar).
            [b'^', letter] => (64..128).contains(letter),
            _ => false,
        }
}

pub(crate) fn fingerprint_hash(value: &str) -> bool {
    ["md5", "sha1", "sha256", "sha384", "sha512"].iter().any(|name| name.eq_ignore_ascii_case(value))
}

pub(crate) fn log_level(value: &str) -> bool {
    ["quiet", "fatal", "error", "info", "verbose", "debug", "debug1", "debug2", "debug3"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(value))
}

pub(crate) fn facility(value: &str) -> bool {
    let named = ["daemon", "user", "auth", "authpriv"].iter().any(|name| name.eq_ignore_ascii_case(value));
    let local = value.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("local"))
        && matches!(value.as_bytes(), [.., b'0'..=b'7'])
        && value.len() == 6;
    named || local
}

/// Octal, as strtol(3) reads it: what follows the digits does not count.
pub(crate) fn bind_mask(value: &str) -> bool {
    let value = value.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let (negative, value) = (value.starts_with('-'), value.strip_prefix(['+', '-']).unwrap_or(value));
    let digits = value.get(..value.find(|c: char| !c.is_digit(8)).unwrap_or(value.len())).unwrap_or("");
    // `-0` passes: strtol(3) reads it as zero.
    !digits.is_empty() && i64::from_str_radix(digits, 8).is_ok_and(|mask| mask == 0 || !negative && mask <= 0o777)
}

pub(crate) fn tunnel_device(value: &str) -> bool {
    let one = |text: &str| text.eq_ignore_ascii_case("any") || time::number(text, i64::from(i32::MAX) - 1).is_some();
    match value.split_once(':') {
        Some((local, remote)) => one(local) && one(remote),
        None => one(value),
    }
}

pub(crate) fn environment_name(value: &str) -> bool {
    !value.is_empty() && !value.contains('=')
}

pub(crate) fn environment_setting(value: &str) -> bool {
    value.contains('=')
}

/// The name of a variable after a `$`.
pub(crate) fn variable_name(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(crate) fn permitted_cname(value: &str) -> bool {
    value == "*" || value.split_once(':').is_some_and(|(_, targets)| !targets.is_empty())
}

pub(crate) fn permitted_open(value: &str, operator: &OperatorEnv) -> bool {
    let end = match value.strip_prefix('[') {
        Some(inner) => match inner.find(']') {
            // The delimiter stands behind the bracket.
            Some(end) => end + 2,
            None => return false,
        },
        None => value.find([':', '/']).unwrap_or(value.len()),
    };
    let port = value.split_at_checked(end).and_then(|(_, rest)| rest.strip_prefix(':'));
    port.is_some_and(|port| port == "*" || jump::port(port, &|name| operator.service(name)).is_some())
}

/// The first value of RekeyLimit: a count of bytes with a unit.
pub(crate) fn rekey_bytes(value: &str) -> bool {
    if value == "default" {
        return true;
    }
    let value = value.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let unsigned = value.strip_prefix(['+', '-']).unwrap_or(value);
    let end = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let (digits, unit) = unsigned.split_at(end);
    let (fraction, unit) = match unit.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
        None => ("", unit),
    };
    let mut letters = unit.bytes();
    let scale: i64 = match letters.next().map(|letter| letter.to_ascii_lowercase()) {
        None | Some(b'b') => 1,
        Some(b'k') => 1 << 10,
        Some(b'm') => 1 << 20,
        Some(b'g') => 1 << 30,
        Some(b't') => 1 << 40,
        Some(b'p') => 1 << 50,
        Some(b'e') => 1 << 60,
        Some(_) => return false,
    };
    // What follows the unit does not count, unless it looks like more of it.
    if letters.next().is_some_and(|next| next.is_ascii_alphanumeric()) {
        return false;
    }
    if digits.is_empty() && fraction.is_empty() {
        return false;
    }
    // A fraction without digits before the point is read by scan_scaled(3) as zero and that fraction.
    let whole = if digits.is_empty() { Some(0) } else { digits.parse::<i64>().ok() };
    let bytes = whole.and_then(|whole| whole.checked_mul(scale));
    let negative = value.starts_with('-');
    // Fewer than 16 bytes are refused as too small; zero stands for the default (readconf.c, oRekeyLimit).
    bytes.is_some_and(|bytes| bytes == 0 && fraction.bytes().all(|digit| digit == b'0') || !negative && bytes >= 16)
}

const QOS: &[&str] = &[
    "af11",
    "af12",
    "af13",
    "af21",
    "af22",
    "af23",
    "af31",
    "af32",
    "af33",
    "af41",
    "af42",
    "af43",
    "cs0",
    "cs1",
    "cs2",
    "cs3",
    "cs4",
    "cs5",
    "cs6",
    "cs7",
    "ef",
    "le",
    "lowdelay",
    "throughput",
    "reliability",
    "none",
];

/// One value of IPQoS: a name or a number of up to a byte.
pub(crate) fn qos(value: &str) -> bool {
    if QOS.iter().any(|name| name.eq_ignore_ascii_case(value)) {
        return true;
    }
    // As strtol(3) with base 0: a prefix chooses the base.
    let number = match value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if value.len() > 1 && value.starts_with('0') => u32::from_str_radix(value, 8).ok(),
        None => value.parse().ok(),
    };
    number.is_some_and(|number| number <= 255)
}

/// One field of a forwarding, and whether it is a path.
struct ForwardField {
    text: String,
    path: bool,
}

/// Which end listens, and whether the target is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardingKind {
    Local,
    Remote,
    Dynamic,
}

/// A forwarding: `[host:]port` or a path, and where to, all joined by colons.
pub(crate) fn forwarding(spec: &str, kind: ForwardingKind, with_target: bool, operator: &OperatorEnv) -> bool {
    // parse_forward (readconf.c) expands before it splits, so that a variable may hold several fields.
    let Ok(expanded) = tokens::variables(spec, operator) else { return false };
    let Some(fields) = fields(expanded.trim_start()) else { return false };
    let port = |text: &str| {
        let number = time::number(text, 65535).and_then(|number| u16::try_from(number).ok());
        number.or_else(|| operator.service(text))
    };
    let listens =
        // A remote end may choose a port by itself, for which 0 stands.
        |field: &ForwardField| port(&field.text).is_some_and(|port| port > 0 || kind == ForwardingKind::Remote);
    let connects = |field: &ForwardField| port(&field.text).is_some_and(|port| port > 0);
    match (fields.as_slice(), with_target) {
        ([listen], false) => listen.path || listens(listen),
        // Two fields without a target word are a dynamic forwarding with an address, or two ends of which one is a
        // path.
        ([listen, target], false) => {
            if target.path {
                listen.path || listens(listen)
            } else {
                listens(target)
            }
        }
        ([listen, target], true) => target.path && (listen.path || listens(listen)),
        // The order of the arms is that of parse_forward: a path is one field, so it decides how the others are read.
        ([listen, _, target], true) if listen.path => connects(target),
        ([_, listen, target], true) if target.path => listens(listen),
        ([listen, _, target], true) => listens(listen) && connects(target),
        ([_, listen, _, target], true) => listens(listen) && connects(target),
        _ => false,
    }
}

/// Parts at colons; brackets and backslashes keep them. `None` for a bracket that is not closed, or too many parts.
fn fields(text: &str) -> Option<Vec<ForwardField>> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        // More than a host and a port at each end does not exist.
        if found.len() == 4 {
            return None;
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let (text, after) = inner.split_once(']')?;
            found.push(ForwardField { text: text.to_owned(), path: text.contains('/') });
            rest = if after.is_empty() { after } else { after.strip_prefix(':')? };
            continue;
        }
        let mut text = String::new();
        let mut chars = rest.chars();
        loop {
            match chars.next() {
                None | Some(':') => break,
                // A backslash keeps the next character, even a colon; at the end of the text it has nothing to keep.
                Some('\\') => text.push(chars.next()?),
                Some(c) => text.push(c),
            }
        }
        found.push(ForwardField { path: text.contains('/'), text });
        rest = chars.as_str();
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values() {
        assert!(control_persist("10m") && !control_persist("maybe"));
        assert!(
            escape_char("none") && escape_char("~") && escape_char("^A") && !escape_char("^1") && !escape_char("ab")
        );
        assert!(log_level("DEBUG3") && !log_level("DEBUG4"));
        assert!(facility("Local7") && facility("USER") && !facility("LOCAL8"));
        assert!(bind_mask("0177") && bind_mask("5:x") && !bind_mask("8") && !bind_mask("1000"));
        assert!(tunnel_device("any") && tunnel_device("1:any") && !tunnel_device("a"));
        assert!(qos("ef") && qos("0x10") && qos("10") && !qos("256") && !qos("x"));
        assert!(rekey_bytes("1G") && rekey_bytes("0") && rekey_bytes("1.5k") && !rekey_bytes("5") && !rekey_bytes("x"));
        assert!(permitted_cname("*:b") && !permitted_cname("a:"));
    }

    #[test]
    fn forwardings() {
        let operator = OperatorEnv { variables: [("D".to_owned(), "/d".to_owned())].into(), ..OperatorEnv::default() };
        let check = |spec: &str, kind, target| forwarding(spec, kind, target, &operator);
        assert!(check("8080:host:80", ForwardingKind::Local, true));
        assert!(check("*:8080:[::1]:80", ForwardingKind::Local, true));
        assert!(check("8080:/run/x", ForwardingKind::Local, true));
        assert!(check("${D}/a:/run/x", ForwardingKind::Local, true));
        assert!(check("1080", ForwardingKind::Dynamic, false));
        assert!(check("0", ForwardingKind::Remote, false));
        for bad in ["0:host:80", "8080:host:0", "8080:host", "a:b:c:d:e", "[::1:80", "${NO}/a:/b"] {
            assert!(!check(bad, ForwardingKind::Local, true), "{bad}");
        }
    }
}
