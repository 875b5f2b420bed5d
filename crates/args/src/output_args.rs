//! The options of every command that shows results: their form, and where they go.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::format::{self, Content, OutputFormat};
use ctl_console::terminal::ColorChoice;

/// What every command that shows results takes.
#[derive(Debug, Clone, ClapArgs)]
pub struct OutputArgs {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = format::parser(Content::Results), help_heading = "Output")]
    pub(crate) output: OutputFormat,
    /// Write the results to a file, completely or not at all
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
    /// Combine rows with the same content into one row with a folded node set [default: above 32 rows at a terminal]
    #[arg(long, overrides_with = "no_fold", help_heading = "Output")]
    pub(crate) fold: bool,
    /// Show one row per result
    #[arg(long, overrides_with = "fold", help_heading = "Output")]
    pub(crate) no_fold: bool,
    /// Show results only: no progress, no summary
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Log each step and the reason for it; -vv also logs the SSH protocol
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
    /// Color the output
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    pub(crate) color: ColorChoice,
    /// Do not show progress
    #[arg(long, help_heading = "Output")]
    pub(crate) no_progress: bool,
    /// Write the log of -v to a file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) log_file: Option<PathBuf>,
}
