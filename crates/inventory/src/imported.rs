//! The inventory of another tool as nodes of ours.
//!
//! Here live [`checked_nodes`], which checks every name and value and gives groups with the name of a role their meaning, and
//! [`draft_of`], the text to be written from them. It uses `import` for the data, and [`super::draft`]. Invariants: every
//! host and every value of the source is in the result or among its omissions. Start reading at [`checked_nodes`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ctl_import::{ImportedFleet, ImportedHost, Omission, SourcePlace};

use super::catalogue::ROLE_ORDER;
use super::draft::{DraftGroup, DraftNode, DraftSettings, InventoryDraft};
use super::hosts::{check_host, check_jump};
use super::problem::quoted;
use super::role_names::canonical_role;
use super::values::{check_name, check_user};

/// The default port.
const SSH_PORT: u16 = 22;

/// Nodes and groups whose names and values are all valid.
pub(super) struct CheckedNodes {
    /// The nodes, with their roles.
    pub(super) nodes: Vec<(DraftNode, SourcePlace)>,
    pub(super) groups: BTreeMap<String, Vec<String>>,
    pub(super) omissions: Vec<Omission>,
}

/// A new inventory from that of another tool; the draft's footer lists the omissions. `header` are its first lines.
#[must_use]
pub fn draft_of(fleet: ImportedFleet, header: Vec<String>) -> (InventoryDraft, Vec<Omission>) {
    let checked = checked_nodes(fleet, built_in_role_of, |name| ROLE_ORDER.contains(&canonical_role(name)));
    let CheckedNodes { nodes, mut groups, mut omissions } = checked;
    let mut machines: HashMap<(String, u16, Option<String>), String> = HashMap::new();
    let mut kept: Vec<DraftNode> = Vec::with_capacity(nodes.len());
    for (node, place) in nodes {
        let settings = &node.settings;
        let address = settings.address.as_ref().unwrap_or(&node.name).to_ascii_lowercase();
        let machine = (address, settings.port.unwrap_or(SSH_PORT), settings.jump.clone());
        // Two nodes must not be one machine: two actions would run on it at once.
        if let Some(other) = machines.get(&machine) {
            let why =
                format!("it is the same machine as {other}: both have address {} and port {}", machine.0, machine.1);
            omissions.push(Omission { place, what: node.name.clone(), why, changes_connection: true });
            groups.values_mut().for_each(|names| names.retain(|name| *name != node.name));
            continue;
        }
        machines.insert(machine, node.name.clone());
        kept.push(node);
    }
    groups.retain(|_, names| !names.is_empty());
    let defaults = common_settings(&mut kept);
    let footer = if omissions.is_empty() {
        Vec::new()
    } else {
        let lines = omissions.iter().map(ToString::to_string);
        [format!("Not carried over ({}):", omissions.len())].into_iter().chain(lines).collect()
    };
    let groups = groups.into_iter().map(|(name, nodes)| DraftGroup { name, nodes, comments: Vec::new() });
    let draft =
        InventoryDraft { header, defaults, groups: groups.collect(), nodes: kept, footer, ..InventoryDraft::default() };
    (draft, omissions)
}

/// The built-in role that a group's name means: its name or alias, also with `_` or with `contrail-` before it.
pub(super) fn built_in_role_of(group: &str) -> Option<String> {
    let name = group.replace('_', "-").to_ascii_lowercase();
    let name = name.strip_prefix("contrail-").unwrap_or(&name);
    let role = canonical_role(name);
    ROLE_ORDER.contains(&role).then(|| role.to_owned())
}

/// Checks a fleet. `role_of` is the role that a group's name stands for; `is_role` whether it is a role's name or alias,
/// which no group can have.
pub(super) fn checked_nodes(
    fleet: ImportedFleet,
    role_of: impl Fn(&str) -> Option<String>,
    is_role: impl Fn(&str) -> bool,
) -> CheckedNodes {
    let ImportedFleet { hosts, groups, group_places, mut omissions } = fleet;
    let mut roles: HashMap<&String, BTreeSet<(usize, String)>> = HashMap::new();
    for (group, members) in &groups {
        let Some(role) = role_of(group) else { continue };
        // In the order of runs, and other roles behind.
        let rank = ROLE_ORDER.iter().position(|known| *known == role).unwrap_or(ROLE_ORDER.len());
        for name in members {
            roles.entry(name).or_default().insert((rank, role.clone()));
        }
    }
    let mut nodes = Vec::with_capacity(hosts.len());
    let somewhere = hosts.first().map(|host| SourcePlace { line: 0, ..host.place.clone() });
    for host in hosts {
        let mut leave_out = |what: &str, why: String| {
            let place = host.place.clone();
            omissions.push(Omission { place, what: what.to_owned(), why, changes_connection: true });
        };
        // A group's name can also be that of a host; here it is one of the group's.
        if let Err(error) = check_host(&host.name, false) {
            leave_out(&host.name, format!("it is not a valid node name: {}", error.why));
            continue;
        }
        let Some(mut settings) = settings_of(&host, &mut leave_out) else { continue };
        settings.roles = roles.get(&host.name).into_iter().flatten().map(|(_, role)| role.clone()).collect();
        nodes.push((DraftNode { name: host.name, settings, comments: Vec::new() }, host.place));
    }
    let known: BTreeSet<&str> = nodes.iter().map(|(node, _)| node.name.as_str()).collect();
    let mut kept = BTreeMap::new();
    for (name, mut members) in groups {
        members.retain(|member| known.contains(member.as_str()));
        if is_role(&name) || members.is_empty() {
            continue;
        }
        match (check_name(&name, "._-"), group_places.get(&name).or(somewhere.as_ref())) {
            (Ok(()), _) => {
                kept.insert(name, members);
            }
            (Err(error), Some(place)) => {
                let why = format!("the group's name is not valid here: {}", error.why);
                omissions.push(Omission { place: place.clone(), what: name, why, changes_connection: false });
            }
            // A group with a member has a host, and so a place.
            (Err(_), None) => {}
        }
    }
    CheckedNodes { nodes, groups: kept, omissions }
}

/// The settings of a host; none if it cannot be connected to as the source says.
fn settings_of(host: &ImportedHost, leave_out: &mut impl FnMut(&str, String)) -> Option<DraftSettings> {
    if let Some(address) = &host.address
        && let Err(error) = check_host(address, true)
    {
        leave_out(&host.name, format!("its address {} is not valid: {}", quoted(address), error.why));
        return None;
    }
    let mut checked = |what: &str, value: &Option<String>, error: Option<String>| match (value, error) {
        (Some(value), Some(why)) => {
            leave_out(&host.name, format!("its {what} {} is not valid: {why}", quoted(value)));
            None
        }
        (value, _) => value.clone(),
    };
    let why = |check: fn(&str) -> Result<(), super::ValueError>, value: &Option<String>| {
        value.as_deref().and_then(|value| check(value).err()).map(|error| error.why)
    };
    let user = checked("user", &host.user, why(check_user, &host.user));
    let jump = checked("jump host", &host.jump, why(check_jump, &host.jump));
    let has_control = host.identity.as_ref().is_some_and(|path| path.chars().any(char::is_control));
    let control = has_control.then(|| "it contains a control character".to_owned());
    let identity = checked("key file", &host.identity, control);
    Some(DraftSettings {
        address: host.address.clone(),
        port: host.port,
        user,
        identities: identity.into_iter().collect(),
        jump,
        // Without sudo is the default.
        sudo: host.sudo.filter(|sudo| *sudo),
        ..DraftSettings::default()
    })
}

/// Moves settings that all nodes share to the defaults.
fn common_settings(nodes: &mut [DraftNode]) -> DraftSettings {
    let Some(first) = nodes.first().map(|node| node.settings.clone()) else { return DraftSettings::default() };
    let mut defaults = DraftSettings::default();
    if nodes.len() < 2 {
        return defaults;
    }
    macro_rules! share {
        ($($field:ident),*) => {$(
            if nodes.iter().all(|node| node.settings.$field == first.$field) {
                defaults.$field = first.$field;
                nodes.iter_mut().for_each(|node| node.settings.$field = Default::default());
            }
        )*};
    }
    share!(port, user, identities, jump, sudo);
    defaults
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{PathEnvironment, parse};
    use super::*;

    fn fleet_of(json: &str) -> ImportedFleet {
        ctl_import::ansible::read_list(json, Path::new("list.json")).expect("an inventory")
    }

    #[test]
    fn a_fleet_becomes_an_inventory() {
        let fleet = fleet_of(
            r#"{"_meta": {"hostvars": {
                "n1": {"ansible_host": "10.0.0.1", "ansible_user": "root", "ansible_password": "secret-1"},
                "n2": {"ansible_host": "10.0.0.2", "ansible_user": "root", "ansible_become": true},
                "twin": {"ansible_host": "10.0.0.2", "ansible_user": "root"},
                "bad name": {"ansible_user": "root"},
                "n3": {"ansible_user": "root", "ansible_host": "10.0.0.3;reboot"},
                "n4": {"ansible_user": "ro;ot"}}},
              "collector": {"hosts": ["n1", "n2", "twin"]}, "contrail_config": {"hosts": ["n1", "bad name"]},
              "web 1": {"hosts": ["n1"]}, "racks": {"children": ["rack1"]}, "rack1": {"hosts": ["n2", "n3"]}}"#,
        );
        let (draft, omissions) = draft_of(fleet, vec!["A test.".to_owned()]);
        let text = draft.to_yaml();
        assert_eq!(
            text,
            r#"# A test.

version: 1

groups:
  contrail_config: n1
  rack1: n2
  racks: n2

nodes:
  n1: {roles: [config, analytics], address: 10.0.0.1, user: root}
  n2: {roles: [analytics], address: 10.0.0.2, user: root, sudo: true}
  n4: {}

# Not carried over (6):
# list.json: ansible_password: secrets are not carried over; use an SSH key, --ask-pass or -K
# list.json: bad name: it is not a valid node name: it contains a space
# list.json: n3: its address `10.0.0.3;reboot` is not valid: it contains `;`
# list.json: n4: its user `ro;ot` is not valid: it contains `;`
# list.json: web 1: the group's name is not valid here: it contains a space
# list.json: twin: it is the same machine as n2: both have address 10.0.0.2 and port 22
"#
        );
        assert_eq!(omissions.len(), 6);
        let inventory = parse(&text, Path::new("inventory.yaml"), &PathEnvironment::default()).expect("valid");
        assert_eq!(inventory.nodes.len(), 3);
    }

    #[test]
    fn settings_that_all_share_become_defaults() {
        let fleet = fleet_of(
            r#"{"all": {"vars": {"ansible_user": "root", "ansible_ssh_common_args": "-J gw"}},
                "_meta": {"hostvars": {"a": {}, "b": {"ansible_port": 2222}}}}"#,
        );
        let (draft, _) = draft_of(fleet, Vec::new());
        assert_eq!(
            draft.to_yaml(),
            "version: 1\n\ndefaults:\n  user: root\n  jump: gw\n\nnodes:\n  a: {}\n  b: {port: 2222}\n"
        );
    }

    #[test]
    fn group_names_that_mean_a_role() {
        for (group, role) in [
            ("collector", Some("analytics")),
            ("Contrail_Web_UI", Some("web-ui")),
            ("contrail-cfgm", Some("config")),
            ("database", Some("database")),
            ("openstack", None),
            ("contrail", None),
        ] {
            assert_eq!(built_in_role_of(group).as_deref(), role, "{group}");
        }
    }
}
