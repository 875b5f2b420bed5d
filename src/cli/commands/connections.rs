//! `ctl connections [list | close [NODES]]`: the connections that are kept between commands; and the process that keeps
//! them, which `ctl` starts by itself.

use std::io::Write;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nodeset::{GroupResolver, NodeSet};
use serde::Serialize;

use crate::cli::output::{ResultOutput, document};
use ctl_args::connections_args::{ConnectionsArgs, ConnectionsCommand};
use ctl_args::format::OutputFormat;
use ctl_connections::{HolderError, KeptConnection};
use ctl_console::error::{CliError, pattern_error};
use ctl_console::exit::ExitStatus;
use ctl_console::terminal;
use ctl_select::near_names;
use ctl_sink::{plain_table, text};

pub(in crate::cli) fn run(args: &ConnectionsArgs) -> Result<ExitStatus, CliError> {
    match args.command.as_ref().unwrap_or(&ConnectionsCommand::List) {
        ConnectionsCommand::List => list(args.output),
        ConnectionsCommand::Close { nodes } => {
            if !args.output.is_text() {
                return Err(CliError::usage("-o is not supported by `connections close`"));
            }
            close(nodes.as_deref())
        }
        ConnectionsCommand::Hold => hold(),
    }
}

/// A connection that is kept.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "KeptConnection"))]
struct ConnectionView<'a> {
    node: Option<&'a str>,
    address: &'a str,
    port: u16,
    user: &'a str,
    since: Timestamp,
    idle_s: Option<u64>,
    keep_s: u64,
    channels: usize,
}

/// The document of `connections list`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ConnectionList"))]
pub(in crate::cli) struct ConnectionListing<'a> {
    connections: Vec<ConnectionView<'a>>,
}

impl<'a> ConnectionListing<'a> {
    pub(in crate::cli) fn new(kept: &'a [KeptConnection], now: Timestamp) -> Self {
        let view = |one: &'a KeptConnection| ConnectionView {
            node: one.node.as_deref(),
            address: &one.host,
            port: one.port,
            user: &one.user,
            since: SignedDuration::try_from(one.age).ok().and_then(|age| now.checked_sub(age).ok()).unwrap_or(now),
            idle_s: one.idle.map(|idle| idle.as_secs()),
            keep_s: one.keep.as_secs(),
            channels: one.channels,
        };
        Self { connections: kept.iter().map(view).collect() }
    }
}

fn list(format: OutputFormat) -> Result<ExitStatus, CliError> {
    let kept = ctl_connections::list().map_err(unavailable)?;
    let listing = ConnectionListing::new(&kept, Timestamp::now());
    document(format, ResultOutput::open(None)?, || table(&listing), &listing)?;
    Ok(ExitStatus::Good)
}

fn table(listing: &ConnectionListing<'_>) -> String {
    let connections = &listing.connections;
    if connections.is_empty() {
        return "no connections are kept\n".to_owned();
    }
    let rows = connections.iter().map(|one| {
        let address = if one.port == 22 { one.address.to_owned() } else { format!("{}:{}", one.address, one.port) };
        let (left, idle) = match one.idle_s {
            Some(idle) => (seconds(one.keep_s.saturating_sub(idle)), seconds(idle)),
            None => ("-".to_owned(), "in use".to_owned()),
        };
        vec![
            text::single_line(one.node.unwrap_or("(bastion)")),
            text::single_line(&address),
            text::single_line(one.user),
            one.since.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            idle,
            left,
            one.channels.to_string(),
        ]
    });
    plain_table(&["NODE", "ADDRESS", "USER", "SINCE", "IDLE", "CLOSES IN", "CHANNELS"], rows) + "\n"
}

fn seconds(count: u64) -> String {
    humantime::format_duration(Duration::from_secs(count)).to_string()
}

/// The nodes that have a connection; there are no groups.
struct ConnectedNodes(NodeSet);

impl GroupResolver for ConnectedNodes {
    fn group(&self, _name: &str) -> Option<NodeSet> {
        None
    }

    fn all(&self) -> &NodeSet {
        &self.0
    }

    fn group_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a pattern stands for among the connections that are kept.
#[derive(Debug, PartialEq)]
struct ClosingNodes {
    meant: NodeSet,
    /// Names without a connection.
    missing: NodeSet,
}

/// The nodes whose connections are to be closed; none if a group or glob is of nothing, since no node has a connection.
fn chosen(pattern: &str, kept: &[KeptConnection]) -> Result<Option<ClosingNodes>, CliError> {
    let names = kept.iter().filter_map(|one| one.node.as_deref());
    let known = ConnectedNodes(NodeSet::from_names(names.clone()));
    if known.0.is_empty() && NodeSet::parse(pattern).is_err_and(|error| error.needs_inventory()) {
        return Ok(None);
    }
    let typed = NodeSet::parse_with(pattern, &known).map_err(|error| pattern_error("NODES", pattern, &error))?;
    let (meant, missing) = (typed.intersection(&known.0), typed.difference(&known.0));
    if !meant.is_empty() {
        return Ok(Some(ClosingNodes { meant, missing }));
    }
    if missing.is_empty() {
        return Err(CliError::usage(format!("`{}` names no node", text::single_line(pattern))));
    }
    let near = near_names(names, &missing).map(|near| format!("did you mean {near}?"));
    Err(CliError::usage(format!("no connection is kept to {}", text::single_line(&missing.to_string())))
        .with_hint(near.unwrap_or_else(|| "`ctl connections` lists those that are kept".to_owned())))
}

fn close(pattern: Option<&str>) -> Result<ExitStatus, CliError> {
    let kept = ctl_connections::list().map_err(unavailable)?;
    let choice = pattern.map(|pattern| chosen(pattern, &kept)).transpose()?;
    if kept.is_empty() || choice == Some(None) {
        terminal::say("no connections are kept");
        return Ok(ExitStatus::Good);
    }
    let choice = choice.flatten();
    let missing = choice.as_ref().map(|choice| choice.missing.to_string()).filter(|names| !names.is_empty());
    let meant = choice.map(|choice| choice.meant);
    let is_meant = |one: &&KeptConnection| {
        meant.as_ref().is_none_or(|meant| one.node.as_ref().is_some_and(|node| meant.contains(node)))
    };
    let closed: Vec<&KeptConnection> = kept.iter().filter(is_meant).collect();
    ctl_connections::close(meant.map(|meant| meant.iter().collect())).map_err(unavailable)?;
    let nodes = NodeSet::from_names(closed.iter().filter_map(|one| one.node.as_ref())).to_string();
    let nodes = if nodes.is_empty() { "bastions".to_owned() } else { text::single_line(&nodes) };
    let used = closed.iter().filter(|one| one.idle.is_none()).count();
    let counted = |count: usize| if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") };
    terminal::say(&match (closed.len(), used) {
        (all, 0) => format!("closed {}: {nodes}", counted(all)),
        (all, used) if all == used => {
            let closes = if used == 1 {
                "is in use and closes when its command ends"
            } else {
                "are in use and close when their commands end"
            };
            format!("{} {closes}: {nodes}", counted(all))
        }
        (all, used) => {
            let closes = if used == 1 {
                "1 is in use and closes when its command ends".to_owned()
            } else {
                format!("{used} are in use and close when their commands end")
            };
            format!("closed {} of {}: {nodes}; {closes}", all - used, counted(all))
        }
    });
    if let Some(missing) = missing {
        terminal::say(&format!("no connection is kept to {}", text::single_line(&missing)));
    }
    Ok(ExitStatus::Good)
}

fn unavailable(error: HolderError) -> CliError {
    CliError::usage(text::single_line(&error.to_string()))
}

/// Keeps connections until none is left. Nobody reads what it prints but the `ctl` that has started it.
fn hold() -> Result<ExitStatus, CliError> {
    let started = || {
        let mut out = std::io::stdout().lock();
        // A starter that is gone does not wait.
        drop(out.write_all(b"\n").and_then(|()| out.flush()));
    };
    ctl_connections::hold(Box::new(started))
        .map_err(|error| CliError::usage(format!("cannot keep connections: {error}")))?;
    Ok(ExitStatus::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(node: Option<&str>) -> KeptConnection {
        KeptConnection {
            node: node.map(str::to_owned),
            host: "10.0.0.1".to_owned(),
            port: 22,
            user: "root".to_owned(),
            age: Duration::ZERO,
            idle: None,
            keep: Duration::ZERO,
            channels: 0,
        }
    }

    #[test]
    fn only_what_has_a_connection_is_closed() {
        let some = [kept(Some("a1")), kept(Some("a2")), kept(Some("db.example.net")), kept(None)];
        let of = |pattern: &str, kept: &[KeptConnection]| match chosen(pattern, kept) {
            Ok(Some(ClosingNodes { meant, missing })) => format!("{meant}|{missing}"),
            Ok(None) => "nothing".to_owned(),
            Err(error) => format!("{} → {}", error.message(), error.hint().unwrap_or_default()),
        };
        let table = [
            ("a1", "a1|"),
            ("a*", "a[1-2]|"),
            ("a1,a9", "a1|a9"),
            ("a9", "no connection is kept to a9 → did you mean a1?"),
            ("db", "no connection is kept to db → did you mean db.example.net?"),
            ("elsewhere", "no connection is kept to elsewhere → `ctl connections` lists those that are kept"),
            ("a1!a1", "`a1!a1` names no node → "),
        ];
        for (pattern, expected) in table {
            assert_eq!(of(pattern, &some), expected, "{pattern}");
        }
        assert!(chosen("z*", &some).is_err_and(|error| error.message().contains("`z*` matches no node")));
        // A bastion has no name to close it by.
        for bare in [&[kept(None)][..], &[]] {
            let expected = "no connection is kept to a1 → `ctl connections` lists those that are kept";
            assert_eq!(
                (of("a1", bare), of("a*", bare), of("@a", bare)),
                (expected.into(), "nothing".into(), "nothing".into())
            );
        }
    }
}
