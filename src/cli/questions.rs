//! What is asked before the first connection that counts: secrets, and whether keys never seen before are trusted.
//!
//! What always holds: each question is asked once for all nodes, before anything moves on the terminal; without a terminal
//! nothing is asked; no secret is shown, kept in a file, or given to a process.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use secrecy::SecretString;

use super::args::FanoutArgs;
use super::report::CliError;
use super::terminal;
use crate::remote::Sudo;
use crate::run::NodeAccess;
use crate::sink::text;
use crate::transport::{Endpoint, HostKeyPolicy, Proxy, PublicKey, SshTransport, fingerprint};

/// The password to log in with, if it is to be asked for.
pub(super) fn password(args: &FanoutArgs) -> Result<Option<SecretString>, CliError> {
    if args.ask_pass { secret("Password of the nodes", "--ask-pass").map(Some) } else { Ok(None) }
}

/// Gives sudo its password, if it is to be asked for and some node may want it.
pub(super) fn sudo_password(args: &FanoutArgs, access: &mut [NodeAccess]) -> Result<(), CliError> {
    if !args.ask_sudo_pass {
        return Ok(());
    }
    if !access.iter().any(|access| access.sudo.is_on()) {
        terminal::say("note: -K: no selected node uses sudo (--sudo, or `sudo` in the inventory)");
        return Ok(());
    }
    let secret = Arc::new(secret("Password for sudo on the nodes", "-K")?);
    for access in access.iter_mut().filter(|access| access.sudo.is_on()) {
        access.sudo = Sudo::with_password(Arc::clone(&secret));
    }
    Ok(())
}

fn secret(what: &str, option: &str) -> Result<SecretString, CliError> {
    terminal::ask_secret(&format!("{what}: ")).map_err(|error| {
        CliError::usage(format!("{option} needs a terminal to ask at: {error}"))
            .with_hint("keys of an agent, and NOPASSWD in sudoers, need no question")
    })
}

/// All that is asked about keys: those of the operator, then those of the hosts.
pub(super) async fn before_connecting(
    transport: &SshTransport,
    access: &[NodeAccess],
    forks: usize,
) -> Result<(), CliError> {
    let endpoints: Vec<&Endpoint> = access.iter().map(|access| &access.endpoint).collect();
    let mut hops: HashSet<&Endpoint> = HashSet::new();
    for endpoint in &endpoints {
        let mut next = *endpoint;
        while let Proxy::Jump(bastion) = &next.proxy {
            next = bastion;
            if !hops.insert(next) {
                break;
            }
        }
    }
    let all: Vec<&Endpoint> = hops.into_iter().chain(endpoints.iter().copied()).collect();
    transport.check_host_key_files(all.iter().copied())?;
    if terminal::can_ask() {
        unknown_hosts(transport, &endpoints, forks).await?;
    }
    Ok(())
}

/// Shows the keys of all hosts that are not known yet, once, and asks whether they are trusted. Bastions come before the
/// hosts behind them.
async fn unknown_hosts(transport: &SshTransport, endpoints: &[&Endpoint], forks: usize) -> Result<(), CliError> {
    let mut declined: HashSet<Endpoint> = HashSet::new();
    loop {
        let mut round: Vec<Endpoint> = Vec::new();
        for endpoint in endpoints {
            if let Some(next) = first_unheard_of(transport, endpoint)
                && !declined.contains(next)
                && !round.contains(next)
            {
                round.push(next.clone());
            }
        }
        if round.is_empty() {
            return Ok(());
        }
        let looked = stream::iter(round).map(|endpoint| async move {
            let shown = transport.shown_key(&endpoint).await;
            (endpoint, shown)
        });
        let looked: Vec<_> = looked.buffered(forks.max(1)).collect().await;
        let mut shown: Vec<(Endpoint, PublicKey)> = Vec::new();
        for (endpoint, key) in looked {
            match key {
                Ok(key) => shown.push((endpoint, key)),
                // What keeps it from being seen is told as its result.
                Err(_) => {
                    declined.insert(endpoint);
                }
            }
        }
        if shown.is_empty() {
            continue;
        }
        if !ask_about(&shown)? {
            declined.extend(shown.into_iter().map(|(endpoint, _)| endpoint));
            continue;
        }
        for (endpoint, key) in shown {
            if let Err(error) = transport.trust(&endpoint, &key).await {
                terminal::say(&format!("warning: {}", text::single_line(&error.to_string())));
                declined.insert(endpoint);
            }
        }
    }
}

/// The endpoint itself, or the outermost bastion before it, if nothing is known of its key and one may ask.
fn first_unheard_of<'e>(transport: &SshTransport, endpoint: &'e Endpoint) -> Option<&'e Endpoint> {
    if let Proxy::Jump(bastion) = &endpoint.proxy
        && let Some(found) = first_unheard_of(transport, Arc::as_ref(bastion))
    {
        return Some(found);
    }
    (endpoint.host_keys.policy == HostKeyPolicy::Ask && transport.is_unheard_of(endpoint)).then_some(endpoint)
}

fn ask_about(shown: &[(Endpoint, PublicKey)]) -> Result<bool, CliError> {
    // Several names of one key stand on one line.
    let mut by_key: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (endpoint, key) in shown {
        by_key.entry(fingerprint(key)).or_default().push(endpoint.host.as_str());
    }
    let mut files: Vec<String> = shown
        .iter()
        .filter_map(|(endpoint, _)| endpoint.host_keys.user_files.first())
        .map(|file| file.display().to_string())
        .collect();
    files.sort();
    files.dedup();
    terminal::say(&match shown.len() {
        1 => "The key of 1 host is not known:".to_owned(),
        count => format!("The keys of {count} hosts are not known:"),
    });
    let mut lines: Vec<(String, String)> =
        by_key.into_iter().map(|(fingerprint, names)| (names.join(", "), fingerprint)).collect();
    lines.sort();
    let width = lines.iter().map(|(names, _)| names.len()).max().unwrap_or_default().min(40);
    for (names, fingerprint) in lines {
        terminal::say(&format!("  {:width$}  {}", text::single_line(&names), text::single_line(&fingerprint)));
    }
    let question = format!(
        "Compare them with the hosts' consoles. Trust them, and write them to {}? (yes/no) ",
        text::single_line(&files.join(", "))
    );
    loop {
        let answer = terminal::ask(&question).map_err(|error| CliError::usage(format!("no answer: {error}")))?;
        match answer.to_ascii_lowercase().as_str() {
            "yes" => return Ok(true),
            "no" | "" => return Ok(false),
            _ => terminal::say("Please type yes or no."),
        }
    }
}
