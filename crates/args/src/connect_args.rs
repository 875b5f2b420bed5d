//! The options that say how nodes are reached, for every command that connects. Nothing is looked up or decided here.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Args as ClapArgs, ValueEnum};

use crate::durations::{duration, duration_or_zero};
use ctl_event::Via;

/// Nodes worked on at once, unless another number is given.
pub const FORKS: u32 = 64;
/// Connection attempts after the first, unless another number is given.
pub const RETRIES: u32 = 1;

/// How nodes are connected to and asked.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ConnectArgs {
    /// Number of nodes worked on at once
    #[arg(short, long, value_name = "N", default_value_t = FORKS, value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Connection")]
    pub(crate) forks: u32,
    /// Time limit for the action on one node [default: 120s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Connection")]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Number of connection retries, within --connect-timeout
    #[arg(long, value_name = "N", default_value_t = RETRIES, value_parser = clap::value_parser!(u32).range(0..=20), help_heading = "Connection")]
    pub(crate) retries: u32,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
    /// Run commands on the nodes through sudo
    #[arg(long, help_heading = "Connection")]
    pub(crate) sudo: bool,
    /// Ask for the sudo password, once for all nodes
    #[arg(short = 'K', long, help_heading = "Connection")]
    pub(crate) ask_sudo_pass: bool,
    /// Ask for the SSH password, once for all nodes
    #[arg(long, help_heading = "Connection")]
    pub(crate) ask_pass: bool,
    /// Keep connections open for later commands until each has been idle this long; 0s closes them with the command
    /// [default: the inventory's `persist`]
    #[arg(long, value_name = "DURATION", value_parser = duration_or_zero, help_heading = "Connection")]
    pub(crate) persist: Option<std::time::Duration>,
    /// How to reach supervisord
    #[arg(long, value_name = "METHOD", default_value = "auto", value_parser = ViaArg::parser(), help_heading = "Connection")]
    pub(crate) via: ViaArg,
}

/// How hosts are reached; stronger than the inventory, which is stronger than ssh_config.
#[derive(Debug, Clone, ClapArgs)]
pub struct SshArgs {
    /// Time limit for connecting and logging in to one node [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Connection")]
    pub(crate) connect_timeout: Option<std::time::Duration>,
    /// User to log in as
    #[arg(short, long, value_name = "USER", help_heading = "Connection")]
    pub(crate) user: Option<String>,
    /// Port to connect to
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Connection")]
    pub(crate) port: Option<u16>,
    /// Private key file
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub(crate) identity: Option<PathBuf>,
    /// Jump host: [user@]host[:port], comma-separated for a chain; `none` for no jump host
    #[arg(short = 'J', long, value_name = "HOST", help_heading = "Connection")]
    pub(crate) jump: Option<String>,
    /// ssh_config file to use instead of the user's and the system's; `none` to ignore both
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub(crate) ssh_config: Option<PathBuf>,
    /// File of known host keys [default: ~/.ssh/known_hosts]
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub(crate) known_hosts: Option<PathBuf>,
    /// What to do if the key of a host is unknown [default: strict]
    #[arg(long, value_name = "POLICY", help_heading = "Connection")]
    pub(crate) host_key: Option<HostKey>,
}

/// How an unknown host key is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HostKey {
    /// Refuse to connect
    Strict,
    /// Accept and save the key; a changed key is still refused
    AcceptNew,
}

/// The value of `--via`; none is `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ViaArg(pub(crate) Option<Via>);

impl ViaArg {
    /// Every backend that there is, and `auto`.
    fn parser() -> ValueParser {
        let auto = PossibleValue::new("auto").help("The first method that works");
        let backends = Via::ALL.iter().map(|via| PossibleValue::new(via.as_str()).help(via.description()));
        // Only these names come out of the first parser, and `auto` is the one that is no backend.
        let parser = PossibleValuesParser::new(std::iter::once(auto).chain(backends));
        parser.map(|name: String| Self(name.parse().ok())).into()
    }
}
