//! Looks at hosts side by side, for `ctl init`.
//!
//! It uses `discovery`. Invariants: a machine is looked at once, whatever the number of its names; the outcomes come in the
//! order of the hosts.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::session::RunSession;
use ctl_args::settings::Settings;
use ctl_console::error::CliError;
use ctl_console::signals::signals;
use ctl_console::terminal;
use ctl_console::waiting::{SilentNodes, WaitNotice};
use ctl_discovery::{HostAccess, HostOutcome, look};
use ctl_event::CancelReason;
use ctl_run::NodeAccess;
use ctl_select::SelectedNode;
use ctl_sink::text;
use ctl_transport::{Endpoint, ProxyRoute};

/// Looks at all hosts; one that is another's machine is not looked at twice.
///
/// # Errors
/// If the connections cannot be opened ([`RunSession::open`]), or a signal ended the look.
pub fn look_at(
    nodes: &[SelectedNode],
    access: Vec<NodeAccess>,
    settings: &Settings,
) -> Result<Vec<HostOutcome>, CliError> {
    let mut session = RunSession::to_nodes(nodes, access, settings, false)?;
    let names = nodes.iter().map(|selected| selected.node.name.as_str());
    let silent = SilentNodes::new(names.clone().map(str::to_owned));
    let mut machines: HashMap<HostPlace<'_>, &str> = HashMap::new();
    let looks: Vec<_> = (names.zip(&session.access))
        .map(|(name, access)| {
            let first = *machines.entry(host_place(&access.endpoint)).or_insert(name);
            (name, access, (first != name).then_some(first))
        })
        .collect();
    let transport = Arc::clone(&session.transport);
    let looks = looks.into_iter().map(|(name, access, other)| {
        let (transport, silent) = (&transport, silent.clone());
        async move {
            let outcome = match other {
                Some(other) => HostOutcome::SameAs(other.to_owned()),
                None => {
                    let NodeAccess { endpoint, sudo, via, timeout, passwords: _ } = access.clone();
                    let via = settings.via.or(via);
                    look(transport.as_ref(), &HostAccess { endpoint, sudo, via, limit: timeout }).await
                }
            };
            silent.answered(name);
            outcome
        }
    });
    let waiting = silent.clone();
    let forks = session.budget.forks.max(1);
    let looked = session.runtime.block_on(async {
        let _waiting = WaitNotice::begin(move || waiting.folded());
        let mut cancel = signals(None)?;
        tokio::select! {
            // In order, so that the same hosts give the same file.
            looked = stream::iter(looks).buffered(forks).collect::<Vec<_>>() => Ok(looked),
            reason = cancel.recv() => Err(CliError::cancelled(reason.unwrap_or(CancelReason::Interrupted))),
        }
    });
    while let Ok(notice) = session.notices.try_recv() {
        terminal::say(&text::single_line(&notice));
    }
    // A host that never answers must not keep the process.
    session.runtime.shutdown_background();
    looked
}

/// Where a machine is: two names for one place are one machine.
type HostPlace<'e> = (&'e str, u16, &'e ProxyRoute);

fn host_place(endpoint: &Endpoint) -> HostPlace<'_> {
    (&endpoint.host, endpoint.port, &endpoint.proxy)
}
