//! The names in an inventory, for suggestions: which nodes, groups, roles and services there are.
//!
//! Here lives [`names`]. It reads the YAML without places, which takes half the time of a validated inventory, and
//! passes over what it does not understand: a file that is being edited often has a mistake. Invariants: nothing is
//! reported; a name that could not be typed safely is left out; the limits are those of the inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::catalogue::built_in_role;
use super::file;
use super::hosts::{check_host, expand};
use super::nodes::MAX_NODES;
use super::role_names::canonical_role;
use super::values::check_name;
use super::yaml::options;

/// The names in an inventory, none of them validated against the others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NameSuggestions {
    /// Every node with its roles, in the order of the file.
    pub nodes: Vec<(String, Vec<String>)>,
    /// Every group with its text.
    pub groups: BTreeMap<String, String>,
    /// The services of every role that a node has.
    pub roles: BTreeMap<String, RoleNames>,
}

/// What can be named in a role.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RoleNames {
    /// The programs of its supervisords.
    pub programs: BTreeSet<String>,
    /// Its supervisords, and its services that init runs.
    pub others: BTreeSet<String>,
}

/// The names in the text of an inventory; none if it is not well-formed YAML.
#[must_use]
pub fn names(text: &str) -> NameSuggestions {
    let Ok(root) = serde_saphyr::from_str_with_options::<PlainYaml>(file::without_mark(text), options()) else {
        return NameSuggestions::default();
    };
    let default_roles = root.get("defaults").and_then(|defaults| defaults.get("roles")).map(PlainYaml::texts);
    let default_roles = default_roles.unwrap_or_default();
    let mut nodes = Vec::new();
    for (key, value) in root.get("nodes").map(PlainYaml::pairs).unwrap_or_default() {
        let Some(expanded) = key.text().and_then(|key| expand(key, MAX_NODES).ok()) else { continue };
        if nodes.len() + expanded.len() > MAX_NODES {
            break;
        }
        let roles = value.get("roles").map_or_else(|| default_roles.clone(), PlainYaml::texts);
        let roles: Vec<String> = roles.iter().map(|role| canonical_role(role).to_owned()).collect();
        let safe = expanded.into_iter().filter(|name| check_host(name, false).is_ok());
        nodes.extend(safe.map(|name| (name, roles.clone())));
    }
    let groups = root.get("groups").map(PlainYaml::pairs).unwrap_or_default().iter();
    let groups = groups.filter_map(|(key, value)| Some((key.text()?.to_owned(), value.texts().join(","))));
    let groups = groups.filter(|(name, _)| check_name(name, "._-").is_ok()).collect();
    let used: BTreeSet<&String> = nodes.iter().flat_map(|(_, roles)| roles).collect();
    let used = used.into_iter().filter(|name| check_name(name, "._-").is_ok());
    let roles = used.map(|name| (name.clone(), role(name, root.get("roles").and_then(|roles| roles.get(name)))));
    NameSuggestions { roles: roles.collect(), nodes, groups }
}

/// The names of a role: those of the file, beside those of the built-in role that it changes.
fn role(name: &str, given: Option<&PlainYaml>) -> RoleNames {
    let get = |key| given.and_then(|given| given.get(key));
    let mut names = RoleNames::built_in(get("extends").and_then(PlainYaml::text).unwrap_or(name));
    let instances = get("supervisors").map(PlainYaml::items).unwrap_or_default();
    for instance in instances.iter().chain(given) {
        names.programs.extend(instance.get("services").map(PlainYaml::texts).unwrap_or_default());
        let supervisor = instance.get("name").or_else(|| instance.get("supervisor"));
        names.others.extend(supervisor.and_then(PlainYaml::text).map(str::to_owned));
    }
    names.others.extend(get("init_services").map(PlainYaml::texts).unwrap_or_default());
    let is_safe = |name: &String| check_name(name, "._-:").is_ok();
    names.programs.retain(is_safe);
    names.others.retain(is_safe);
    names
}

impl RoleNames {
    /// Those of a built-in role; none for other roles.
    #[must_use]
    pub fn built_in(name: &str) -> Self {
        let Some(role) = built_in_role(canonical_role(name)) else { return Self::default() };
        let programs = role.supervisors.iter().flat_map(|supervisor| supervisor.services.iter().cloned()).collect();
        let supervisors = role.supervisors.iter().map(|supervisor| supervisor.name.clone());
        Self { programs, others: supervisors.chain(role.init_services.iter().cloned()).collect() }
    }
}

/// A value without its place. A value that is not text, list or mapping names nothing.
enum PlainYaml {
    Text(String),
    List(Vec<PlainYaml>),
    Map(Vec<(PlainYaml, PlainYaml)>),
    Other,
}

impl PlainYaml {
    fn pairs(&self) -> &[(Self, Self)] {
        if let Self::Map(pairs) = self { pairs } else { &[] }
    }

    fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The value of a key, of the mapping itself or of one that `<<` adds.
    fn get(&self, key: &str) -> Option<&Self> {
        let find = |pairs: &'_ [(Self, Self)], key: &str| pairs.iter().position(|(name, _)| name.text() == Some(key));
        let pairs = self.pairs();
        if let Some(at) = find(pairs, key) {
            return pairs.get(at).map(|(_, value)| value);
        }
        let merged = pairs.get(find(pairs, "<<")?).map(|(_, value)| value)?;
        // Either one mapping or a list of them; a `<<` inside of these is bounded by the depth of the file.
        std::iter::once(merged).chain(merged.items()).find_map(|source| source.get(key))
    }

    /// One text, or several.
    fn texts(&self) -> Vec<String> {
        self.text().into_iter().chain(self.items().iter().filter_map(Self::text)).map(str::to_owned).collect()
    }
}

impl<'de> Deserialize<'de> for PlainYaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = PlainYaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<PlainYaml, E> {
        Ok(PlainYaml::Other)
    }

    fn visit_none<E>(self) -> Result<PlainYaml, E> {
        Ok(PlainYaml::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<PlainYaml, E> {
        Ok(PlainYaml::Other)
    }

    fn visit_i64<E>(self, value: i64) -> Result<PlainYaml, E> {
        Ok(PlainYaml::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<PlainYaml, E> {
        Ok(PlainYaml::Text(value.to_string()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<PlainYaml, E> {
        Ok(PlainYaml::Other)
    }

    fn visit_str<E>(self, value: &str) -> Result<PlainYaml, E> {
        Ok(PlainYaml::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<PlainYaml, E> {
        Ok(PlainYaml::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<PlainYaml, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(PlainYaml::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<PlainYaml, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = entries.next_entry()? {
            map.push(pair);
        }
        Ok(PlainYaml::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::environment::PathEnvironment;

    #[test]
    fn the_names_are_those_of_the_validated_inventory() {
        let text = include_str!("../../../inventory.example.yaml");
        let env = PathEnvironment::new(Some("/home/op".into()), [("HOME", "/home/op")]);
        let inventory = crate::parse(text, Path::new("inventory.yaml"), &env).expect("a valid example");
        let found = names(text);
        let nodes: Vec<_> = inventory.nodes.iter().map(|node| (node.name.clone(), node.roles.clone())).collect();
        assert_eq!(found.nodes, nodes);
        assert!(found.groups.keys().eq(inventory.groups.keys()));
        for (name, role) in &found.roles {
            let expected = inventory.role(name).expect("a known role");
            let services = expected.supervisors.iter().flat_map(|supervisor| &supervisor.services);
            services.for_each(|service| assert!(role.programs.contains(service), "{name}: {service}"));
            let supervisors = expected.supervisors.iter().map(|supervisor| &supervisor.name);
            supervisors.for_each(|supervisor| assert!(role.others.contains(supervisor), "{name}: {supervisor}"));
        }
    }

    #[test]
    fn mistakes_hide_only_themselves() {
        let of = |text: &str| names(text).nodes.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(
            of("source: {command: [false]}\nnodes: {a1: {roles: [config]}, a2: {rolls: 7}, a3: 7}"),
            ["a1", "a2", "a3"]
        );
        assert_eq!(of("nodes: {'a1;reboot': {}, '-a': {}, \"a\\e[2J\": {}, 'b[1-': {}, b1: {}}"), ["b1"]);
        assert_eq!(of("nodes: {'n[1-99999999]': {}, b1: {}}"), ["b1"]);
        for text in ["nodes: [unclosed", "", "7", "nodes: 7", "nodes: [a]", "x: &a [*a]"] {
            assert_eq!(of(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn defaults_and_merged_keys_give_roles() {
        let text = "x-a: &a {roles: [vrouter]}\ndefaults: {roles: [config]}\nnodes: {a1: {<<: *a}, a2: {}, a3: {roles: web-ui}}";
        let roles: Vec<_> = names(text).nodes.into_iter().map(|(_, roles)| roles.join(",")).collect();
        assert_eq!(roles, ["compute", "config", "web-ui"]);
    }
}
