//! One host's way through the files: which lines are in force, and which values are obtained.
//!
//! What always holds: the first value obtained counts, except for IdentityFile and CertificateFile, which add up; a
//! block that cannot apply, because the file was included within one that does not, is still read for its errors.

use std::path::Path;
use std::sync::Arc;

use super::error::{Origin, Problem, SshConfigError};
use super::keyword::{Key, Keyword};
use super::matching::{Facts, MatchLine};
use super::operator::Operator;
use super::parse::{Kind, Parsed};
use super::pattern;
use super::resolve::Query;
use super::tokens::{self, Tokens};
use super::value::Value;

/// So many IdentityFile lines are taken, and so many CertificateFile lines.
const MAX_IDENTITIES: usize = 100;
/// So many files one keyword may name.
const MAX_FILES: usize = 32;

/// A value and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit<'c> {
    pub(super) value: &'c Value,
    pub(super) file: &'c Parsed,
    pub(super) line: usize,
}

impl Hit<'_> {
    pub(super) fn origin(self) -> Origin {
        Origin::File { path: Arc::clone(&self.file.path), line: self.line }
    }
}

/// A keyword that is not honoured, where it first stands in force.
pub(super) struct Other<'c> {
    pub(super) keyword: &'static Keyword,
    pub(super) harmless: bool,
    pub(super) path: &'c Path,
    pub(super) line: usize,
}

/// What was found so far.
pub(super) struct Walk<'c, 'q> {
    pub(super) query: &'q Query<'q>,
    pub(super) operator: &'q Operator,
    pub(super) exec: &'q dyn Fn(&str) -> bool,
    pub(super) hits: [Option<Hit<'c>>; Key::COUNT],
    pub(super) identities: Vec<Hit<'c>>,
    pub(super) certificates: Vec<Hit<'c>>,
    pub(super) others: Vec<Other<'c>>,
    /// What is connected to, once it is settled: in the second pass.
    pub(super) connected: Option<String>,
}

impl<'c> Walk<'c, '_> {
    /// `active` says whether the lines before the first block apply, `never` that no block can.
    pub(super) fn file(&mut self, file: &'c Parsed, active: bool, never: bool) -> Result<(), SshConfigError> {
        let mut active = active;
        for statement in &file.statements {
            let problem = |problem| SshConfigError::at(&file.path, statement.line, problem);
            match &statement.kind {
                Kind::Host(line) => {
                    active = line.matches(self.host_names().as_slice(), never).map_err(problem)?;
                }
                Kind::Match(_) if never => active = false,
                Kind::Match(line) => active = self.matches(line).map_err(problem)?,
                Kind::Include(files) => {
                    for included in files {
                        self.file(included, active, never || !active)?;
                    }
                }
                Kind::Unknown(keyword) => {
                    let ignored = self.text(Key::IgnoreUnknown);
                    if !ignored.is_some_and(|patterns| pattern::list_matches(patterns, keyword, true)) {
                        return Err(problem(Problem::UnknownKeyword { keyword: keyword.clone() }));
                    }
                }
                Kind::Other { keyword, harmless } if active => {
                    if !self.others.iter().any(|other| std::ptr::eq(other.keyword, *keyword)) {
                        let (harmless, path, line) = (*harmless, &*file.path, statement.line);
                        self.others.push(Other { keyword, harmless, path, line });
                    }
                }
                Kind::Set(key, value) if active => {
                    self.set(*key, Hit { value, file, line: statement.line }).map_err(problem)?;
                }
                Kind::Other { .. } | Kind::Set(..) => {}
            }
        }
        Ok(())
    }

    fn set(&mut self, key: Key, hit: Hit<'c>) -> Result<(), Problem> {
        if key == Key::IdentityFile {
            return add(&mut self.identities, hit, "IdentityFile");
        }
        if key == Key::CertificateFile {
            return add(&mut self.certificates, hit, "CertificateFile");
        }
        // The first of the two proxies counts; no bastion leaves the choice of a command.
        if self.hit(key).is_some() || key == Key::ProxyJump && self.hit(Key::ProxyCommand).is_some() {
            return Ok(());
        }
        if let Value::Words(words) = hit.value
            && words.len() > MAX_FILES
        {
            let users = key == Key::UserKnownHostsFile;
            let keyword = if users { "UserKnownHostsFile" } else { "GlobalKnownHostsFile" };
            return Err(Problem::TooMany { keyword, limit: MAX_FILES });
        }
        self.put(key, hit);
        if hit.value.as_jump().is_some() {
            self.put(Key::ProxyCommand, hit);
        }
        Ok(())
    }

    fn put(&mut self, key: Key, hit: Hit<'c>) {
        if let Some(slot) = self.hits.get_mut(key as usize) {
            *slot = Some(hit);
        }
    }

    pub(super) fn hit(&self, key: Key) -> Option<Hit<'c>> {
        self.hits.get(key as usize).copied().flatten()
    }

    pub(super) fn text(&self, key: Key) -> Option<&'c Arc<str>> {
        self.hit(key)?.value.as_text()
    }

    pub(super) fn choice(&self, key: Key) -> Option<&'static str> {
        self.hit(key)?.value.as_choice()
    }

    pub(super) fn number(&self, key: Key) -> Option<u64> {
        self.hit(key)?.value.as_number()
    }

    /// What `Host` looks at: the name typed, later the one connected to; and the address.
    fn host_names(&self) -> Names<'_> {
        let first = self.connected.as_deref().unwrap_or(self.query.host);
        match &self.query.address {
            // With an address, the name connected to is the address, so that the name typed goes with it.
            Some(address) => Names::Two([self.query.host, address.value]),
            None => Names::One([first]),
        }
    }

    fn matches(&self, line: &MatchLine) -> Result<bool, Problem> {
        let connected = match &self.connected {
            Some(connected) => connected.clone(),
            None => self.expanded_host_name()?,
        };
        let lower = connected.to_ascii_lowercase();
        let original = self.query.host.to_ascii_lowercase();
        let (mut hosts, mut originals) = (vec![lower.as_str()], vec![original.as_str()]);
        let address = self.query.address.as_ref().map(|address| address.value.to_ascii_lowercase());
        if let Some(address) = &address {
            hosts.push(&original);
            originals.push(address);
        }
        let user = self.user();
        line.matches(&Facts {
            hosts: &hosts,
            original_hosts: &originals,
            user,
            operator: self.operator,
            tag: self.text(Key::Tag).map_or("", |tag| tag),
            second_pass: self.connected.is_some(),
            exec: &|command| {
                let tokens = Tokens {
                    operator: self.operator,
                    host: &connected,
                    original: self.query.host,
                    alias: self.text(Key::HostKeyAlias).map_or(&connected, |alias| alias),
                    port: self.port(),
                    user,
                };
                Ok((self.exec)(&tokens.expand(command, tokens::CLIENT, false)?))
            },
        })
    }

    pub(super) fn user(&self) -> &str {
        match &self.query.user {
            Some(given) => &given.value,
            None => self.text(Key::User).map_or(&self.operator.user, |user| user),
        }
    }

    pub(super) fn port(&self) -> u16 {
        let given = self.query.port.as_ref().map(|port| port.value);
        given.or_else(|| u16::try_from(self.number(Key::Port)?).ok()).unwrap_or(22)
    }

    /// What is connected to, as far as it is known.
    fn expanded_host_name(&self) -> Result<String, Problem> {
        match (&self.query.address, self.text(Key::HostName)) {
            (Some(address), _) => Ok(address.value.to_owned()),
            (None, Some(text)) => tokens::host_name(text, self.query.host),
            (None, None) => Ok(self.query.host.to_owned()),
        }
    }

    pub(super) fn host_name(&self) -> Result<String, SshConfigError> {
        let name = self
            .expanded_host_name()
            .map_err(|problem| self.hit(Key::HostName).map_or(Origin::Default, Hit::origin).error(problem))?;
        Ok(name.to_ascii_lowercase())
    }
}

/// One name or two, without a place on the heap.
enum Names<'a> {
    One([&'a str; 1]),
    Two([&'a str; 2]),
}

impl<'a> Names<'a> {
    fn as_slice(&self) -> &[&'a str] {
        match self {
            Self::One(names) => names,
            Self::Two(names) => names,
        }
    }
}

/// Adds a file, unless it is there; the user's own and the system's are told apart.
fn add<'c>(files: &mut Vec<Hit<'c>>, hit: Hit<'c>, keyword: &'static str) -> Result<(), Problem> {
    if files.len() >= MAX_IDENTITIES {
        return Err(Problem::TooMany { keyword, limit: MAX_IDENTITIES });
    }
    let same = |other: &Hit<'_>| other.file.users == hit.file.users && other.value.as_text() == hit.value.as_text();
    if !files.iter().any(same) {
        files.push(hit);
    }
    Ok(())
}
