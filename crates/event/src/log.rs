//! The logs of a service: their lines, and the end of one as the evidence of a failure.

use serde::{Deserialize, Serialize};

use super::string_enum::string_enum;

string_enum! {
    /// One of a program's two logs.
    LogStream {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }
}

/// Lines of a service's log, in order, from one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLines {
    /// Name of the node in the inventory.
    pub node: String,
    /// The role whose supervisord runs the service.
    pub role: String,
    /// Name of the supervisord instance.
    pub supervisor: String,
    /// The service in supervisord's notation.
    pub service: String,
    /// The log.
    pub stream: LogStream,
    /// Whether the node sends, or may send, lines of other services too.
    pub among_others: bool,
    /// Complete lines without newlines, invalid UTF-8 replaced. Untrusted text: sinks make it safe.
    pub lines: Vec<String>,
}

/// Why a service is not up: its exit, and the end of its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Evidence"))]
pub struct FailureEvidence {
    /// Its exit status; none if a signal killed it, or if unknown.
    pub exit_status: Option<i32>,
    /// Its exit in supervisord's terms (`exit status 1; not expected`, `terminated by SIGSEGV`), if known. Untrusted
    /// text: sinks make it safe.
    pub ended: Option<String>,
    /// The log of the lines.
    pub stream: LogStream,
    /// The last lines of the log, oldest first, invalid UTF-8 replaced. Untrusted text: sinks make it safe.
    pub lines: Vec<String>,
}
