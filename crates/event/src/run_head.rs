//! The head of a run: its ID, and the request.

use serde::{Deserialize, Serialize};

/// Start of a run: the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "RunStarted"))]
pub struct RunHead {
    /// Name of the run, sortable by time and practically unique.
    pub run: String,
    /// The command, such as `service`.
    pub command: String,
    /// The action, such as `restart`; none for commands without actions.
    pub action: Option<String>,
    /// The services as typed.
    pub services: Vec<String>,
    /// Start of the run.
    pub started: jiff::Timestamp,
    /// Number of nodes selected.
    pub nodes: u32,
    /// The requested nodes and roles.
    #[serde(default)]
    pub selection: RunScope,
    /// A digest of its command's standard input, which is never stored.
    #[serde(default)]
    pub input: Option<InputDigest>,
}

/// Digest of an input, by which it is recognized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Input"))]
pub struct InputDigest {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The nodes and roles that were asked for. Nothing outside them counts as missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Selection"))]
#[serde(default)]
pub struct RunScope {
    /// Canonical names of the roles; empty means all.
    pub roles: Vec<String>,
    /// The node set as typed; none means all.
    pub nodes: Option<String>,
    /// The excluded node set as typed.
    pub exclude: Option<String>,
}

impl RunScope {
    /// Whether the request covers `role`; it always covers targets without a role.
    #[must_use]
    pub fn concerns(&self, role: Option<&str>) -> bool {
        self.roles.is_empty() || role.is_none_or(|role| self.roles.iter().any(|own| own == role))
    }
}
