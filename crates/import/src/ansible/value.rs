//! Values of variables, and which variables matter here.

use crate::fleet::SourcePlace;
use crate::yaml_tree::{TreeKind, TreeValue};

/// The value of a variable, as far as a connection can use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnsibleValue {
    /// `null`, `None`.
    Null,
    /// `true`, `True`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Text.
    Text(String),
    /// A fraction, a list, or a mapping.
    Other,
}

impl AnsibleValue {
    /// Text or an integer as text.
    pub(super) fn to_text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Int(number) => Some(number.to_string()),
            Self::Null | Self::Bool(_) | Self::Other => None,
        }
    }

    /// A boolean in any of Ansible's spellings.
    pub(super) fn to_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Int(1) => Some(true),
            Self::Int(0) => Some(false),
            Self::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
                "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
                _ => None,
            },
            Self::Null | Self::Int(_) | Self::Other => None,
        }
    }

    /// Whether only Ansible can know the value: a template, or text that its vault has encrypted.
    pub(super) fn is_computed(&self) -> bool {
        let Self::Text(text) = self else { return false };
        ["{{", "{%", "$ANSIBLE_VAULT;"].iter().any(|mark| text.contains(mark))
    }
}

impl From<&TreeValue> for AnsibleValue {
    fn from(value: &TreeValue) -> Self {
        match &value.kind {
            TreeKind::Null => Self::Null,
            TreeKind::Bool(value) => Self::Bool(*value),
            TreeKind::Int(value) => Self::Int(*value),
            TreeKind::Text(text) => Self::Text(text.clone()),
            TreeKind::Float | TreeKind::List(_) | TreeKind::Map(_) => Self::Other,
        }
    }
}

/// A value and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedValue {
    /// The value.
    pub value: AnsibleValue,
    /// Where it was set.
    pub place: SourcePlace,
}

/// The variables of a connection that are read; every other variable is left out.
pub(super) const READ: [&str; 20] = [
    "ansible_host",
    "ansible_ssh_host",
    "ansible_port",
    "ansible_ssh_port",
    "ansible_user",
    "ansible_ssh_user",
    "ansible_private_key_file",
    "ansible_ssh_private_key_file",
    "ansible_connection",
    "ansible_become",
    "ansible_sudo",
    "ansible_become_method",
    "ansible_become_user",
    "ansible_sudo_user",
    "ansible_ssh_args",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_host_key_checking",
    "ansible_ssh_host_key_checking",
    "ansible_ssh_executable",
];

/// Whether a variable holds a secret, which is never kept.
pub(super) fn is_secret(name: &str) -> bool {
    let is_connection = name.starts_with("ansible_");
    is_connection && ["pass", "password", "passphrase", "_private_key"].iter().any(|end| name.ends_with(end))
}
