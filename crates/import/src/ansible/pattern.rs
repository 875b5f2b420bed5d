//! Host patterns of Ansible: `web[01:10]`, `db-[a:f]`, `web[1:9:2]:2222`.
//!
//! The rules are those of `ansible/parsing/utils/addresses.py` and `expand_hostname_range` of `ansible/plugins/inventory`.

use std::net::Ipv6Addr;

use crate::fleet::MAX_HOSTS;

/// The hosts of a pattern, and the port behind it.
///
/// # Errors
/// A range that Ansible rejects, or too many hosts.
pub(super) fn expand(pattern: &str) -> Result<(Vec<String>, Option<u16>), String> {
    let (name, port) = with_port(pattern)?;
    let mut names = vec![String::new()];
    let mut rest = name;
    while let Some((head, after)) = rest.split_once('[') {
        let (range, tail) = after.split_once(']').ok_or_else(|| format!("`[` without `]` in {pattern}"))?;
        let items = range_items(range)?;
        if names.len().saturating_mul(items.len()) > MAX_HOSTS {
            return Err(format!("{pattern} has more than {MAX_HOSTS} hosts"));
        }
        names = names.iter().flat_map(|name| items.iter().map(move |item| format!("{name}{head}{item}"))).collect();
        rest = tail;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok((names, port))
}

/// Splits a port off. Text that is no host to Ansible is a name as it is.
fn with_port(pattern: &str) -> Result<(&str, Option<u16>), String> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut host = pattern;
    let mut port = None;
    if let Some((before, digits)) = pattern.rsplit_once(':').filter(|(_, digits)| is_digits(digits)) {
        let bracketed =
            before.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).filter(|inner| !inner.is_empty());
        if let Some(inner) = bracketed.filter(|inner| is_host(inner)) {
            (host, port) = (inner, Some(digits));
        } else if !outside_brackets(before).contains(':') && is_host(before) {
            (host, port) = (before, Some(digits));
        }
    }
    let Some(digits) = port else { return Ok((pattern, None)) };
    let port = digits.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("{digits} is not a valid port"))?;
    Ok((host, Some(port)))
}

fn outside_brackets(text: &str) -> String {
    let mut depth = 0_usize;
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// Whether Ansible takes the text for a host name or address, possibly with ranges.
fn is_host(text: &str) -> bool {
    // A range stands for a letter or a number.
    let mut plain = String::new();
    let mut rest = text;
    while let Some((head, after)) = rest.split_once('[') {
        let Some((range, tail)) = after.split_once(']') else { return false };
        let bounds: Vec<&str> = range.split(':').collect();
        let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !(2..=3).contains(&bounds.len()) || !bounds.iter().all(|text| is_number(text) || text.len() == 1) {
            return false;
        }
        plain.push_str(head);
        plain.push('0');
        rest = tail;
    }
    plain.push_str(rest);
    if plain.contains(':') {
        return plain.parse::<Ipv6Addr>().is_ok();
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    plain.split('.').all(|label| {
        // Ansible's label begins with a word character, which `_` is, and ends with neither `_` nor `-`.
        label.starts_with(is_word) && !label.ends_with(['_', '-']) && label.chars().all(|c| is_word(c) || c == '-')
    })
}

/// The items of a range without its brackets.
fn range_items(range: &str) -> Result<Vec<String>, String> {
    let bounds: Vec<&str> = range.split(':').collect();
    let (begin, end, step) = match bounds.as_slice() {
        [begin, end] => (*begin, *end, "1"),
        [begin, end, step] => (*begin, *end, *step),
        _ => return Err(format!("[{range}] is not a range: expected [begin:end] or [begin:end:step]")),
    };
    let begin = if begin.is_empty() { "0" } else { begin };
    if end.is_empty() {
        return Err(format!("[{range}] has no end"));
    }
    let invalid = || format!("[{range}] is not a range of numbers or letters");
    let step = step.parse::<usize>().ok().filter(|step| *step > 0).ok_or_else(invalid)?;
    let width = if begin.len() > 1 && begin.starts_with('0') { begin.len() } else { 0 };
    if width > 0 && width != end.len() {
        return Err(format!("[{range}] must have a begin and an end of equal length"));
    }
    let letters = |text: &str| match text.as_bytes() {
        // Ansible's order of letters: small ones first.
        [byte] if byte.is_ascii_lowercase() => Some(usize::from(byte - b'a')),
        [byte] if byte.is_ascii_uppercase() => Some(usize::from(byte - b'A') + 26),
        _ => None,
    };
    if let (Some(first), Some(last)) = (letters(begin), letters(end)) {
        if first > last {
            return Err(format!("[{range}] must begin before it ends"));
        }
        let alphabet: Vec<char> = ('a'..='z').chain('A'..='Z').collect();
        let chosen = alphabet.iter().skip(first).take(last - first + 1).step_by(step);
        return Ok(chosen.map(char::to_string).collect());
    }
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<usize>().ok()).flatten();
    let (Some(first), Some(last)) = (number(begin), number(end)) else { return Err(invalid()) };
    if last.saturating_sub(first) / step > MAX_HOSTS {
        return Err(format!("[{range}] has more than {MAX_HOSTS} hosts"));
    }
    Ok((first..=last).step_by(step).map(|number| format!("{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_expanded() {
        for (pattern, names, port) in [
            ("web1", vec!["web1"], None),
            ("web[8:10]", vec!["web8", "web9", "web10"], None),
            ("web[08:10].x", vec!["web08.x", "web09.x", "web10.x"], None),
            ("db-[a:c]", vec!["db-a", "db-b", "db-c"], None),
            ("n[1:9:4]", vec!["n1", "n5", "n9"], None),
            ("r[1:2]n[:1]", vec!["r1n0", "r1n1", "r2n0", "r2n1"], None),
            ("web1:2222", vec!["web1"], Some(2222)),
            ("web[1:2]:2222", vec!["web1", "web2"], Some(2222)),
            ("10.0.0.[1:2]:22", vec!["10.0.0.1", "10.0.0.2"], Some(22)),
            ("::1", vec!["::1"], None),
            ("2001:db8::[1:2]", vec!["2001:db8::1", "2001:db8::2"], None),
            ("[2001:db8::1]:2222", vec!["2001:db8::1"], Some(2222)),
            // No host to Ansible, so all of it is the name.
            ("-web:22", vec!["-web:22"], None),
            ("[5:3]", vec![], None),
        ] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            assert_eq!(expand(pattern), Ok((names, port)), "{pattern}");
        }
        for bad in ["a[1", "a[1]", "a[1:2:3:4]", "a[1:]", "a[01:100]", "a[c:a]", "a[1:z]", "a[1:9:0]", "a[0:999999999]"]
        {
            assert!(expand(bad).is_err(), "{bad}");
        }
        assert!(expand("a[1:1000][1:1000]").is_err());
    }
}
