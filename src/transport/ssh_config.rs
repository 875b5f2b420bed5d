//! Finds what in ssh_config `ctl` does not honour yet, so that it is refused and not ignored.
//!
//! Here live [`unhonoured`], a scan that is pure, and [`read_config`] and [`read_included`], which fetch the texts for it.
//! The file uses nothing of ours but the pattern matcher of `known_hosts`. What always holds: a keyword that would
//! change where or how securely one connects to a host is reported for that host, unless the value is given by a
//! stronger source or is what holds anyway; where it cannot be known whether a block applies, it does. Start
//! reading at [`unhonoured`], then `SETTINGS`.
//!
//! The rules are those of ssh_config(5) and of OpenSSH 9.2's `readconf.c`, tried with `ssh -G`: the first value
//! obtained counts, `Host` compares with the name as typed (case counts), a file included within a block that does
//! not match is not in force.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::known_hosts::wildcard;

/// Included files may include others so deep (`readconf.c`, READCONF_MAX_DEPTH).
const MAX_DEPTH: usize = 16;
/// So many included files are read in all.
const MAX_INCLUDED: usize = 256;
/// A file larger than this, in bytes, is an error.
const MAX_FILE: u64 = 4 << 20;

/// A host that one is about to connect to, and what is settled about it by inventory or command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostQuery {
    /// The name as typed: what `Host` compares with.
    pub name: String,
    /// The address is given: HostName does not count.
    pub address_set: bool,
    /// The user is given: User does not count.
    pub user_set: bool,
    /// The port is given: Port does not count.
    pub port_set: bool,
    /// The identity is given, and no other is offered: IdentityFile and IdentitiesOnly do not count.
    pub identity_set: bool,
    /// The known_hosts files are given: UserKnownHostsFile and GlobalKnownHostsFile do not count.
    pub known_hosts_set: bool,
    /// The jump host is given: ProxyJump and ProxyCommand do not count.
    pub jump_set: bool,
}

/// A keyword in force for a host that is not honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhonoured {
    /// The file it stands in.
    pub file: PathBuf,
    /// Its line there, from 1.
    pub line: usize,
    /// The keyword as ssh_config(5) writes it. `Match` stands for a block of which it is not known whether it
    /// applies, `Include` for files that could not be read.
    pub keyword: &'static str,
    /// The host, as in its [`HostQuery`].
    pub host: String,
}

/// Why a configuration file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SshConfigError {
    /// The file is there and cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than 4 MiB.
    #[error("{} is larger than {MAX_FILE} bytes", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// The pattern of an `Include` is one that is not understood: `~user`, a token or a variable.
    #[error("cannot resolve `Include {pattern}`")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
}

/// A keyword that changes where or how securely one connects.
struct Setting {
    /// As ssh_config(5) writes it.
    name: &'static str,
    /// Other names for it, in lower case.
    aliases: &'static [&'static str],
    /// Whether every value adds to those before it; else the first counts.
    adds: bool,
    /// Values with which nothing changes, in lower case; several words are joined by a blank.
    harmless: &'static [&'static str],
    /// Whether a stronger source gives the value.
    settled: fn(&HostQuery) -> bool,
}

const fn setting(name: &'static str, harmless: &'static [&'static str]) -> Setting {
    Setting { name, aliases: &[], adds: false, harmless, settled: never }
}

fn never(_: &HostQuery) -> bool {
    false
}

/// What is reported. Not here, since ignoring it changes neither where nor how securely one connects:
/// StrictHostKeyChecking, VerifyHostKeyDNS, NoHostAuthenticationForLocalhost (ours stays strict), ConnectTimeout,
/// ServerAlive…, HashKnownHosts, UpdateHostKeys, forwarding, GSSAPI and passwords (not used unless asked for), Control….
const SETTINGS: &[Setting] = &[
    Setting { settled: |query| query.address_set, ..setting("HostName", &["%h"]) },
    setting("CanonicalizeHostname", &["no", "false", "none"]),
    Setting { settled: |query| query.user_set, ..setting("User", &[]) },
    Setting { settled: |query| query.port_set, ..setting("Port", &["22"]) },
    setting("AddressFamily", &["any"]),
    setting("BindAddress", &[]),
    setting("BindInterface", &[]),
    Setting { settled: |query| query.jump_set, ..setting("ProxyJump", &["none"]) },
    Setting { settled: |query| query.jump_set, ..setting("ProxyCommand", &["none"]) },
    Setting { adds: true, settled: |query| query.identity_set, ..setting("IdentityFile", &[]) },
    Setting { settled: |query| query.identity_set, ..setting("IdentitiesOnly", &["no", "false"]) },
    setting("IdentityAgent", &["ssh_auth_sock", "$ssh_auth_sock"]),
    Setting { adds: true, ..setting("CertificateFile", &["none"]) },
    Setting { aliases: &["smartcarddevice"], ..setting("PKCS11Provider", &["none"]) },
    setting("SecurityKeyProvider", &["internal"]),
    setting("PreferredAuthentications", &[]),
    Setting {
        aliases: &["dsaauthentication"],
        ..setting("PubkeyAuthentication", &["yes", "true", "unbound", "host-bound"])
    },
    Setting { aliases: &["pubkeyacceptedkeytypes"], ..setting("PubkeyAcceptedAlgorithms", &[]) },
    Setting {
        settled: |query| query.known_hosts_set,
        ..setting("UserKnownHostsFile", &["~/.ssh/known_hosts", "~/.ssh/known_hosts ~/.ssh/known_hosts2"])
    },
    Setting {
        settled: |query| query.known_hosts_set,
        ..setting(
            "GlobalKnownHostsFile",
            &["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"],
        )
    },
    setting("KnownHostsCommand", &["none"]),
    setting("RevokedHostKeys", &["none"]),
    setting("HostKeyAlias", &[]),
    setting("HostKeyAlgorithms", &[]),
    setting("KexAlgorithms", &[]),
    setting("Ciphers", &[]),
    setting("MACs", &[]),
    setting("RequiredRSASize", &["1024"]),
];

/// Finds every keyword in `files` that would change where or how securely one connects to one of `hosts`, and is
/// not honoured.
///
/// `files` are the user's file and then the system's, as they are read by `ssh`. `include` fetches the files that
/// an `Include` names: it is given the file of `files` it belongs to and the pattern, and is asked once for each;
/// [`read_included`] serves. Where it fails, the `Include` itself is reported. A `Match` is judged where `all`,
/// `host` and `originalhost` suffice; else it is reported, if its block holds anything that counts.
///
/// The result has the hosts' order, and within a host that of the files.
pub fn unhonoured<F, E>(files: &[(PathBuf, String)], hosts: &[HostQuery], include: F) -> Vec<Unhonoured>
where
    F: Fn(&Path, &str) -> Result<Vec<(PathBuf, String)>, E>,
{
    let mut left = MAX_INCLUDED;
    let parsed: Vec<Parsed> = files
        .iter()
        .map(|(path, text)| parse(path, text, &mut |pattern| include(path, pattern).ok(), MAX_DEPTH, &mut left))
        .collect();
    let mut found = Vec::new();
    for host in hosts {
        let mut scan = Scan { host, taken: vec![false; SETTINGS.len()], found: Vec::new() };
        for file in &parsed {
            scan.file(file, Force::Yes);
        }
        found.append(&mut scan.found);
    }
    found
}

/// Reads a configuration file; `None` if there is none.
///
/// # Errors
/// [`SshConfigError::Read`] and [`SshConfigError::TooLarge`].
pub fn read_config(path: &Path) -> Result<Option<String>, SshConfigError> {
    let read = |source| SshConfigError::Read { file: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(read)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= MAX_FILE) {
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    } else {
        Err(SshConfigError::TooLarge { file: path.to_owned() })
    }
}

/// Reads the files that an `Include` names, in their order; none is fine.
///
/// A pattern that is no absolute path is taken from the directory of `file`, which is `~/.ssh/config` or
/// `/etc/ssh/ssh_config` (for a file given by hand, `ssh -F`, it would be `~/.ssh`). `home` stands for `~`.
///
/// # Errors
/// [`SshConfigError::Pattern`] for a pattern that is not understood, else as [`read_config`].
pub fn read_included(
    file: &Path,
    pattern: &str,
    home: Option<&Path>,
) -> Result<Vec<(PathBuf, String)>, SshConfigError> {
    let unclear = || SshConfigError::Pattern { pattern: pattern.to_owned() };
    if pattern.contains(['%', '$', '\\']) {
        return Err(unclear());
    }
    let path = match pattern.strip_prefix('~') {
        Some(rest) => home.ok_or_else(unclear)?.join(rest.strip_prefix('/').ok_or_else(unclear)?),
        None => file.parent().unwrap_or(Path::new("")).join(pattern),
    };
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let mut files = Vec::new();
    for found in glob::glob_with(path.to_str().ok_or_else(unclear)?, options).map_err(|_| unclear())? {
        let path =
            found.map_err(|error| SshConfigError::Read { file: error.path().to_owned(), source: error.into() })?;
        if let Some(text) = read_config(&path)? {
            files.push((path, text));
        }
    }
    Ok(files)
}

/// Fetches the files that a pattern names.
type Fetch<'a> = dyn FnMut(&str) -> Option<Vec<(PathBuf, String)>> + 'a;

struct Parsed {
    path: PathBuf,
    statements: Vec<Statement>,
}

struct Statement {
    line: usize,
    kind: Kind,
}

enum Kind {
    Host(Vec<String>),
    Match(Vec<String>),
    /// `None` if they could not be read.
    Include(Option<Vec<Parsed>>),
    /// Index into [`SETTINGS`], and the value.
    Set(usize, String),
}

fn parse(path: &Path, text: &str, include: &mut Fetch<'_>, depth: usize, left: &mut usize) -> Parsed {
    let mut statements = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((keyword, value)) = split_keyword(line) else { continue };
        let keyword = keyword.to_ascii_lowercase();
        let kind = match keyword.as_str() {
            "host" => Kind::Host(words(value)),
            "match" => Kind::Match(words(value)),
            "include" => Kind::Include(fetch(&words(value), include, depth, left)),
            _ => {
                let known = |setting: &Setting| {
                    setting.name.eq_ignore_ascii_case(&keyword) || setting.aliases.contains(&keyword.as_str())
                };
                match SETTINGS.iter().position(known) {
                    Some(setting) => Kind::Set(setting, words(value).join(" ")),
                    None => continue,
                }
            }
        };
        statements.push(Statement { line: index + 1, kind });
    }
    Parsed { path: path.to_owned(), statements }
}

fn fetch(patterns: &[String], include: &mut Fetch<'_>, depth: usize, left: &mut usize) -> Option<Vec<Parsed>> {
    let depth = depth.checked_sub(1)?;
    let mut parsed = Vec::new();
    for pattern in patterns {
        for (path, text) in include(pattern)? {
            *left = left.checked_sub(1)?;
            parsed.push(parse(&path, &text, include, depth, left));
        }
    }
    Some(parsed)
}

/// The keyword of a line and what follows it, behind blanks and at most one `=` (`misc.c`, `strdelim`).
fn split_keyword(line: &str) -> Option<(&str, &str)> {
    let blank = [' ', '\t', '\r', '\u{c}'];
    let line = line.trim_matches(blank);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (keyword, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => {
            let end = line.find(|c| blank.contains(&c) || c == '=').unwrap_or(line.len());
            line.split_at_checked(end)?
        }
    };
    let rest = rest.trim_start_matches(blank);
    Some((keyword, rest.strip_prefix('=').unwrap_or(rest).trim_start_matches(blank)))
}

/// The words of a value: quotes keep blanks, a backslash keeps quotes, blanks and itself, `#` before a word begins
/// a comment (`misc.c`, `argv_split`). A quote that is not closed, over which `ssh` gives up, goes to the end.
fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = value.chars().peekable();
    loop {
        while chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        if chars.peek().is_none_or(|c| *c == '#') {
            return words;
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = chars.next_if(|c| quote.is_some() || !matches!(c, ' ' | '\t')) {
            let kept = |next: &char| matches!(next, '"' | '\'' | '\\') || quote.is_none() && *next == ' ';
            if c == '\\' {
                word.push(chars.next_if(kept).unwrap_or('\\'));
            } else if Some(c) == quote {
                quote = None;
            } else if quote.is_none() && matches!(c, '"' | '\'') {
                quote = Some(c);
            } else {
                word.push(c);
            }
        }
        words.push(word);
    }
}

/// Whether the lines at hand apply to the host. The order is that of certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Force {
    No,
    /// They may: it depends on what is not evaluated here.
    Perhaps,
    /// They do, after all others (`Match final`).
    Late,
    Yes,
}

struct Scan<'a> {
    host: &'a HostQuery,
    /// For each of [`SETTINGS`] whether its value is obtained.
    taken: Vec<bool>,
    found: Vec<Unhonoured>,
}

impl Scan<'_> {
    /// `outer` bounds what can apply in this file: it is that of the block that includes it.
    fn file(&mut self, file: &Parsed, outer: Force) {
        let mut force = outer;
        let mut block = None;
        for Statement { line, kind } in &file.statements {
            match kind {
                Kind::Host(patterns) => {
                    force = outer.min(if host_matches(patterns, &self.host.name) { Force::Yes } else { Force::No });
                    block = None;
                }
                Kind::Match(words) => {
                    force = outer.min(self.judge(words));
                    block = Some(*line);
                }
                Kind::Include(_) | Kind::Set(..) if force == Force::No => {}
                Kind::Include(Some(included)) => {
                    let before = self.found.len();
                    for file in included {
                        self.file(file, force);
                    }
                    if let (Force::Perhaps, Some(line)) = (force, block) {
                        // The `Match` of this file says it all.
                        if self.found.len() > before {
                            self.found.truncate(before);
                            self.report(&file.path, line, "Match");
                        }
                    }
                }
                Kind::Include(None) => match (force, block) {
                    (Force::Perhaps, Some(block)) => self.report(&file.path, block, "Match"),
                    _ => self.report(&file.path, *line, "Include"),
                },
                Kind::Set(setting, value) => self.set(&file.path, *line, force, block, *setting, value),
            }
        }
    }

    fn set(&mut self, path: &Path, line: usize, force: Force, block: Option<usize>, index: usize, value: &str) {
        let (Some(setting), Some(taken)) = (SETTINGS.get(index), self.taken.get(index).copied()) else { return };
        if taken {
            return;
        }
        if force == Force::Yes && !setting.adds {
            self.take(index, setting.name, value);
        }
        let value = value.to_ascii_lowercase();
        let harmless = setting.harmless.contains(&value.as_str())
            || setting.name == "HostName" && value == self.host.name.to_ascii_lowercase();
        if harmless || (setting.settled)(self.host) {
            return;
        }
        match (force, block) {
            (Force::Perhaps, Some(block)) => self.report(path, block, "Match"),
            // In an included file, whose includer names the `Match` instead.
            _ => self.report(path, line, setting.name),
        }
    }

    /// A value is obtained; ProxyJump and ProxyCommand each keep the other out, but `ProxyJump none` does not.
    fn take(&mut self, index: usize, name: &str, value: &str) {
        let also = match name {
            "ProxyCommand" => "ProxyJump",
            "ProxyJump" if !value.eq_ignore_ascii_case("none") => "ProxyCommand",
            _ => name,
        };
        for (at, (setting, taken)) in SETTINGS.iter().zip(&mut self.taken).enumerate() {
            *taken |= at == index || setting.name == also;
        }
    }

    fn report(&mut self, file: &Path, line: usize, keyword: &'static str) {
        let found = Unhonoured { file: file.to_owned(), line, keyword, host: self.host.name.clone() };
        if !self.found.contains(&found) {
            self.found.push(found);
        }
    }

    /// Whether a `Match` applies. All of its criteria must.
    fn judge(&self, words: &[String]) -> Force {
        let mut words = words.iter().map(String::as_str).peekable();
        let mut force = Force::Yes;
        while let Some(word) = words.next() {
            let (word, glued) = match word.split_once('=') {
                Some((word, value)) => (word, Some(value)),
                None => (word, None),
            };
            let (negated, word) = match word.strip_prefix('!') {
                Some(word) => (true, word),
                None => (false, word),
            };
            let word = word.to_ascii_lowercase();
            let one = match word.as_str() {
                "all" => Force::Yes,
                "final" | "canonical" if negated => Force::Yes,
                "final" | "canonical" => Force::Late,
                _ => match glued.or_else(|| words.next()) {
                    Some(list) if word == "originalhost" => self.name_in(list, negated),
                    // It compares with HostName, if there is one.
                    Some(list) if word == "host" && !self.found.iter().any(|found| found.keyword == "HostName") => {
                        self.name_in(list, negated)
                    }
                    _ => Force::Perhaps,
                },
            };
            force = force.min(one);
        }
        force
    }

    fn name_in(&self, list: &str, negated: bool) -> Force {
        let patterns: Vec<String> = list.split(',').map(str::to_owned).collect();
        if host_matches(&patterns, &self.host.name) == negated { Force::No } else { Force::Yes }
    }
}

/// One pattern matches, and none with `!` before it does.
fn host_matches(patterns: &[String], name: &str) -> bool {
    let mut positive = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if wildcard(pattern, name) => return false,
            Some(_) => {}
            None => positive |= wildcard(pattern, name),
        }
    }
    positive
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn host(name: &str) -> HostQuery {
        HostQuery { name: name.to_owned(), ..HostQuery::default() }
    }

    fn nothing(_: &Path, _: &str) -> Result<Vec<(PathBuf, String)>, ()> {
        Err(())
    }

    /// What is found for a host, as `line keyword`.
    fn found(text: &str, query: &HostQuery) -> Vec<String> {
        let files = [(PathBuf::from("config"), text.to_owned())];
        unhonoured(&files, std::slice::from_ref(query), nothing)
            .into_iter()
            .map(|found| {
                assert_eq!((found.host, found.file), (query.name.clone(), PathBuf::from("config")));
                format!("{} {}", found.line, found.keyword)
            })
            .collect()
    }

    #[test]
    fn blocks_and_values() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("HostName a", &["1 HostName"]),
            ("Host n1\n HostName a", &["2 HostName"]),
            ("Host n2\n HostName a", &[]),
            ("Host n2\n HostName a\nHost n*\n User u", &["4 User"]),
            ("Host * !n1\n User u", &[]),
            ("Host !n1 *\n User u", &[]),
            ("Host !n2\n User u", &[]),
            ("Host x n?\n User u", &["2 User"]),
            ("Host N1\n User u", &[]),
            ("Host \"n1\"\n User u", &["2 User"]),
            ("Host n2 # n1\n User u", &[]),
            ("Host=n1\n\tUser=u", &["2 User"]),
            ("hOST n1\n uSER u", &["2 User"]),
            ("\"User\" u", &["1 User"]),
            ("User = u", &["1 User"]),
            ("# User u\n  # User u", &[]),
            ("Port 22", &[]),
            ("Port 22\nPort 2222", &[]),
            ("Port 2222\nPort 22", &["1 Port"]),
            ("Port 2222\nHost n1\nPort 2223", &["1 Port"]),
            ("HostName %h\nHostName other", &[]),
            ("HostName N1", &[]),
            ("HostName %h.dc1", &["1 HostName"]),
            ("IdentityFile a\nIdentityFile b", &["1 IdentityFile", "2 IdentityFile"]),
            ("ProxyJump none\nProxyCommand nc", &["2 ProxyCommand"]),
            ("ProxyCommand none\nProxyJump j", &[]),
            ("ProxyJump j\nProxyCommand nc", &["1 ProxyJump"]),
            ("ProxyCommand \"nc %h", &["1 ProxyCommand"]),
            ("UserKnownHostsFile ~/.ssh/known_hosts  ~/.ssh/known_hosts2", &[]),
            ("UserKnownHostsFile /dev/null", &["1 UserKnownHostsFile"]),
            ("PubkeyAcceptedKeyTypes +ssh-rsa", &["1 PubkeyAcceptedAlgorithms"]),
            ("StrictHostKeyChecking no\nConnectTimeout 5\nForwardAgent yes\nHashKnownHosts yes\nMadeUp x", &[]),
            ("Match all\n User u", &["2 User"]),
            ("Match host n1\n User u", &["2 User"]),
            ("Match host n2,n3\n User u", &[]),
            ("Match !host n2\n User u", &["2 User"]),
            ("Match host *,!n1\n User u", &[]),
            ("Match originalhost=n2\n User u", &[]),
            ("HostName a\nMatch host a\n User u", &["1 HostName", "2 Match"]),
            ("Match exec \"true\"\n User u\n Port 5", &["1 Match"]),
            ("Match exec \"true\" host n2\n User u", &[]),
            ("Match user u\n ForwardAgent no\n Port 22", &[]),
            ("Match exec x\n Port 22\nHost *\n Port 2222", &["4 Port"]),
            ("Match final all\n Ciphers x", &["2 Ciphers"]),
            ("Match canonical host n2\n Ciphers x", &[]),
            ("Match made-up\n User u", &["1 Match"]),
            ("Match exec x\n User u\nHost n1\n User v", &["1 Match", "4 User"]),
            ("Include x", &["1 Include"]),
            ("Host n2\n Include x", &[]),
            ("Match exec x\n Include x", &["1 Match"]),
        ];
        for (text, expected) in cases {
            assert_eq!(found(text, &host("n1")), *expected, "{text}");
        }
    }

    #[test]
    fn every_setting_is_found_under_its_name() {
        for setting in SETTINGS {
            let expected = [format!("1 {}", setting.name)];
            assert_eq!(found(&format!("{} odd", setting.name), &host("n1")), expected);
            assert_eq!(found(&format!("{}=odd", setting.name.to_ascii_lowercase()), &host("n1")), expected);
            for harmless in setting.harmless {
                assert_eq!(found(&format!("{} {harmless}", setting.name), &host("n1")), [""; 0]);
            }
        }
    }

    #[test]
    fn stronger_sources() {
        let text = "HostName a\nUser u\nPort 5\nIdentityFile i\nIdentitiesOnly yes\nUserKnownHostsFile k\nGlobalKnownHostsFile k\nProxyJump j\nCiphers c";
        assert_eq!(found(text, &host("n1")).len(), 9);
        let all = HostQuery {
            name: "n1".to_owned(),
            address_set: true,
            user_set: true,
            port_set: true,
            identity_set: true,
            known_hosts_set: true,
            jump_set: true,
        };
        assert_eq!(found(text, &all), ["9 Ciphers"]);
        assert_eq!(found("Match exec x\n User u\n", &all), [""; 0]);
    }

    /// Debian 12's /etc/ssh/ssh_config without its comments.
    const DEBIAN: &str = "Include /etc/ssh/ssh_config.d/*.conf\n\nHost *\n#   Port 22\n#   UserKnownHostsFile ~/.ssh/known_hosts.d/%k\n    SendEnv LANG LC_*\n    HashKnownHosts yes\n    GSSAPIAuthentication yes\n";

    #[test]
    fn stock_files_say_nothing() {
        let files = [(PathBuf::from("/etc/ssh/ssh_config"), DEBIAN.to_owned())];
        let none = |_: &Path, pattern: &str| {
            assert_eq!(pattern, "/etc/ssh/ssh_config.d/*.conf");
            Ok::<_, ()>(Vec::new())
        };
        assert_eq!(unhonoured(&files, &[host("n1")], none), []);
    }

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary directory");
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            std::fs::write(path, text).expect("write");
        }
        dir
    }

    #[test]
    fn includes_are_read() {
        let dir = tree(&[
            (
                "config",
                "Include conf.d/*.conf ~/more\nHost n2\n Include only2\nMatch exec x\n Include harmless perhaps\n",
            ),
            ("conf.d/b.conf", "Host n1\n Port 5\n"),
            ("conf.d/a.conf", "Host n1\n User u\n"),
            ("conf.d/.hidden.conf", "Ciphers c\n"),
            ("conf.d/other", "Ciphers c\n"),
            ("more", "MACs m\n"),
            ("only2", "Host *\n BindAddress b\n"),
            ("harmless", "Host *\n Port 22\n"),
            ("perhaps", "Host n3\n KexAlgorithms k\n"),
        ]);
        let path = dir.path().join("config");
        let text = read_config(&path).expect("readable").expect("there");
        let hosts = [host("n1"), host("n2"), host("n3")];
        let result =
            unhonoured(&[(path, text)], &hosts, |file, pattern| read_included(file, pattern, Some(dir.path())));
        let shown: Vec<String> = result
            .iter()
            .map(|found| {
                let file = found.file.strip_prefix(dir.path()).expect("in the directory").display();
                format!("{}: {file}:{} {}", found.host, found.line, found.keyword)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "n1: conf.d/a.conf:2 User",
                "n1: conf.d/b.conf:2 Port",
                "n1: more:1 MACs",
                "n2: more:1 MACs",
                "n2: only2:2 BindAddress",
                "n3: more:1 MACs",
                "n3: config:4 Match",
            ]
        );
    }

    #[test]
    fn includes_that_cannot_be_read() {
        let dir = tree(&[("loop", "Include loop loop\n"), ("dir/x", "")]);
        let include = |pattern: &str| read_included(&dir.path().join("config"), pattern, None);
        assert!(include("none*").expect("nothing matches").is_empty());
        assert!(matches!(include("dir"), Err(SshConfigError::Read { .. })));
        for unclear in ["~root/x", "~/x", "%d/x", "${HOME}/x", "a[", "***"] {
            assert!(matches!(include(unclear), Err(SshConfigError::Pattern { .. })), "{unclear}");
        }
        let files = [(PathBuf::from("config"), "Include loop\n".to_owned())];
        let result = unhonoured(&files, &[host("n1")], |_, pattern| include(pattern));
        assert!(!result.is_empty() && result.iter().all(|found| found.keyword == "Include"), "{result:?}");
        assert!(read_config(&dir.path().join("none")).expect("missing is nothing").is_none());
    }

    /// `ssh -G` says of each of these texts the same: a value is obtained exactly where one is reported.
    #[test]
    fn agrees_with_ssh() {
        let texts = [
            "Host n1\n User found\n",
            "Host n2\n User found\n",
            "Host !n1 *\n User found\n",
            "Host * !n1\n User found\n",
            "Host n?\n User found\n",
            "Host \"n1\" x\n User=found\n",
            "Host x # n1\n User found\n",
            "Host N1\n User found\n",
            "\"User\" found # x\n",
            "User = \"found\"\n",
            "\tUser\tfound\t\n",
            "Match all\n User found\n",
            "Match host n1,n2\n User found\n",
            "Match host n2\n User found\n",
            "Match !host n2\n User found\n",
            "Match originalhost *,!n1\n User found\n",
            "Host x\\ n1\n User found\n",
            "Host 'a b' n1\n User found\n",
            "Host n2\nMatch all\nHost n1\n User found\n",
            "Match final all\n User found\n",
            "Match originalhost=n1\n User found\n",
            "Match !final all\n User found\n",
        ];
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("config");
        for text in texts {
            std::fs::write(&path, text).expect("write");
            let output = Command::new("ssh")
                .args(["-G", "-F"])
                .arg(&path)
                .arg("n1")
                .output()
                .expect("ssh must be installed (Debian: apt-get install openssh-client)");
            let told = String::from_utf8_lossy(&output.stdout);
            if !output.status.success() {
                continue; // An older ssh may not know a form.
            }
            let theirs = told.lines().any(|line| line == "user found");
            let ours = found(text, &host("n1")).iter().any(|found| found.ends_with("User"));
            assert_eq!(ours, theirs, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}", name in "\\PC{0,10}") {
            let files = [(PathBuf::from("config"), text)];
            let _found = unhonoured(&files, &[host(&name)], nothing);
        }

        #[test]
        fn no_likely_text_panics(words in prop::collection::vec(
            prop::sample::select(vec!["Host", "Match", "Include", "User", "Port", "ProxyJump", " ", "=", "\n", "\"", "'", "\\", "#", "!", "*", "n1", "all", "host", "final", "22", ","]), 0..40)
        ) {
            let files = [(PathBuf::from("config"), words.concat())];
            let include = |_: &Path, _: &str| Ok::<_, ()>(vec![(PathBuf::from("more"), words.concat())]);
            let _found = unhonoured(&files, &[host("n1")], include);
        }

        #[test]
        fn every_statement_in_force_is_found(before in "(Host x\n User y\n|# c\n|Match host z\n Port 5\n){0,5}") {
            let text = format!("{before}Host n*\n User u\n");
            let expected = format!("{} User", text.lines().count());
            prop_assert_eq!(found(&text, &host("n1")), [expected]);
        }
    }
}
