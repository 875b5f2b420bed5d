//! `Match localnetwork`: networks, and the addresses of this machine.
//!
//! Here live [`NetworkList`] and [`local_addresses`]. Invariants: a list that OpenSSH refuses is refused (`addrmatch.c`,
//! `addr_match_cidr_list`); addresses that cannot be listed are an error and never a quiet "no".

use std::fs;
use std::net::{IpAddr, Ipv6Addr};

/// A list of networks in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkList(Vec<(IpAddr, u8)>);

impl NetworkList {
    /// Reads addresses, each with or without `/LENGTH`, with commas between them. The error is the part that is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        text.split(',').map(|part| network(part).ok_or_else(|| part.to_owned())).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn contain_any(&self, addresses: &[IpAddr]) -> bool {
        self.0.iter().any(|&(network, length)| {
            addresses.iter().any(|address| {
                // An IPv4 address never lies in an IPv6 network, whatever their bits.
                address.is_ipv4() == network.is_ipv4() && prefix(*address, length) == prefix(network, length)
            })
        })
    }
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        // `u8::from_str` would also take a sign.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None => most,
    };
    // Bits behind the prefix make it no network.
    (length <= most && prefix(address, length) == bits(address)).then_some((address, length))
}

/// The bits of an address from the left, whatever its kind.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn prefix(address: IpAddr, length: u8) -> u128 {
    // A length of 0 shifts by all 128 bits, which overflows: the mask is then empty.
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    bits(address) & mask
}

/// The addresses of the interfaces that are up; `None` if this machine does not list them.
///
/// Without the link-local ones of IPv6: `ssh` compares them with their interface, and no network of a list has one.
pub(crate) fn local_addresses() -> Option<Vec<IpAddr>> {
    let four = fs::read_to_string("/proc/net/fib_trie").ok()?;
    // Not there where IPv6 is switched off.
    let six = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    Some(of_fib_trie(&four).into_iter().chain(of_if_inet6(&six)).collect())
}

/// Lines `|-- ADDRESS`, each followed by what the address is for: `/32 host LOCAL` if it is this machine's.
fn of_fib_trie(text: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut last = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            // A network is no address of the machine, but its line looks the same; the line after it says which.
            last = address.parse().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last
            // The kernel lists each address in the main and in the local table.
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// Lines that begin with an address of 32 hexadecimal digits.
fn of_if_inet6(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let digits = line.split_whitespace().next()?;
        let address = Ipv6Addr::from_bits(u128::from_str_radix(digits, 16).ok()?);
        (!address.is_unicast_link_local()).then_some(IpAddr::V6(address))
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let here: Vec<IpAddr> =
            ["127.0.0.1", "10.1.2.3", "fd00::2"].iter().map(|text| text.parse().expect("address")).collect();
        for (list, expected) in [
            ("10.0.0.0/8", Some(true)),
            ("10.1.2.3", Some(true)),
            ("10.1.2.3/32", Some(true)),
            ("10.1.2.4", Some(false)),
            ("192.168.0.0/16,10.1.2.0/24", Some(true)),
            ("192.168.0.0/16", Some(false)),
            ("0.0.0.0/0", Some(true)),
            ("::/0", Some(true)),
            ("fd00::/8", Some(true)),
            ("fd01::/16", Some(false)),
            ("fd00::2/128", Some(true)),
            ("10.1.2.3/8", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/8,", None),
            ("!10.0.0.0/8", None),
            ("10.*", None),
            ("", None),
            ("eth0", None),
        ] {
            assert_eq!(NetworkList::parse(list).ok().map(|list| list.contain_any(&here)), expected, "{list}");
        }
    }

    #[test]
    fn this_machine() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n        +-- 127.0.0.0/31 1 0 0\n           \
                    |-- 127.0.0.0\n              /8 host LOCAL\n           |-- 127.0.0.1\n              /32 host LOCAL\n        \
                    |-- 127.255.255.255\n           /32 link BROADCAST\nLocal:\n           |-- 127.0.0.1\n              /32 host LOCAL\n";
        assert_eq!(of_fib_trie(trie), ["127.0.0.1".parse::<IpAddr>().expect("address")]);
        let six =
            "fe8000000000000000fc00fffe000001 04 40 20 80 eth0\n00000000000000000000000000000001 01 80 10 80 lo\n";
        assert_eq!(of_if_inet6(six), ["::1".parse::<IpAddr>().expect("address")]);
        #[cfg(target_os = "linux")]
        assert!(local_addresses().is_some());
    }
}
