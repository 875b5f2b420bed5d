//! `%h` and its like, `${NAME}` and `~`.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

use sha1::{Digest, Sha1};

use super::error::ConfigProblem;
use super::operator::OperatorEnv;

/// What the tokens stand for, for one host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PercentTokens<'a> {
    pub(crate) operator: &'a OperatorEnv,
    /// `%h`
    pub(crate) host: &'a str,
    /// `%n`
    pub(crate) original: &'a str,
    /// `%k`
    pub(crate) alias: &'a str,
    /// `%p`
    pub(crate) port: u16,
    /// `%r`
    pub(crate) user: &'a str,
}

/// The tokens of ProxyCommand.
pub(crate) const PROXY: &str = "hknpr";
/// The tokens of files and agents, and of `Match exec`.
pub(crate) const CLIENT: &str = "CLdhiklnpru";

impl PercentTokens<'_> {
    /// A path with `~`, tokens and environment variables resolved.
    pub(crate) fn path(&self, text: &str) -> Result<String, ConfigProblem> {
        let expanded = tilde(text, self.operator)?;
        // Most paths have neither, and need no copy.
        if expanded.contains(['%', '$']) { self.expand(&expanded, CLIENT, true) } else { Ok(expanded.into_owned()) }
    }

    /// The text with the tokens of `allowed` resolved, and environment variables if `variables` says so.
    pub(crate) fn expand(&self, text: &str, allowed: &str, variables: bool) -> Result<String, ConfigProblem> {
        expand(text, &self.operator.variables, variables, |token, out| {
            if !allowed.contains(token) {
                return Ok(false);
            }
            let written = match token {
                'h' => out.write_str(self.host),
                'n' => out.write_str(self.original),
                'k' => out.write_str(self.alias),
                'p' => write!(out, "{}", self.port),
                'r' => out.write_str(self.user),
                'u' => out.write_str(&self.operator.user),
                // A token is expanded only where it stands, so a missing home is an error only for texts that need it.
                'd' => out.write_str(&home(self.operator)?.to_string_lossy()),
                'i' => write!(out, "{}", self.operator.uid),
                'l' => out.write_str(&self.operator.hostname),
                'L' => out.write_str(self.operator.short_hostname()),
                'C' => out.write_str(&self.connection()),
                _ => return Ok(false),
            };
            // Writing to a String cannot fail, so this is always true.
            Ok(written.is_ok())
        })
    }

    /// SHA-1 of `%l%h%p%r` in hexadecimal digits.
    fn connection(&self) -> String {
        let mut digest = Sha1::new();
        // The order and the lack of separators are those of ssh_connection_hash (readconf.c).
        for part in [&self.operator.hostname, self.host, &self.port.to_string(), self.user] {
            digest.update(part.as_bytes());
        }
        let mut text = String::with_capacity(40);
        for byte in digest.finalize() {
            // Writing to a String cannot fail.
            let _written: std::fmt::Result = write!(text, "{byte:02x}");
        }
        text
    }
}

/// HostName with `%h`, the only token it knows.
pub(crate) fn host_name(text: &str, host: &str) -> Result<String, ConfigProblem> {
    expand(text, &Default::default(), false, |token, out| {
        // `%%` is handled in `expand`, so it passes here as well.
        if token == 'h' {
            out.push_str(host);
        }
        Ok(token == 'h')
    })
}

/// Whether every token of the text is one of `allowed`.
pub(crate) fn check(text: &str, allowed: &str) -> Result<(), ConfigProblem> {
    // An empty environment is enough, because variables are not expanded.
    expand(text, &Default::default(), false, |token, _| Ok(allowed.contains(token))).map(|_| ())
}

/// The environment variables of a text; tokens stay.
pub(crate) fn variables(text: &str, operator: &OperatorEnv) -> Result<String, ConfigProblem> {
    expand(text, &operator.variables, true, |token, out| {
        out.push('%');
        out.push(token);
        Ok(true)
    })
}

/// `~` and `~user` at the front of a path.
pub(crate) fn tilde<'t>(text: &'t str, operator: &OperatorEnv) -> Result<Cow<'t, str>, ConfigProblem> {
    tilde_as(text, operator.home.as_deref(), operator)
}

/// The same in `Include`: OpenSSH leaves it to its glob(3) there, which takes `HOME` where it is set, if only to nothing.
pub(crate) fn tilde_of_glob<'t>(text: &'t str, operator: &OperatorEnv) -> Result<Cow<'t, str>, ConfigProblem> {
    let variable = operator.variables.get("HOME").map(Path::new);
    tilde_as(text, variable.or(operator.home.as_deref()), operator)
}

fn tilde_as<'t>(text: &'t str, own: Option<&Path>, operator: &OperatorEnv) -> Result<Cow<'t, str>, ConfigProblem> {
    let Some(rest) = text.strip_prefix('~') else { return Ok(Cow::Borrowed(text)) };
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let home = match name {
        // A home that is not known is an error, as in tilde_expand (misc.c), because any other path would be the wrong
        // file.
        "" => own.ok_or(ConfigProblem::NoHome)?,
        name => operator.homes.get(name).ok_or_else(|| ConfigProblem::UnknownUser { name: name.to_owned() })?,
    };
    let home = home.to_string_lossy();
    // tilde_expand (misc.c) drops extra slashes and adds one if the home has none: `~//x` and `~/x` are one file.
    let rest = rest.trim_start_matches('/');
    // Put together by hand: the usual key files are made for every node.
    let mut path = String::with_capacity(home.len() + 1 + rest.len());
    path.push_str(&home);
    if !home.ends_with('/') {
        path.push('/');
    }
    path.push_str(rest);
    Ok(Cow::Owned(path))
}

fn home(operator: &OperatorEnv) -> Result<&Path, ConfigProblem> {
    operator.home.as_deref().ok_or(ConfigProblem::NoHome)
}

/// Resolves `%` with `token`, which says whether it knows one, and `${NAME}` from the environment.
fn expand(
    text: &str,
    environment: &std::collections::BTreeMap<String, String>,
    with_variables: bool,
    token: impl Fn(char, &mut String) -> Result<bool, ConfigProblem>,
) -> Result<String, ConfigProblem> {
    let mut out = String::with_capacity(text.len() + 40);
    let mut rest = text;
    while let Some(at) = rest.find(['%', '$']) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        if let Some(named) = special.strip_prefix("${").filter(|_| with_variables) {
            let (name, after) = named.split_once('}').unwrap_or((named, ""));
            // A brace that is not closed leaves nothing to look up; it is reported like a variable that is not set.
            let closed = named.len() > name.len();
            let value = environment.get(name).filter(|_| closed && !name.is_empty());
            out.push_str(
                value.ok_or_else(|| ConfigProblem::Variable { text: text.to_owned(), name: name.to_owned() })?,
            );
            rest = after;
            continue;
        }
        let mut chars = special.chars();
        // A `$` that begins no variable stays: only `${` is special in vdollar_percent_expand (misc.c).
        if chars.next() == Some('$') {
            out.push('$');
            rest = chars.as_str();
            continue;
        }
        let unknown = |token: &str| ConfigProblem::Token { text: text.to_owned(), token: token.to_owned() };
        match chars.next() {
            // A `%` at the end is an error, not a plain character.
            None => return Err(unknown("")),
            Some('%') => out.push('%'),
            Some(name) => {
                if !token(name, &mut out)? {
                    return Err(unknown(&name.to_string()));
                }
            }
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator() -> OperatorEnv {
        OperatorEnv {
            home: Some("/home/op".into()),
            user: "op".into(),
            uid: 1000,
            hostname: "vm.example.org".into(),
            variables: [("DIR".to_owned(), "/x".to_owned())].into(),
            homes: [("other".to_owned(), "/home/other".into())].into(),
            ..OperatorEnv::default()
        }
    }

    #[test]
    fn every_token() {
        let operator = operator();
        let tokens = PercentTokens { operator: &operator, host: "h", original: "N", alias: "k", port: 22, user: "r" };
        assert_eq!(
            tokens.path("~/%h-%n-%k-%p-%r-%u-%d-%i-%l-%L-%%-${DIR}-$DIR").expect("known"),
            "/home/op/h-N-k-22-r-op-/home/op-1000-vm.example.org-vm-%-/x-$DIR"
        );
        assert_eq!(tokens.path("%C").expect("known").len(), 40);
        for bad in ["%z", "%", "${NO}", "${", "${}", "~nobody-here/x"] {
            assert!(tokens.path(bad).is_err(), "{bad}");
        }
        assert!(tokens.expand("%u", PROXY, false).is_err());
        assert_eq!(tokens.expand("${NO} %h", PROXY, false).expect("known"), "${NO} h");
    }

    #[test]
    fn homes() {
        let operator = operator();
        for (text, expected) in [
            ("~", "/home/op/"),
            ("~/a", "/home/op/a"),
            ("~other/a", "/home/other/a"),
            ("~//a", "/home/op/a"),
            ("a~", "a~"),
        ] {
            assert_eq!(tilde(text, &operator).expect("known"), expected);
        }
        assert!(tilde("~/a", &OperatorEnv::default()).is_err());
        // Only the patterns of `Include` know `HOME`.
        for (home, expected) in [(Some("/elsewhere"), "/elsewhere/a"), (Some(""), "/a"), (None, "/home/op/a")] {
            let variables = home.map(|home| ("HOME".to_owned(), home.to_owned())).into_iter().collect();
            let operator = OperatorEnv { variables, ..operator.clone() };
            assert_eq!(tilde("~/a", &operator).expect("known"), "/home/op/a");
            assert_eq!(tilde_of_glob("~/a", &operator).expect("known"), expected);
            assert_eq!(tilde_of_glob("~other/a", &operator).expect("known"), "/home/other/a");
        }
    }

    #[test]
    fn host_names() {
        assert_eq!(host_name("%h.x%%y", "a").expect("known"), "a.x%y");
        assert!(host_name("%n", "a").is_err());
        assert!(host_name("a%", "a").is_err());
    }
}
