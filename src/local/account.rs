//! The user of this process, as the password database has them.

use std::path::{Path, PathBuf};

use uzers::os::unix::{GroupExt, UserExt};

/// The user's name and home. The database is that of the C library, so users of LDAP and the like are found.
#[must_use]
pub fn name_and_home() -> Option<(String, PathBuf)> {
    let user = uzers::get_user_by_uid(uzers::get_current_uid())?;
    // An empty home is the root, as for OpenSSH, which puts `/.ssh` behind it: it is no path in the working directory.
    Some((user.name().to_str()?.to_owned(), Path::new("/").join(user.home_dir())))
}

/// Whether a group has nobody in it but the user whose name it bears, as many distributions make one for each user.
#[must_use]
pub fn is_private_group(gid: u32) -> bool {
    let Some(user) = uzers::get_user_by_uid(uzers::get_effective_uid()) else { return false };
    let Some(group) = uzers::get_group_by_gid(gid) else { return false };
    group.name() == user.name() && group.members().iter().all(|member| member.as_os_str() == user.name())
}
