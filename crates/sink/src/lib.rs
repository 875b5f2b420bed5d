//! Turns events into output for people and scripts: tables, JSON, progress.
//!
//! Here live the sinks, one file for each output format, and [`SinkSet`], which hands each event to all of them. It uses `event`,
//! `overview`, `snapshot` and `nodeset`, and knows no command line. Invariants: a sink decides nothing, it shows
//! what the [`Ledger`](ctl_event::Ledger) says; a sink that fails is dropped with one warning, and neither the run
//! nor another sink notices; text that came from a node reaches a terminal only through [`text`]. Start reading at
//! [`Sink`].

mod command_output;
mod contrail_status;
mod csv;
pub mod encode;
mod evidence;
#[cfg(test)]
mod fixtures;
mod footer;
mod grid;
mod hint;
mod html;
mod interface;
mod json;
mod logs;
mod overview;
mod progress;
mod prom;
#[cfg(feature = "schema")]
pub mod schema;
mod set;
pub mod snapshot_diff;
mod table;
pub mod text;
mod watch;
mod yaml;

pub use self::contrail_status::ContrailStatusSink;
pub use self::csv::CsvSink;
pub use self::grid::plain_table;
pub use self::html::HtmlSink;
pub use self::interface::{Sink, SinkError};
pub use self::json::{JsonSink, JsonlSink};
pub use self::logs::{LogJsonSink, LogSink};
pub use self::overview::{OverviewOptions, OverviewSink};
pub use self::progress::{OutlineStep, PlainProgressSink, ProgressOptions, ProgressSink, RunOutline};
pub use self::prom::PromSink;
pub use self::set::{SinkId, SinkSet};
pub use self::table::{TableOptions, TableSink};
pub use self::watch::{watch_frame, watch_lines};
pub use self::yaml::YamlSink;
