//! The settings of one host, with the origin of each.
//!
//! Invariants: nothing here needs the files any more. Values whose resolving may fail, and which not every
//! connection needs, are resolved by methods: [`ResolvedHost::identity_paths`], [`ResolvedHost::certificate_paths`] and
//! [`ResolvedHost::proxy_command`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::{ConfigOrigin, SshConfigError};
use super::jump::JumpHosts;
use super::operator::OperatorEnv;
use super::tokens::{self, PercentTokens};

/// A value and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSetting<T> {
    /// The value.
    pub value: T,
    /// Where it was set.
    pub origin: ConfigOrigin,
}

/// How to get to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigProxy {
    /// Without help.
    Direct,
    /// Through bastions.
    Jump(Arc<JumpHosts>),
    /// Through the input and output of a command, whose tokens are not resolved yet.
    Command(Arc<str>),
}

/// Which agent is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigAgent {
    /// None.
    None,
    /// The one at this socket.
    Socket(PathBuf),
    /// The one that `SSH_AUTH_SOCK` names.
    FromEnvironment,
}

/// What becomes of a host key that is not known; one that has changed is never accepted by `ctl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrictHostKeyChecking {
    /// It is refused.
    Yes,
    /// The operator is asked.
    Ask,
    /// It is accepted and noted.
    AcceptNew,
    /// It is accepted, and `ssh` would accept a changed one, too.
    No,
}

impl StrictHostKeyChecking {
    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "true" => Self::Yes,
            "false" => Self::No,
            "accept-new" => Self::AcceptNew,
            // The word has passed the table in keyword.rs, so the only one left is `ask`.
            _ => Self::Ask,
        }
    }

    /// As `ssh -G` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "true",
            Self::Ask => "ask",
            Self::AcceptNew => "accept-new",
            Self::No => "false",
        }
    }
}

/// Whether one authenticates with keys, and whether the signature is bound to the host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PubkeyAuthentication {
    /// With keys, bound where the server can.
    Yes,
    /// Without keys.
    No,
    /// With keys, never bound.
    Unbound,
    /// With keys, as `Yes`.
    HostBound,
}

impl PubkeyAuthentication {
    /// Whether keys are offered at all.
    pub fn is_enabled(self) -> bool {
        self != Self::No
    }

    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "false" => Self::No,
            "unbound" => Self::Unbound,
            "host-bound" => Self::HostBound,
            // `true`, the only word left in the table of keyword.rs.
            _ => Self::Yes,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "true",
            Self::No => "false",
            Self::Unbound => "unbound",
            Self::HostBound => "host-bound",
        }
    }
}

/// Which addresses of a name are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigFamily {
    /// All.
    Any,
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

impl ConfigFamily {
    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "inet" => Self::Inet,
            "inet6" => Self::Inet6,
            _ => Self::Any,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Inet => "inet",
            Self::Inet6 => "inet6",
        }
    }
}

/// Names of algorithms, the best first; none twice, and all of them known to OpenSSH 9.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigAlgorithms(Arc<str>);

impl ConfigAlgorithms {
    pub(crate) fn new(names: Arc<str>) -> Self {
        Self(names)
    }

    /// The names, joined by commas.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        // A list may be empty (`-*`), and splitting an empty text yields one empty name.
        self.0.split(',').filter(|name| !name.is_empty())
    }
}

/// A keyword in force that is not honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedKeyword {
    /// As ssh_config(5) writes it.
    pub keyword: &'static str,
    /// The file it stands in.
    pub file: PathBuf,
    /// The line there, from 1.
    pub line: usize,
    /// Whether one must not connect without it.
    pub refused: bool,
    /// Why it is not honoured, for the operator.
    pub why: &'static str,
}

/// Everything that holds for one host.
#[derive(Debug, Clone)]
pub struct ResolvedHost {
    /// The name as typed.
    pub host: Arc<str>,
    /// The name to connect to, in lower case: HostName, or else the name as typed.
    pub host_name: ResolvedSetting<Arc<str>>,
    /// Who logs in.
    pub user: ResolvedSetting<Arc<str>>,
    /// The port.
    pub port: ResolvedSetting<u16>,
    /// ProxyJump or ProxyCommand.
    pub proxy: ResolvedSetting<ConfigProxy>,
    /// The values of IdentityFile, with their tokens; none at all means the usual files.
    pub identity_files: Vec<ResolvedSetting<Arc<str>>>,
    pub(crate) identities_given: bool,
    /// The values of CertificateFile, with their tokens.
    pub certificate_files: Vec<ResolvedSetting<Arc<str>>>,
    /// Whether an agent's other keys are left out.
    pub identities_only: ResolvedSetting<bool>,
    /// The agent.
    pub identity_agent: ResolvedSetting<ConfigAgent>,
    pub(crate) identity_agent_text: Option<String>,
    /// The known_hosts files of the operator; empty for `none`.
    pub user_known_hosts_files: ResolvedSetting<Vec<PathBuf>>,
    /// The known_hosts files of the machine; empty for `none`. As in `ssh`, `~` is expanded in them, and tokens are not.
    pub global_known_hosts_files: ResolvedSetting<Vec<PathBuf>>,
    /// The same as they are written, which is how `ssh -G` prints them.
    pub(crate) global_known_hosts_text: Vec<PathBuf>,
    /// The file of revoked host keys, if any. As in `ssh`, it has neither tokens nor `~`.
    pub revoked_host_keys: Option<ResolvedSetting<Arc<str>>>,
    /// Whether names are hashed when they are written to known_hosts.
    pub hash_known_hosts: ResolvedSetting<bool>,
    /// What becomes of unknown host keys.
    pub strict_host_key_checking: ResolvedSetting<StrictHostKeyChecking>,
    /// The name to look for in known_hosts instead, in lower case.
    pub host_key_alias: Option<ResolvedSetting<Arc<str>>>,
    /// Accepted host keys.
    pub host_key_algorithms: ResolvedSetting<ConfigAlgorithms>,
    /// Accepted key exchanges.
    pub kex_algorithms: ResolvedSetting<ConfigAlgorithms>,
    /// Accepted ciphers.
    pub ciphers: ResolvedSetting<ConfigAlgorithms>,
    /// Accepted MACs.
    pub macs: ResolvedSetting<ConfigAlgorithms>,
    /// Keys that are offered.
    pub pubkey_accepted_algorithms: ResolvedSetting<ConfigAlgorithms>,
    /// How long a connection may take to be made; zero and `None` are the system's own limit.
    pub connect_timeout: ResolvedSetting<Option<Duration>>,
    /// After how long a silence one asks whether the node is there; zero is never.
    pub server_alive_interval: ResolvedSetting<Duration>,
    /// After how many such questions without an answer one gives up.
    pub server_alive_count_max: ResolvedSetting<u32>,
    /// The patterns of unknown keywords that pass.
    pub ignore_unknown: Option<ResolvedSetting<Arc<str>>>,
    /// `Tag`, which `Match tagged` asks for.
    pub tag: Option<ResolvedSetting<Arc<str>>>,
    /// Whether keys are used.
    pub pubkey_authentication: ResolvedSetting<PubkeyAuthentication>,
    /// Whether passwords are used.
    pub password_authentication: ResolvedSetting<bool>,
    /// Whether questions are answered.
    pub kbd_interactive_authentication: ResolvedSetting<bool>,
    /// The methods in their order, joined by commas; `None` is the order of `ssh`.
    pub preferred_authentications: Option<ResolvedSetting<Arc<str>>>,
    /// How often a password is asked for.
    pub number_of_password_prompts: ResolvedSetting<u32>,
    /// Which addresses are tried.
    pub address_family: ResolvedSetting<ConfigFamily>,
    /// The own address to connect from.
    pub bind_address: Option<ResolvedSetting<Arc<str>>>,
    /// The fewest bits of an RSA key, the node's or one's own.
    pub required_rsa_size: ResolvedSetting<u32>,
    /// Whether nothing may be asked.
    pub batch_mode: ResolvedSetting<bool>,
    /// The settings in force that are not honoured.
    pub unhonoured: Vec<UnsupportedKeyword>,
}

/// What `ssh` tries where no IdentityFile is set, in its order.
pub(crate) const DEFAULT_IDENTITIES: [&str; 7] = [
    "~/.ssh/id_rsa",
    "~/.ssh/id_ecdsa",
    "~/.ssh/id_ecdsa_sk",
    "~/.ssh/id_ed25519",
    "~/.ssh/id_ed25519_sk",
    "~/.ssh/id_xmss",
    "~/.ssh/id_dsa",
];

impl ResolvedHost {
    /// The key files to try, tokens and `~` resolved; `none` is left out, and the usual files stand in where no
    /// IdentityFile is set.
    ///
    /// # Errors
    /// [`ConfigProblem::Token`](super::ConfigProblem::Token), [`ConfigProblem::Variable`](super::ConfigProblem::Variable),
    /// [`ConfigProblem::UnknownUser`](super::ConfigProblem::UnknownUser) and [`ConfigProblem::NoHome`](super::ConfigProblem::NoHome).
    pub fn identity_paths(&self, operator: &OperatorEnv) -> Result<Vec<ResolvedSetting<PathBuf>>, SshConfigError> {
        if self.identities_given {
            // Given paths have no tokens: a `%` in them is part of the name.
            let path = |it: &ResolvedSetting<Arc<str>>| ResolvedSetting {
                value: PathBuf::from(&*it.value),
                origin: it.origin.clone(),
            };
            return Ok(self.identity_files.iter().map(path).collect());
        }
        if self.identity_files.is_empty() {
            // Without a home there are no usual files, which is no error: an agent may have a key.
            let usual = DEFAULT_IDENTITIES.into_iter().filter_map(|path| tokens::tilde(path, operator).ok());
            return Ok(usual
                .map(|path| ResolvedSetting { value: PathBuf::from(path.into_owned()), origin: ConfigOrigin::Default })
                .collect());
        }
        self.paths(&self.identity_files, operator)
    }

    /// The certificate files, tokens and `~` resolved; `none` is left out.
    ///
    /// # Errors
    /// As [`Self::identity_paths`].
    pub fn certificate_paths(&self, operator: &OperatorEnv) -> Result<Vec<ResolvedSetting<PathBuf>>, SshConfigError> {
        self.paths(&self.certificate_files, operator)
    }

    /// The command that ProxyCommand asks for, tokens resolved; it is meant for the operator's shell.
    ///
    /// # Errors
    /// [`ConfigProblem::Token`](super::ConfigProblem::Token).
    pub fn proxy_command(&self, operator: &OperatorEnv) -> Result<Option<String>, SshConfigError> {
        let ConfigProxy::Command(command) = &self.proxy.value else { return Ok(None) };
        // No variables: the command is meant for a shell, which expands them itself.
        let expanded = self.tokens(operator).expand(command, tokens::PROXY, false);
        expanded.map(Some).map_err(|problem| self.proxy.origin.error(problem))
    }

    fn paths(
        &self,
        texts: &[ResolvedSetting<Arc<str>>],
        operator: &OperatorEnv,
    ) -> Result<Vec<ResolvedSetting<PathBuf>>, SshConfigError> {
        let tokens = self.tokens(operator);
        texts
            .iter()
            // `none` keeps the usual files from being tried, but is no file itself.
            .filter(|text| &*text.value != "none")
            .map(|text| {
                let path = tokens.path(&text.value).map_err(|problem| text.origin.error(problem))?;
                Ok(ResolvedSetting { value: PathBuf::from(path), origin: text.origin.clone() })
            })
            .collect()
    }

    fn tokens<'a>(&'a self, operator: &'a OperatorEnv) -> PercentTokens<'a> {
        PercentTokens {
            operator,
            host: &self.host_name.value,
            original: &self.host,
            alias: self.host_key_alias.as_ref().map_or(&self.host, |alias| &alias.value),
            port: self.port.value,
            user: &self.user.value,
        }
    }
}
