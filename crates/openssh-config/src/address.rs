//! Numeric addresses as names of hosts: `ssh` writes them anew, as getaddrinfo(3) and getnameinfo(3) do.
//!
//! Here live [`NumericAddress`] and [`can_be_no_name`]. Invariants: a text is an address exactly where getaddrinfo of glibc takes it with
//! `AI_NUMERICHOST`, except that the interface behind `%` need not exist.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An address that stands where a name could.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NumericAddress {
    V4(Ipv4Addr),
    /// With the part behind `%`, if there is one.
    V6(Ipv6Addr, Option<String>),
}

impl NumericAddress {
    /// Reads an address; none if the text is a name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(address) = inet_aton(text) {
            return Some(Self::V4(address));
        }
        let Some((address, scope)) = text.split_once('%') else { return Some(Self::V6(text.parse().ok()?, None)) };
        let address: Ipv6Addr = address.parse().ok()?;
        let number = Some(scope).filter(|scope| scope.bytes().all(|byte| byte.is_ascii_digit()));
        let scope = match number.and_then(|digits| digits.parse::<u32>().ok()) {
            // A scope of 0 is none.
            Some(number) => Some(number).filter(|number| *number != 0).map(|number| number.to_string()),
            // Only on a link is a scope the name of an interface.
            None if is_on_link(address) && !scope.is_empty() => Some(scope.to_owned()),
            None => return None,
        };
        Some(Self::V6(address, scope))
    }

    /// The address that getaddrinfo(3) makes of it with this AddressFamily; none if it has another one.
    pub(crate) fn in_family(self, family: Option<&str>) -> Option<Self> {
        match (self, family) {
            (Self::V4(_), Some("inet6")) => None,
            (Self::V6(address, _), Some("inet")) => address.to_ipv4_mapped().map(Self::V4),
            (address, _) => Some(address),
        }
    }
}

/// Whether a text is never a name, whatever else it is: is_addr_fast (ssh.c). `ssh` does not put it in lower case.
pub(crate) fn can_be_no_name(text: &str) -> bool {
    text.contains(['%', ':']) || text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

impl std::fmt::Display for NumericAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (address, scope) = match self {
            Self::V4(address) => return address.fmt(f),
            Self::V6(address, scope) => (address, scope),
        };
        match address.segments() {
            // inet_ntop(3) writes the addresses that only embed an IPv4 one with dots; `Ipv6Addr` does not.
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                write!(f, "::{}", Ipv4Addr::new(a, b, c, d))?;
            }
            _ => address.fmt(f)?,
        }
        scope.as_ref().map_or(Ok(()), |scope| write!(f, "%{scope}"))
    }
}

/// Whether the address is one of a link: `fe80::/10`, or `ff02` with any flags.
fn is_on_link(address: Ipv6Addr) -> bool {
    let [first, ..] = address.segments();
    first & 0xffc0 == 0xfe80 || first & 0xff0f == 0xff02
}

/// Reads the forms of inet_aton(3): one to four numbers, decimal, octal (`010`) or hexadecimal (`0x8`), of which the last
/// fills the bytes that are left.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, bytes) = numbers.split_last()?;
    let left = 4_usize.checked_sub(bytes.len()).filter(|left| *left > 0)?;
    if u64::from(*last) >> (8 * left) != 0 {
        return None;
    }
    let mut address = *last;
    for (index, byte) in bytes.iter().enumerate() {
        let byte = u8::try_from(*byte).ok()?;
        address |= u32::from(byte) << (8 * (3 - index));
    }
    Some(Ipv4Addr::from(address))
}

/// A number as strtoul(3) reads it with base 0, but without a sign or spaces.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        (digits, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        (text, 8)
    } else {
        (text, 10)
    };
    // `from_str_radix` would also take a sign.
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        NumericAddress::parse(text).map(|address| address.to_string())
    }

    /// The rest is compared with `ssh` itself in `tests/ssh_config.rs`; these depend on the interfaces of the machine.
    #[test]
    fn scopes_are_kept() {
        assert_eq!(written("FE80::0:1%eth0").as_deref(), Some("fe80::1%eth0"));
        assert_eq!(written("ff12::0:1%eth0").as_deref(), Some("ff12::1%eth0"));
        assert_eq!(written("fe80::1%007").as_deref(), Some("fe80::1%7"));
        assert_eq!(written("::0:1%0").as_deref(), Some("::1"));
        assert_eq!(written("::1%eth0"), None);
        assert_eq!(written("fe80::1%"), None);
        assert_eq!(written("1.2.3.4%1"), None);
    }

    #[test]
    fn names_are_no_addresses() {
        for name in
            ["", ".", "1.", ".1", "+1", "1.+2", "0x", "0x+1", "08", "1.2.3.4.5", "256.1.1.1", "1.2.65536", "node1"]
        {
            assert_eq!(written(name), None, "{name}");
        }
    }
}
