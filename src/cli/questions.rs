//! What is asked before the first connection that counts: secrets, and whether keys never seen before are trusted.
//!
//! What always holds: each question is asked once for all nodes, before anything moves on the terminal; without a terminal
//! nothing is asked; no secret is shown, kept in a file, or given to a process.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use secrecy::SecretString;

use super::report::CliError;
use super::terminal;
use crate::sink::text;
use crate::transport::{Endpoint, HostKeyPolicy, Proxy, ShownKey, SshTransport};

/// Wrong passphrases after which a key file is given up, as `ssh` does it.
const ATTEMPTS: usize = 3;

/// A secret that was asked for on the command line.
pub(super) fn secret(what: &str) -> Result<SecretString, CliError> {
    terminal::ask_secret(&format!("{what}: ")).map_err(|error| {
        CliError::usage(format!("{what}: there is no terminal to ask at ({error})"))
            .with_hint("keys, in a file or in an agent, need no question")
    })
}

/// Asks for the passphrases of key files that will be needed.
pub(super) async fn passphrases(transport: &SshTransport, endpoints: &[&Endpoint]) {
    if !terminal::can_ask() {
        return;
    }
    for file in transport.locked_identities(endpoints.iter().copied()).await {
        let shown = text::single_line(&file.display().to_string());
        for _ in 0..ATTEMPTS {
            let Ok(passphrase) = terminal::ask_secret(&format!("Passphrase of {shown} (empty: go without it): ")) else {
                return;
            };
            if secrecy::ExposeSecret::expose_secret(&passphrase).is_empty() {
                break;
            }
            match transport.unlock(&file, passphrase) {
                Ok(()) => break,
                Err(error) => terminal::say(&text::single_line(&error.to_string())),
            }
        }
    }
}

/// Shows the keys of all hosts that are not known yet, once, and asks whether they are trusted. Bastions come before the
/// hosts behind them.
pub(super) async fn unknown_hosts(transport: &SshTransport, endpoints: &[&Endpoint], forks: usize) -> Result<(), CliError> {
    if !terminal::can_ask() {
        return Ok(());
    }
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
        let mut shown: Vec<(Endpoint, ShownKey)> = Vec::new();
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

fn ask_about(shown: &[(Endpoint, ShownKey)]) -> Result<bool, CliError> {
    // Several names of one key stand on one line.
    let mut by_key: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (_, key) in shown {
        by_key.entry(key.fingerprint.clone()).or_default().push(&key.name);
    }
    let mut files: Vec<String> =
        shown.iter().filter_map(|(endpoint, _)| endpoint.host_keys.user_files.first()).map(|file| file.display().to_string()).collect();
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
