//! What `ctl cp` copies, and where to.
//!
//! Pure: the files of this machine are opened by the caller, and read by the nodes' workers.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// A copy in one of the two directions.
#[derive(Debug)]
pub enum FileCopy {
    /// Files of this machine, to every node.
    ToNodes {
        /// The files.
        files: Vec<CopySource>,
        /// A path on the nodes, absolute or below the user's home.
        target: String,
        /// Whether the target must be a directory.
        into_directory: bool,
    },
    /// A file of every node, into a directory of this machine.
    FromNodes {
        /// The file's path on the nodes, absolute or below the user's home.
        source: String,
        /// The last part of that path, which names the copies.
        name: String,
        /// The directory; a node's copy is in a directory below it that has the node's name.
        directory: PathBuf,
    },
}

/// A file of this machine, opened once for all nodes.
#[derive(Debug)]
pub struct CopySource {
    /// Its path, for messages.
    pub path: PathBuf,
    /// The last part of its path.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its permissions.
    pub mode: u32,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// Its content. Read by position, so that all nodes can share it.
    pub content: Arc<File>,
}

impl FileCopy {
    /// Whether it only reads the nodes.
    #[must_use]
    pub const fn is_from_nodes(&self) -> bool {
        matches!(self, Self::FromNodes { .. })
    }

    /// What goes where, such as `a.conf to /etc`.
    #[must_use]
    pub fn description(&self) -> String {
        match self {
            Self::ToNodes { files, target, .. } => {
                let names: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
                format!("{} to {}", names.join(", "), if target.is_empty() { "~" } else { target })
            }
            Self::FromNodes { source, directory, .. } => format!("{source} into {}", directory.display()),
        }
    }
}
