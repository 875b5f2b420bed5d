//! The observations of all hosts, as the draft of an inventory.
//!
//! Pure. Invariants: every host is a node of the draft or named in its footer; a problem is in the draft as a comment
//! and in [`Description::problems`]; no supervisord is left out of both. Start at [`describe`].

use std::collections::{BTreeMap, BTreeSet};

use nodeset::NodeSet;

use super::observation::{HostOutcome, ObservedHost, ObservedInstance, UnreadCause, UnreadInstance};
use super::own_roles::{self, OwnRole};
use super::recognition::{Catalogue, KnownInstance};
use ctl_inventory::ControlAddress;
use ctl_inventory::draft::{DraftNode, DraftRole, DraftSettings, DraftSupervisor, InventoryDraft};
use ctl_inventory::values::check_name;

/// The draft of an inventory, and its gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The draft.
    pub draft: InventoryDraft,
    /// What could not be read, the same reason once.
    pub problems: Vec<HostProblem>,
    /// What to do about it, each once.
    pub hints: Vec<HostProblem>,
    /// Whether a host was not reached.
    pub has_unreachable: bool,
    /// Whether a host was reached and could not be searched.
    pub has_failed: bool,
}

/// What could not be read of some hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostProblem {
    /// The hosts, folded.
    pub hosts: String,
    /// The problem (untrusted).
    pub message: String,
}

/// What one host adds to the draft.
#[derive(Debug, Default)]
struct HostRoles<'c> {
    /// Names of Contrail's roles.
    known: BTreeSet<&'c str>,
    /// Names of others.
    own: Vec<String>,
    /// What could not be read.
    problems: Vec<String>,
    /// What to do about it.
    hints: Vec<String>,
}

impl HostRoles<'_> {
    /// Notes a problem, once.
    fn note(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn advise(&mut self, hint: Option<&String>) {
        self.hints.extend(hint.cloned());
    }

    /// Notes a supervisord that could not be read.
    fn note_unread(&mut self, unread: &UnreadInstance) {
        self.note(unread.message.clone());
        // Of a password the new inventory itself says where to write it, and other hints are about services of nodes.
        self.advise(unread.hint.as_ref().filter(|_| unread.cause == UnreadCause::Forbidden));
    }
}

/// Contrail's instances where the catalogue does not have all of their settings.
type Deviations<'c> = BTreeMap<(&'c str, &'c str), Deviation>;

#[derive(Debug, Default)]
struct Deviation {
    addresses: Vec<ControlAddress>,
    username: Option<String>,
    hosts: BTreeSet<String>,
}

/// Describes the hosts. `defaults` are the settings of all nodes, `header` the first lines of the file.
#[must_use]
pub fn describe(hosts: &[ObservedHost], defaults: DraftSettings, header: Vec<String>) -> Description {
    let catalogue = Catalogue::built_in();
    let mut all: Vec<HostRoles<'_>> = Vec::with_capacity(hosts.len());
    let mut deviations = Deviations::new();
    let mut own: Vec<(usize, &ObservedInstance)> = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let mut roles = HostRoles::default();
        match &host.outcome {
            HostOutcome::Unreachable(why) => {
                roles.note(format!("not reached: {}", why.message));
                roles.advise(why.hint.as_ref());
            }
            HostOutcome::Failed(why) => {
                roles.note(format!("not searched: {}", why.message));
                roles.advise(why.hint.as_ref());
            }
            HostOutcome::SameAs(other) => roles.note(format!("the same machine as {other}")),
            HostOutcome::Searched(instances) => {
                if instances.is_empty() {
                    roles.note("no supervisord found".to_owned());
                }
                let others = sort_instances(&catalogue, &host.name, instances, &mut roles, &mut deviations);
                own.extend(others.into_iter().map(|observed| (index, observed)));
            }
        }
        all.push(roles);
    }
    let own = own_roles::group(own);
    for role in &own {
        for (host, _) in &role.instances {
            if let Some(roles) = all.get_mut(*host) {
                roles.own.push(role.name.clone());
            }
        }
    }
    let name = |index: &usize| hosts.get(*index).map(|host| host.name.clone()).unwrap_or_default();
    let mut draft_roles: Vec<DraftRole> = known_roles(&catalogue, &deviations);
    draft_roles.extend(own.iter().map(|role| own_role(role, &name)));
    let passwords = missing_passwords(&draft_roles, hosts, &all);
    let nodes = hosts.iter().zip(&all).filter_map(|(host, roles)| node(host, roles, &catalogue));
    let draft = InventoryDraft {
        header,
        defaults,
        roles: draft_roles,
        nodes: nodes.collect(),
        footer: footer(hosts, &all),
        ..InventoryDraft::default()
    };
    let has_unreachable = hosts.iter().any(|host| matches!(host.outcome, HostOutcome::Unreachable(_)));
    let has_failed = hosts.iter().any(|host| matches!(host.outcome, HostOutcome::Failed(_)));
    let mut found = problems(hosts.iter().zip(&all));
    found.extend(passwords);
    let hints = gathered(hosts.iter().zip(&all).map(|(host, roles)| (host, roles.hints.as_slice())));
    Description { draft, problems: found, hints, has_unreachable, has_failed }
}

/// Finds Contrail's roles of a host; returns the supervisords that are in none of them.
fn sort_instances<'c, 'o>(
    catalogue: &'c Catalogue,
    host: &str,
    instances: &'o [ObservedInstance],
    roles: &mut HostRoles<'c>,
    deviations: &mut Deviations<'c>,
) -> Vec<&'o ObservedInstance> {
    let known: Vec<(&ObservedInstance, Option<KnownInstance<'c>>)> =
        instances.iter().map(|observed| (observed, catalogue.recognise(observed))).collect();
    // An instance that not every release has does not make a role: rabbitmq is on nodes of OpenStack too.
    let main = known.iter().filter_map(|(_, known)| *known).filter(|known| !known.supervisor.optional);
    roles.known = main.map(|known| known.role.name.as_str()).collect();
    let mut seen: Vec<KnownInstance<'c>> = Vec::new();
    let mut others = Vec::new();
    for (observed, known) in &known {
        let in_role = known.filter(|known| roles.known.contains(known.role.name.as_str()) && !seen.contains(known));
        match (in_role, &observed.services) {
            (Some(known), services) => {
                seen.push(known);
                note_deviation(known, observed, host, deviations);
                if let Err(unread) = services {
                    roles.note_unread(unread);
                }
            }
            (None, Err(unread)) if is_supervisord(observed, unread) => {
                roles.note_unread(unread);
                others.push(*observed);
            }
            (None, Err(_)) => {}
            (None, Ok(_)) => others.push(*observed),
        }
    }
    for (observed, recognised) in &known {
        let Err(unread) = &observed.services else { continue };
        // Reported above.
        if recognised.is_some() || is_supervisord(observed, unread) {
            continue;
        }
        // A node that was upgraded by hand keeps its old sockets, where nobody listens.
        let is_left_behind = observed.address.as_ref().and_then(|address| catalogue.at(address));
        if !is_left_behind.is_some_and(|known| seen.contains(&known)) {
            roles.note_unread(unread);
        }
    }
    others
}

/// Whether it is certainly a supervisord at a known address, so that it can be described without its services.
fn is_supervisord(observed: &ObservedInstance, unread: &UnreadInstance) -> bool {
    observed.address.is_some() && matches!(unread.cause, UnreadCause::Password | UnreadCause::Silent)
}

/// The passwords that the first status will miss.
fn missing_passwords(draft: &[DraftRole], hosts: &[ObservedHost], all: &[HostRoles<'_>]) -> Vec<HostProblem> {
    let mut missing = Vec::new();
    for role in draft {
        let has_role = |roles: &HostRoles<'_>| roles.known.contains(&*role.name) || roles.own.contains(&role.name);
        let names = hosts.iter().zip(all).filter(|(_, roles)| has_role(roles)).map(|(host, _)| &host.name);
        let names = NodeSet::from_names(names).to_string();
        for file in role.supervisors.iter().filter_map(|supervisor| supervisor.password_file.as_ref()) {
            missing.push(HostProblem { hosts: names.clone(), message: password_note(file) });
        }
    }
    missing
}

fn password_note(file: &str) -> String {
    format!("supervisord asks for a password: write it to {file} beside this inventory, and run chmod 600 {file}")
}

/// Notes what the catalogue does not say of an instance.
fn note_deviation<'c>(
    known: KnownInstance<'c>,
    observed: &ObservedInstance,
    host: &str,
    deviations: &mut Deviations<'c>,
) {
    let elsewhere = observed.address.as_ref().filter(|address| !known.has_address(address));
    if elsewhere.is_none() && observed.username.is_none() {
        return;
    }
    let deviation = deviations.entry((&known.role.name, &known.supervisor.name)).or_default();
    deviation.addresses.extend(elsewhere.filter(|address| !deviation.addresses.contains(address)).cloned());
    deviation.username = deviation.username.take().or_else(|| observed.username.clone());
    deviation.hosts.insert(host.to_owned());
}

fn known_roles(catalogue: &Catalogue, deviations: &Deviations<'_>) -> Vec<DraftRole> {
    let mut roles: Vec<DraftRole> = Vec::new();
    for known in catalogue.instances() {
        let role = known.role.name.as_str();
        if !deviations.keys().any(|(name, _)| *name == role) {
            continue;
        }
        let mut supervisor = DraftSupervisor { name: known.supervisor.name.clone(), ..DraftSupervisor::default() };
        if let Some(deviation) = deviations.get(&(role, known.supervisor.name.as_str())) {
            if !deviation.addresses.is_empty() {
                // The usual ones stay candidates: other nodes of the role may have them.
                let all = known.supervisor.addresses.iter().chain(&deviation.addresses);
                supervisor.sockets = all.map(written).collect();
            }
            let hosts = NodeSet::from_names(&deviation.hosts);
            supervisor.comments.push(format!("not as usual on {hosts}"));
            let file = format!("{}.password", known.supervisor.name);
            let comment = require_password(&mut supervisor, deviation.username.as_deref(), file);
            supervisor.comments.extend(comment);
        }
        match roles.last_mut().filter(|last| last.name == role) {
            Some(last) => last.supervisors.push(supervisor),
            None => {
                roles.push(DraftRole { name: role.to_owned(), supervisors: vec![supervisor], ..DraftRole::default() })
            }
        }
    }
    roles
}

fn own_role(role: &OwnRole<'_>, name: &dyn Fn(&usize) -> String) -> DraftRole {
    let hosts: Vec<String> = role.instances.iter().map(|(host, _)| name(host)).collect();
    let mut comments = vec![format!("found on {}", NodeSet::from_names(&hosts))];
    let Some((_, first)) = role.instances.first() else { return DraftRole::default() };
    let files: BTreeSet<Option<&str>> = role.instances.iter().map(|(_, one)| one.config_file.as_deref()).collect();
    if let [Some(file)] = files.into_iter().collect::<Vec<_>>().as_slice() {
        comments.push(format!("its configuration is {file}"));
    }
    let (services, strange): (Vec<String>, Vec<String>) = match &first.services {
        Ok(services) => services.iter().cloned().partition(|name| check_name(name, "._-:@").is_ok()),
        Err(_) => (Vec::new(), Vec::new()),
    };
    // The list that supervisord reports takes precedence, so they are shown anyway.
    comments.extend((!strange.is_empty()).then(|| format!("it also runs: {}", strange.join(", "))));
    let mut supervisor = DraftSupervisor {
        name: role.instance_name(),
        sockets: first.address.iter().map(written).collect(),
        services,
        ..DraftSupervisor::default()
    };
    let file = format!("{}.password", role.name);
    comments.extend(require_password(&mut supervisor, first.username.as_deref(), file));
    DraftRole { name: role.name.clone(), supervisors: vec![supervisor], comments, ..DraftRole::default() }
}

/// Gives an instance the user name that it requires, and a place for its password, which is never written here.
fn require_password(supervisor: &mut DraftSupervisor, username: Option<&str>, file: String) -> Option<String> {
    supervisor.username = Some(username?.to_owned());
    let comment = password_note(&file);
    supervisor.password_file = Some(file);
    Some(comment)
}

/// An address as an inventory has it.
fn written(address: &ControlAddress) -> String {
    match address {
        ControlAddress::Unix(path) => path.clone(),
        ControlAddress::Http { .. } => address.to_string(),
    }
}

fn node(host: &ObservedHost, roles: &HostRoles<'_>, catalogue: &Catalogue) -> Option<DraftNode> {
    if roles.known.is_empty() && roles.own.is_empty() {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    // In the order of the steps.
    for known in catalogue.instances().filter(|known| roles.known.contains(known.role.name.as_str())) {
        if !names.contains(&known.role.name) {
            names.push(known.role.name.clone());
        }
    }
    names.extend(roles.own.iter().cloned());
    Some(DraftNode {
        name: host.name.clone(),
        settings: DraftSettings { roles: names, ..host.settings.clone() },
        comments: roles.problems.clone(),
    })
}

/// Hosts that are no nodes, each with the reason.
fn footer(hosts: &[ObservedHost], all: &[HostRoles<'_>]) -> Vec<String> {
    let left_out = hosts.iter().zip(all).filter(|(_, roles)| roles.known.is_empty() && roles.own.is_empty());
    let problems = problems(left_out);
    if problems.is_empty() {
        return Vec::new();
    }
    let lines = problems.into_iter().map(|HostProblem { hosts, message }| format!("  {hosts}: {message}"));
    std::iter::once("Hosts that are not in this inventory:".to_owned()).chain(lines).collect()
}

fn problems<'a>(hosts: impl Iterator<Item = (&'a ObservedHost, &'a HostRoles<'a>)>) -> Vec<HostProblem> {
    gathered(hosts.map(|(host, roles)| (host, roles.problems.as_slice())))
}

/// Each text once, with all its hosts, in the order of the first of them.
fn gathered<'a>(hosts: impl Iterator<Item = (&'a ObservedHost, &'a [String])>) -> Vec<HostProblem> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for (host, texts) in hosts {
        for problem in texts {
            let place = *places.entry(problem).or_insert_with(|| {
                found.push((problem, Vec::new()));
                found.len() - 1
            });
            if found[place].1.last() != Some(&host.name.as_str()) {
                found[place].1.push(&host.name);
            }
        }
    }
    let problem = |(message, hosts): (&str, Vec<&str>)| HostProblem {
        hosts: NodeSet::from_names(hosts).to_string(),
        message: message.to_owned(),
    };
    found.into_iter().map(problem).collect()
}

#[cfg(test)]
mod tests;
