//! From files to statements: each file is read, split and checked once, whatever hosts are asked for later.
//!
//! Here live [`ConfigParser`], which reads a file and those it includes, and the [`ConfigStatement`]s it makes. Invariants:
//! files are bounded in size, number and depth; nobody but the operator and root can have written a file that
//! `ssh` would not trust either.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{ConfigProblem, SshConfigError};
use super::keyword::{self, KeywordEntry, SettingKey, Treatment, ValueSyntax};
use super::line;
use super::matching::{HostLine, MatchLine};
use super::operator::OperatorEnv;
use super::tokens;
use super::value::{self, ConfigValue};

/// How deep included files may include others.
const MAX_DEPTH: usize = 16;
/// How many included files are read in all.
const MAX_INCLUDED: usize = 4096;
/// A file larger than this, in bytes, is an error.
const MAX_FILE: u64 = 4 << 20;

/// A file that was read.
#[derive(Debug)]
pub(crate) struct ParsedFile {
    pub(crate) path: Arc<Path>,
    /// Whether it is the user's own, or was included by one that is.
    pub(crate) users: bool,
    pub(crate) statements: Vec<ConfigStatement>,
}

impl ParsedFile {
    /// Adds the names of its `Host` lines, and those of the files that it includes.
    pub(crate) fn host_names<'f>(&'f self, names: &mut Vec<&'f str>) {
        for statement in &self.statements {
            match &statement.kind {
                StatementKind::Host(line) => names.extend(line.names()),
                StatementKind::Include(files) => files.iter().for_each(|file| file.host_names(names)),
                StatementKind::Match(_)
                | StatementKind::Set(..)
                | StatementKind::Other { .. }
                | StatementKind::Unknown(_) => {}
            }
        }
    }
}

/// A line that says something.
#[derive(Debug)]
pub(crate) struct ConfigStatement {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) kind: StatementKind,
}

#[derive(Debug)]
pub(crate) enum StatementKind {
    Host(HostLine),
    Match(MatchLine),
    Include(Vec<ParsedFile>),
    Set(SettingKey, ConfigValue),
    /// A keyword that is not honoured, and whether the value changes nothing.
    Other {
        keyword: &'static KeywordEntry,
        harmless: bool,
    },
    /// A keyword that nobody knows, in lower case: an error, unless it is to be ignored.
    Unknown(String),
}

/// Reads files for one operator.
pub(crate) struct ConfigParser<'a> {
    pub(crate) operator: &'a OperatorEnv,
    /// Whether the files are the user's own.
    pub(crate) users: bool,
    /// Where relative includes are looked for; a user's are in `~/.ssh`.
    pub(crate) system_directory: &'a Path,
    included: usize,
    /// Whether some `Match` asks for a second pass.
    pub(crate) wants_final: bool,
}

impl<'a> ConfigParser<'a> {
    pub(crate) fn new(operator: &'a OperatorEnv, users: bool, system_directory: &'a Path) -> Self {
        Self { operator, users, system_directory, included: 0, wants_final: false }
    }

    /// Reads a file; `None` if there is none.
    pub(crate) fn file(&mut self, path: &Path, trusted: bool) -> Result<Option<ParsedFile>, SshConfigError> {
        self.nested_file(path, trusted, 0)
    }

    fn nested_file(&mut self, path: &Path, trusted: bool, depth: usize) -> Result<Option<ParsedFile>, SshConfigError> {
        // A file that includes itself would never end; the limit is that of READCONF_MAX_DEPTH in readconf.c.
        if depth > MAX_DEPTH {
            return Err(SshConfigError::of_file(path, ConfigProblem::TooDeep { limit: MAX_DEPTH }));
        }
        match self.content(path, trusted).map_err(|problem| SshConfigError::of_file(path, problem))? {
            Some(bytes) => self.text(path, &bytes, depth).map(Some),
            None => Ok(None),
        }
    }

    /// The content of a file; `None` if there is none. A directory is empty.
    fn content(&self, path: &Path, trusted: bool) -> Result<Option<Vec<u8>>, ConfigProblem> {
        let file = match (self.operator.read_file.0)(path, MAX_FILE) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Ok(Some(Vec::new())),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(ConfigProblem::TooLarge { limit: MAX_FILE });
            }
            Err(error) => return Err(ConfigProblem::Read(error)),
        };
        // The check of read_config_file_depth (readconf.c): such a file could run commands as the operator, by
        // ProxyCommand.
        if !trusted && (file.mode & 0o022 != 0 || file.uid != 0 && file.uid != self.operator.uid) {
            return Err(ConfigProblem::Permissions);
        }
        Ok(Some(file.bytes))
    }

    /// Reads text that is at hand.
    pub(crate) fn text(&mut self, path: &Path, bytes: &[u8], depth: usize) -> Result<ParsedFile, SshConfigError> {
        let mut statements = Vec::new();
        for (index, bytes) in bytes.split(|byte| *byte == b'\n').enumerate() {
            // `ssh` reads a line as a C string, which ends at its first NUL.
            let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            let line = index + 1;
            if let Some(kind) = self.line(path, line, bytes, depth)? {
                statements.push(ConfigStatement { line, kind });
            }
        }
        Ok(ParsedFile { path: path.into(), users: self.users, statements })
    }

    fn line(
        &mut self,
        path: &Path,
        number: usize,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Option<StatementKind>, SshConfigError> {
        // Bytes that are not UTF-8 are common in comments, so they are an error only within a value, further down.
        let text = String::from_utf8_lossy(bytes);
        let Some(line) = line::split(&text) else { return Ok(None) };
        let problem = |problem| SshConfigError::at(path, number, problem);
        let written = line.keyword;
        if line.rest.is_empty() {
            return Err(problem(ConfigProblem::Missing { keyword: written }));
        }
        // Before the keyword is judged: `ssh` reports bad quotes even for a keyword that IgnoreUnknown lets pass.
        let words = line::arguments(line.rest).ok_or_else(|| problem(ConfigProblem::Quotes))?;
        let Some(keyword) = keyword::find(&written) else { return Ok(Some(StatementKind::Unknown(written))) };
        // Both tests are needed: the replacement character may also be written in the file as itself.
        let replaced = |text: &String| text.contains(char::REPLACEMENT_CHARACTER);
        if std::str::from_utf8(bytes).is_err() && words.iter().any(replaced) {
            return Err(problem(ConfigProblem::NotText { keyword: written }));
        }
        Ok(match written.as_str() {
            "host" => Some(StatementKind::Host(HostLine::new(&words))),
            // `Match` gets the raw rest: match_cfg_line splits it with strdelim, by other rules than those of `words`.
            "match" => {
                let line = MatchLine::new(line.rest).map_err(problem)?;
                self.wants_final |= line.wants_final;
                Some(StatementKind::Match(line))
            }
            "include" => Some(StatementKind::Include(self.include(path, number, &words, depth)?)),
            _ => {
                let value = value::read(keyword, &written, line.rest, words, self.operator).map_err(problem)?;
                value.and_then(|value| Self::set(keyword, value))
            }
        })
    }

    fn include(
        &mut self,
        path: &Path,
        number: usize,
        patterns: &[String],
        depth: usize,
    ) -> Result<Vec<ParsedFile>, SshConfigError> {
        let problem = |problem| SshConfigError::at(path, number, problem);
        let mut files = Vec::new();
        for pattern in patterns {
            for file in self.matching(pattern).map_err(problem)? {
                self.included += 1;
                if self.included > MAX_INCLUDED {
                    return Err(problem(ConfigProblem::TooManyIncluded { limit: MAX_INCLUDED }));
                }
                // Included files are never trusted: readconf.c adds SSHCONF_CHECKPERM for them, even below `-F` and the
                // system's file.
                files.extend(self.nested_file(&file, false, depth + 1)?);
            }
        }
        Ok(files)
    }

    fn set(keyword: &'static KeywordEntry, value: ConfigValue) -> Option<StatementKind> {
        match keyword.treatment {
            Treatment::Honoured(key) => Some(StatementKind::Set(key, value)),
            // The value was still read, so that an error in it is found.
            Treatment::Ignored => None,
            Treatment::Named(harmless, _) | Treatment::Refused(harmless, _) => Some(StatementKind::Other {
                keyword,
                harmless: is_default(keyword, &value) || is_harmless(harmless, &value),
            }),
        }
    }

    /// The files that a pattern of `Include` names, in the order of their names.
    fn matching(&self, pattern: &str) -> Result<Vec<PathBuf>, ConfigProblem> {
        if pattern.is_empty() {
            return Err(ConfigProblem::Missing { keyword: "include".to_owned() });
        }
        let anchored = match pattern.strip_prefix('~') {
            // Whose home it is would depend on who runs `ssh`, so readconf.c refuses it in system-wide files.
            Some(_) if !self.users => return Err(ConfigProblem::Include { pattern: pattern.to_owned() }),
            Some(_) => match tokens::tilde_of_glob(pattern, self.operator) {
                Ok(path) => path.into_owned(),
                // GLOB_TILDE leaves the pattern of an unknown home as it is, and no path matches it.
                Err(_) => return Ok(Vec::new()),
            },
            None if pattern.starts_with('/') => pattern.to_owned(),
            None if self.users => match tokens::tilde_of_glob("~/.ssh/", self.operator) {
                Ok(directory) => format!("{}{pattern}", escaped(&directory)),
                // Relative includes of a user without a home have no directory to lie in.
                Err(_) => return Ok(Vec::new()),
            },
            None => format!("{}/{pattern}", escaped(&self.system_directory.to_string_lossy())),
        };
        Ok(expand(&anchored))
    }
}

/// Whether a list of algorithms is the one that holds without it.
fn is_default(keyword: &KeywordEntry, value: &ConfigValue) -> bool {
    match (keyword.syntax, value) {
        (ValueSyntax::Algorithms(list), ConfigValue::Algorithms { names, .. }) => *names == Some(list.default_text()),
        _ => false,
    }
}

fn is_harmless(harmless: &[&str], value: &ConfigValue) -> bool {
    harmless.contains(&value.folded().as_str())
}

/// A directory whose name is not to be taken for a pattern.
fn escaped(directory: &str) -> String {
    let mut text = String::with_capacity(directory.len());
    for c in directory.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// The paths that match a pattern of glob(3).
fn expand(pattern: &str) -> Vec<PathBuf> {
    let options =
        // glob(3) without GLOB_PERIOD: `*` neither crosses a directory nor finds hidden files.
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let mut paths: Vec<PathBuf> = match glob::glob_with(&translated(pattern), options) {
        // What lies in a directory that cannot be read is not found by glob(3) either.
        Ok(paths) => paths.filter_map(Result::ok).collect(),
        // Such as `a[`, which stands for itself.
        Err(_) => Some(PathBuf::from(pattern)).filter(|path| path.symlink_metadata().is_ok()).into_iter().collect(),
    };
    // By bytes, because the order decides which value is obtained first, and must not depend on the locale.
    paths.sort_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
    paths
}

/// Classes of characters, and what they are among ASCII.
const CLASSES: &[(&str, &str)] = &[
    ("[:alnum:]", "a-zA-Z0-9"),
    ("[:alpha:]", "a-zA-Z"),
    ("[:digit:]", "0-9"),
    ("[:lower:]", "a-z"),
    ("[:upper:]", "A-Z"),
    ("[:xdigit:]", "0-9a-fA-F"),
];

/// The pattern in the words of the `glob` crate: it has no escapes, no classes, and `**` means more there.
fn translated(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '\\' => match rest.chars().next() {
                Some(escaped) => {
                    rest = rest.get(escaped.len_utf8()..).unwrap_or_default();
                    match escaped {
                        // A class of one character is the only escape that the `glob` crate has.
                        '*' | '?' | '[' => text.extend(['[', escaped, ']']),
                        _ => text.push(escaped),
                    }
                }
                None => text.push('\\'),
            },
            '[' => {
                text.push('[');
                if let Some(negated) = rest.strip_prefix('!') {
                    text.push('!');
                    rest = negated;
                }
                while let Some((name, letters)) = CLASSES.iter().find(|(name, _)| rest.starts_with(name)) {
                    text.push_str(letters);
                    rest = rest.get(name.len()..).unwrap_or_default();
                }
            }
            // Two stars mean "any directories" to the `glob` crate, but one star to glob(3).
            '*' if text.ends_with('*') => {}
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_translated() {
        for (pattern, expected) in [
            ("/a/*.conf", "/a/*.conf"),
            ("/a/**/b", "/a/*/b"),
            ("/a\\*b\\c", "/a[*]bc"),
            ("[^a]", "[^a]"),
            ("[[:alpha:][:digit:]_]", "[a-zA-Z0-9_]"),
            ("[![:upper:]]", "[!A-Z]"),
            ("\\", "\\"),
        ] {
            assert_eq!(translated(pattern), expected);
        }
    }

    #[test]
    fn directories_are_no_patterns() {
        assert_eq!(translated(&escaped("/a*[b]")), "/a[*][[]b]");
    }
}
