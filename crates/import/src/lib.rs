//! Reads the inventories of other tools.
//!
//! Here live the readers of Ansible's inventories ([`ansible`]), of fabric's `testbed.py` for Contrail ([`testbed`]), and of
//! ClusterShell's groups ([`clustershell`]). All give an [`ImportedFleet`]: hosts, groups, and the omissions with their places.
//! [`ForeignFile`]
//! recognizes their files. They use `nodeset`, and `local` to read files; they know nothing of our own inventory, which uses this crate.
//!
//! Invariants: nothing is executed, neither a program nor Python nor a template; every file is bounded in size, and the hosts
//! and groups in number; a secret is never kept, only its name and place; no text causes a panic. An omission that would
//! change where or how a host is connected to is marked ([`Omission::changes_connection`]).
//!
//! Start reading in `fleet.rs`, then in `ansible/mod.rs`.

pub mod ansible;
pub mod clustershell;
mod file_format;
mod fleet;
mod key_path;
mod python;
mod source_file;
pub mod testbed;
mod words;
mod yaml_tree;

pub use self::file_format::ForeignFile;
pub use self::fleet::{ImportError, ImportedFleet, ImportedHost, Omission, SourcePlace};
