//! Whether the path of a private key means the same here as to another tool.

/// Checks a path of `tool`, which names the tool in the answer.
///
/// # Errors
/// Why the path means another file here.
pub(crate) fn key_path(path: &str, tool: &str) -> Result<(), String> {
    if path.contains('$') || path.contains('%') {
        return Err("`$` and `%` in a path have another meaning to ctl".to_owned());
    }
    if path.starts_with('/') || path.starts_with("~/") {
        return Ok(());
    }
    Err(format!("the path must begin with `/` or `~/`: {tool} starts at the directory that it runs in"))
}
