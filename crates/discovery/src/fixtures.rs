//! Made-up observations for tests.

use super::observation::{ObservedInstance, UnreadCause, UnreadInstance};
use ctl_inventory::ControlAddress;

/// A supervisord that runs these services: at a path, or at `localhost:PORT`.
pub(super) fn instance(address: &str, services: &[&str]) -> ObservedInstance {
    let address = match address.strip_prefix("localhost:") {
        Some(port) => ControlAddress::Http { host: "localhost".to_owned(), port: port.parse().expect("a port") },
        None => ControlAddress::Unix(address.to_owned()),
    };
    ObservedInstance {
        address: Some(address),
        identifier: None,
        unit: None,
        config_file: None,
        username: None,
        services: Ok(services.iter().map(|name| (*name).to_owned()).collect()),
    }
}

/// A supervisord whose services are not known, and the advice `fix MESSAGE`.
pub(super) fn unread(address: &str, cause: UnreadCause, message: &str) -> ObservedInstance {
    let reason = UnreadInstance { cause, message: message.to_owned(), hint: Some(format!("fix {message}")) };
    ObservedInstance { services: Err(reason), ..instance(address, &[]) }
}
