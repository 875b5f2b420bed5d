//! One host's way through the files: which lines are in force, and which values are obtained.
//!
//! Invariants: the first value obtained counts, except for IdentityFile and CertificateFile, which add up; a
//! block that cannot apply, because the file was included within one that does not, is still read for its errors.

use std::iter;
use std::path::Path;
use std::sync::Arc;

use super::address::{self, NumericAddress};
use super::error::{ConfigOrigin, ConfigProblem, SshConfigError};
use super::keyword::{KeywordEntry, SettingKey};
use super::matching::{MatchFacts, MatchLine};
use super::operator::OperatorEnv;
use super::parse::{ParsedFile, StatementKind};
use super::pattern::PatternList;
use super::query::HostQuery;
use super::tokens::{self, PercentTokens};
use super::value::ConfigValue;

/// How many IdentityFile lines are taken, and how many CertificateFile lines.
const MAX_IDENTITIES: usize = 100;
/// How many files one keyword may name.
const MAX_FILES: usize = 32;

/// A value and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConfigHit<'c> {
    pub(crate) value: &'c ConfigValue,
    pub(crate) file: &'c ParsedFile,
    pub(crate) line: usize,
}

impl ConfigHit<'_> {
    pub(crate) fn origin(self) -> ConfigOrigin {
        ConfigOrigin::File { path: Arc::clone(&self.file.path), line: self.line }
    }
}

/// A keyword that is not honoured, where it first stands in force.
pub(crate) struct IgnoredKeyword<'c> {
    pub(crate) keyword: &'static KeywordEntry,
    pub(crate) harmless: bool,
    pub(crate) path: &'c Path,
    pub(crate) line: usize,
}

/// The values found so far.
pub(crate) struct ConfigWalk<'c, 'q> {
    pub(crate) query: &'q HostQuery<'q>,
    pub(crate) operator: &'q OperatorEnv,
    pub(crate) exec: &'q dyn Fn(&str) -> Result<bool, ConfigProblem>,
    pub(crate) hits: [Option<ConfigHit<'c>>; SettingKey::COUNT],
    pub(crate) identities: Vec<ConfigHit<'c>>,
    pub(crate) certificates: Vec<ConfigHit<'c>>,
    pub(crate) others: Vec<IgnoredKeyword<'c>>,
    /// The name to connect to, once it is fixed: in the second pass.
    pub(crate) connected: Option<String>,
}

impl<'c> ConfigWalk<'c, '_> {
    /// `active` says whether the lines before the first block apply, `never` that no block can.
    pub(crate) fn file(&mut self, file: &'c ParsedFile, active: bool, never: bool) -> Result<(), SshConfigError> {
        let mut active = active;
        for statement in &file.statements {
            let problem = |problem| SshConfigError::at(&file.path, statement.line, problem);
            match &statement.kind {
                StatementKind::Host(line) => {
                    // An error in the patterns counts even if no block can apply, hence the call.
                    active = line.matches(self.host_names().as_slice(), never).map_err(problem)?;
                }
                // Without judging it: its criteria could run a command for a block that cannot apply.
                StatementKind::Match(_) if never => active = false,
                StatementKind::Match(line) => active = self.matches(line).map_err(problem)?,
                StatementKind::Include(files) => {
                    for included in files {
                        // `active` is passed by value: a `Match` in the included file does not change the block of this
                        // one (readconf.c, oInclude).
                        self.file(included, active, never || !active)?;
                    }
                }
                StatementKind::Unknown(keyword) => {
                    // In blocks that do not apply, too: parse_token (readconf.c) judges a keyword before it looks at
                    // the block.
                    let ignored = self.text(SettingKey::IgnoreUnknown);
                    if !ignored
                        .is_some_and(|patterns| PatternList::lowercase(patterns).matches(iter::once(keyword.as_str())))
                    {
                        return Err(problem(ConfigProblem::UnknownKeyword { keyword: keyword.clone() }));
                    }
                }
                StatementKind::Other { keyword, harmless } if active => {
                    // The first line in force is enough for a warning.
                    if !self.others.iter().any(|other| std::ptr::eq(other.keyword, *keyword)) {
                        let (harmless, path, line) = (*harmless, &*file.path, statement.line);
                        self.others.push(IgnoredKeyword { keyword, harmless, path, line });
                    }
                }
                StatementKind::Set(key, value) if active => {
                    self.set(*key, ConfigHit { value, file, line: statement.line }).map_err(problem)?;
                }
                StatementKind::Other { .. } | StatementKind::Set(..) => {}
            }
        }
        Ok(())
    }

    fn set(&mut self, key: SettingKey, hit: ConfigHit<'c>) -> Result<(), ConfigProblem> {
        if key == SettingKey::IdentityFile {
            return add(&mut self.identities, hit, "IdentityFile");
        }
        if key == SettingKey::CertificateFile {
            return add(&mut self.certificates, hit, "CertificateFile");
        }
        // The first of the two proxies counts; no bastion leaves the choice of a command.
        if self.hit(key).is_some() || key == SettingKey::ProxyJump && self.hit(SettingKey::ProxyCommand).is_some() {
            return Ok(());
        }
        // After the test for an earlier value: a list that is not used may be longer (readconf.c, parse_char_array).
        if let ConfigValue::Words(words) = hit.value
            && words.len() > MAX_FILES
        {
            let users = key == SettingKey::UserKnownHostsFile;
            let keyword = if users { "UserKnownHostsFile" } else { "GlobalKnownHostsFile" };
            return Err(ConfigProblem::TooMany { keyword, limit: MAX_FILES });
        }
        self.put(key, hit);
        if hit.value.as_jump().is_some() {
            // parse_jump (readconf.c) sets ProxyCommand to `none` with it, so that a later ProxyCommand does not count.
            self.put(SettingKey::ProxyCommand, hit);
        }
        Ok(())
    }

    fn put(&mut self, key: SettingKey, hit: ConfigHit<'c>) {
        if let Some(slot) = self.hits.get_mut(key as usize) {
            *slot = Some(hit);
        }
    }

    pub(crate) fn hit(&self, key: SettingKey) -> Option<ConfigHit<'c>> {
        self.hits.get(key as usize).copied().flatten()
    }

    pub(crate) fn text(&self, key: SettingKey) -> Option<&'c Arc<str>> {
        self.hit(key)?.value.as_text()
    }

    pub(crate) fn choice(&self, key: SettingKey) -> Option<&'static str> {
        self.hit(key)?.value.as_choice()
    }

    pub(crate) fn number(&self, key: SettingKey) -> Option<u64> {
        self.hit(key)?.value.as_number()
    }

    /// What `Host` looks at: the name typed, later the one connected to; and the address.
    fn host_names(&self) -> HostNames<'_> {
        let first = self.connected.as_deref().unwrap_or(self.query.host);
        match &self.query.address {
            // With an address, the name connected to is the address, so that the name typed goes with it.
            Some(address) => HostNames::Two([self.query.host, address.value]),
            None => HostNames::One([first]),
        }
    }

    fn matches(&self, line: &MatchLine) -> Result<bool, ConfigProblem> {
        // Before it is fixed, the HostName found so far counts, as in match_cfg_line: the order of lines matters.
        let connected = match &self.connected {
            Some(connected) => connected.clone(),
            None => self.expanded_host_name()?,
        };
        let lower = connected.to_ascii_lowercase();
        let original = self.query.host.to_ascii_lowercase();
        let (mut hosts, mut originals) = (vec![lower.as_str()], vec![original.as_str()]);
        let address = self.query.address.as_ref().map(|address| address.value.to_ascii_lowercase());
        // The operator may have written a block for the name or for the address; either is meant to apply.
        if let Some(address) = &address {
            hosts.push(&original);
            originals.push(address);
        }
        let user = self.user();
        line.matches(&MatchFacts {
            hosts: &hosts,
            original_hosts: &originals,
            user,
            operator: self.operator,
            tag: self.text(SettingKey::Tag).map_or("", |tag| tag),
            second_pass: self.connected.is_some(),
            exec: &|command| {
                let tokens = PercentTokens {
                    operator: self.operator,
                    host: &connected,
                    original: self.query.host,
                    // In `Match exec`, `%k` falls back to the name to connect to, not to the name as typed (readconf.c,
                    // match_cfg_line).
                    alias: self.text(SettingKey::HostKeyAlias).map_or(&connected, |alias| alias),
                    port: self.port(),
                    user,
                };
                (self.exec)(&tokens.expand(command, tokens::CLIENT, false)?)
            },
        })
    }

    pub(crate) fn user(&self) -> &str {
        match &self.query.user {
            Some(given) => &given.value,
            None => self.text(SettingKey::User).map_or(&self.operator.user, |user| user),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        let given = self.query.port.as_ref().map(|port| port.value);
        given.or_else(|| u16::try_from(self.number(SettingKey::Port)?).ok()).unwrap_or(22)
    }

    /// The name to connect to, as far as it is known.
    fn expanded_host_name(&self) -> Result<String, ConfigProblem> {
        match (&self.query.address, self.text(SettingKey::HostName)) {
            (Some(address), _) => Ok(address.value.to_owned()),
            (None, Some(text)) => tokens::host_name(text, self.query.host),
            (None, None) => Ok(self.query.host.to_owned()),
        }
    }

    pub(crate) fn host_name(&self) -> Result<String, SshConfigError> {
        let name = self.expanded_host_name().map_err(|problem| {
            self.hit(SettingKey::HostName).map_or(ConfigOrigin::Default, ConfigHit::origin).error(problem)
        })?;
        // ssh.c (main) puts a name in lower case once it is expanded, before it reads the files again. An address it
        // writes anew instead, and that is the name to look for in known_hosts.
        let family = self.choice(SettingKey::AddressFamily);
        Ok(match NumericAddress::parse(&name).and_then(|address| address.in_family(family)) {
            Some(address) => {
                let address = address.to_string();
                // resolve_canonicalize (ssh.c) leaves a name that differs only in case as it is.
                if address.eq_ignore_ascii_case(&name) { name } else { address }
            }
            None if address::can_be_no_name(&name) => name,
            None => name.to_ascii_lowercase(),
        })
    }
}

/// One name or two, without an allocation.
enum HostNames<'a> {
    One([&'a str; 1]),
    Two([&'a str; 2]),
}

impl<'a> HostNames<'a> {
    fn as_slice(&self) -> &[&'a str] {
        match self {
            Self::One(names) => names,
            Self::Two(names) => names,
        }
    }
}

/// Adds a file, unless it is there; the user's own and the system's are kept apart.
fn add<'c>(files: &mut Vec<ConfigHit<'c>>, hit: ConfigHit<'c>, keyword: &'static str) -> Result<(), ConfigProblem> {
    // Before the search for duplicates, as in readconf.c (oIdentityFile): one that is there already counts as one too
    // many.
    if files.len() >= MAX_IDENTITIES {
        return Err(ConfigProblem::TooMany { keyword, limit: MAX_IDENTITIES });
    }
    let same =
        |other: &ConfigHit<'_>| other.file.users == hit.file.users && other.value.as_text() == hit.value.as_text();
    if !files.iter().any(same) {
        files.push(hit);
    }
    Ok(())
}
