//! The user of this process, as the password database has them.

use std::path::PathBuf;

use uzers::os::unix::{GroupExt, UserExt};

/// The user's name and home. The database is that of the C library, so users of LDAP and the like are found.
#[must_use]
pub fn name_and_home() -> Option<(String, PathBuf)> {
    let user = uzers::get_user_by_uid(uzers::get_current_uid())?;
    Some((user.name().to_str()?.to_owned(), user.home_dir().to_owned()))
}

/// Whether a group has nobody in it but the user whose name it bears, as many distributions make one for each user.
#[must_use]
pub fn is_private_group(gid: u32) -> bool {
    let Some(user) = uzers::get_user_by_uid(uzers::get_effective_uid()) else { return false };
    let Some(group) = uzers::get_group_by_gid(gid) else { return false };
    group.name() == user.name() && group.members().iter().all(|member| member.as_os_str() == user.name())
}
