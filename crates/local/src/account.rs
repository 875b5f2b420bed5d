//! The user of this process and the name of this host: one identity for the journal, the locks on nodes and ssh_config.
//!
//! Invariants: the user is the one of the password database, whatever the environment says, as for OpenSSH; after
//! `sudo` or `su` the environment may still name another.

use std::path::{Path, PathBuf};

use rustix::system::uname;
use uzers::os::unix::{GroupExt, UserExt};

/// The user's name and home directory. The C library answers, so users in LDAP and the like are found.
#[must_use]
pub fn name_and_home() -> Option<(String, PathBuf)> {
    let user = uzers::get_user_by_uid(uzers::get_current_uid())?;
    // An empty home is `/`, as for OpenSSH, which appends `/.ssh`: it must not become a path in the working directory.
    Some((user.name().to_str()?.to_owned(), Path::new("/").join(user.home_dir())))
}

/// The user's name; `uid-N` if the password database has none.
#[must_use]
pub fn user() -> String {
    name_and_home().map_or_else(|| format!("uid-{}", uzers::get_current_uid()), |(name, _)| name)
}

/// The name of this host.
#[must_use]
pub fn host() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

/// Whether a group has no members except the user with its name, as many distributions create for each user.
#[must_use]
pub fn is_private_group(gid: u32) -> bool {
    let Some(user) = uzers::get_user_by_uid(uzers::get_effective_uid()) else { return false };
    let Some(group) = uzers::get_group_by_gid(gid) else { return false };
    group.name() == user.name() && group.members().iter().all(|member| member.as_os_str() == user.name())
}
