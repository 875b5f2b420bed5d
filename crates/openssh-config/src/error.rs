//! The errors of an ssh_config file, with the file and the line.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Something in the ssh_config files, or about them, that stops `ssh` too.
#[derive(Debug)]
pub struct SshConfigError {
    /// The file, if one is at fault.
    pub file: Option<PathBuf>,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// The problem.
    pub problem: ConfigProblem,
}

fn unreadable(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound { "no such file".to_owned() } else { format!("cannot read it: {error}") }
}

/// A problem. The texts are for the person who has to fix the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigProblem {
    /// The file cannot be read.
    #[error("{}", unreadable(.0))]
    Read(io::Error),
    /// The file is larger than is read.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// More files are included than are read.
    #[error("more than {limit} files are included in all")]
    TooManyIncluded {
        /// How many are read.
        limit: usize,
    },
    /// Includes are nested too deeply, which is how a file that includes itself shows.
    #[error("includes are nested deeper than {limit}; does a file include itself?")]
    TooDeep {
        /// How deep they may be.
        limit: usize,
    },
    /// The file could have been written by somebody else.
    #[error("bad owner or permissions: it must belong to you or root, and nobody else may write to it (chmod go-w)")]
    Permissions,
    /// A value is no UTF-8.
    #[error("the value of {keyword} is not UTF-8 text")]
    NotText {
        /// As in the file, in lower case.
        keyword: String,
    },
    /// A keyword that no OpenSSH knows.
    #[error("bad configuration option: {keyword} (IgnoreUnknown before it allows it)")]
    UnknownKeyword {
        /// As in the file, in lower case.
        keyword: String,
    },
    /// A keyword without a value.
    #[error("{keyword} needs a value")]
    Missing {
        /// As in the file, in lower case.
        keyword: String,
    },
    /// More values than the keyword takes.
    #[error("{keyword} has extra values at the end of the line: {extra:?}")]
    Extra {
        /// As in the file, in lower case.
        keyword: String,
        /// The first that is too much.
        extra: String,
    },
    /// A quote that does not end.
    #[error("a quote is not closed")]
    Quotes,
    /// A value that the keyword does not take.
    #[error("bad value for {keyword}: {value:?} ({expected})")]
    Value {
        /// As in the file, in lower case.
        keyword: String,
        /// As in the file.
        value: String,
        /// The values that are accepted.
        expected: Cow<'static, str>,
    },
    /// A `Match` line that is not understood.
    #[error("bad Match condition: {0}")]
    Match(String),
    /// An `Include` in a system-wide file names somebody's home.
    #[error("bad Include path {pattern}: a system-wide file may not name a home directory")]
    Include {
        /// As in the file.
        pattern: String,
    },
    /// More values than the keyword takes in all.
    #[error("more than {limit} values for {keyword}")]
    TooMany {
        /// As ssh_config(5) writes it.
        keyword: &'static str,
        /// How many it takes.
        limit: usize,
    },
    /// An algorithm list from which nothing remains.
    #[error("the list of {keyword} has nothing that can be used: {value:?}")]
    NoAlgorithm {
        /// As ssh_config(5) writes it.
        keyword: &'static str,
        /// As it was given.
        value: String,
    },
    /// A `%` sequence that is not known where it stands.
    #[error("{text:?} has the unknown token %{token}")]
    Token {
        /// The value.
        text: String,
        /// The character after `%`; empty at the end.
        token: String,
    },
    /// An environment variable that is not set, or not well written.
    #[error("{text:?} uses the environment variable {name:?}, which is not set")]
    Variable {
        /// The value.
        text: String,
        /// Without `${` and `}`.
        name: String,
    },
    /// `~user` of somebody unknown.
    #[error("no such user: {name}, whose home directory is used")]
    UnknownUser {
        /// The name after `~`.
        name: String,
    },
    /// A home directory is needed, and not known.
    #[error("cannot find your home directory")]
    NoHome,
    /// A command of `Match exec` has no exit code, so that it is not known whether the block applies.
    #[error("cannot evaluate Match exec {command:?}: {reason}")]
    Exec {
        /// With its tokens resolved.
        command: String,
        /// What kept it from exiting.
        reason: String,
    },
    /// The bastion is the host itself.
    #[error("the jump host is the host itself: {host}")]
    JumpLoop {
        /// The name that is connected to.
        host: String,
    },
}

impl SshConfigError {
    pub(crate) fn at(file: &Path, line: usize, problem: ConfigProblem) -> Self {
        Self { file: Some(file.to_owned()), line: (line > 0).then_some(line), problem }
    }

    pub(crate) fn of_file(file: &Path, problem: ConfigProblem) -> Self {
        Self { file: Some(file.to_owned()), line: None, problem }
    }
}

impl fmt::Display for SshConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for SshConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let ConfigProblem::Read(source) = &self.problem { Some(source) } else { None }
    }
}

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigOrigin {
    /// On the command line of `ctl`.
    CommandLine,
    /// In the inventory, with what says where: a node, a group, the defaults.
    Inventory(Arc<str>),
    /// In an ssh_config file.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line in it, from 1.
        line: usize,
    },
    /// Nowhere.
    Default,
}

impl ConfigOrigin {
    /// An error about the value set there.
    pub(crate) fn error(&self, problem: ConfigProblem) -> SshConfigError {
        match self {
            Self::File { path, line } => SshConfigError::at(path, *line, problem),
            Self::CommandLine | Self::Inventory(_) | Self::Default => {
                SshConfigError { file: None, line: None, problem }
            }
        }
    }
}

impl fmt::Display for ConfigOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Inventory(place) if place.is_empty() => f.write_str("inventory"),
            Self::Inventory(place) => write!(f, "inventory, {place}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}
