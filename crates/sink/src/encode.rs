//! Values as JSON and YAML that is safe to show; every document and every JSON line goes through here.
//!
//! Here live [`json`], [`json_line`], [`yaml`] and the [`SchemaName`] that each begins with. They use [`text`]. What always holds: a reader of the text gets the
//! values as they are; the text has no character that a terminal would act on or hide, line ends apart.

use serde::Serialize;

use super::{SinkError, text};

/// Name and version of the form of every document and line. It changes when a field is removed or changes its meaning.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
pub enum SchemaName {
    /// The only one so far.
    #[serde(rename = "ctl/1")]
    Ctl1,
}

/// One document, over several lines; it ends with a line end.
///
/// # Errors
/// [`SinkError::Json`].
pub fn json(value: &impl Serialize) -> Result<String, SinkError> {
    let json = serde_json::to_string_pretty(value).map_err(SinkError::Json)?;
    // JSON has unsafe characters only inside strings, where an escape means the same.
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
    // Nearly always: plain scalars are easier to read than quoted ones.
    if text::is_plain(&yaml) {
        return Ok(yaml);
    }
    // YAML allows escapes only between double quotes, and only one-line scalars can be rewritten safely.
    let options = serde_saphyr::ser_options! { quote_all: true };
    let quoted = serde_saphyr::to_string_with_options(value, options).map_err(SinkError::Yaml)?;
    Ok(text::escape_quoted_yaml(&quoted))
}
