//! Makes a [`ResolvedHost`] from the values that a [`ConfigWalk`] finds in the files.
//!
//! Invariants: what the [`HostQuery`] gives is settled before any file is looked at; files are walked a second time
//! if a `Match final` is among them, then with the name that is connected to in place of the one typed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::algorithms::AlgorithmKind;
use super::error::{ConfigOrigin, ConfigProblem, SshConfigError};
use super::jump::{self, JumpHosts};
use super::keyword::{self, SettingKey, Treatment};
use super::operator::OperatorEnv;
use super::parse::ParsedFile;
use super::resolved::{
    ConfigAgent, ConfigAlgorithms, ConfigFamily, ConfigProxy, PubkeyAuthentication, ResolvedHost, ResolvedSetting,
    StrictHostKeyChecking, UnsupportedKeyword,
};
use super::tokens::{self, PercentTokens};
use super::value::ConfigValue;
use super::walk::{ConfigHit, ConfigWalk};

use super::query::{HostQuery, OverrideValue};

/// Resolves one host against files that were read.
pub(crate) fn resolve(
    files: &[ParsedFile],
    wants_final: bool,
    query: &HostQuery<'_>,
    operator: &OperatorEnv,
    exec: &dyn Fn(&str) -> Result<bool, ConfigProblem>,
) -> Result<ResolvedHost, SshConfigError> {
    let mut walk = ConfigWalk {
        query,
        operator,
        exec,
        hits: [None; SettingKey::COUNT],
        identities: Vec::new(),
        certificates: Vec::new(),
        others: Vec::new(),
        connected: None,
    };
    for file in files {
        walk.file(file, true, false)?;
    }
    let host_name = walk.host_name()?;
    // `yes` and `always` make `ssh` read the files again even if the name stays as it is (ssh.c, main).
    let canonicalize = walk.choice(SettingKey::CanonicalizeHostname).is_some_and(|choice| choice != "false");
    if wants_final || canonicalize {
        // The hits of the first pass stay: a value obtained once is final, so that the second pass only adds.
        walk.connected = Some(host_name.clone());
        for file in files {
            walk.file(file, true, false)?;
        }
    }
    walk.finish(host_name)
}

impl ConfigWalk<'_, '_> {
    /// An error about the value of a keyword.
    fn error(&self, key: SettingKey, problem: ConfigProblem) -> SshConfigError {
        self.origin(key).error(problem)
    }

    fn origin(&self, key: SettingKey) -> ConfigOrigin {
        self.hit(key).map_or(ConfigOrigin::Default, ConfigHit::origin)
    }

    /// The value given, else that of a file, else the default.
    fn setting<T: Clone>(
        &self,
        given: Option<&OverrideValue<T>>,
        key: SettingKey,
        found: Option<T>,
        default: T,
    ) -> ResolvedSetting<T> {
        match (given, found) {
            (Some(given), _) => given.clone(),
            (None, Some(value)) => ResolvedSetting { value, origin: self.origin(key) },
            (None, None) => ResolvedSetting { value: default, origin: ConfigOrigin::Default },
        }
    }

    fn flag(&self, key: SettingKey, default: bool) -> ResolvedSetting<bool> {
        self.setting(None, key, self.choice(key).map(|word| word == "yes"), default)
    }

    fn count(&self, key: SettingKey, default: u32) -> ResolvedSetting<u32> {
        self.setting(None, key, self.number(key).and_then(|number| u32::try_from(number).ok()), default)
    }

    fn optional(&self, key: SettingKey) -> Option<ResolvedSetting<Arc<str>>> {
        let value = Arc::clone(self.text(key)?);
        Some(ResolvedSetting { value, origin: self.origin(key) })
    }

    fn algorithms(
        &self,
        given: Option<&OverrideValue<String>>,
        key: SettingKey,
        list: AlgorithmKind,
        keyword: &'static str,
    ) -> Result<ResolvedSetting<ConfigAlgorithms>, SshConfigError> {
        let none = |value: &str| ConfigProblem::NoAlgorithm { keyword, value: value.to_owned() };
        let (names, origin) = match (given, self.hit(key)) {
            // The given text has not been read by value.rs, so its names are checked here.
            (Some(given), _) => {
                let names = list.assemble(&given.value).filter(|_| list.reads(&given.value));
                (names.ok_or_else(|| given.origin.error(none(&given.value)))?, given.origin.clone())
            }
            (None, Some(ConfigHit { value: ConfigValue::Algorithms { text, names }, .. })) => {
                // A list that comes to nothing is an error only where it is in force: fill_default_options assembles
                // lists for one host.
                let names = names.clone().ok_or_else(|| self.error(key, none(text)))?;
                (names, self.origin(key))
            }
            _ => (list.default_text(), ConfigOrigin::Default),
        };
        Ok(ResolvedSetting { value: ConfigAlgorithms::new(names), origin })
    }

    fn proxy(&self, host_name: &str) -> Result<ResolvedSetting<ConfigProxy>, SshConfigError> {
        let (jump, origin): (Option<Arc<JumpHosts>>, ConfigOrigin) =
            match (&self.query.jump, self.hit(SettingKey::ProxyJump)) {
                (Some(given), _) => {
                    let service = |name: &str| self.operator.service(name);
                    // The text comes from the command line or the inventory, so the error names that place and not a
                    // file.
                    let jump = jump::parse(&given.value, &service).map_err(|error| {
                        given.origin.error(ConfigProblem::Value {
                            keyword: "ProxyJump".to_owned(),
                            value: error.hop,
                            expected: "[user@]host[:port] or ssh://[user@]host[:port]".into(),
                        })
                    })?;
                    match jump {
                        Some(jump) => (Some(Arc::new(jump)), given.origin.clone()),
                        // An explicit `none` overrules a ProxyCommand of the files too: the operator asks for a direct
                        // connection.
                        None => {
                            return Ok(ResolvedSetting { value: ConfigProxy::Direct, origin: given.origin.clone() });
                        }
                    }
                }
                (None, Some(hit)) => (hit.value.as_jump().map(Arc::clone), hit.origin()),
                (None, None) => (None, ConfigOrigin::Default),
            };
        if let Some(jump) = jump {
            // Only the last bastion is compared, as in ssh.c (main, "jumphost loop"): the earlier ones are reached
            // before it.
            if let Some(last) = jump.hops().last()
                && last.host == host_name
                && last.port.unwrap_or(22) == self.port()
                && last.user.as_deref().unwrap_or(self.user()) == self.user()
            {
                return Err(origin.error(ConfigProblem::JumpLoop { host: host_name.to_owned() }));
            }
            return Ok(ResolvedSetting { value: ConfigProxy::Jump(jump), origin });
        }
        match self.text(SettingKey::ProxyCommand).filter(|command| !command.eq_ignore_ascii_case("none")) {
            Some(command) => Ok(ResolvedSetting {
                value: ConfigProxy::Command(Arc::clone(command)),
                origin: self.origin(SettingKey::ProxyCommand),
            }),
            None => {
                // A `none` that was written decides too, so that its line is named as the origin.
                let decided = self.hit(SettingKey::ProxyCommand).or(self.hit(SettingKey::ProxyJump));
                Ok(ResolvedSetting {
                    value: ConfigProxy::Direct,
                    origin: decided.map_or(ConfigOrigin::Default, ConfigHit::origin),
                })
            }
        }
    }

    /// The files of a keyword that names several, of which `none` is none.
    fn files(
        &self,
        key: SettingKey,
        default: [&str; 2],
        expand: impl Fn(&str) -> Result<PathBuf, ConfigProblem>,
    ) -> Result<ResolvedSetting<Vec<PathBuf>>, SshConfigError> {
        let error = |problem| self.error(key, problem);
        match self.hit(key).map(|hit| hit.value) {
            Some(ConfigValue::Words(words)) => {
                // Only the first word can be `none`: value.rs refuses it among other words.
                let none = words.first().is_some_and(|first| first.eq_ignore_ascii_case("none"));
                let words = if none { &[] as &[Arc<str>] } else { words };
                let value = words.iter().map(|word| expand(word)).collect::<Result<_, _>>().map_err(error)?;
                Ok(ResolvedSetting { value, origin: self.origin(key) })
            }
            _ => {
                let value = default.into_iter().map(expand).collect::<Result<_, _>>();
                // Without a home there is no file of one's own.
                Ok(ResolvedSetting { value: value.unwrap_or_default(), origin: ConfigOrigin::Default })
            }
        }
    }

    fn agent(
        &self,
        tokens: &PercentTokens<'_>,
    ) -> Result<(ResolvedSetting<ConfigAgent>, Option<String>), SshConfigError> {
        let Some(text) = self.text(SettingKey::IdentityAgent) else {
            return Ok((ResolvedSetting { value: ConfigAgent::FromEnvironment, origin: ConfigOrigin::Default }, None));
        };
        let written = tokens.path(text).map_err(|problem| self.error(SettingKey::IdentityAgent, problem))?;
        let value = match written.as_str() {
            "none" => ConfigAgent::None,
            "SSH_AUTH_SOCK" => ConfigAgent::FromEnvironment,
            path => match path.strip_prefix('$') {
                // A variable that is no longer set leaves no agent: `ssh` then removes SSH_AUTH_SOCK from its own
                // environment (ssh.c, main).
                Some(name) => self
                    .operator
                    .variables
                    .get(name)
                    .map_or(ConfigAgent::None, |path| ConfigAgent::Socket(PathBuf::from(path))),
                None => ConfigAgent::Socket(PathBuf::from(path)),
            },
        };
        Ok((ResolvedSetting { value, origin: self.origin(SettingKey::IdentityAgent) }, Some(written)))
    }

    fn identities(&self) -> Vec<ResolvedSetting<Arc<str>>> {
        match &self.query.identities {
            Some(given) => given
                .value
                .iter()
                .map(|path| ResolvedSetting { value: path.to_string_lossy().into(), origin: given.origin.clone() })
                .collect(),
            None => texts(&self.identities),
        }
    }

    fn unhonoured(&self) -> Vec<UnsupportedKeyword> {
        let mut found: Vec<UnsupportedKeyword> = self
            .others
            .iter()
            // A value with which nothing changes needs no warning.
            .filter(|other| !other.harmless)
            .filter_map(|other| {
                let (refused, why) = match other.keyword.treatment {
                    Treatment::Refused(_, why) => (true, why),
                    Treatment::Named(_, why) => (false, why),
                    Treatment::Honoured(_) | Treatment::Ignored => return None,
                };
                Some(UnsupportedKeyword {
                    keyword: other.keyword.name,
                    file: other.path.to_owned(),
                    line: other.line,
                    refused,
                    why,
                })
            })
            .collect();
        let mut add = |key: SettingKey, keyword, refused, why| {
            if let Some(hit) = self.hit(key) {
                found.push(UnsupportedKeyword {
                    keyword,
                    file: hit.file.path.to_path_buf(),
                    line: hit.line,
                    refused,
                    why,
                });
            }
        };
        // The walk keeps these two as plain values; whether they matter depends on the value in force.
        if self.choice(SettingKey::CanonicalizeHostname).is_some_and(|choice| choice != "false") {
            add(SettingKey::CanonicalizeHostname, "CanonicalizeHostname", true, keyword::CANONICALIZE_REFUSED);
        }
        let local = self.text(SettingKey::LocalCommand).is_some_and(|command| !command.eq_ignore_ascii_case("none"));
        // LocalCommand alone has no effect: `ssh` runs it only if PermitLocalCommand is `yes` (sshconnect.c,
        // ssh_local_cmd).
        if local && self.choice(SettingKey::PermitLocalCommand) == Some("yes") {
            add(SettingKey::LocalCommand, "LocalCommand", false, keyword::LOCAL_COMMAND_NAMED);
        }
        found
    }

    fn finish(&self, host_name: String) -> Result<ResolvedHost, SshConfigError> {
        let query = self.query;
        let alias = self.host_key_alias();
        let tokens = PercentTokens {
            operator: self.operator,
            host: &host_name,
            original: query.host,
            // Without an alias, `%k` is the name as typed (ssh.c, main), whereas `Match exec` takes the name to connect
            // to.
            alias: alias.as_ref().map_or(query.host, |alias| &alias.value),
            port: self.port(),
            user: self.user(),
        };
        let user_known_hosts_files = self.user_known_hosts_files(&tokens)?;
        let global_files = |expand: &dyn Fn(&str) -> Result<PathBuf, ConfigProblem>| {
            let default = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
            self.files(SettingKey::GlobalKnownHostsFile, default, expand)
        };
        // `ssh` expands `~` only after `ssh -G` has printed the paths (ssh.c, main), and no tokens at all.
        let global_known_hosts_text = global_files(&|word| Ok(PathBuf::from(word)))?.value;
        let global_known_hosts_files = global_files(&|word| Ok(PathBuf::from(&*tokens::tilde(word, self.operator)?)))?;
        let (identity_agent, identity_agent_text) = self.agent(&tokens)?;
        let batch_mode = self.flag(SettingKey::BatchMode, false);
        let algorithms = |given: &Option<_>, key, kind, name| self.algorithms(given.as_ref(), key, kind, name);
        Ok(ResolvedHost {
            host: query.host.into(),
            user: self.user_setting(),
            port: self.port_setting(),
            proxy: self.proxy(&host_name)?,
            identity_files: self.identities(),
            identities_given: query.identities.is_some(),
            certificate_files: texts(&self.certificates),
            identities_only: self.flag(SettingKey::IdentitiesOnly, false),
            identity_agent,
            identity_agent_text,
            user_known_hosts_files,
            global_known_hosts_files,
            global_known_hosts_text,
            revoked_host_keys: self.revoked_host_keys(),
            hash_known_hosts: self.flag(SettingKey::HashKnownHosts, false),
            strict_host_key_checking: self.strict_host_key_checking(),
            host_key_alias: alias.clone(),
            host_key_algorithms: algorithms(
                &query.host_key_algorithms,
                SettingKey::HostKeyAlgorithms,
                AlgorithmKind::Keys,
                "HostKeyAlgorithms",
            )?,
            kex_algorithms: algorithms(
                &query.kex_algorithms,
                SettingKey::KexAlgorithms,
                AlgorithmKind::Kex,
                "KexAlgorithms",
            )?,
            ciphers: algorithms(&query.ciphers, SettingKey::Ciphers, AlgorithmKind::Ciphers, "Ciphers")?,
            macs: algorithms(&query.macs, SettingKey::Macs, AlgorithmKind::Macs, "MACs")?,
            pubkey_accepted_algorithms: algorithms(
                &query.pubkey_accepted_algorithms,
                SettingKey::PubkeyAcceptedAlgorithms,
                AlgorithmKind::Keys,
                "PubkeyAcceptedAlgorithms",
            )?,
            connect_timeout: self.connect_timeout(),
            server_alive_interval: self.server_alive_interval(batch_mode.value),
            server_alive_count_max: self.count(SettingKey::ServerAliveCountMax, 3),
            ignore_unknown: self.optional(SettingKey::IgnoreUnknown),
            tag: self.optional(SettingKey::Tag),
            pubkey_authentication: self.pubkey_authentication(),
            password_authentication: self.flag(SettingKey::PasswordAuthentication, true),
            kbd_interactive_authentication: self.flag(SettingKey::KbdInteractiveAuthentication, true),
            preferred_authentications: self.optional(SettingKey::PreferredAuthentications),
            number_of_password_prompts: self.count(SettingKey::NumberOfPasswordPrompts, 3),
            address_family: self.address_family(),
            bind_address: self.optional(SettingKey::BindAddress),
            required_rsa_size: self.count(SettingKey::RequiredRsaSize, 1024),
            batch_mode,
            unhonoured: self.unhonoured(),
            host_name: ResolvedSetting { value: host_name.into(), origin: self.host_name_origin() },
        })
    }

    fn host_name_origin(&self) -> ConfigOrigin {
        match &self.query.address {
            Some(address) => address.origin.clone(),
            None => self.origin(SettingKey::HostName),
        }
    }

    fn user_setting(&self) -> ResolvedSetting<Arc<str>> {
        match &self.query.user {
            Some(given) => ResolvedSetting { value: given.value.as_str().into(), origin: given.origin.clone() },
            None => self.setting(
                None,
                SettingKey::User,
                self.text(SettingKey::User).map(Arc::clone),
                self.operator.user.as_str().into(),
            ),
        }
    }

    fn port_setting(&self) -> ResolvedSetting<u16> {
        let port = self.port();
        self.setting(self.query.port.as_ref(), SettingKey::Port, self.number(SettingKey::Port).map(|_| port), port)
    }

    /// HostKeyAlias is always in lower case in the end, but not yet where `Match exec` looks.
    fn host_key_alias(&self) -> Option<ResolvedSetting<Arc<str>>> {
        self.optional(SettingKey::HostKeyAlias)
            .map(|alias| ResolvedSetting { value: alias.value.to_ascii_lowercase().into(), origin: alias.origin })
    }

    fn user_known_hosts_files(
        &self,
        tokens: &PercentTokens<'_>,
    ) -> Result<ResolvedSetting<Vec<PathBuf>>, SshConfigError> {
        match &self.query.known_hosts {
            Some(given) => Ok(ResolvedSetting { value: vec![given.value.clone()], origin: given.origin.clone() }),
            None => self.files(SettingKey::UserKnownHostsFile, ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"], |word| {
                tokens.path(word).map(PathBuf::from)
            }),
        }
    }

    fn revoked_host_keys(&self) -> Option<ResolvedSetting<Arc<str>>> {
        self.optional(SettingKey::RevokedHostKeys).filter(|it| !it.value.eq_ignore_ascii_case("none"))
    }

    fn strict_host_key_checking(&self) -> ResolvedSetting<StrictHostKeyChecking> {
        self.setting(
            self.query.strict_host_key_checking.as_ref(),
            SettingKey::StrictHostKeyChecking,
            self.choice(SettingKey::StrictHostKeyChecking).map(StrictHostKeyChecking::from_word),
            StrictHostKeyChecking::Ask,
        )
    }

    fn connect_timeout(&self) -> ResolvedSetting<Option<Duration>> {
        match &self.query.connect_timeout {
            Some(given) => ResolvedSetting { value: Some(given.value), origin: given.origin.clone() },
            None => {
                self.setting(None, SettingKey::ConnectTimeout, self.seconds(SettingKey::ConnectTimeout).map(Some), None)
            }
        }
    }

    fn server_alive_interval(&self, batch_mode: bool) -> ResolvedSetting<Duration> {
        let default = Duration::from_secs(if batch_mode { 300 } else { 0 });
        self.setting(None, SettingKey::ServerAliveInterval, self.seconds(SettingKey::ServerAliveInterval), default)
    }

    fn seconds(&self, key: SettingKey) -> Option<Duration> {
        self.number(key).map(Duration::from_secs)
    }

    fn pubkey_authentication(&self) -> ResolvedSetting<PubkeyAuthentication> {
        self.setting(
            None,
            SettingKey::PubkeyAuthentication,
            self.choice(SettingKey::PubkeyAuthentication).map(PubkeyAuthentication::from_word),
            PubkeyAuthentication::Yes,
        )
    }

    fn address_family(&self) -> ResolvedSetting<ConfigFamily> {
        self.setting(
            None,
            SettingKey::AddressFamily,
            self.choice(SettingKey::AddressFamily).map(ConfigFamily::from_word),
            ConfigFamily::Any,
        )
    }
}

fn texts(hits: &[ConfigHit<'_>]) -> Vec<ResolvedSetting<Arc<str>>> {
    let text =
        |hit: &ConfigHit<'_>| Some(ResolvedSetting { value: Arc::clone(hit.value.as_text()?), origin: hit.origin() });
    hits.iter().filter_map(text).collect()
}
