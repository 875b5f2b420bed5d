//! What to do about a failure, said once of all nodes that ask for it.
//!
//! Pure. What always holds: advice that differs in the node of `-w` alone is one piece of advice, with a node set there.

use super::text;
use crate::nodeset::NodeSet;

/// Stands where the node's name was.
const NODES: &str = "-w {nodes}`";

/// The advice without the node that it is about.
pub(super) fn of_any_node(hint: &str, node: &str) -> String {
    hint.replace(&format!("-w {node}`"), NODES)
}

/// The advice for these nodes, safe to show.
pub(super) fn for_nodes(hint: &str, nodes: &[&str]) -> String {
    let set = NodeSet::from_names(nodes).to_string();
    // A shell would take the brackets for a pattern.
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
