//! Values as JSON and YAML that is safe to show; every document and every JSON line goes through here.
//!
//! Here live [`json`], [`json_line`], [`yaml`] and the [`SchemaName`] that each begins with. They use [`text`]. Invariants: a reader of the text gets the
//! values as they are; the text has no character that a terminal would act on or hide, line ends apart.

use std::borrow::Cow;

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
    Ok(ended(json))
}

/// One line, with its newline.
///
/// # Errors
/// [`SinkError::Json`].
pub fn json_line(value: &impl Serialize) -> Result<String, SinkError> {
    let json = serde_json::to_string(value).map_err(SinkError::Json)?;
    Ok(ended(json))
}

/// The text without unsafe characters, and with a line end. Nearly always it is the text as it is, which may be large.
fn ended(mut json: String) -> String {
    // JSON has unsafe characters only inside strings, where an escape means the same.
    let escaped = match text::escape_json(&json) {
        Cow::Owned(escaped) => Some(escaped),
        Cow::Borrowed(_) => None,
    };
    json = escaped.unwrap_or(json);
    json.push('\n');
    json
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
