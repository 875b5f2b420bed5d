//! The `ctl` of this source tree, for programs that run it.
//!
//! It is a process of its own, as a user's is. So it is built only once for all of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds `ctl` with the profile of this program, and says where it is.
///
/// # Errors
/// If cargo does not start, or the build fails.
pub(crate) fn build() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    // Examples are one folder further down.
    let folder = own.ancestors().skip(1).find(|folder| !folder.ends_with("examples")).unwrap_or(Path::new("."));
    // `cargo run` names itself.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let mut build = Command::new(cargo);
    // What `cargo run` says of this package. Build scripts would see that it has changed, and run again.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            build.env_remove(name);
        }
    }
    let built = build
        .args(["build", "--package", "contrail-ctl", "--bin", "ctl", "--profile", profile])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")])
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("cannot start cargo to build ctl: {error}"))?;
    if !built.success() {
        return Err(format!("ctl does not build: {built}"));
    }
    Ok(folder.join("ctl"))
}
