//! The options that select nodes, the same in every command that has them.

use clap::Args as ClapArgs;

/// Which nodes.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct SelectionArgs {
    /// Select nodes with any of these roles, and act only on the supervisords of these roles
    #[arg(short, long, value_name = "ROLE", value_delimiter = ',', help_heading = "Nodes")]
    pub role: Vec<String>,
    /// Select the nodes of this node set: names, node[01-40], globs, @group, @role, and the operators , ! & ^; can be repeated
    #[arg(short = 'w', long, value_name = "PATTERN", help_heading = "Nodes")]
    pub nodes: Vec<String>,
    /// Leave out the nodes of this node set; can be repeated
    #[arg(short = 'x', long, value_name = "PATTERN", help_heading = "Nodes")]
    pub exclude: Vec<String>,
}
