//! Where the hosts of a new inventory come from: the command line, ssh_config, known_hosts, or a list in a file.
//!
//! Here lives [`collect`]. Uses `discovery` for the syntax of a host. Invariants: a host that a user wrote and that is
//! not valid is an error with its place; one that stands in a file of ssh is left out, and that is said.

use std::path::Path;

use nodeset::NodeSet;

use crate::endpoints::EndpointResolver;
use ctl_console::error::CliError;
use ctl_console::{terminal, waiting};
use ctl_discovery::{HostSpec, parse_hosts};
use ctl_import::ForeignFile;
use ctl_inventory::check_host;
use ctl_local::file::{self, ReadBounds};
use ctl_sink::text;
use ctl_transport::{KnownHostName, KnownHostNames};

/// The largest list of hosts, in bytes.
const MAX_LIST: u64 = 4 << 20;
/// So many mistakes of a list are shown.
const MISTAKES_SHOWN: usize = 20;

/// Every host that is asked for, in order.
///
/// # Errors
/// If one is not valid, or a file cannot be read.
pub fn collect(typed: &[String], from: Option<&Path>, ways: &EndpointResolver<'_>) -> Result<Vec<HostSpec>, CliError> {
    let mut hosts = Vec::new();
    for word in typed {
        let parsed = parse_hosts(word).map_err(|error| {
            CliError::usage(text::single_line(&error.to_string()))
                .with_hint("expected [user@]host[:port], or a pattern such as node[01-40]")
        })?;
        hosts.extend(parsed);
    }
    match from.map(|from| (from, from.to_str())) {
        None => {}
        Some((_, Some("ssh-config"))) => hosts.extend(of_ssh_config(ways)),
        Some((_, Some("known-hosts"))) => hosts.extend(of_known_hosts(ways)?),
        Some((path, _)) => hosts.extend(of_file(path)?),
    }
    if hosts.is_empty() {
        let from = from.map(|from| text::single_line(&from.display().to_string())).unwrap_or_default();
        return Err(CliError::usage(format!("--from {from}: no hosts found")));
    }
    Ok(hosts)
}

fn of_ssh_config(ways: &EndpointResolver<'_>) -> Vec<HostSpec> {
    let names = ways.host_names().into_iter().map(|host| HostSpec { host, user: None, port: None });
    without_invalid("ssh_config", names)
}

fn of_known_hosts(ways: &EndpointResolver<'_>) -> Result<Vec<HostSpec>, CliError> {
    let files = ways.known_hosts_files()?;
    let known = waiting::on("the known_hosts files", || KnownHostNames::read(&files))?;
    if known.hashed > 0 {
        let names = if known.hashed == 1 { "1 name is" } else { &format!("{} names are", known.hashed) };
        terminal::say(&format!(
            "note: known_hosts: {names} hashed and cannot be read; name such hosts on the command line"
        ));
    }
    let mut others = Vec::new();
    let specs = known.hosts.iter().filter_map(|names| {
        // A name is what people type; its address is the same host.
        let is_name = |name: &&KnownHostName| name.host.parse::<std::net::IpAddr>().is_err();
        let best = names.iter().filter(is_name).min_by_key(|name| name.port.is_some()).or_else(|| names.first())?;
        others.extend(names.iter().filter(|name| name.host != best.host).map(|name| name.host.clone()));
        Some(HostSpec { host: best.host.clone(), user: None, port: best.port })
    });
    let specs: Vec<HostSpec> = specs.collect();
    if !others.is_empty() {
        let others = text::single_line(&NodeSet::from_names(&others).to_string());
        terminal::say(&format!("note: known_hosts: other names of the same hosts are left out: {others}"));
    }
    Ok(without_invalid("known_hosts", specs.into_iter()))
}

/// Leaves out hosts whose names an inventory cannot have.
fn without_invalid(source: &str, specs: impl Iterator<Item = HostSpec>) -> Vec<HostSpec> {
    let (valid, invalid): (Vec<_>, Vec<_>) = specs.partition(|spec| check_host(&spec.host, false).is_ok());
    for spec in invalid {
        terminal::say(&format!("note: {source}: '{}' is left out: not a valid name", text::single_line(&spec.host)));
    }
    valid
}

/// A host or a pattern on each line; `#` begins a comment.
fn of_file(path: &Path) -> Result<Vec<HostSpec>, CliError> {
    let shown = text::single_line(&path.display().to_string());
    // A pipe is allowed, as in `--from <(command)`.
    let bounds = ReadBounds { max_bytes: MAX_LIST, patience: file::PATIENCE, only_regular: false };
    let content = waiting::on(format!("the hosts in {shown}"), || file::read(path, bounds)).map_err(|error| {
        CliError::usage(format!("--from: cannot read {shown}: {error}"))
            .with_hint("expected ssh-config, known-hosts, or a file with a host or pattern on each line")
    })?;
    let mut hosts = Vec::new();
    let mut mistakes = Vec::new();
    let content = String::from_utf8_lossy(&content.bytes);
    // Editors on Windows begin a file with a byte order mark.
    for (index, line) in content.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match parse_hosts(line) {
            Ok(parsed) => hosts.extend(parsed),
            Err(error) => mistakes.push(text::single_line(&format!("{shown}:{}: {error}", index + 1))),
        }
    }
    if mistakes.is_empty() {
        return Ok(hosts);
    }
    if let Some(format) = ForeignFile::recognize(path, &content).filter(|format| *format != ForeignFile::HostList) {
        return Err(CliError::usage(format!("--from: {shown} is {}, not a list of hosts", format.name()))
            .with_hint(text::single_line(&format.command(path))));
    }
    // All at once, so that the file is corrected in one go.
    let more = mistakes.len().saturating_sub(MISTAKES_SHOWN);
    mistakes.truncate(MISTAKES_SHOWN);
    if more > 0 {
        mistakes.push(format!("… and {more} more"));
    }
    Err(CliError::usage(mistakes.join("\n"))
        .with_hint("a line has [user@]host[:port], or a pattern such as node[01-40]"))
}
