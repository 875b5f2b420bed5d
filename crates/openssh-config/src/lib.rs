//! ssh_config: the settings of a host, exactly as `ssh -G` of OpenSSH 9.2 prints them.
//!
//! Files are read once into an [`SshConfig`], and each host is then resolved without reading them again: a [`HostQuery`]
//! holds the settings that are fixed beforehand, [`ResolvedHost`] the values in force and the origin of each. Values that
//! `ctl` cannot honour are named in [`ResolvedHost::unhonoured`].
//!
//! ```
//! use std::path::Path;
//!
//! use openssh_config::{HostQuery, OperatorEnv, SshConfig};
//!
//! let operator = OperatorEnv { user: "ops".to_owned(), ..OperatorEnv::default() };
//! let config = SshConfig::parse(b"Host a6s*\n  Port 2222\n", Path::new("config"), &operator)?;
//! let query = HostQuery { host: "a6s01", ..HostQuery::default() };
//! let node = config.resolve(&query, &operator, &|_command| Ok(false))?;
//! assert_eq!((node.port.value, node.port.origin.to_string()), (2222, "config:2".to_owned()));
//! # Ok::<(), openssh_config::SshConfigError>(())
//! ```
//!
//! The crate uses no other crate of this workspace, and no network. Everything it may know of the user and of this machine
//! is in an [`OperatorEnv`]: the caller gives it the account, and may give it a [`FileReader`] with a time limit, which
//! OpenSSH does not have. Commands of `Match exec` are run by the caller, for instance with an [`ExecRunner`].
//! [`PatternList`] is public because known_hosts has the same patterns.
//!
//! Invariants: every keyword that OpenSSH knows has its row in `keyword.rs`; an error of `ssh` is an error here,
//! with file and line.
//!
//! The path of a line: `line.rs` splits it, `value.rs` reads its value, `matching.rs` its patterns; `parse.rs` keeps the
//! statements of all files, `walk.rs` goes through them for one host, `resolve.rs` makes the result of the values found,
//! `print.rs` shows it. Start reading at [`SshConfig::resolve`].

mod address;
mod algorithms;
mod check;
mod error;
mod exec;
mod file;
mod jump;
mod keyword;
mod line;
mod matching;
mod network;
mod operator;
mod parse;
mod pattern;
mod print;
mod query;
mod resolve;
mod resolved;
mod time;
mod tokens;
mod value;
mod walk;

use std::path::Path;

pub use algorithms::AlgorithmKind;
pub use error::{ConfigOrigin, ConfigProblem, SshConfigError};
pub use exec::ExecRunner;
pub use file::{ConfigFile, FileReader};
pub use jump::{JumpError, JumpHop, JumpHosts, parse_jump};
pub use operator::OperatorEnv;
pub use pattern::{MAX_PATTERN_LENGTH, PatternList};
pub use query::{HostQuery, OverrideValue};
pub use resolved::{
    ConfigAgent, ConfigAlgorithms, ConfigFamily, ConfigProxy, PubkeyAuthentication, ResolvedHost, ResolvedSetting,
    StrictHostKeyChecking, UnsupportedKeyword,
};

use parse::{ConfigParser, ParsedFile};

/// Where the system's file lies, and those it includes.
const SYSTEM_DIRECTORY: &str = "/etc/ssh";

/// The files, read once.
#[derive(Debug, Default)]
pub struct SshConfig {
    /// The user's file, then the system's.
    files: Vec<ParsedFile>,
    wants_final: bool,
}

impl SshConfig {
    /// No file at all.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The user's file and the system's, as `ssh` reads them without `-F`; a missing one is empty.
    ///
    /// # Errors
    /// [`SshConfigError`] for whatever is wrong with either, or with a file they include.
    pub fn load_default(operator: &OperatorEnv) -> Result<Self, SshConfigError> {
        let user = operator.home.as_ref().map(|home| home.join(".ssh/config"));
        Self::load_both(user.as_deref(), Path::new(SYSTEM_DIRECTORY), operator)
    }

    fn load_both(user: Option<&Path>, system: &Path, operator: &OperatorEnv) -> Result<Self, SshConfigError> {
        let mut config = Self::empty();
        let mut parser = ConfigParser::new(operator, true, system);
        if let Some(path) = user {
            // Untrusted: `ssh` checks who may have written the user's own file (SSHCONF_CHECKPERM), but not the
            // system's.
            config.files.extend(parser.file(path, false)?);
        }
        // The system's file comes last, so that it only fills in values that the user's file leaves open.
        parser.users = false;
        config.files.extend(parser.file(&system.join("ssh_config"), true)?);
        config.wants_final = parser.wants_final;
        Ok(config)
    }

    /// One file only, as `ssh -F FILE` reads it: it must be there, and anyone may have written it.
    ///
    /// # Errors
    /// [`SshConfigError`] if there is no such file, and for whatever is wrong with it or a file it includes.
    pub fn load(file: &Path, operator: &OperatorEnv) -> Result<Self, SshConfigError> {
        let mut parser = ConfigParser::new(operator, true, Path::new(SYSTEM_DIRECTORY));
        // `ssh -F` fails without the file, whereas a missing default file is empty.
        let parsed = parser.file(file, true)?.ok_or_else(|| {
            SshConfigError::of_file(file, ConfigProblem::Read(std::io::Error::from(std::io::ErrorKind::NotFound)))
        })?;
        Ok(Self { files: vec![parsed], wants_final: parser.wants_final })
    }

    /// Text that is at hand, taken for a file of the user's; `path` is what errors and origins say.
    ///
    /// # Errors
    /// [`SshConfigError`] for whatever is wrong with it or a file it includes.
    pub fn parse(text: &[u8], path: &Path, operator: &OperatorEnv) -> Result<Self, SshConfigError> {
        let mut parser = ConfigParser::new(operator, true, Path::new(SYSTEM_DIRECTORY));
        let parsed = parser.text(path, text, 0)?;
        Ok(Self { files: vec![parsed], wants_final: parser.wants_final })
    }

    /// The hosts that `Host` lines name without wildcards, each once, in the order of the files and of those they include.
    pub fn host_names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.files.iter().for_each(|file| file.host_names(&mut names));
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(*name));
        names
    }

    /// The settings in force for a host.
    ///
    /// `exec` runs a command of `Match exec`, tokens resolved, and says whether it ended with 0; see [`ExecRunner`].
    ///
    /// # Errors
    /// [`SshConfigError`] for an unknown keyword that is not to be ignored, and for a value in force that cannot be
    /// resolved: an unknown token, a variable that is not set, a bastion that is the host itself. Every error of `exec`.
    pub fn resolve(
        &self,
        query: &HostQuery<'_>,
        operator: &OperatorEnv,
        exec: &dyn Fn(&str) -> Result<bool, ConfigProblem>,
    ) -> Result<ResolvedHost, SshConfigError> {
        resolve::resolve(&self.files, self.wants_final, query, operator, exec)
    }
}

#[cfg(test)]
mod tests;
