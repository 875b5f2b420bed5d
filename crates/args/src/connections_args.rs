//! The words of `ctl connections`.

use clap::{Args as ClapArgs, Subcommand};

use crate::format::{self, Content, OutputFormat};

/// ctl connections
#[derive(Debug, ClapArgs)]
pub struct ConnectionsArgs {
    /// What to do; none is to list.
    #[command(subcommand)]
    pub command: Option<ConnectionsCommand>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = format::parser(Content::Inventory), global = true)]
    pub output: OutputFormat,
}

/// What to do with the connections that are kept.
#[derive(Debug, Subcommand)]
pub enum ConnectionsCommand {
    /// List the connections that are kept
    List,
    /// Close connections; those in use are closed when their commands end
    Close {
        /// Node set, such as a6s[01-03] or 'a6s*' [default: all]
        #[arg(value_name = "NODES")]
        nodes: Option<String>,
    },
    /// Keep connections; ctl starts this by itself
    #[command(hide = true)]
    Hold,
}
