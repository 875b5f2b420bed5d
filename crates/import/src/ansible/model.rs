//! Ansible's data model: hosts, a graph of groups, and the precedence of variables.
//!
//! Here lives [`AnsibleInventory`], which the readers fill, and [`ResolvedAnsible`], in which each host has its own variables.
//! The rules are those of `ansible/inventory/{data,group}.py` and `ansible/vars/manager.py`. Start reading at
//! [`AnsibleInventory::resolve`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::value::{AnsibleValue, PlacedValue, READ, is_secret};
use crate::fleet::{ImportError, MAX_HOSTS, Omission, OmissionList, SourcePlace};

/// Maximum number of groups.
const MAX_GROUPS: usize = 50_000;
/// Maximum nesting of groups.
const MAX_DEPTH: usize = 100;
/// Maximum number of memberships of hosts in groups, subgroups included.
const MAX_MEMBERSHIPS: usize = 5_000_000;

pub(super) type Variables = BTreeMap<String, PlacedValue>;

/// An inventory as it is read.
pub(super) struct AnsibleInventory {
    pub(super) hosts: Vec<AnsibleHost>,
    host_index: HashMap<String, usize>,
    pub(super) groups: Vec<AnsibleGroup>,
    group_index: HashMap<String, usize>,
    pub(super) omissions: OmissionList,
    unread: UnreadVariables,
}

/// A host as it is read.
pub(super) struct AnsibleHost {
    pub(super) name: String,
    place: SourcePlace,
    inline: Variables,
    /// Those of host_vars, which are stronger.
    pub(super) from_files: Variables,
    groups: BTreeSet<usize>,
}

/// A group as it is read.
pub(super) struct AnsibleGroup {
    pub(super) name: String,
    /// Where it is first named; none for the two that always exist.
    place: Option<SourcePlace>,
    inline: Variables,
    /// Those of group_vars, which are stronger.
    pub(super) from_files: Variables,
    parents: BTreeSet<usize>,
    priority: i64,
}

/// Variables that are left out: the first place of each name, and the number of places.
#[derive(Default)]
struct UnreadVariables {
    names: BTreeMap<String, (SourcePlace, usize)>,
}

/// An inventory in which each host has its own variables.
#[derive(Debug)]
pub struct ResolvedAnsible {
    /// The hosts, in the order of the source.
    pub hosts: Vec<ResolvedAnsibleHost>,
    /// Every group but `all` and `ungrouped`, with its hosts and those of its subgroups.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Where each of them is first named.
    pub group_places: BTreeMap<String, SourcePlace>,
    /// The omissions so far.
    pub omissions: Vec<Omission>,
}

/// A host with its variables.
#[derive(Debug)]
pub struct ResolvedAnsibleHost {
    /// Its name.
    pub name: String,
    /// Where it is first named.
    pub place: SourcePlace,
    /// The variables of its connection.
    pub variables: BTreeMap<String, PlacedValue>,
}

/// The two groups that always exist, by index.
const ALL: usize = 0;
const UNGROUPED: usize = 1;

impl Default for AnsibleInventory {
    fn default() -> Self {
        let mut inventory = Self {
            hosts: Vec::new(),
            host_index: HashMap::new(),
            groups: Vec::new(),
            group_index: HashMap::new(),
            omissions: OmissionList::default(),
            unread: UnreadVariables::default(),
        };
        for (index, name) in ["all", "ungrouped"].into_iter().enumerate() {
            inventory.groups.push(AnsibleGroup::new(name, None));
            inventory.group_index.insert(name.to_owned(), index);
        }
        inventory
    }
}

impl AnsibleGroup {
    fn new(name: &str, place: Option<SourcePlace>) -> Self {
        Self {
            name: name.to_owned(),
            place,
            inline: Variables::new(),
            from_files: Variables::new(),
            parents: BTreeSet::new(),
            priority: 1,
        }
    }
}

impl AnsibleInventory {
    /// The group of this name, which is added if it is new.
    pub(super) fn group(&mut self, name: &str, place: &SourcePlace) -> Result<usize, ImportError> {
        if let Some(index) = self.group_index.get(name) {
            return Ok(*index);
        }
        if self.groups.len() >= MAX_GROUPS {
            return Err(ImportError::new(place.clone(), format!("more than {MAX_GROUPS} groups")));
        }
        if name.is_empty() {
            return Err(ImportError::new(place.clone(), "a group without a name"));
        }
        self.groups.push(AnsibleGroup::new(name, Some(place.clone())));
        self.group_index.insert(name.to_owned(), self.groups.len() - 1);
        Ok(self.groups.len() - 1)
    }

    /// Whether there is a group of this name.
    pub(super) fn has_group(&self, name: &str) -> bool {
        self.group_index.contains_key(name)
    }

    /// Puts a group into another.
    pub(super) fn add_child(&mut self, parent: usize, child: usize, place: &SourcePlace) -> Result<(), ImportError> {
        let name = |index: usize| self.groups.get(index).map_or("", |group| group.name.as_str());
        if parent == child || child == ALL {
            let message = format!("the group {} cannot be in the group {}", name(child), name(parent));
            return Err(ImportError::new(place.clone(), message));
        }
        if let Some(group) = self.groups.get_mut(child) {
            group.parents.insert(parent);
        }
        Ok(())
    }

    /// The host of this name, in one more group. A port beside the name counts only where the host is first named.
    pub(super) fn add_host(
        &mut self,
        name: &str,
        port: Option<u16>,
        group: usize,
        place: &SourcePlace,
    ) -> Result<usize, ImportError> {
        let index = match self.host_index.get(name) {
            Some(index) => *index,
            None => {
                if name.is_empty() || self.hosts.len() >= MAX_HOSTS {
                    let message = if name.is_empty() {
                        "a host without a name".to_owned()
                    } else {
                        format!("more than {MAX_HOSTS} hosts")
                    };
                    return Err(ImportError::new(place.clone(), message));
                }
                let port = port.map(|port| {
                    let value = AnsibleValue::Int(port.into());
                    ("ansible_port".to_owned(), PlacedValue { value, place: place.clone() })
                });
                self.hosts.push(AnsibleHost {
                    name: name.to_owned(),
                    place: place.clone(),
                    inline: port.into_iter().collect(),
                    from_files: Variables::new(),
                    groups: BTreeSet::new(),
                });
                self.host_index.insert(name.to_owned(), self.hosts.len() - 1);
                self.hosts.len() - 1
            }
        };
        if let Some(host) = self.hosts.get_mut(index) {
            host.groups.insert(group);
        }
        Ok(index)
    }

    /// Sets a variable of a host.
    pub(super) fn set_host(&mut self, host: usize, name: &str, value: &AnsibleValue, place: &SourcePlace) {
        if let (Some(host), Some(value)) = (self.hosts.get_mut(host), self.unread.keep(name, value, place)) {
            host.inline.insert(name.to_owned(), value);
        }
    }

    /// Sets a variable of a group.
    pub(super) fn set_group(
        &mut self,
        group: usize,
        name: &str,
        value: &AnsibleValue,
        place: &SourcePlace,
    ) -> Result<(), ImportError> {
        let Some(group) = self.groups.get_mut(group) else { return Ok(()) };
        if name == "ansible_group_priority" {
            let number = value.to_text().and_then(|text| text.trim().parse().ok());
            group.priority = number
                .ok_or_else(|| ImportError::new(place.clone(), "`ansible_group_priority` must be a whole number"))?;
        } else if let Some(value) = self.unread.keep(name, value, place) {
            group.inline.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// A variable of a file in host_vars or group_vars; none if it is left out.
    pub(super) fn file_variable(
        &mut self,
        name: &str,
        value: &AnsibleValue,
        place: &SourcePlace,
    ) -> Option<PlacedValue> {
        self.unread.keep(name, value, place)
    }

    /// The variables of each host, and the hosts of each group.
    ///
    /// # Errors
    /// Groups that contain each other, or too many of them.
    pub(super) fn resolve(mut self) -> Result<ResolvedAnsible, ImportError> {
        // Every group without a parent is in `all`.
        for group in self.groups.iter_mut().skip(1).filter(|group| group.parents.is_empty()) {
            group.parents.insert(ALL);
        }
        let depths = self.depths()?;
        let mut groups: BTreeMap<String, Vec<String>> =
            self.groups.iter().skip(2).map(|group| (group.name.clone(), Vec::new())).collect();
        let mut hosts = Vec::with_capacity(self.hosts.len());
        let mut memberships = 0_usize;
        for host in &self.hosts {
            let mut chain = self.groups_of(host);
            memberships += chain.len();
            if memberships > MAX_MEMBERSHIPS {
                let message = format!("more than {MAX_MEMBERSHIPS} memberships of hosts in groups");
                return Err(ImportError::new(host.place.clone(), message));
            }
            for index in &chain {
                if let Some(names) = self.groups.get(*index).and_then(|group| groups.get_mut(&group.name)) {
                    names.push(host.name.clone());
                }
            }
            // Later ones win: deeper groups, then those with a higher priority, then those later in the alphabet.
            chain.sort_by_key(|index| {
                let group = self.groups.get(*index);
                let depth = depths.get(*index).copied().unwrap_or(0);
                (depth, group.map_or(1, |group| group.priority), group.map_or("", |group| group.name.as_str()))
            });
            hosts.push(ResolvedAnsibleHost {
                name: host.name.clone(),
                place: host.place.clone(),
                variables: self.variables(host, &chain),
            });
        }
        self.unread.report(&mut self.omissions);
        let placed = self.groups.into_iter().filter_map(|group| Some((group.name, group.place?)));
        let group_places = placed.filter(|(name, _)| groups.contains_key(name)).collect();
        Ok(ResolvedAnsible { hosts, groups, group_places, omissions: self.omissions.list })
    }

    /// The variables of a host, whose groups are in the order of their precedence.
    fn variables(&self, host: &AnsibleHost, chain: &[usize]) -> BTreeMap<String, PlacedValue> {
        let groups = || chain.iter().filter(|index| **index != ALL).filter_map(|index| self.groups.get(*index));
        let all = self.groups.get(ALL);
        // Ansible's default precedence: what the inventory itself says of groups is weaker than every group_vars.
        let layers = (all.into_iter().map(|group| &group.inline))
            .chain(groups().map(|group| &group.inline))
            .chain(all.into_iter().map(|group| &group.from_files))
            .chain(groups().map(|group| &group.from_files))
            .chain([&host.inline, &host.from_files]);
        let mut variables = BTreeMap::new();
        for layer in layers {
            variables.extend(layer.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        variables
    }

    /// The groups of a host with all of their parents.
    fn groups_of(&self, host: &AnsibleHost) -> Vec<usize> {
        let mut next: Vec<usize> = host.groups.iter().copied().collect();
        // A host is in `ungrouped` only if it is in no other group.
        if next.iter().any(|group| *group > UNGROUPED) {
            next.retain(|group| *group != UNGROUPED);
        } else {
            next.push(UNGROUPED);
        }
        let mut found = BTreeSet::new();
        while let Some(group) = next.pop() {
            if found.insert(group) {
                next.extend(self.groups.get(group).into_iter().flat_map(|group| &group.parents));
            }
        }
        found.into_iter().collect()
    }

    /// The length of the longest way from `all` to each group.
    fn depths(&self) -> Result<Vec<usize>, ImportError> {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.groups.len()];
        let mut waiting: Vec<usize> = self.groups.iter().map(|group| group.parents.len()).collect();
        for (index, group) in self.groups.iter().enumerate() {
            for parent in &group.parents {
                if let Some(children) = children.get_mut(*parent) {
                    children.push(index);
                }
            }
        }
        let mut depths = vec![0_usize; self.groups.len()];
        let (mut next, mut visited) = (vec![ALL], 0);
        while let Some(index) = next.pop() {
            visited += 1;
            let depth = depths.get(index).copied().unwrap_or(0);
            for child in children.get(index).into_iter().flatten().copied() {
                let (Some(child_depth), Some(left)) = (depths.get_mut(child), waiting.get_mut(child)) else { continue };
                *child_depth = (*child_depth).max(depth + 1);
                // A group is visited after all of its parents.
                *left -= 1;
                if *left == 0 {
                    next.push(child);
                }
            }
        }
        let place = |group: Option<&AnsibleGroup>| {
            let place = group.and_then(|group| group.place.clone());
            place.unwrap_or_else(|| SourcePlace::new(&Arc::from(Path::new("inventory")), 0))
        };
        if visited < self.groups.len() {
            let stuck = self.groups.iter().zip(&waiting).find(|(_, left)| **left > 0).map(|(group, _)| group);
            let name = stuck.map_or("", |group| group.name.as_str());
            return Err(ImportError::new(place(stuck), format!("the group {name} contains itself")));
        }
        if let Some((group, _)) = self.groups.iter().zip(&depths).find(|(_, depth)| **depth > MAX_DEPTH) {
            return Err(ImportError::new(place(Some(group)), format!("groups nested in more than {MAX_DEPTH} levels")));
        }
        Ok(depths)
    }
}

impl UnreadVariables {
    /// The value, if the variable is one that is read.
    fn keep(&mut self, name: &str, value: &AnsibleValue, place: &SourcePlace) -> Option<PlacedValue> {
        if READ.contains(&name) {
            return Some(PlacedValue { value: value.clone(), place: place.clone() });
        }
        self.names.entry(name.to_owned()).or_insert_with(|| (place.clone(), 0)).1 += 1;
        None
    }

    fn report(&self, omissions: &mut OmissionList) {
        for (name, (place, count)) in &self.names {
            // Those that Ansible itself adds to every host.
            if name == "inventory_file" || name == "inventory_dir" {
                continue;
            }
            let others = match count {
                0 | 1 => String::new(),
                2 => " (and at 1 other place)".to_owned(),
                more => format!(" (and at {} other places)", more - 1),
            };
            let why = if is_secret(name) {
                "secrets are not carried over; use an SSH key, --ask-pass or -K"
            } else if name.starts_with("ansible_") {
                "ctl has no such setting"
            } else {
                "ctl has no variables"
            };
            omissions.note(place, name, format!("{why}{others}"));
        }
    }
}
