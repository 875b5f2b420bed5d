//! Stub.
use crate::transport::{Session, TransportError};
use std::collections::BTreeMap;
use std::time::Duration;
/// x
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Functional {
    /// x
    Active,
}
impl Functional {
    /// x
    pub fn as_str(&self) -> &'static str {
        "active"
    }
    /// x
    pub fn is_well(&self) -> bool {
        true
    }
}
impl std::fmt::Display for Functional {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("active")
    }
}
/// x
pub async fn ask<S: Session>(_s: &S, _service: &str, _port: u16, _p: Duration) -> Result<Functional, TransportError> {
    Ok(Functional::Active)
}
/// x
pub fn port_of(ports: &BTreeMap<String, u16>, group: &str, _process: &str) -> Option<u16> {
    ports.get(group).copied()
}
