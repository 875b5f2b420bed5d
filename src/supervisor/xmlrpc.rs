//! XML-RPC as bytes: calls out, answers in. Bounded, and never panics on any bytes.
//!
//! The codec itself is the `dxr` crate; here is what a hostile or broken peer makes necessary around it.

use std::collections::BTreeMap;

use dxr::{FaultResponse, MethodCall, MethodResponse, TryToParams, Value};

/// An answer is refused past this nesting: supervisord's own never pass 12 elements.
const DEPTH_LIMIT: usize = 64;

/// Why an answer could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlRpcError {
    /// The call was understood, and answered with a fault.
    #[error("{text} (fault {code})")]
    Fault {
        /// supervisord's fault number.
        code: i32,
        /// Its text.
        text: String,
    },
    /// The answer is not XML-RPC.
    #[error("the answer is not XML-RPC: {0}")]
    Malformed(String),
}

/// The body of a call.
///
/// # Errors
/// [`XmlRpcError::Malformed`] if a parameter cannot be written.
pub fn encode(method: &str, params: &impl TryToParams) -> Result<String, XmlRpcError> {
    let params = params.try_to_params().map_err(|error| malformed(&error))?;
    MethodCall { name: method.into(), params }.to_xml().map_err(|error| malformed(&error))
}

/// What an answer says.
///
/// # Errors
/// [`XmlRpcError::Fault`] for a fault, [`XmlRpcError::Malformed`] for anything that is no answer.
pub fn decode(body: &[u8]) -> Result<Value, XmlRpcError> {
    let text = String::from_utf8_lossy(body);
    if depth(&text) > DEPTH_LIMIT {
        return Err(XmlRpcError::Malformed("nested too deeply".to_owned()));
    }
    match MethodResponse::from_xml(&text) {
        Ok(response) => Ok(response.value),
        Err(error) => match FaultResponse::from_xml(&text) {
            Ok(FaultResponse { fault }) => {
                Err(XmlRpcError::Fault { code: fault.code(), text: fault.string().to_owned() })
            }
            Err(_) => Err(malformed(&error)),
        },
    }
}

/// Deepest nesting of elements, counted without parsing: the parser recurses, and must not be handed a tower.
fn depth(text: &str) -> usize {
    let mut now = 0_usize;
    let mut deepest = 0;
    for part in text.split('<').skip(1) {
        if part.starts_with('/') {
            now = now.saturating_sub(1);
        } else if !part.starts_with(['?', '!']) {
            let tag = part.split('>').next().unwrap_or(part);
            if !tag.ends_with('/') {
                now += 1;
                deepest = deepest.max(now);
            }
        }
    }
    deepest
}

/// The parser's own message may hold the whole body.
fn malformed(error: &dxr::Error) -> XmlRpcError {
    XmlRpcError::Malformed(error.to_string().chars().take(160).collect())
}

/// The members of a structure, or nothing.
#[must_use]
pub fn members(value: &Value) -> Option<&BTreeMap<String, Value>> {
    if let Value::Struct(members) = value { Some(members) } else { None }
}

/// The items of an array, or nothing.
#[must_use]
pub fn items(value: &Value) -> Option<&[Value]> {
    if let Value::Array(items) = value { Some(items) } else { None }
}

/// A text, or nothing.
#[must_use]
pub fn text(value: &Value) -> Option<&str> {
    if let Value::String(text) = value { Some(text) } else { None }
}

/// A whole number, or nothing. supervisord writes all of its numbers as `int` (epoch seconds fit until 2038).
#[must_use]
pub fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(number) = value { Some(i64::from(*number)) } else { None }
}
