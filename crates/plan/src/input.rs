//! Standard input of a command: read once, sent to every node.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use ctl_event::InputDigest;

/// The whole input of a command, encoded as it is sent. Clones share it.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandInput {
    base64: Arc<str>,
    digest: InputDigest,
}

impl CommandInput {
    /// Encodes these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = InputDigest { bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX), sha256 };
        // Encoded once for all nodes.
        Self { base64: STANDARD.encode(bytes).into(), digest }
    }

    /// The input in base64, without newlines.
    #[must_use]
    pub fn base64(&self) -> &str {
        &self.base64
    }

    /// Its length and hash, by which a resumed run recognizes it.
    #[must_use]
    pub fn digest(&self) -> &InputDigest {
        &self.digest
    }
}

impl std::fmt::Debug for CommandInput {
    /// Shows the length only: the input may be long, and secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CommandInput").field(&self.digest.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_known_again_and_not_shown() {
        let input = CommandInput::new(b"abc");
        assert_eq!(input.base64(), "YWJj");
        assert_eq!(
            input.digest(),
            &InputDigest {
                bytes: 3,
                sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned()
            }
        );
        assert_eq!(format!("{input:?}"), "CommandInput(3)");
    }
}
