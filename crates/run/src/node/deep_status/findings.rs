//! Judges the findings on a node: core files, sockets that nobody listens on, roles that the inventory does not know
//! of. Pure.
//!
//! Invariants: a socket is stale only where the node reports who listens; a role is missing from the inventory
//! only if its trace can belong to nothing that the inventory gives the node; each place is reported once.

use std::collections::BTreeSet;
use std::sync::Arc;

use ctl_event::{FindingKind, NodeFinding};
use ctl_inventory::{ControlAddress, Role, Supervisor};
use ctl_supervisor::node_scan::NodeScan;

/// The findings of a node. `own` are the roles that the inventory gives it, `others` all that it knows besides; of the
/// sockets in `reported` all is said elsewhere: their supervisord answers, or was said not to.
pub(super) fn of(
    scan: &NodeScan,
    own: &[&Arc<Role>],
    others: &[&Arc<Role>],
    reported: &BTreeSet<String>,
) -> Vec<NodeFinding> {
    let mut findings = Vec::new();
    if scan.core_count > 0 {
        let message = if scan.core_count > scan.core_files.len() {
            format!("core files in /var/crashes, {} of them", scan.core_count)
        } else {
            "core files in /var/crashes".to_owned()
        };
        let details = scan.core_files.clone();
        let count = u64::try_from(scan.core_count).ok();
        findings.push(NodeFinding { kind: FindingKind::CoreFiles, role: None, message, details, count });
    }
    if let Some(path) = &scan.closed {
        let message = format!("the user may not read {path}");
        findings.push(NodeFinding {
            kind: FindingKind::NotSearched,
            role: None,
            message,
            details: Vec::new(),
            count: None,
        });
    }
    let mut places = BTreeSet::new();
    for role in own.iter().chain(others) {
        let stale = |path: &&str| scan.sockets.contains(*path) && scan.listens(path) == Some(false);
        for path in role.supervisors.iter().flat_map(sockets).filter(stale) {
            // Two roles may share an instance.
            if reported.contains(path) || !places.insert(path) {
                continue;
            }
            findings.push(NodeFinding {
                kind: FindingKind::StaleSocket,
                role: Some(role.name.clone()),
                message: format!("nothing is listening on {path}"),
                details: vec![path.to_owned()],
                count: None,
            });
        }
    }
    let expected: Vec<&Supervisor> = own.iter().flat_map(|role| &role.supervisors).collect();
    for role in others {
        for supervisor in role.supervisors.iter().filter(|supervisor| !supervisor.optional) {
            // The trace may belong to the instance of a role that the inventory does give the node.
            if expected.iter().any(|known| is_same(known, supervisor)) {
                continue;
            }
            let Some((what, place)) = shown(scan, supervisor) else { continue };
            if !places.insert(place) {
                continue;
            }
            findings.push(NodeFinding {
                kind: FindingKind::UnlistedRole,
                role: Some(role.name.clone()),
                message: format!("{} {what}, but the inventory does not list role {}", supervisor.name, role.name),
                details: vec![place.to_owned()],
                count: None,
            });
        }
    }
    findings
}

/// Whether two instances may be one and the same.
fn is_same(one: &Supervisor, other: &Supervisor) -> bool {
    one.name == other.name
        || (one.config_file.is_some() && one.config_file == other.config_file)
        || one.addresses.iter().any(|address| other.addresses.contains(address))
}

/// The trace that shows that the node has an instance, and its place.
fn shown<'a>(scan: &NodeScan, supervisor: &'a Supervisor) -> Option<(&'static str, &'a str)> {
    let there = |path: &&str| scan.sockets.contains(*path);
    let running = sockets(supervisor).filter(there).find(|path| scan.listens(path) == Some(true));
    let installed = supervisor.config_file.as_deref().filter(|file| scan.config_files.contains(*file));
    // Where the node does not report who listens, the socket alone is a trace.
    let socket = sockets(supervisor).filter(there).find(|path| scan.listens(path).is_none());
    let running = running.map(|path| ("runs", path));
    // A running instance is the stronger claim, so it goes first.
    running.or_else(|| installed.or(socket).map(|place| ("is installed", place)))
}

/// The unix sockets at which a supervisord may listen.
pub(super) fn sockets(supervisor: &Supervisor) -> impl Iterator<Item = &str> {
    supervisor.addresses.iter().filter_map(|address| match address {
        ControlAddress::Unix(path) => Some(path.as_str()),
        ControlAddress::Http { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctl_inventory::{ControlAddress, built_in_role};

    fn built_in(name: &str) -> Arc<Role> {
        Arc::new(built_in_role(name).expect("a role"))
    }

    /// A role of the inventory's own, with one instance at this socket.
    fn user_role(name: &str, socket: &str) -> Arc<Role> {
        let base = built_in_role("analytics").expect("a role");
        let instance = Supervisor {
            name: format!("supervisor-{name}"),
            addresses: vec![ControlAddress::Unix(socket.to_owned())],
            config_file: None,
            ..base.supervisors[0].clone()
        };
        Arc::new(Role { name: name.to_owned(), supervisors: vec![instance], ..base })
    }

    /// What `scan` reads of these sockets, of which only those with a `*` are listened on, and configuration files.
    fn seen(sockets: &[&str], files: &[&str]) -> NodeScan {
        let mut text = String::from("listening\n");
        for socket in sockets {
            let path = socket.trim_end_matches('*');
            text.push_str(&format!("socket {path}\n"));
            if socket.ends_with('*') {
                text.push_str(&format!("listens {path}.42\n"));
            }
        }
        for file in files {
            text.push_str(&format!("config {file}\n"));
        }
        NodeScan::of_output(&(text + "ctl-end\n")).expect("whole")
    }

    fn told_of(scan: &NodeScan, own: &[&Arc<Role>], others: &[&Arc<Role>], reported: &[&str]) -> Vec<String> {
        let reported = reported.iter().map(|path| (*path).to_owned()).collect();
        let all = of(scan, own, others, &reported);
        all.iter()
            .map(|found| format!("{} {} {}", found.kind, found.role.as_deref().unwrap_or("-"), found.details.join(" ")))
            .collect()
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_stale() {
        let (analytics, config) = (built_in("analytics"), built_in("config"));
        let (new, old) = ("/var/run/supervisord_analytics.sock", "/tmp/supervisord_analytics.sock");
        let scan = seen(&["/var/run/supervisord_analytics.sock*", old, "/tmp/other.sock"], &[]);
        assert_eq!(told_of(&scan, &[&analytics], &[&config], &[new]), [format!("stale_socket analytics {old}")]);
        // Its supervisord answers, though another network namespace hides it from /proc.
        assert!(told_of(&seen(&[new], &[]), &[&analytics], &[], &[new]).is_empty());
        // An instance that the node need not have.
        let support = "/var/run/supervisord_support_service.sock";
        assert_eq!(told_of(&seen(&[support], &[]), &[&config], &[], &[]), [format!("stale_socket config {support}")]);
        // A role that the node does not have: files left behind do not make it one.
        assert_eq!(
            told_of(&seen(&[old], &[]), &[&config], &[&analytics], &[]),
            [format!("stale_socket analytics {old}")]
        );
    }

    #[test]
    fn a_role_that_the_inventory_does_not_give_is_told_once() {
        let (analytics, config) = (built_in("analytics"), built_in("config"));
        let conf = "/etc/contrail/supervisord_config.conf";
        let socket = "/var/run/supervisord_config.sock";
        let running = seen(&["/var/run/supervisord_config.sock*"], &[conf]);
        assert_eq!(told_of(&running, &[&analytics], &[&config], &[]), [format!("unlisted_role config {socket}")]);
        assert_eq!(told_of(&running, &[&config], &[&analytics], &[]), Vec::<String>::new());
        assert_eq!(told_of(&seen(&[], &[conf]), &[], &[&config], &[]), [format!("unlisted_role config {conf}")]);
        // Instances that are optional prove nothing.
        let support = seen(&["/var/run/supervisord_support_service.sock*"], &["/etc/contrail/supervisord_dns.conf"]);
        assert_eq!(told_of(&support, &[], &[&config, &built_in("control")], &[]), Vec::<String>::new());
    }

    #[test]
    fn what_roles_share_is_no_sign_of_either() {
        let socket = "/run/supervisor.sock";
        let (mail, shop, other) =
            (user_role("mail", socket), user_role("shop", socket), user_role("other", "/run/o.sock"));
        let scan = seen(&["/run/supervisor.sock*"], &[]);
        assert_eq!(told_of(&scan, &[&mail], &[&shop, &other], &[]), Vec::<String>::new());
        assert_eq!(told_of(&scan, &[&other], &[&mail, &shop], &[]), [format!("unlisted_role mail {socket}")]);
        let edge = Arc::new(Role { name: "edge".to_owned(), ..(*built_in("analytics")).clone() });
        let running = seen(&["/var/run/supervisord_analytics.sock*"], &["/etc/contrail/supervisord_analytics.conf"]);
        assert_eq!(told_of(&running, &[&edge], &[&built_in("analytics")], &[]), Vec::<String>::new());
    }

    #[test]
    fn where_the_node_does_not_tell_nothing_is_stale() {
        let (analytics, config) = (built_in("analytics"), built_in("config"));
        let text = "socket /tmp/supervisord_analytics.sock\nsocket /tmp/supervisord_config.sock\nctl-end\n";
        let scan = NodeScan::of_output(text).expect("whole");
        let config_socket = "/tmp/supervisord_config.sock";
        assert_eq!(told_of(&scan, &[&analytics], &[&config], &[]), [format!("unlisted_role config {config_socket}")]);
    }

    #[test]
    fn core_files_are_named_and_counted() {
        let scan =
            NodeScan::of_output("core /var/crashes/core.a\ncores 30\nclosed /var/crashes\nctl-end\n").expect("whole");
        let all = of(&scan, &[], &[], &BTreeSet::new());
        let words: Vec<_> =
            all.iter().map(|found| format!("{} {} {:?}", found.kind, found.message, found.details)).collect();
        assert_eq!(
            words,
            [
                "core_files core files in /var/crashes, 30 of them [\"/var/crashes/core.a\"]",
                "not_searched the user may not read /var/crashes []"
            ]
        );
    }
}
