//! Roles for supervisords that are not Contrail's: hosts whose supervisords run an equal set of services at the same address
//! share one.
//!
//! Pure. Invariants: every supervisord is in one role; two supervisords are in the same role exactly if address,
//! services and user name are equal; names are valid, unique, and none of a built-in role. Start at [`group`].

use std::collections::{BTreeMap, BTreeSet};

use super::observation::ObservedInstance;
use ctl_inventory::values::check_name;
use ctl_inventory::{built_in_role, canonical_role};

/// A role that this run makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnRole<'o> {
    /// Its name.
    pub(super) name: String,
    /// Its supervisord, on each host in order: the index of the host, and the observation there.
    pub(super) instances: Vec<(usize, &'o ObservedInstance)>,
}

impl OwnRole<'_> {
    /// The name of the instance, as init knows it where that is seen.
    pub(super) fn instance_name(&self) -> String {
        let units: BTreeSet<Option<&str>> = self.instances.iter().map(|(_, one)| one.unit.as_deref()).collect();
        let unit = match units.iter().collect::<Vec<_>>().as_slice() {
            // Another unit, such as that of a login, is not that of supervisord.
            [Some(unit)] if unit.contains("supervis") && check_name(unit, "._-:@").is_ok() => Some((*unit).to_owned()),
            _ => None,
        };
        unit.unwrap_or_else(|| format!("supervisor-{}", self.name))
    }
}

/// Groups the supervisords, given with the index of their host, in the order of the first of each role.
pub(super) fn group<'o>(all: impl IntoIterator<Item = (usize, &'o ObservedInstance)>) -> Vec<OwnRole<'o>> {
    type RoleKey<'o> = (String, Option<&'o BTreeSet<String>>, Option<&'o str>);
    let mut places: BTreeMap<RoleKey<'o>, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<(usize, &'o ObservedInstance)>> = Vec::new();
    for (host, observed) in all {
        let address = observed.address.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = (address, observed.services.as_ref().ok(), observed.username.as_deref());
        let place = *places.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push((host, observed));
    }
    let mut taken = BTreeSet::new();
    let mut roles = Vec::with_capacity(groups.len());
    for instances in groups {
        let name = unique(base_name(&instances).as_deref(), &mut taken);
        roles.push(OwnRole { name, instances });
    }
    roles
}

/// The identifier that all have in common, else the common prefix of the services.
fn base_name(instances: &[(usize, &ObservedInstance)]) -> Option<String> {
    let (_, first) = instances.first()?;
    let identifier = first.identifier.as_deref();
    let is_common = instances.iter().all(|(_, one)| one.identifier.as_deref() == identifier);
    // An identifier may well be the host's own name, which is none for a role.
    let identifier = identifier.filter(|_| is_common).map(|name| {
        let prefixes = ["supervisor-", "supervisor_", "supervisord-", "supervisord_"];
        prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
    });
    let prefix = || common_prefix(first.services.as_ref().ok()?);
    identifier.and_then(usable).or_else(|| usable(&prefix()?))
}

/// The name if it may be that of a role.
fn usable(name: &str) -> Option<String> {
    // A name without a letter reads as a number.
    let has_letter = name.contains(|c: char| c.is_ascii_alphabetic());
    (has_letter && name.len() <= 40 && check_name(name, "._-").is_ok()).then(|| name.to_owned())
}

/// The words that all names begin with; of one name all of it.
fn common_prefix(names: &BTreeSet<String>) -> Option<String> {
    // In a sorted set the first and the last differ the most.
    let (first, last) = (names.first()?, names.last()?);
    let same = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    let is_sign = |c: char| "-_.".contains(c);
    // Whole words only: `mail` and `mailer` have none in common but `mail` itself.
    let ends_word = |name: &str| name.get(same..).is_some_and(|rest| rest.is_empty() || rest.starts_with(is_sign));
    let common = first.get(..same)?;
    let common = if ends_word(first) && ends_word(last) { common } else { common.get(..common.rfind(is_sign)?)? };
    let common = common.trim_end_matches(is_sign);
    (common.len() >= 2).then(|| common.to_owned())
}

fn unique(base: Option<&str>, taken: &mut BTreeSet<String>) -> String {
    let mut is_free = |name: String| {
        let is_free = built_in_role(canonical_role(&name)).is_none() && taken.insert(name.clone());
        is_free.then_some(name)
    };
    if let Some(name) = base.and_then(|base| is_free(base.to_owned())) {
        return name;
    }
    let numbered = |number: usize| match base {
        Some(base) => format!("{base}-{}", number + 1),
        None => format!("role{number}"),
    };
    // One of any so many names is free.
    (1..=usize::MAX).find_map(|number| is_free(numbered(number))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::instance;

    fn observed(address: &str, identifier: Option<&str>, services: &[&str]) -> ObservedInstance {
        ObservedInstance { identifier: identifier.map(str::to_owned), ..instance(address, services) }
    }

    #[test]
    fn equal_supervisords_share_a_role() {
        let all = [
            observed("/a.sock", None, &["billing-mailer", "billing-invoicer"]),
            observed("/a.sock", None, &["billing-invoicer", "billing-mailer"]),
            observed("/b.sock", None, &["billing-mailer", "billing-invoicer"]),
            observed("/a.sock", None, &["billing-mailer"]),
        ];
        let roles = group(all.iter().enumerate());
        let hosts: Vec<Vec<usize>> =
            roles.iter().map(|role| role.instances.iter().map(|(host, _)| *host).collect()).collect();
        assert_eq!(hosts, [vec![0, 1], vec![2], vec![3]]);
        let names: Vec<&str> = roles.iter().map(|role| &*role.name).collect();
        assert_eq!(names, ["billing", "billing-2", "billing-mailer"]);
    }

    #[test]
    fn names_are_those_of_identifiers_then_of_services() {
        for (identifier, services, name) in [
            (Some("shop"), &["a", "b"][..], "shop"),
            (Some("supervisor-shop"), &["a", "b"], "shop"),
            (Some("supervisord_shop"), &["a", "b"], "shop"),
            (Some("a b"), &["web-a", "web-b"], "web"),
            (Some("-x"), &["web"], "web"),
            (Some("42"), &["a", "b"], "role1"),
            (None, &["mail", "mail-sender"], "mail"),
            (None, &["mail", "mailer"], "role1"),
            (None, &["shop_eu-a", "shop_eu-b"], "shop_eu"),
            (None, &["x-1", "x-2"], "role1"),
            (None, &[], "role1"),
            // Neither a role of Contrail's nor an alias of one.
            (Some("config"), &["a"], "config-2"),
            (Some("vrouter"), &["a"], "vrouter-2"),
        ] {
            let one = observed("/a", identifier, services);
            assert_eq!(group([(0, &one)])[0].name, name, "{identifier:?} {services:?}");
        }
        let (one, other) =
            (observed("/a", Some("h1"), &["web-a", "web-b"]), observed("/a", Some("h2"), &["web-a", "web-b"]));
        assert_eq!(group([(0, &one), (1, &other)])[0].name, "web");
    }

    #[test]
    fn an_instance_has_the_name_of_its_unit() {
        for (unit, name) in
            [(Some("supervisor"), "supervisor"), (Some("sshd"), "supervisor-web"), (None, "supervisor-web")]
        {
            let one = ObservedInstance { unit: unit.map(str::to_owned), ..observed("/a", None, &["web"]) };
            assert_eq!(group([(0, &one)])[0].instance_name(), name);
        }
    }

    proptest! {
        #[test]
        fn each_is_in_one_role_and_names_are_valid(
            all in vec((0..3_u8, proptest::option::of("\\PC{0,6}|config|cfgm|role1"), vec("[a-c]-?[a-c]?", 0..3)), 0..12)
        ) {
            let all: Vec<ObservedInstance> = all.iter().map(|(address, identifier, services)| {
                let services: Vec<&str> = services.iter().map(String::as_str).collect();
                observed(&format!("/{address}"), identifier.as_deref(), &services)
            }).collect();
            let roles = group(all.iter().enumerate());
            let mut seen: Vec<usize> = roles.iter().flat_map(|role| role.instances.iter().map(|(host, _)| *host)).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..all.len()).collect::<Vec<_>>());
            let role_of = |host: usize| roles.iter().position(|role| role.instances.iter().any(|(own, _)| *own == host));
            for (one, a) in all.iter().enumerate() {
                for (other, b) in all.iter().enumerate() {
                    let is_equal = a.address == b.address && a.services == b.services;
                    prop_assert_eq!(role_of(one) == role_of(other), is_equal);
                }
            }
            let mut names = BTreeSet::new();
            for role in &roles {
                prop_assert!(check_name(&role.name, "._-").is_ok() && names.insert(&role.name));
                prop_assert!(built_in_role(canonical_role(&role.name)).is_none());
            }
        }
    }
}
