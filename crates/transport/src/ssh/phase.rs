//! How far a connect has come.
//!
//! Here live [`ConnectPhase`] and [`CurrentPhase`]. Uses nothing of ours: connect and login set the phase, and a
//! connect whose time is over reads it.

use std::sync::atomic::{AtomicU8, Ordering};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ConnectPhase {
    Resolving,
    /// The addresses of the host are tried; how far each has come stands in the `AddressLog`.
    Dialling,
    /// The bastion is connecting.
    Connecting,
    Greeting,
    Negotiating,
    Authenticating,
    /// The operator's agent has not answered yet.
    AskingAgent,
    /// The password was sent.
    AwaitingPassword,
}

impl ConnectPhase {
    fn from_u8(phase: u8) -> Self {
        [
            Self::Resolving,
            Self::Dialling,
            Self::Connecting,
            Self::Greeting,
            Self::Negotiating,
            Self::AskingAgent,
            Self::AwaitingPassword,
        ]
        .into_iter()
        .find(|known| *known as u8 == phase)
        // `Authenticating` is the only phase that is not in the list.
        .unwrap_or(Self::Authenticating)
    }
}

/// The phase of one connect. It is read when its time is over.
#[derive(Default)]
pub(super) struct CurrentPhase(AtomicU8);

impl CurrentPhase {
    /// Notes that `phase` begins.
    pub(super) fn enter(&self, phase: ConnectPhase) {
        // Relaxed is enough: it is read after the future that wrote it has been dropped by the same task.
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    /// The phase that began last; the first one, if none did.
    pub(super) fn get(&self) -> ConnectPhase {
        ConnectPhase::from_u8(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_read_as_it_was_set() {
        let current = CurrentPhase::default();
        assert_eq!(current.get(), ConnectPhase::Resolving);
        for phase in [
            ConnectPhase::Resolving,
            ConnectPhase::Dialling,
            ConnectPhase::Connecting,
            ConnectPhase::Greeting,
            ConnectPhase::Negotiating,
            ConnectPhase::Authenticating,
            ConnectPhase::AskingAgent,
            ConnectPhase::AwaitingPassword,
        ] {
            current.enter(phase);
            assert_eq!(current.get(), phase);
        }
    }
}
