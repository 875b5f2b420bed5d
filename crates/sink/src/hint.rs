//! Hints for failures, printed once for all nodes that need the same one.
//!
//! Pure. Invariants: hints that differ only in the node of `-w` become one hint with a node set.

use nodeset::NodeSet;

use super::text;

/// Placeholder for the node name.
const NODES: &str = "-w {nodes}`";

/// The hint without its node name.
pub(super) fn of_any_node(hint: &str, node: &str) -> String {
    hint.replace(&format!("-w {node}`"), NODES)
}

/// The hint for these nodes, safe to show.
pub(super) fn for_nodes(hint: &str, nodes: &[&str]) -> String {
    let set = NodeSet::from_names(nodes).to_string();
    // An unquoted bracket is a pattern to a shell.
    let set = if set.contains(['[', ',']) { format!("'{set}'") } else { set };
    text::single_line(&hint.replace(NODES, &format!("-w {set}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_on_many_nodes_is_one() {
        let of = |node: &str| of_any_node(&format!("`ctl logs x --stderr -w {node}`; or wait"), node);
        assert_eq!(of("n1"), of("n22"));
        assert_eq!(for_nodes(&of("n1"), &["n1", "n2"]), "`ctl logs x --stderr -w 'n[1-2]'`; or wait");
        assert_eq!(for_nodes(&of("n1"), &["n1"]), "`ctl logs x --stderr -w n1`; or wait");
        assert_eq!(for_nodes(&of_any_node("wait", "n1"), &["n1", "n2"]), "wait");
    }
}
