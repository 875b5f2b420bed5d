//! The aliases of Contrail's roles.

/// Aliases of the built-in roles, with the canonical names: those in Contrail's manuals, and those of fabric's
/// `env.roledefs` (`contrail-fabric-utils` R3.2 `fabfile/testbeds/testbed_multibox_example.py`).
pub const ROLE_ALIASES: [(&str, &str); 5] = [
    ("configuration", "config"),
    ("webui", "web-ui"),
    ("vrouter", "compute"),
    ("collector", "analytics"),
    ("cfgm", "config"),
];

/// The canonical role of an alias; any other `name` unchanged.
#[must_use]
pub fn canonical_role(name: &str) -> &str {
    ROLE_ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, role)| role)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::ROLE_ORDER;
    use super::*;

    #[test]
    fn aliases_stand_for_roles_and_are_none() {
        for (alias, role) in ROLE_ALIASES {
            assert_eq!(canonical_role(alias), role);
            assert!(ROLE_ORDER.contains(&role) && !ROLE_ORDER.contains(&alias), "{alias}");
        }
        assert_eq!(canonical_role("analytics"), "analytics");
        assert_eq!(canonical_role("billing"), "billing");
    }
}
