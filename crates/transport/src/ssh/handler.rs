//! The callbacks that the SSH library makes during a connection.
//!
//! Here live [`ClientHandler`] and [`HandlerNotes`], where it leaves what it learns. Invariants: a host's key is
//! accepted only as [`HostKeyStore::judge`] says, and never where it is only probed; text of the node is made printable
//! before it is kept.

use std::sync::{Arc, Mutex, PoisonError};

use russh::client;
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use tokio::sync::watch;
use tracing::debug;

use super::peer_text::{NODE_ENDED, printable};
use crate::endpoint::HostKeySettings;
use crate::error::TransportError;
use crate::host_keys::{HostKeyStore, ShownKey};

/// The notes that the callbacks leave.
#[derive(Default)]
pub(super) struct HandlerNotes {
    /// Why the host's key was not accepted.
    pub(super) verdict: Mutex<Option<TransportError>>,
    /// The host's key, once it was accepted.
    pub(super) accepted: Mutex<Option<ShownKey>>,
    /// The key that was only probed.
    pub(super) shown: Mutex<Option<PublicKey>>,
    /// How the connection ended.
    pub(super) lost: Arc<Mutex<Option<String>>>,
    /// The host's last message to the users that log in.
    pub(super) banner: Mutex<Option<String>>,
}

/// The library's callbacks.
pub(super) struct ClientHandler {
    pub(super) keys: Arc<HostKeyStore>,
    pub(super) settings: Arc<HostKeySettings>,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) only_probe: bool,
    pub(super) notes: Arc<HandlerNotes>,
    /// Gone with the connection.
    pub(super) _lives: watch::Sender<()>,
}

impl client::Handler for ClientHandler {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        if self.only_probe {
            // `false` ends the exchange before any secret is used: a probe needs no more than the key.
            *self.notes.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.public_key());
            return Ok(false);
        }
        let shown = ShownKey::from(key);
        let judged = self.keys.judge(&self.settings, &self.host, self.port, &shown).await;
        let accepted = judged.is_ok();
        *self.notes.accepted.lock().unwrap_or_else(PoisonError::into_inner) = accepted.then_some(shown);
        // The library only reports "unknown key"; the reason is left here for `KeyExchange::finish`.
        *self.notes.verdict.lock().unwrap_or_else(PoisonError::into_inner) = judged.err();
        Ok(accepted)
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut client::Session) -> Result<(), russh::Error> {
        let words = printable(banner);
        debug!(host = self.host, "the node says: {words}");
        // Only the last banner is kept: the error has room for one.
        *self.notes.banner.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
        Ok(())
    }

    async fn disconnected(&mut self, reason: client::DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        // Kept for the error: by the time a wait fails, the library only says that the connection is closed.
        let text = match reason {
            client::DisconnectReason::ReceivedDisconnect(info) if info.message.trim().is_empty() => {
                NODE_ENDED.to_owned()
            }
            client::DisconnectReason::ReceivedDisconnect(info) => {
                format!("{}: {}", NODE_ENDED, printable(&info.message))
            }
            client::DisconnectReason::Error(russh::Error::NoAuthMethod) => {
                format!("{}, as far as there are methods in common", NODE_ENDED)
            }
            client::DisconnectReason::Error(error) => error.to_string(),
        };
        *self.notes.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        Ok(())
    }
}
