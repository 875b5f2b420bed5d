//! How hosts are reached: what the command line, the inventory and ssh_config say of it, in this order.
//!
//! Here lives [`EndpointResolver`]. Invariants: ssh_config's files are read once; what cannot be honoured is named once, and
//! refused where ignoring it would change where or how securely one connects; a bastion that was asked for is never
//! passed by.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openssh_config::{
    ConfigFile, ConfigOrigin, ExecRunner, FileReader, HostQuery, JumpHop, OperatorEnv, OverrideValue, ResolvedHost,
    ResolvedSetting, SshConfig, StrictHostKeyChecking,
};

use ctl_args::connect_args::HostKey;
use ctl_args::settings::{Settings, SshOverrides};
use ctl_console::error::CliError;
use ctl_console::{terminal, waiting};
use ctl_inventory::{Node, SshKeyword, ValueError, check_host, check_user};
use ctl_local::account;
use ctl_local::file::{self, FileAccess, ReadBounds};
use ctl_remote::Sudo;
use ctl_run::NodeAccess;
use ctl_select::SelectedNode;
use ctl_sink::text;
use ctl_transport::{
    AlgorithmLists, AllowedFamilies, AuthMethod, Endpoint, HostKeyPolicy, HostKeySettings, KeepSettings, Keepalive,
    LoginSettings, ProxyRoute,
};

/// Time for an action on one node, unless another is given.
const ACTION_TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that has died without a word is noticed after half a minute.
const KEEPALIVE: Keepalive = Keepalive { interval: Duration::from_secs(10), count: 3, when_idle: false };
/// More bastions on one way go round in a circle.
const MOST_HOPS: usize = 8;
/// So many refused keywords are shown.
const REFUSED_SHOWN: usize = 8;

/// What all hosts on the way to a node have in common.
#[derive(Clone, Copy)]
struct CommonSettings<'k> {
    retries: u32,
    /// Key files that the command line or the inventory names for the node.
    keys: &'k [PathBuf],
}

/// The way up to a bastion as it is written, and the keys of the nodes behind it.
type BastionPath = (Vec<JumpHop>, Vec<PathBuf>);

/// The settings of every host, looked up as they are needed.
pub struct EndpointResolver<'a> {
    args: &'a SshOverrides,
    config: SshConfig,
    operator: OperatorEnv,
    exec: ExecRunner,
    /// The bastions known so far: equal ones are one.
    bastions: RefCell<HashMap<BastionPath, Arc<Endpoint>>>,
    host_keys: SharedSettings<HostKeySettings>,
    algorithms: SharedSettings<AlgorithmLists>,
    /// Settings that are not honoured, and are too harmless to be refused.
    named: RefCell<BTreeSet<String>>,
    refused: RefCell<BTreeSet<String>>,
}

impl<'a> EndpointResolver<'a> {
    /// Reads the ssh_config files.
    ///
    /// # Errors
    /// If they cannot be read, or have errors.
    pub fn new(args: &'a SshOverrides) -> Result<Self, CliError> {
        let operator = operator_env();
        // Before the files are read: a bad name could reach the shell of a `Match exec` in them.
        check_names(args, &operator)?;
        let config = match args.ssh_config.as_deref() {
            Some(file) if file == Path::new("none") => SshConfig::empty(),
            Some(file) => SshConfig::load(file, &operator)?,
            None => SshConfig::load_default(&operator)?,
        };
        if let Some(file) = &args.known_hosts
            // With accept-new a missing file is made; otherwise a mistyped path would make every host unknown.
            && args.host_key != Some(HostKey::AcceptNew)
            && !file::exists(file)
        {
            return Err(CliError::usage(format!("--known-hosts: no such file: {}", file.display())));
        }
        Ok(Self {
            args,
            config,
            exec: ExecRunner::new(&operator),
            operator,
            bastions: RefCell::default(),
            host_keys: SharedSettings::default(),
            algorithms: SharedSettings::default(),
            named: RefCell::default(),
            refused: RefCell::default(),
        })
    }

    /// The user who runs `ctl`.
    pub fn operator(&self) -> &OperatorEnv {
        &self.operator
    }

    /// The hosts that ssh_config names without wildcards.
    pub(crate) fn host_names(&self) -> Vec<String> {
        self.config.host_names().into_iter().map(str::to_owned).collect()
    }

    /// The known_hosts files of hosts for which ssh_config has nothing special, the user's first.
    pub(crate) fn known_hosts_files(&self) -> Result<Vec<PathBuf>, CliError> {
        let resolved = self.resolve(&self.bastion_query("localhost"))?;
        Ok([resolved.user_known_hosts_files.value, resolved.global_known_hosts_files.value].concat())
    }

    /// The settings of a node of the inventory.
    ///
    /// # Errors
    /// If a setting cannot be honoured, or `Match exec` cannot run.
    pub fn of_node(&self, node: &Node) -> Result<ResolvedHost, CliError> {
        let ssh = &node.ssh;
        let mut query = self.query(&node.name);
        // The name itself is no address that the inventory gives: ssh_config may know a better one.
        query.address = (node.address != node.name).then(|| from_inventory(node.address.as_str()));
        // `or_else`: the command line has filled the query first, and is stronger than the inventory.
        query.user = query.user.or_else(|| ssh.user.clone().map(from_inventory));
        query.port = query.port.or_else(|| ssh.port.map(from_inventory));
        query.jump = query.jump.or_else(|| ssh.jump.clone().map(from_inventory));
        // An empty list is no setting: the inventory does not forbid keys.
        let named = (!ssh.identities.is_empty()).then(|| from_inventory(ssh.identities.clone()));
        query.identities = query.identities.or(named);
        query.connect_timeout = query.connect_timeout.or_else(|| ssh.connect_timeout.map(from_inventory));
        for option in &ssh.algorithms {
            let list = match option.keyword {
                SshKeyword::HostKeyAlgorithms => &mut query.host_key_algorithms,
                SshKeyword::KexAlgorithms => &mut query.kex_algorithms,
                SshKeyword::Ciphers => &mut query.ciphers,
                SshKeyword::Macs => &mut query.macs,
                SshKeyword::PubkeyAcceptedAlgorithms => &mut query.pubkey_accepted_algorithms,
            };
            let origin = ConfigOrigin::Inventory(option.origin.to_string().into());
            // The command line has no options for algorithms, so there is nothing stronger to keep.
            *list = Some(OverrideValue { value: option.value.to_string(), origin });
        }
        self.resolve(&query)
    }

    /// The settings of any other host, `[user@]host`.
    ///
    /// # Errors
    /// As [`EndpointResolver::of_node`], and if the words name no host.
    pub fn of_host(&self, words: &str) -> Result<ResolvedHost, CliError> {
        let (user, host) = match words.rsplit_once('@') {
            // The last `@`: a user name may contain one.
            Some((user, host)) => (Some(user), host),
            None => (None, words),
        };
        // The words may reach a shell as `%r` and `%h`, so they obey the same rules as an inventory.
        let usable = user.map_or(Ok(()), check_user).and_then(|()| check_host(host, true));
        if let Err(flaw) = usable {
            let said = text::single_line(words);
            return Err(CliError::usage(format!("'{said}' is not a valid host: {}", flaw.why))
                .with_hint("expected [user@]host, or a node of the inventory"));
        }
        let mut query = self.query(host);
        query.user = query.user.or_else(|| user.map(str::to_owned).map(typed));
        self.resolve(&query)
    }

    fn query<'q>(&self, host: &'q str) -> HostQuery<'q> {
        let args = self.args;
        HostQuery {
            user: args.user.clone().map(typed),
            port: args.port.map(typed),
            jump: args.jump.clone().map(typed),
            identities: args.identity.clone().map(|file| typed(vec![file])),
            ..self.bastion_query(host)
        }
    }

    /// With the options that hold for bastions too: neither user, nor port, nor key, as with `ssh`.
    fn bastion_query<'q>(&self, host: &'q str) -> HostQuery<'q> {
        let args = self.args;
        let checking = args.host_key.map(|policy| match policy {
            // `--host-key strict` still asks at a terminal, so it is OpenSSH's `ask` and not its `yes`.
            HostKey::Strict => StrictHostKeyChecking::Ask,
            HostKey::AcceptNew => StrictHostKeyChecking::AcceptNew,
        });
        HostQuery {
            host,
            known_hosts: args.known_hosts.clone().map(typed),
            connect_timeout: args.connect_timeout.map(typed),
            strict_host_key_checking: checking.map(typed),
            ..HostQuery::default()
        }
    }

    fn resolve(&self, query: &HostQuery<'_>) -> Result<ResolvedHost, CliError> {
        Ok(self.config.resolve(query, &self.operator, &|command| self.exec.run(command))?)
    }

    /// The endpoint of a node. [`EndpointResolver::verdict`] reports the settings that are refused.
    pub(crate) fn endpoint(&self, node: &Node, retries: u32) -> Result<Endpoint, CliError> {
        let resolved = self.of_node(node)?;
        // The command line replaces the keys of the inventory; bastions get the same ones.
        let keys = match &self.args.identity {
            Some(file) => std::slice::from_ref(file),
            None => &node.ssh.identities,
        };
        let common = CommonSettings { retries, keys };
        let proxy = self.proxy(&resolved, common, 0)?;
        self.endpoint_of(&resolved, proxy, common, false)
    }

    /// The way to a host, `depth` bastions away from the node.
    fn proxy(&self, resolved: &ResolvedHost, common: CommonSettings<'_>, depth: usize) -> Result<ProxyRoute, CliError> {
        match &resolved.proxy.value {
            openssh_config::ConfigProxy::Direct => Ok(ProxyRoute::Direct),
            openssh_config::ConfigProxy::Command(_) => {
                Ok(resolved.proxy_command(&self.operator)?.map_or(ProxyRoute::Direct, ProxyRoute::Command))
            }
            openssh_config::ConfigProxy::Jump(jump) => self.bastion(jump.hops(), &resolved.proxy.origin, common, depth),
        }
    }

    /// The last of `hops`, behind those before it. The first of them is reached as ssh_config says.
    fn bastion(
        &self,
        hops: &[JumpHop],
        origin: &ConfigOrigin,
        common: CommonSettings<'_>,
        depth: usize,
    ) -> Result<ProxyRoute, CliError> {
        let Some((last, before)) = hops.split_last() else { return Ok(ProxyRoute::Direct) };
        // The keys belong to the place: two nodes with other keys need a bastion endpoint of their own.
        let place = (hops.to_vec(), common.keys.to_vec());
        if let Some(known) = self.bastions.borrow().get(&place) {
            return Ok(ProxyRoute::Jump(Arc::clone(known)));
        }
        // ssh_config may send each bastion through the other for ever; `ssh` would start processes without end.
        if depth >= MOST_HOPS {
            return Err(CliError::usage(format!(
                "jump hosts for {} form a loop ({origin}: more than {MOST_HOPS} hops)",
                text::single_line(&last.host)
            ))
            .with_hint("add `ProxyJump none` to the Host block of the bastion"));
        }
        if !last.is_accepted_by_ssh() {
            let said = last.user.as_ref().map_or_else(String::new, |user| format!("{user}@")) + &last.host;
            return Err(CliError::usage(format!("{origin}: '{}' is not a valid bastion", text::single_line(&said)))
                .with_hint(
                    "as with ssh, user and host must not contain quotes or other shell characters, or begin with `-`",
                ));
        }
        // Neither user nor port nor key of the command line: they are for the node.
        let mut query = self.bastion_query(&last.host);
        let given = |value: &String| OverrideValue { value: value.clone(), origin: origin.clone() };
        query.user = last.user.as_ref().map(given);
        query.port = last.port.map(|value| OverrideValue { value, origin: origin.clone() });
        let resolved = self.resolve(&query)?;
        // Only the first hop follows its own ProxyJump, as in ssh.c (main), which passes the earlier hops with -J.
        let proxy = match before {
            [] => self.proxy(&resolved, common, depth + 1)?,
            _ => self.bastion(before, origin, common, depth + 1)?,
        };
        let endpoint = Arc::new(self.endpoint_of(&resolved, proxy, common, true)?);
        self.bastions.borrow_mut().insert(place, Arc::clone(&endpoint));
        Ok(ProxyRoute::Jump(endpoint))
    }

    fn endpoint_of(
        &self,
        resolved: &ResolvedHost,
        proxy: ProxyRoute,
        common: CommonSettings<'_>,
        is_bastion: bool,
    ) -> Result<Endpoint, CliError> {
        self.judge(resolved);
        let user = resolved.user.value.to_string();
        // Empty only where neither a setting nor the account of this process gives a name.
        if user.is_empty() {
            return Err(CliError::usage(format!("no user name for {}", text::single_line(&resolved.host)))
                .with_hint("set one with -u, with `user` in the inventory, or in ssh_config"));
        }
        let paths = |found: Vec<ResolvedSetting<PathBuf>>| found.into_iter().map(|one| one.value).collect();
        let own = resolved.identity_paths(&self.operator)?;
        // A key that somebody named is offered before the agent's other keys, and reported if it cannot be read.
        let mut identities_named = own.iter().any(|identity| identity.origin != ConfigOrigin::Default);
        let mut identities: Vec<PathBuf> = paths(own);
        if is_bastion && !common.keys.is_empty() {
            // Behind those that ssh_config names for it, before the usual ones.
            let place = if identities_named { identities.len() } else { 0 };
            identities.splice(place..place, common.keys.iter().cloned());
            identities_named = true;
        }
        Ok(Endpoint {
            host: resolved.host_name.value.to_string(),
            port: resolved.port.value,
            family: match resolved.address_family.value {
                openssh_config::ConfigFamily::Any => AllowedFamilies::Any,
                openssh_config::ConfigFamily::Inet => AllowedFamilies::Inet,
                openssh_config::ConfigFamily::Inet6 => AllowedFamilies::Inet6,
            },
            bind: resolved.bind_address.as_ref().map(|bind| bind.value.to_string()),
            proxy,
            login: LoginSettings {
                user,
                identities,
                identities_named,
                certificates: paths(resolved.certificate_paths(&self.operator)?),
                identities_only: resolved.identities_only.value,
                agent: self.agent(resolved),
                methods: methods(resolved),
            },
            host_keys: self.host_keys.intern(host_keys(resolved)),
            algorithms: self.algorithms.intern(algorithms(resolved)),
            keepalive: keepalive(resolved),
            connect_timeout: connect_timeout(resolved),
            retries: common.retries,
            keep: None,
        })
    }

    fn agent(&self, resolved: &ResolvedHost) -> Option<PathBuf> {
        match &resolved.identity_agent.value {
            // `IdentityAgent none` turns the agent off even if SSH_AUTH_SOCK is set.
            openssh_config::ConfigAgent::None => None,
            openssh_config::ConfigAgent::Socket(path) => Some(path.clone()),
            openssh_config::ConfigAgent::FromEnvironment => {
                let socket = self.operator.variables.get("SSH_AUTH_SOCK");
                socket.filter(|path| !path.is_empty()).map(PathBuf::from)
            }
        }
    }

    /// Remembers the settings that are not honoured.
    pub fn judge(&self, resolved: &ResolvedHost) {
        for one in &resolved.unhonoured {
            // Debian's own file asks for it; without a ticket `ssh` has no use for it either.
            if one.keyword == "GSSAPIAuthentication" && !self.has_ticket() {
                continue;
            }
            let line = format!("{}:{}: {} is not supported: {}", one.file.display(), one.line, one.keyword, one.why);
            let line = text::single_line(&line);
            // Collected and not reported yet: the same line may hold for a thousand nodes.
            if one.refused {
                self.refused.borrow_mut().insert(line);
            } else {
                self.named.borrow_mut().insert(line);
            }
        }
        let checking = &resolved.strict_host_key_checking;
        // `no` would accept a changed key too, which ctl never does, so the operator learns of the difference.
        if checking.value == StrictHostKeyChecking::No {
            let line = format!(
                "{}: StrictHostKeyChecking no is treated as accept-new: a changed host key is never accepted",
                checking.origin
            );
            self.named.borrow_mut().insert(text::single_line(&line));
        }
    }

    /// Whether Kerberos may have something to log in with.
    fn has_ticket(&self) -> bool {
        // The usual places of a ticket cache; where it is elsewhere, KRB5CCNAME names it.
        self.operator.variables.get("KRB5CCNAME").is_some_and(|name| !name.is_empty())
            || Path::new(&format!("/tmp/krb5cc_{}", self.operator.uid)).exists()
    }

    /// The settings that are not honoured, the refused ones first.
    pub fn notes(&self) -> Vec<String> {
        self.refused.borrow().iter().chain(self.named.borrow().iter()).cloned().collect()
    }

    /// Names the settings that are not honoured, each once.
    ///
    /// # Errors
    /// If one of them must not be ignored.
    pub(crate) fn verdict(&self, quiet: bool) -> Result<(), CliError> {
        let refused = self.refused.borrow();
        // All refusals in one error, so that the operator can fix the file in one go.
        if !refused.is_empty() {
            let mut lines: Vec<&str> = refused.iter().map(String::as_str).take(REFUSED_SHOWN).collect();
            let more = refused.len().saturating_sub(REFUSED_SHOWN);
            let more = if more > 0 { format!("and {more} more") } else { String::new() };
            lines.extend((!more.is_empty()).then_some(more.as_str()));
            let message = format!("ssh_config uses options ctl does not support:\n  {}", lines.join("\n  "));
            return Err(CliError::usage(message).with_hint(
                "ignoring them would connect elsewhere or less securely; use --ssh-config none to ignore ssh_config",
            ));
        }
        if !quiet {
            for line in self.named.borrow().iter() {
                terminal::say(&format!("note: {line}"));
            }
        }
        Ok(())
    }
}

/// The user and this machine, as ssh_config needs them. Its files are read within the usual time, so that a dead mount
/// cannot hang `ctl`.
fn operator_env() -> OperatorEnv {
    let read_file = |path: &Path, max_bytes| {
        // A pipe is allowed, as with `ssh -F`.
        let bounds = ReadBounds { max_bytes, patience: file::PATIENCE, only_regular: false };
        let content = file::read(path, bounds)?;
        let FileAccess { uid, mode, .. } = content.access;
        Ok(ConfigFile { bytes: content.bytes, uid, mode })
    };
    OperatorEnv { read_file: FileReader(read_file), ..OperatorEnv::of_process(account::name_and_home()) }
}

/// How each node of a plan is reached.
///
/// # Errors
/// If a setting of a node cannot be honoured.
pub fn access(settings: &Settings, nodes: &[SelectedNode]) -> Result<Vec<NodeAccess>, CliError> {
    let ways = waiting::on("the ssh_config", || EndpointResolver::new(&settings.ssh))?;
    let access = nodes.iter().map(|selected| {
        let node = &selected.node;
        Ok(NodeAccess {
            endpoint: Arc::new(Endpoint { keep: keep(settings, node), ..ways.endpoint(node, settings.retries)? }),
            sudo: if settings.sudo || node.sudo { Sudo::Plain } else { Sudo::No },
            via: node.via,
            timeout: settings.timeout.or(node.timeout).unwrap_or(ACTION_TIMEOUT),
            passwords: Arc::default(),
        })
    });
    let access = access.collect::<Result<_, CliError>>()?;
    ways.verdict(settings.output.quiet)?;
    Ok(access)
}

/// How the connection to a node is kept after the run, if it is.
fn keep(settings: &Settings, node: &Node) -> Option<KeepSettings> {
    // Zero switches off what the inventory says.
    let idle = settings.persist.or(node.ssh.persist).filter(|idle| !idle.is_zero())?;
    Some(KeepSettings { name: node.name.clone(), idle })
}

/// Users and hosts of the command line obey the rules of the inventory: they may reach the shell of a `ProxyCommand` or a
/// `Match exec`, as `%r` and `%h`. What ssh_config itself says is trusted, as `ssh` does.
fn check_names(args: &SshOverrides, operator: &OperatorEnv) -> Result<(), CliError> {
    let invalid = |option: &str, said: &str, what: &str, flaw: ValueError| {
        CliError::usage(format!("{option}: '{}' is not a valid {what}: {}", text::single_line(said), flaw.why))
            .with_hint("it may reach a shell (ProxyCommand, Match exec), so spaces, quotes, shell characters and a leading `-` are not allowed")
    };
    if let Some(user) = &args.user {
        check_user(user).map_err(|flaw| invalid("--user", user, "user name", flaw))?;
    }
    if let Some(jump) =
        args.jump.as_deref().filter(|jump| jump.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#'))
    {
        // In ssh_config, what follows would be passed over.
        let said = text::single_line(jump);
        return Err(CliError::usage(format!("--jump: '{said}' contains a space, a control character or `#`"))
            .with_hint("expected [user@]host[:port], separated by commas"));
    }
    // Read once more by the resolver; here only to find hops that are not valid names.
    let hops = args.jump.as_deref().map_or(Ok(Vec::new()), |jump| openssh_config::parse_jump(jump, operator));
    let hops = hops.map_err(|error| CliError::usage(format!("--jump: {}", text::single_line(&error.to_string()))))?;
    for JumpHop { user, host, .. } in &hops {
        if let Some(user) = user {
            check_user(user).map_err(|flaw| invalid("--jump", user, "user name", flaw))?;
        }
        check_host(host, true).map_err(|flaw| invalid("--jump", host, "host name", flaw))?;
    }
    Ok(())
}

fn typed<T>(value: T) -> OverrideValue<T> {
    OverrideValue { value, origin: ConfigOrigin::CommandLine }
}

fn from_inventory<T>(value: T) -> OverrideValue<T> {
    OverrideValue { value, origin: ConfigOrigin::Inventory("".into()) }
}

/// Settings that many endpoints have: one copy of each, which saves memory and lets `Arc` compare by pointer.
struct SharedSettings<T> {
    all: RefCell<HashSet<Arc<T>>>,
    last: RefCell<Option<Arc<T>>>,
}

impl<T> Default for SharedSettings<T> {
    fn default() -> Self {
        Self { all: RefCell::default(), last: RefCell::default() }
    }
}

impl<T: Eq + Hash> SharedSettings<T> {
    /// The copy that equals `value`.
    fn intern(&self, value: T) -> Arc<T> {
        let mut last = self.last.borrow_mut();
        // Mostly the settings of the node before, and paths take long to hash.
        if let Some(last) = last.as_ref().filter(|last| ***last == value) {
            return Arc::clone(last);
        }
        let mut all = self.all.borrow_mut();
        let known = all.get(&value).map(Arc::clone);
        let shared = known.unwrap_or_else(|| {
            let new = Arc::new(value);
            all.insert(Arc::clone(&new));
            new
        });
        *last = Some(Arc::clone(&shared));
        shared
    }
}

fn host_keys(resolved: &ResolvedHost) -> HostKeySettings {
    HostKeySettings {
        user_files: resolved.user_known_hosts_files.value.clone(),
        global_files: resolved.global_known_hosts_files.value.clone(),
        revoked: resolved.revoked_host_keys.iter().map(|file| (*file.value).into()).collect(),
        alias: resolved.host_key_alias.as_ref().map(|alias| alias.value.to_string()),
        policy: match resolved.strict_host_key_checking.value {
            StrictHostKeyChecking::Yes => HostKeyPolicy::Strict,
            // BatchMode forbids questions, so a key that is not known is refused.
            StrictHostKeyChecking::Ask if resolved.batch_mode.value => HostKeyPolicy::Strict,
            StrictHostKeyChecking::Ask => HostKeyPolicy::Ask,
            // `no` as `accept-new`: `judge` has said so.
            StrictHostKeyChecking::AcceptNew | StrictHostKeyChecking::No => HostKeyPolicy::AcceptNew,
        },
        hash_names: resolved.hash_known_hosts.value,
        min_rsa_bits: resolved.required_rsa_size.value,
    }
}

/// The lists that somebody set; the others keep the transport's defaults.
fn algorithms(resolved: &ResolvedHost) -> AlgorithmLists {
    let asked = |setting: &ResolvedSetting<openssh_config::ConfigAlgorithms>| {
        // OpenSSH's default has algorithms that the library lacks, so its own default is better than that list.
        (setting.origin != ConfigOrigin::Default).then(|| setting.value.iter().map(str::to_owned).collect())
    };
    AlgorithmLists {
        host_keys: asked(&resolved.host_key_algorithms),
        kex: asked(&resolved.kex_algorithms),
        ciphers: asked(&resolved.ciphers),
        macs: asked(&resolved.macs),
        accepted: asked(&resolved.pubkey_accepted_algorithms),
    }
}

/// Time from the first attempt to an authenticated session.
pub fn connect_timeout(resolved: &ResolvedHost) -> Duration {
    resolved.connect_timeout.value.unwrap_or(CONNECT_TIMEOUT)
}

fn keepalive(resolved: &ResolvedHost) -> Keepalive {
    let (interval, count) = (&resolved.server_alive_interval, &resolved.server_alive_count_max);
    Keepalive {
        // OpenSSH's default is never to ask, which would let a dead peer hold a run for hours.
        interval: if interval.origin == ConfigOrigin::Default { KEEPALIVE.interval } else { interval.value },
        count: if count.origin == ConfigOrigin::Default { KEEPALIVE.count } else { count.value },
        when_idle: interval.origin != ConfigOrigin::Default,
    }
}

/// The methods in the order that is preferred, without those that are switched off.
fn methods(resolved: &ResolvedHost) -> Vec<AuthMethod> {
    let order = resolved.preferred_authentications.as_ref();
    let order = order.map_or("publickey,keyboard-interactive,password", |order| &order.value);
    let all = order.split(',').filter_map(|name| match name {
        "publickey" => resolved.pubkey_authentication.value.is_enabled().then_some(AuthMethod::PublicKey),
        "keyboard-interactive" => {
            resolved.kbd_interactive_authentication.value.then_some(AuthMethod::KeyboardInteractive)
        }
        "password" => resolved.password_authentication.value.then_some(AuthMethod::Password),
        // Methods that ctl does not have, such as hostbased, are left out as `ssh` leaves out unknown ones.
        _ => None,
    });
    all.collect()
}
