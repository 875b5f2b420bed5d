//! The host to resolve, and the settings that are stronger than any file.

use std::path::PathBuf;
use std::time::Duration;

use super::resolved::{ResolvedSetting, StrictHostKeyChecking};

/// A value given by a stronger source than any file.
pub type OverrideValue<T> = ResolvedSetting<T>;

/// A host to connect to, and the settings fixed beforehand.
#[derive(Debug, Clone, Default)]
pub struct HostQuery<'a> {
    /// The name as typed: `Host` and `Match originalhost` look at it.
    pub host: &'a str,
    /// The address that is given for it, if any. It stands for HostName, and is matched beside `host`.
    pub address: Option<OverrideValue<&'a str>>,
    /// In place of User.
    pub user: Option<OverrideValue<String>>,
    /// In place of Port.
    pub port: Option<OverrideValue<u16>>,
    /// In place of ProxyJump and ProxyCommand; `none` is a direct connection.
    pub jump: Option<OverrideValue<String>>,
    /// In place of IdentityFile; paths are taken as they are.
    pub identities: Option<OverrideValue<Vec<PathBuf>>>,
    /// In place of UserKnownHostsFile; the path is taken as it is.
    pub known_hosts: Option<OverrideValue<PathBuf>>,
    /// In place of ConnectTimeout.
    pub connect_timeout: Option<OverrideValue<Duration>>,
    /// In place of StrictHostKeyChecking.
    pub strict_host_key_checking: Option<OverrideValue<StrictHostKeyChecking>>,
    /// In place of HostKeyAlgorithms, with the same prefixes and wildcards.
    pub host_key_algorithms: Option<OverrideValue<String>>,
    /// In place of KexAlgorithms.
    pub kex_algorithms: Option<OverrideValue<String>>,
    /// In place of Ciphers.
    pub ciphers: Option<OverrideValue<String>>,
    /// In place of MACs.
    pub macs: Option<OverrideValue<String>>,
    /// In place of PubkeyAcceptedAlgorithms.
    pub pubkey_accepted_algorithms: Option<OverrideValue<String>>,
}
