//! Values as JSON and YAML that is safe to show; every document and every JSON line goes through here.
//!
//! Here live [`json`], [`json_line`] and [`yaml`]. They use [`text`]. Invariants: a parser gets the original values;
//! apart from line ends, the text has no character that a terminal acts on or hides.

use serde::Serialize;

use super::{SinkError, text};

/// One document over several lines, with a final newline.
///
/// # Errors
/// [`SinkError::Json`].
pub fn json(value: &impl Serialize) -> Result<String, SinkError> {
    let json = serde_json::to_string_pretty(value).map_err(SinkError::Json)?;
    Ok(text::escape_json(&json).into_owned() + "\n")
}

/// One line, with its newline.
///
/// # Errors
/// [`SinkError::Json`].
pub fn json_line(value: &impl Serialize) -> Result<String, SinkError> {
    let json = serde_json::to_string(value).map_err(SinkError::Json)?;
    Ok(text::escape_json(&json).into_owned() + "\n")
}

/// One document as YAML.
///
/// # Errors
/// [`SinkError::Yaml`].
pub fn yaml(value: &impl Serialize) -> Result<String, SinkError> {
    let yaml = serde_saphyr::to_string(value).map_err(SinkError::Yaml)?;
    if text::is_plain(&yaml) {
        return Ok(yaml);
    }
    // YAML allows escapes only between double quotes, and only one-line scalars can be rewritten safely.
    let options = serde_saphyr::ser_options! { quote_all: true };
    let quoted = serde_saphyr::to_string_with_options(value, options).map_err(SinkError::Yaml)?;
    Ok(text::escape_quoted_yaml(&quoted))
}
