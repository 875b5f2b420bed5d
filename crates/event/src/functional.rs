//! The functional state of a service: whether it does its work, beyond its state in supervisord.
//!
//! Pure. Invariants: each known state has one name, in JSON as on the screen, and a name that this version does
//! not know, as a newer one may write into a snapshot, is kept as it is.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// The functional state of a service, as it reports it or as its state in supervisord implies it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "String")]
pub enum FunctionalStatus {
    /// It does its work.
    Active,
    /// It runs and does not do its work yet.
    Initializing,
    /// It is on standby, and the service of another node does the work.
    Backup,
    /// It did not answer in time.
    Timeout,
    /// It does not stay up, or ended with an error.
    Failed,
    /// It is stopped.
    Inactive,
    /// Any other name. Untrusted text: sinks make it safe.
    Other(String),
}

impl FunctionalStatus {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "active",
            Self::Initializing => "initializing",
            Self::Backup => "backup",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Inactive => "inactive",
            Self::Other(name) => name,
        }
    }

    /// Whether nothing is wrong: the service works, or is on standby as it should be.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        // A backup does its part while another node is active.
        matches!(self, Self::Active | Self::Backup)
    }
}

impl From<String> for FunctionalStatus {
    fn from(name: String) -> Self {
        match name.as_str() {
            "active" => Self::Active,
            "initializing" => Self::Initializing,
            "backup" => Self::Backup,
            "timeout" => Self::Timeout,
            "failed" => Self::Failed,
            "inactive" => Self::Inactive,
            // A newer version may have written it into a snapshot, which must read back unchanged.
            _ => Self::Other(name),
        }
    }
}

impl From<&str> for FunctionalStatus {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

impl fmt::Display for FunctionalStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for FunctionalStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        use FunctionalStatus as F;
        let known = [F::Active, F::Initializing, F::Backup, F::Timeout, F::Failed, F::Inactive];
        for status in known.into_iter().chain([F::Other("degraded \u{1b}".to_owned())]) {
            let json = serde_json::to_string(&status).expect("JSON");
            assert_eq!(json, serde_json::to_string(status.as_str()).expect("JSON"));
            assert_eq!(serde_json::from_str::<F>(&json).expect("a status"), status);
            assert_eq!(status.is_healthy(), matches!(status.as_str(), "active" | "backup"));
        }
    }
}
