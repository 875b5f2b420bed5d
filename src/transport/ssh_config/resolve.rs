//! Makes [`Resolved`] of what a [`Walk`] through the files finds.
//!
//! What always holds: what the [`Query`] gives is settled before any file is looked at; files are walked a second time
//! if a `Match final` is among them, then with the name that is connected to in place of the one typed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::algorithms::List;
use super::error::{Origin, Problem, SshConfigError};
use super::jump::{self, Jump};
use super::keyword::{self, Key, Treatment};
use super::operator::Operator;
use super::parse::Parsed;
use super::resolved::{
    AddressFamily, Agent, Algorithms, Proxy, PubkeyAuthentication, Resolved, Setting, StrictHostKeyChecking, Unhonoured,
};
use super::tokens::Tokens;
use super::value::Value;
use super::walk::{Hit, Walk};

/// A value given by a stronger source than any file.
pub type Given<T> = Setting<T>;

/// A host that one is about to connect to, and what is settled about it.
#[derive(Debug, Clone, Default)]
pub struct Query<'a> {
    /// The name as typed: `Host` and `Match originalhost` look at it.
    pub host: &'a str,
    /// The address that is given for it, if any. It stands for HostName, and is matched beside `host`.
    pub address: Option<Given<&'a str>>,
    /// In place of User.
    pub user: Option<Given<String>>,
    /// In place of Port.
    pub port: Option<Given<u16>>,
    /// In place of ProxyJump and ProxyCommand; `none` is a direct connection.
    pub jump: Option<Given<String>>,
    /// In place of IdentityFile; paths are taken as they are.
    pub identities: Option<Given<Vec<PathBuf>>>,
    /// In place of UserKnownHostsFile; the path is taken as it is.
    pub known_hosts: Option<Given<PathBuf>>,
    /// In place of ConnectTimeout.
    pub connect_timeout: Option<Given<Duration>>,
    /// In place of StrictHostKeyChecking.
    pub strict_host_key_checking: Option<Given<StrictHostKeyChecking>>,
    /// In place of HostKeyAlgorithms, with the same prefixes and wildcards.
    pub host_key_algorithms: Option<Given<String>>,
    /// In place of KexAlgorithms.
    pub kex_algorithms: Option<Given<String>>,
    /// In place of Ciphers.
    pub ciphers: Option<Given<String>>,
    /// In place of MACs.
    pub macs: Option<Given<String>>,
    /// In place of PubkeyAcceptedAlgorithms.
    pub pubkey_accepted_algorithms: Option<Given<String>>,
}

/// Resolves one host against files that were read.
pub(super) fn resolve(
    files: &[Parsed],
    wants_final: bool,
    query: &Query<'_>,
    operator: &Operator,
    exec: &dyn Fn(&str) -> bool,
) -> Result<Resolved, SshConfigError> {
    let mut walk = Walk {
        query,
        operator,
        exec,
        hits: [None; Key::COUNT],
        identities: Vec::new(),
        certificates: Vec::new(),
        others: Vec::new(),
        connected: None,
    };
    for file in files {
        walk.file(file, true, false)?;
    }
    let host_name = walk.host_name()?;
    let canonicalize = walk.choice(Key::CanonicalizeHostname).is_some_and(|choice| choice != "false");
    if wants_final || canonicalize {
        walk.connected = Some(host_name.clone());
        for file in files {
            walk.file(file, true, false)?;
        }
    }
    walk.finish(host_name)
}

impl Walk<'_, '_> {
    /// An error about the value of a keyword.
    fn error(&self, key: Key, problem: Problem) -> SshConfigError {
        self.origin(key).error(problem)
    }

    fn origin(&self, key: Key) -> Origin {
        self.hit(key).map_or(Origin::Default, Hit::origin)
    }

    /// What was given, else what a file says, else the default.
    fn setting<T: Clone>(&self, given: Option<&Given<T>>, key: Key, found: Option<T>, default: T) -> Setting<T> {
        match (given, found) {
            (Some(given), _) => given.clone(),
            (None, Some(value)) => Setting { value, origin: self.origin(key) },
            (None, None) => Setting { value: default, origin: Origin::Default },
        }
    }

    fn flag(&self, key: Key, default: bool) -> Setting<bool> {
        self.setting(None, key, self.choice(key).map(|word| word == "yes"), default)
    }

    fn count(&self, key: Key, default: u32) -> Setting<u32> {
        self.setting(None, key, self.number(key).and_then(|number| u32::try_from(number).ok()), default)
    }

    fn optional(&self, key: Key) -> Option<Setting<Arc<str>>> {
        let value = Arc::clone(self.text(key)?);
        Some(Setting { value, origin: self.origin(key) })
    }

    fn algorithms(
        &self,
        given: Option<&Given<String>>,
        key: Key,
        list: List,
        keyword: &'static str,
    ) -> Result<Setting<Algorithms>, SshConfigError> {
        let none = |value: &str| Problem::NoAlgorithm { keyword, value: value.to_owned() };
        let (names, origin) = match (given, self.hit(key)) {
            (Some(given), _) => {
                let names = list.assemble(&given.value).filter(|_| list.reads(&given.value));
                (names.ok_or_else(|| given.origin.error(none(&given.value)))?, given.origin.clone())
            }
            (None, Some(Hit { value: Value::Algorithms { text, names }, .. })) => {
                let names = names.clone().ok_or_else(|| self.error(key, none(text)))?;
                (names, self.origin(key))
            }
            _ => (list.default_text(), Origin::Default),
        };
        Ok(Setting { value: Algorithms::new(names), origin })
    }

    fn proxy(&self, host_name: &str) -> Result<Setting<Proxy>, SshConfigError> {
        let (jump, origin): (Option<Arc<Jump>>, Origin) = match (&self.query.jump, self.hit(Key::ProxyJump)) {
            (Some(given), _) => {
                let service = |name: &str| self.operator.service(name);
                let jump = jump::parse(&given.value, &service).map_err(|error| {
                    given.origin.error(Problem::Value {
                        keyword: "ProxyJump".to_owned(),
                        value: error.hop,
                        expected: "[user@]host[:port] or ssh://[user@]host[:port]".into(),
                    })
                })?;
                match jump {
                    Some(jump) => (Some(Arc::new(jump)), given.origin.clone()),
                    None => return Ok(Setting { value: Proxy::Direct, origin: given.origin.clone() }),
                }
            }
            (None, Some(hit)) => (hit.value.as_jump().map(Arc::clone), hit.origin()),
            (None, None) => (None, Origin::Default),
        };
        if let Some(jump) = jump {
            if let Some(last) = jump.hops().last()
                && last.host == host_name
                && last.port.unwrap_or(22) == self.port()
                && last.user.as_deref().unwrap_or(self.user()) == self.user()
            {
                return Err(origin.error(Problem::JumpLoop { host: host_name.to_owned() }));
            }
            return Ok(Setting { value: Proxy::Jump(jump), origin });
        }
        match self.text(Key::ProxyCommand).filter(|command| !command.eq_ignore_ascii_case("none")) {
            Some(command) => {
                Ok(Setting { value: Proxy::Command(Arc::clone(command)), origin: self.origin(Key::ProxyCommand) })
            }
            None => {
                let decided = self.hit(Key::ProxyCommand).or(self.hit(Key::ProxyJump));
                Ok(Setting { value: Proxy::Direct, origin: decided.map_or(Origin::Default, Hit::origin) })
            }
        }
    }

    /// The files of a keyword that names several, of which `none` is none.
    fn files(
        &self,
        key: Key,
        default: [&str; 2],
        expand: impl Fn(&str) -> Result<PathBuf, Problem>,
    ) -> Result<Setting<Vec<PathBuf>>, SshConfigError> {
        let error = |problem| self.error(key, problem);
        match self.hit(key).map(|hit| hit.value) {
            Some(Value::Words(words)) => {
                let none = words.first().is_some_and(|first| first.eq_ignore_ascii_case("none"));
                let words = if none { &[] as &[Arc<str>] } else { words };
                let value = words.iter().map(|word| expand(word)).collect::<Result<_, _>>().map_err(error)?;
                Ok(Setting { value, origin: self.origin(key) })
            }
            _ => {
                let value = default.into_iter().map(expand).collect::<Result<_, _>>();
                // Without a home there is no file of one's own.
                Ok(Setting { value: value.unwrap_or_default(), origin: Origin::Default })
            }
        }
    }

    fn agent(&self, tokens: &Tokens<'_>) -> Result<(Setting<Agent>, Option<String>), SshConfigError> {
        let Some(text) = self.text(Key::IdentityAgent) else {
            return Ok((Setting { value: Agent::FromEnvironment, origin: Origin::Default }, None));
        };
        let written = tokens.path(text).map_err(|problem| self.error(Key::IdentityAgent, problem))?;
        let value = match written.as_str() {
            "none" => Agent::None,
            "SSH_AUTH_SOCK" => Agent::FromEnvironment,
            path => match path.strip_prefix('$') {
                Some(name) => {
                    self.operator.variables.get(name).map_or(Agent::None, |path| Agent::Socket(PathBuf::from(path)))
                }
                None => Agent::Socket(PathBuf::from(path)),
            },
        };
        Ok((Setting { value, origin: self.origin(Key::IdentityAgent) }, Some(written)))
    }

    fn identities(&self) -> Vec<Setting<Arc<str>>> {
        match &self.query.identities {
            Some(given) => given
                .value
                .iter()
                .map(|path| Setting { value: path.to_string_lossy().into(), origin: given.origin.clone() })
                .collect(),
            None => texts(&self.identities),
        }
    }

    fn unhonoured(&self) -> Vec<Unhonoured> {
        let mut found: Vec<Unhonoured> = self
            .others
            .iter()
            .filter(|other| !other.harmless)
            .filter_map(|other| {
                let (refused, why) = match other.keyword.treatment {
                    Treatment::Refused(_, why) => (true, why),
                    Treatment::Named(_, why) => (false, why),
                    Treatment::Honoured(_) | Treatment::Ignored => return None,
                };
                Some(Unhonoured {
                    keyword: other.keyword.name,
                    file: other.path.to_owned(),
                    line: other.line,
                    refused,
                    why,
                })
            })
            .collect();
        let mut add = |key: Key, keyword, refused, why| {
            if let Some(hit) = self.hit(key) {
                found.push(Unhonoured { keyword, file: hit.file.path.to_path_buf(), line: hit.line, refused, why });
            }
        };
        if self.choice(Key::CanonicalizeHostname).is_some_and(|choice| choice != "false") {
            add(Key::CanonicalizeHostname, "CanonicalizeHostname", true, keyword::CANONICALIZE_REFUSED);
        }
        let local = self.text(Key::LocalCommand).is_some_and(|command| !command.eq_ignore_ascii_case("none"));
        if local && self.choice(Key::PermitLocalCommand) == Some("yes") {
            add(Key::LocalCommand, "LocalCommand", false, keyword::LOCAL_COMMAND_NAMED);
        }
        found
    }

    fn finish(&self, host_name: String) -> Result<Resolved, SshConfigError> {
        let query = self.query;
        let port = self.port();
        let seconds = |key| self.number(key).map(Duration::from_secs);
        // HostKeyAlias is always in lower case in the end, but not yet where `Match exec` looks.
        let alias = self
            .optional(Key::HostKeyAlias)
            .map(|alias| Setting { value: Arc::<str>::from(alias.value.to_ascii_lowercase()), origin: alias.origin });
        let tokens = Tokens {
            operator: self.operator,
            host: &host_name,
            original: query.host,
            alias: alias.as_ref().map_or(query.host, |alias| &alias.value),
            port,
            user: self.user(),
        };
        let user_known_hosts_files = match &query.known_hosts {
            Some(given) => Setting { value: vec![given.value.clone()], origin: given.origin.clone() },
            None => self.files(Key::UserKnownHostsFile, ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"], |word| {
                tokens.path(word).map(PathBuf::from)
            })?,
        };
        let global_known_hosts_files =
            self.files(Key::GlobalKnownHostsFile, ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"], |word| {
                Ok(PathBuf::from(word))
            })?;
        let (identity_agent, identity_agent_text) = self.agent(&tokens)?;
        let batch_mode = self.flag(Key::BatchMode, false);
        let host_origin = match &query.address {
            Some(address) => address.origin.clone(),
            None => self.origin(Key::HostName),
        };
        let interval = Duration::from_secs(if batch_mode.value { 300 } else { 0 });
        let connect_timeout = match &query.connect_timeout {
            Some(given) => Setting { value: Some(given.value), origin: given.origin.clone() },
            None => self.setting(None, Key::ConnectTimeout, seconds(Key::ConnectTimeout).map(Some), None),
        };
        let text = |text: &str| Arc::<str>::from(text);
        let user = match &query.user {
            Some(given) => Setting { value: text(&given.value), origin: given.origin.clone() },
            None => self.setting(None, Key::User, self.text(Key::User).map(Arc::clone), text(&self.operator.user)),
        };
        let strict = query.strict_host_key_checking.as_ref();
        let hostkeys = query.host_key_algorithms.as_ref();
        let accepted = query.pubkey_accepted_algorithms.as_ref();
        Ok(Resolved {
            host: text(query.host),
            user,
            port: self.setting(query.port.as_ref(), Key::Port, self.number(Key::Port).map(|_| port), port),
            proxy: self.proxy(&host_name)?,
            identity_files: self.identities(),
            identities_given: query.identities.is_some(),
            certificate_files: texts(&self.certificates),
            identities_only: self.flag(Key::IdentitiesOnly, false),
            identity_agent,
            identity_agent_text,
            user_known_hosts_files,
            global_known_hosts_files,
            revoked_host_keys: self.optional(Key::RevokedHostKeys).filter(|it| !it.value.eq_ignore_ascii_case("none")),
            hash_known_hosts: self.flag(Key::HashKnownHosts, false),
            strict_host_key_checking: self.setting(
                strict,
                Key::StrictHostKeyChecking,
                self.choice(Key::StrictHostKeyChecking).map(StrictHostKeyChecking::from_word),
                StrictHostKeyChecking::Ask,
            ),
            host_key_alias: alias.clone(),
            host_key_algorithms: self.algorithms(hostkeys, Key::HostKeyAlgorithms, List::Keys, "HostKeyAlgorithms")?,
            kex_algorithms: self.algorithms(
                query.kex_algorithms.as_ref(),
                Key::KexAlgorithms,
                List::Kex,
                "KexAlgorithms",
            )?,
            ciphers: self.algorithms(query.ciphers.as_ref(), Key::Ciphers, List::Ciphers, "Ciphers")?,
            macs: self.algorithms(query.macs.as_ref(), Key::Macs, List::Macs, "MACs")?,
            pubkey_accepted_algorithms: self.algorithms(
                accepted,
                Key::PubkeyAcceptedAlgorithms,
                List::Keys,
                "PubkeyAcceptedAlgorithms",
            )?,
            connect_timeout,
            server_alive_interval: self.setting(
                None,
                Key::ServerAliveInterval,
                seconds(Key::ServerAliveInterval),
                interval,
            ),
            server_alive_count_max: self.count(Key::ServerAliveCountMax, 3),
            ignore_unknown: self.optional(Key::IgnoreUnknown),
            tag: self.optional(Key::Tag),
            pubkey_authentication: self.setting(
                None,
                Key::PubkeyAuthentication,
                self.choice(Key::PubkeyAuthentication).map(PubkeyAuthentication::from_word),
                PubkeyAuthentication::Yes,
            ),
            password_authentication: self.flag(Key::PasswordAuthentication, true),
            kbd_interactive_authentication: self.flag(Key::KbdInteractiveAuthentication, true),
            preferred_authentications: self.optional(Key::PreferredAuthentications),
            number_of_password_prompts: self.count(Key::NumberOfPasswordPrompts, 3),
            address_family: self.setting(
                None,
                Key::AddressFamily,
                self.choice(Key::AddressFamily).map(AddressFamily::from_word),
                AddressFamily::Any,
            ),
            bind_address: self.optional(Key::BindAddress),
            required_rsa_size: self.count(Key::RequiredRsaSize, 1024),
            batch_mode,
            unhonoured: self.unhonoured(),
            host_name: Setting { value: host_name.into(), origin: host_origin },
        })
    }
}

fn texts(hits: &[Hit<'_>]) -> Vec<Setting<Arc<str>>> {
    let text = |hit: &Hit<'_>| Some(Setting { value: Arc::clone(hit.value.as_text()?), origin: hit.origin() });
    hits.iter().filter_map(text).collect()
}
