//! Hints for failures, printed once for all targets that need the same one.
//!
//! Pure. Invariants: hints that differ only in the node of `-w`, or in the role, become one hint with a node set.

use nodeset::NodeSet;

use super::text;

/// Placeholder for the node name.
const NODES: &str = "-w {nodes}`";

/// Where a hint names a role: the text before and after it, and what stands there for several roles.
const ROLES: [(&str, &str, &str); 2] = [("`roles: {", ": {", "ROLE"), (" role ", " ", "")];

/// Placeholder for the name of a role.
const ROLE: &str = "{role}";

/// The hint without the names of its node and role.
pub(super) fn of_any_target(hint: &str, node: &str, role: Option<&str>) -> String {
    let hint = hint.replace(&format!("-w {node}`"), NODES);
    let Some(role) = role else { return hint };
    ROLES.iter().fold(hint, |hint, (before, after, _)| {
        hint.replace(&format!("{before}{role}{after}"), &format!("{before}{ROLE}{after}"))
    })
}

/// The hint for these nodes and roles, safe to show.
pub(super) fn for_targets(hint: &str, nodes: &[&str], roles: &[&str]) -> String {
    let set = NodeSet::from_names(nodes).to_string();
    // An unquoted bracket is a pattern to a shell.
    let set = if set.contains(['[', ',']) { format!("'{set}'") } else { set };
    let mut hint = hint.replace(NODES, &format!("-w {set}`"));
    for (before, after, several) in ROLES {
        let names = distinct(roles);
        let name = if names.len() > 1 && !several.is_empty() { several.to_owned() } else { names.join(" or ") };
        hint = hint.replace(&format!("{before}{ROLE}{after}"), &format!("{before}{name}{after}"));
    }
    text::single_line(&hint)
}

/// Each name once, in order.
fn distinct<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut known = Vec::new();
    for name in names {
        if !known.contains(name) {
            known.push(*name);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_on_many_nodes_is_one() {
        let of = |node: &str| of_any_target(&format!("`ctl logs x --stderr -w {node}`; or wait"), node, None);
        assert_eq!(of("n1"), of("n22"));
        assert_eq!(for_targets(&of("n1"), &["n1", "n2"], &[]), "`ctl logs x --stderr -w 'n[1-2]'`; or wait");
        assert_eq!(for_targets(&of("n1"), &["n1"], &[]), "`ctl logs x --stderr -w n1`; or wait");
        assert_eq!(for_targets(&of_any_target("wait", "n1", Some("web")), &["n1", "n2"], &["web"]), "wait");
    }

    #[test]
    fn advice_on_many_roles_is_one() {
        let of = |role: &str| {
            let hint =
                format!("set it: `roles: {{{role}: {{socket: S}}}}`; otherwise remove role {role} from the node");
            of_any_target(&hint, "n1", Some(role))
        };
        assert_eq!(of("config"), of("web-ui"));
        let one = "set it: `roles: {config: {socket: S}}`; otherwise remove role config from the node";
        assert_eq!(for_targets(&of("config"), &["n1", "n2"], &["config", "config"]), one);
        let both = "set it: `roles: {ROLE: {socket: S}}`; otherwise remove role config or web-ui from the node";
        assert_eq!(for_targets(&of("config"), &["n1", "n1"], &["config", "web-ui"]), both);
    }
}
