//! Questions before the first connection that counts: secrets, and whether keys never seen before are trusted.
//!
//! Invariants: each question is asked once for all nodes, before anything moves on the terminal; without a terminal
//! nothing is asked; no secret is shown, kept in a file, or given to a process.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use secrecy::SecretString;

use ctl_args::settings::Settings;
use ctl_connections::NodeTransport;
use ctl_console::error::CliError;
use ctl_console::secret::{self, SecretError};
use ctl_console::terminal;
use ctl_console::waiting::{self, SilentNodes, WaitNotice};
use ctl_remote::Sudo;
use ctl_run::{NodeAccess, PasswordFiles};
use ctl_select::SelectedNode;
use ctl_sink::text;
use ctl_transport::{Endpoint, HostKeyPolicy, ProxyRoute, PublicKey, SshTransport, UnlockError, fingerprint};

/// Which nodes have to be logged in to. Those whose connection is kept need no question.
pub(crate) struct RequiredLogins(Vec<bool>);

impl RequiredLogins {
    /// Looks for connections that are kept; those that do not answer do not count if `checked`.
    pub(crate) async fn of(transport: &NodeTransport, access: &[NodeAccess], checked: bool) -> Self {
        // Without a question it makes no difference, and the connect finds out by itself.
        if !checked && !terminal::can_ask() {
            return Self(vec![true; access.len()]);
        }
        let endpoints: Vec<&Endpoint> = access.iter().map(|access| &*access.endpoint).collect();
        Self(transport.kept(&endpoints, checked).await.into_iter().map(|kept| !kept).collect())
    }

    /// The same for keys that are still locked: a node that would need one has to be logged in to if its connection does
    /// not answer.
    async fn check_locked(&mut self, transport: &NodeTransport, endpoints: &[&Endpoint]) {
        let kept: Vec<usize> = (0..endpoints.len()).filter(|&index| !self.is_required(index)).collect();
        let kept_endpoints: Vec<&Endpoint> = kept.iter().filter_map(|&index| endpoints.get(index).copied()).collect();
        // Without a locked key a connection that is dead is made again without a question.
        if transport.direct().locked_identities(kept_endpoints.iter().copied()).await.is_empty() {
            return;
        }
        for (index, kept) in kept.into_iter().zip(transport.kept(&kept_endpoints, true).await) {
            if let Some(required) = self.0.get_mut(index) {
                *required = !kept;
            }
        }
    }

    fn is_required(&self, index: usize) -> bool {
        self.0.get(index).copied().unwrap_or(true)
    }

    fn only<'t, T>(&'t self, of_nodes: impl IntoIterator<Item = T> + 't) -> impl Iterator<Item = T> + 't {
        of_nodes.into_iter().enumerate().filter(|(index, _)| self.is_required(*index)).map(|(_, one)| one)
    }
}

/// The password to log in with, if it is to be asked for.
pub(crate) fn password(settings: &Settings, logins: &RequiredLogins) -> Result<Option<SecretString>, CliError> {
    let asks = settings.ask_ssh_password && logins.0.contains(&true);
    if asks { secret("SSH password for the nodes", "--ask-pass").map(Some) } else { Ok(None) }
}

/// Gives sudo its password, if it is to be asked for and some node may want it.
pub(crate) fn sudo_password(settings: &Settings, access: &mut [NodeAccess]) -> Result<(), CliError> {
    if !settings.ask_sudo_password {
        return Ok(());
    }
    // A password that no node would get is a mistake in the selection or the inventory.
    if !access.iter().any(|access| access.sudo.is_on()) {
        return Err(CliError::usage("-K: no selected node uses sudo")
            .with_hint("enable it with --sudo, or with `sudo: true` in the inventory"));
    }
    let secret = Arc::new(secret("sudo password for the nodes", "-K")?);
    for access in access.iter_mut().filter(|access| access.sudo.is_on()) {
        access.sudo = Sudo::with_password(Arc::clone(&secret));
    }
    Ok(())
}

/// Reads the passwords that supervisords of selected nodes ask for. Files that others may read are warned of.
pub(crate) fn supervisor_passwords(nodes: &[SelectedNode], access: &mut [NodeAccess]) {
    let roles = nodes.iter().flat_map(|selected| &selected.roles);
    let supervisors = roles.flat_map(|role| &role.supervisors);
    let files: BTreeSet<&PathBuf> = supervisors.filter_map(|supervisor| supervisor.password_file.as_ref()).collect();
    let what = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    // Read once for all nodes, since many share a file.
    let passwords = Arc::new(waiting::on(format!("the password files {what}"), || PasswordFiles::read(files)));
    for warning in passwords.warnings() {
        terminal::say(&format!("warning: {warning}"));
    }
    for access in access {
        access.passwords = Arc::clone(&passwords);
    }
}

fn secret(what: &str, option: &str) -> Result<SecretString, CliError> {
    secret::ask(&format!("{what}: ")).map_err(|error| match error {
        SecretError::Cancelled(reason) => CliError::cancelled(reason),
        SecretError::Io(error) => CliError::usage(format!("{option} needs a terminal for its prompt: {error}"))
            .with_hint("an SSH agent, and NOPASSWD in sudoers, need no prompt"),
    })
}

/// Wrong passphrases after which a key file is given up, as `ssh` does it.
const ATTEMPTS: usize = 3;

/// All that is asked about keys: those of the operator, then those of the hosts.
pub(crate) async fn before_connecting(
    transport: &NodeTransport,
    mut logins: RequiredLogins,
    nodes: &[SelectedNode],
    access: &[NodeAccess],
    forks: usize,
) -> Result<(), CliError> {
    let endpoints: Vec<&Endpoint> = access.iter().map(|access| &*access.endpoint).collect();
    if terminal::can_ask() {
        logins.check_locked(transport, &endpoints).await;
    }
    let transport = transport.direct();
    let names = nodes.iter().map(|selected| selected.node.name.as_str());
    let named: Vec<(&str, &Endpoint)> = logins.only(names.zip(endpoints.iter().copied())).collect();
    let endpoints: Vec<&Endpoint> = logins.only(endpoints.iter().copied()).collect();
    let mut hops: HashSet<&Endpoint> = HashSet::new();
    for endpoint in &endpoints {
        let mut next = *endpoint;
        while let ProxyRoute::Jump(bastion) = &next.proxy {
            next = bastion;
            // A known bastion has brought its own route with it, so the rest of the way is known too.
            if !hops.insert(next) {
                break;
            }
        }
    }
    // Bastions first: they are logged in to before the nodes behind them.
    let all: Vec<&Endpoint> = hops.into_iter().chain(endpoints.iter().copied()).collect();
    {
        let _waiting = WaitNotice::begin(|| "the known_hosts files and the key files".to_owned());
        transport.check_host_key_files(all.iter().copied())?;
        transport.read_key_files(&all).await;
    }
    // Without a terminal a locked key or an unknown host becomes the failure of its own node.
    if terminal::can_ask() {
        passphrases(transport, &all).await?;
        unknown_hosts(transport, &named, forks).await?;
    }
    Ok(())
}

/// Asks for the passphrases of key files that will be needed.
async fn passphrases(transport: &SshTransport, endpoints: &[&Endpoint]) -> Result<(), CliError> {
    for file in transport.locked_identities(endpoints.iter().copied()).await {
        let shown = text::single_line(&file.display().to_string());
        for _ in 0..ATTEMPTS {
            let passphrase = match secret::ask(&format!("Passphrase for {shown} (leave empty to skip this key): ")) {
                Ok(passphrase) => passphrase,
                Err(SecretError::Cancelled(reason)) => return Err(CliError::cancelled(reason)),
                // The terminal is gone; the keys stay locked, and the nodes that need them say so.
                Err(SecretError::Io(_)) => return Ok(()),
            };
            if secrecy::ExposeSecret::expose_secret(&passphrase).is_empty() {
                break;
            }
            match transport.unlock(&file, passphrase).await {
                Ok(()) => break,
                Err(error) => {
                    terminal::say(&text::single_line(&error.to_string()));
                    // Another passphrase would not help with a file that cannot be used.
                    if !matches!(error, UnlockError::WrongPassphrase { .. }) {
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Shows the keys of all hosts that are not known yet, once, and asks whether they are trusted. Bastions come before the
/// hosts behind them.
async fn unknown_hosts(transport: &SshTransport, nodes: &[(&str, &Endpoint)], forks: usize) -> Result<(), CliError> {
    // Hosts that were refused or could not be probed; without them the loop would ask for ever.
    let mut left_out: HashSet<&Endpoint> = HashSet::new();
    // Round after round: a host behind a bastion can be probed only once the bastion is trusted.
    loop {
        let mut round: Vec<(String, String, &Endpoint)> = Vec::new();
        let mut seen: HashSet<&Endpoint> = HashSet::new();
        for (name, endpoint) in nodes {
            if let Some(next) = first_unheard_of(transport, endpoint)
                && !left_out.contains(next)
                // Several nodes may be behind one bastion, which is asked about once.
                && seen.insert(next)
            {
                let place = format!("{}:{}", next.host, next.port);
                let name = if std::ptr::eq(next, *endpoint) { *name } else { "bastion" };
                round.push((name.to_owned(), format!("{name} {place}"), next));
            }
        }
        if round.is_empty() {
            return Ok(());
        }
        let silent = SilentNodes::new(round.iter().map(|(name, ..)| name.clone()));
        let longest = round.iter().map(|(.., endpoint)| endpoint.connect_timeout).max().unwrap_or_default();
        let looked = stream::iter(round).map(|(name, shown_name, endpoint)| {
            let silent = silent.clone();
            async move {
                let shown = transport.probe_host_key(endpoint).await;
                silent.answered(&name);
                (shown_name, endpoint, shown)
            }
        });
        let looked: Vec<_> = {
            let (silent, longest) = (silent.clone(), humantime::format_duration(longest));
            let what = move || format!("the host keys of {} (up to {longest} each)", silent.folded());
            let _waiting = WaitNotice::begin(what);
            // In order, so that the list is in the order of the inventory.
            looked.buffered(forks.max(1)).collect().await
        };
        let mut shown: Vec<(String, &Endpoint, PublicKey)> = Vec::new();
        for (name, endpoint, key) in looked {
            match key {
                Ok(key) => shown.push((name, endpoint, key)),
                // The node's own result will have the reason.
                Err(_) => {
                    left_out.insert(endpoint);
                }
            }
        }
        // Nothing could be probed in this round; hosts behind other bastions may remain.
        if shown.is_empty() {
            continue;
        }
        let trusted = are_trusted(&shown)?;
        for (_, endpoint, key) in shown {
            if !trusted {
                left_out.insert(endpoint);
            } else if let Err(error) = transport.trust(endpoint, &key).await {
                terminal::say(&format!("warning: {}", text::single_line(&error.to_string())));
                // It could not be written down; the node reports its key as unknown when it is its turn.
                left_out.insert(endpoint);
            }
        }
    }
}

/// The endpoint itself, or the outermost bastion before it, if nothing is known of its key and one may ask.
fn first_unheard_of<'e>(transport: &SshTransport, endpoint: &'e Endpoint) -> Option<&'e Endpoint> {
    // From the outside in: the outer bastion is reached first.
    if let ProxyRoute::Jump(bastion) = &endpoint.proxy
        && let Some(found) = first_unheard_of(transport, Arc::as_ref(bastion))
    {
        return Some(found);
    }
    (endpoint.host_keys.policy == HostKeyPolicy::Ask && transport.has_no_known_key(endpoint)).then_some(endpoint)
}

fn are_trusted(shown: &[(String, &Endpoint, PublicKey)]) -> Result<bool, CliError> {
    terminal::say(&match shown.len() {
        1 => "The key of 1 host is not known:".to_owned(),
        count => format!("The keys of {count} hosts are not known:"),
    });
    for (name, _, key) in shown {
        // The name comes from the inventory, so it is made one line.
        terminal::say(&format!("  {}", text::single_line(&fingerprint(key, name))));
    }
    let files = shown.iter().filter_map(|(_, endpoint, _)| endpoint.host_keys.user_files.first());
    let mut files: Vec<String> = files.map(|file| file.display().to_string()).collect();
    files.sort();
    files.dedup();
    let question = format!(
        "Check these fingerprints against the hosts' consoles. Add them to {}? (yes/no) ",
        text::single_line(&files.join(", "))
    );
    loop {
        let answer = terminal::ask(&question).map_err(|error| CliError::usage(format!("no answer: {error}")))?;
        match answer.to_ascii_lowercase().as_str() {
            "yes" => return Ok(true),
            // Empty is no: pressing Enter must not trust anything.
            "no" | "" => return Ok(false),
            _ => terminal::say("Please type yes or no."),
        }
    }
}
