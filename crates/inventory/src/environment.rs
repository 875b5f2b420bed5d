//! Expands `~` and `$VAR` in paths.
//!
//! Here live [`PathEnvironment`], the variables that paths in the file may use, and [`expand`]. It uses no other
//! module. Invariants: an unset variable is an error, never an empty string. Start reading at [`expand`].

use std::collections::HashMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::problem::quoted;

/// The values of `~` and `$VAR`.
#[derive(Clone, Default)]
pub struct PathEnvironment {
    home: Option<PathBuf>,
    variables: HashMap<OsString, OsString>,
}

impl PathEnvironment {
    /// The environment of this process.
    #[must_use]
    pub fn process() -> Self {
        Self { home: env::home_dir(), variables: env::vars_os().collect() }
    }

    /// An explicit environment, for tests and for other programs.
    #[must_use]
    pub fn new<K: Into<OsString>, V: Into<OsString>>(
        home: Option<PathBuf>,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { home, variables }
    }

    /// The directory of `~`.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The value of a variable.
    #[must_use]
    pub fn variable(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.variables.get(name.as_ref()).map(OsString::as_os_str)
    }
}

impl fmt::Debug for PathEnvironment {
    /// Omits the values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("home", &self.home).finish_non_exhaustive()
    }
}

/// Why a path could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpandError {
    /// The invalid bytes of the path.
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Expands a leading `~` and every `$NAME` and `${NAME}`.
pub(super) fn expand(path: &str, env: &PathEnvironment) -> Result<PathBuf, ExpandError> {
    let mut out = OsString::new();
    let mut at = 0;
    if path == "~" || path.starts_with("~/") {
        let home = env.home().ok_or_else(|| ExpandError {
            span: 0..1,
            message: "cannot expand `~`: $HOME is not set".to_owned(),
            help: Some("write an absolute path".to_owned()),
        })?;
        out.push(home);
        at = 1;
    } else if path.starts_with('~') {
        // Another user's home would need the user database, which may be remote.
        let end = path.find('/').unwrap_or(path.len());
        return Err(ExpandError {
            span: 0..end,
            message: format!(
                "cannot expand {}: only your own `~/` is supported",
                quoted(path.get(..end).unwrap_or(path))
            ),
            help: Some("write an absolute path".to_owned()),
        });
    }
    while let Some(found) = path.get(at..).and_then(|rest| rest.find('$')) {
        let dollar = at + found;
        out.push(path.get(at..dollar).unwrap_or_default());
        let (name, end) = variable(path, dollar)?;
        let value = env.variable(name).ok_or_else(|| ExpandError {
            span: dollar..end,
            message: format!("the environment variable {} is not set", quoted(name)),
            help: None,
        })?;
        out.push(value);
        at = end;
    }
    out.push(path.get(at..).unwrap_or_default());
    Ok(PathBuf::from(out))
}

/// The name of the variable at a `$`, and its end in the path.
fn variable(path: &str, dollar: usize) -> Result<(&str, usize), ExpandError> {
    let rest = path.get(dollar + 1..).unwrap_or_default();
    let braced = rest.strip_prefix('{');
    let (name, end) = match braced {
        Some(inner) => {
            let len = inner.find('}').ok_or_else(|| ExpandError {
                span: dollar..path.len(),
                message: "`${` without a closing `}`".to_owned(),
                help: None,
            })?;
            // `${` before the name, `}` after it.
            (inner.get(..len).unwrap_or_default(), dollar + 2 + len + 1)
        }
        None => {
            let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (rest.get(..len).unwrap_or_default(), dollar + 1 + len)
        }
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_name {
        return Ok((name, end));
    }
    Err(ExpandError {
        span: dollar..end.max(dollar + 1),
        message: "`$` must be followed by the name of a variable".to_owned(),
        help: Some("for example $HOME or ${KEYS}".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> PathEnvironment {
        PathEnvironment::new(Some(PathBuf::from("/home/op")), [("KEYS", "/srv/keys"), ("N", "7")])
    }

    #[test]
    fn paths_are_expanded() {
        for (path, expected) in [
            ("/etc/key", "/etc/key"),
            ("~", "/home/op"),
            ("~/.ssh/id", "/home/op/.ssh/id"),
            ("a~b", "a~b"),
            ("$KEYS/id", "/srv/keys/id"),
            ("${KEYS}id_$N.pub", "/srv/keysid_7.pub"),
            ("~/$N", "/home/op/7"),
        ] {
            assert_eq!(expand(path, &environment()), Ok(PathBuf::from(expected)), "{path}");
        }
    }

    #[test]
    fn an_expansion_error_has_a_place() {
        for (path, span, message) in [
            ("/a/$NONE/b", 3..8, "the environment variable `NONE` is not set"),
            ("/a/${NONE}", 3..10, "the environment variable `NONE` is not set"),
            ("~root/x", 0..5, "cannot expand `~root`: only your own `~/` is supported"),
            ("/a/${x", 3..6, "`${` without a closing `}`"),
            ("/a/$", 3..4, "`$` must be followed by the name of a variable"),
            ("/$é", 1..2, "`$` must be followed by the name of a variable"),
            ("${é}", 0..5, "`$` must be followed by the name of a variable"),
            ("$1", 0..2, "`$` must be followed by the name of a variable"),
        ] {
            let error = expand(path, &environment()).expect_err(path);
            assert_eq!((error.span, error.message.as_str()), (span, message), "{path}");
        }
    }

    #[test]
    fn no_home_is_an_error_only_where_it_matters() {
        let env = PathEnvironment::default();
        assert!(expand("~/x", &env).is_err());
        assert_eq!(expand("/x", &env), Ok(PathBuf::from("/x")));
    }

    #[test]
    fn debug_shows_no_values() {
        assert!(!format!("{:?}", environment()).contains("srv"));
    }
}
