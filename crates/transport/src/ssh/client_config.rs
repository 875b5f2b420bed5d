//! The SSH library's settings for one endpoint, and the errors of a negotiation.
//!
//! Here lives [`client_config`]. Pure. Uses `algorithms.rs` for the lists that are offered.

use std::time::Duration;

use russh::client::{self, GexParams};

use super::algorithms::{self, NegotiationFailure};
use crate::endpoint::{Endpoint, Keepalive};
use crate::error::TransportError;
use crate::host_keys::HostKeyRequest;

/// The error for a key exchange that failed.
pub(super) fn negotiation_failed(endpoint: &Endpoint, error: &russh::Error) -> TransportError {
    // The only error of the exchange that the operator can fix by a setting.
    if let russh::Error::NoCommonAlgo { kind, theirs, .. } = error {
        return negotiation_error(endpoint, algorithms::disagreement(kind, theirs, &endpoint.algorithms));
    }
    TransportError::Negotiation {
        host: endpoint.host.clone(),
        port: endpoint.port,
        reason: format!("key exchange failed: {error}"),
        hint: None,
    }
}

fn negotiation_error(endpoint: &Endpoint, NegotiationFailure { reason, hint }: NegotiationFailure) -> TransportError {
    TransportError::Negotiation { host: endpoint.host.clone(), port: endpoint.port, reason, hint: Some(hint) }
}

/// Bounds of the values in ssh_config, so that no time overflows.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_KEEPALIVES: u32 = 1000;

/// The client's side of the protocol.
///
/// # Errors
/// [`TransportError::Negotiation`] if the lists of the endpoint leave nothing to offer.
pub(super) fn client_config(endpoint: &Endpoint, wanted: &HostKeyRequest) -> Result<client::Config, TransportError> {
    let preferred = algorithms::preferred(&endpoint.algorithms, wanted)
        .map_err(|disagreement| negotiation_error(endpoint, disagreement))?;
    // As OpenSSH, at least 2048 bits: the library's own least, 3072, is more than nodes have that know a fixed group only.
    // The values are constants in the right order, so that the default never stands in.
    let gex = GexParams::new(2048, 3072, 8192).unwrap_or_default();
    let Keepalive { interval, count, when_idle: _ } = endpoint.keepalive;
    let asks = !interval.is_zero();
    let (interval, count) = (interval.min(LONGEST_INTERVAL), count.min(MOST_KEEPALIVES));
    // The library gives up when one keepalive more than its number is due. The number 0 means never.
    // A count of 1 would be the library's 0, "never": half the interval and one miss take the same time.
    let (every, unanswered) = match count {
        0 => (interval, 0),
        1 => (interval / 2, 1),
        more => (interval, more as usize - 1),
    };
    Ok(client::Config {
        preferred,
        gex,
        // Questions and answers are small; Nagle's algorithm would delay each of them.
        nodelay: true,
        // The bytes that a node may send ahead.
        window_size: 256 * 1024,
        // A stream that is not read for a while does not hold up the others of its connection.
        channel_buffer_size: 1024,
        keepalive_interval: asks.then_some(every),
        keepalive_max: unanswered,
        // The library sends keepalives only after the login.
        inactivity_timeout: asks.then(|| (interval * (count + 2)).max(endpoint.connect_timeout * 2)),
        ..client::Config::default()
    })
}
