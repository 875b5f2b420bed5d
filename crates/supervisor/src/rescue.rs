//! The commands that the guard on a node runs to start something again, in the words of its service manager.
//!
//! Pure. Invariants: sudo is called so that it never asks; a password is never an argument: the node's own
//! configuration has it where the inventory names that file, else supervisorctl reads it from its standard input.

use base64::Engine as _;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use ctl_guard::{ControlCommand, ControlSettings, Rescue};
use ctl_inventory::{ControlAddress, Supervisor};
use ctl_remote::Sudo;

/// The facts about an instance that a rescue needs besides where it listens.
#[derive(Debug, Clone, Copy)]
pub struct RescueContext<'a> {
    /// The instance, as the inventory describes it.
    pub supervisor: &'a Supervisor,
    /// The value of the Authorization header that it expects.
    pub authorization: Option<&'a str>,
    /// The version of its supervisor package; empty where that is not known.
    pub version: &'a str,
}

/// Starts a service that init runs.
#[must_use]
pub fn of_init(sudo: &Sudo, name: &str) -> Rescue {
    Rescue::Init { name: name.to_owned(), prefix: unattended(sudo) }
}

/// Starts a process, `group:name`, through supervisorctl.
pub(super) fn of_process(context: &RescueContext<'_>, sudo: &Sudo, address: &ControlAddress, name: String) -> Rescue {
    Rescue::Process { name, control: control(context, sudo, address) }
}

/// Adds a group again, through supervisorctl.
pub(super) fn of_group(context: &RescueContext<'_>, sudo: &Sudo, address: &ControlAddress, group: &str) -> Rescue {
    Rescue::Group { name: group.to_owned(), control: control(context, sudo, address) }
}

/// What stands before a command that the guard runs.
fn unattended(sudo: &Sudo) -> Vec<String> {
    sudo.unattended_words().iter().map(|word| (*word).to_owned()).collect()
}

/// `supervisorctl` as the guard calls it.
fn control(context: &RescueContext<'_>, sudo: &Sudo, address: &ControlAddress) -> ControlCommand {
    let address = address.to_string();
    // Every user of the node can read the arguments of a process, so a password goes through a file or standard input.
    let (option, value, settings) = match (&context.supervisor.config_file, login(context.authorization)) {
        (Some(file), Some(_)) => ("-c", file.clone(), None),
        (None, Some((user, password))) => {
            ("-c", "/dev/stdin".to_owned(), Some(settings(&address, &user, &password, context.version)))
        }
        // Without a password nothing needs hiding, and the address alone is enough.
        (_, None) => ("-s", address, None),
    };
    let mut words = unattended(sudo);
    words.extend(["supervisorctl".to_owned(), option.to_owned(), value]);
    ControlCommand { words, settings }
}

/// The user and the password that supervisord asks for, as they stand in the header.
fn login(authorization: Option<&str>) -> Option<(String, SecretString)> {
    // supervisord accepts only Basic authentication (`medusa/auth_handler.py`).
    let pair = authorization?.strip_prefix("Basic ")?;
    let pair = Zeroizing::new(base64::engine::general_purpose::STANDARD.decode(pair).ok()?);
    // The first colon ends the user name, which cannot contain one; the password can (RFC 7617).
    let (user, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Some((user.to_owned(), password.into()))
}

/// A configuration for supervisorctl. It expands what begins with a per cent sign from supervisor 3.2 on
/// (`options.py`, `saneget`).
fn settings(address: &str, user: &str, password: &SecretString, version: &str) -> ControlSettings {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    // 3.0 and 3.1 take `%` literally, so doubling it there would change the password. An unknown version counts as
    // newer.
    let is_older =
        matches!((numbers.next().flatten(), numbers.next().flatten()), (Some(3), Some(0 | 1)) | (Some(0..=2), _));
    let literal = |text: &str| Zeroizing::new(if is_older { text.to_owned() } else { text.replace('%', "%%") });
    let (address, user, password) = (literal(address), literal(user), literal(password.expose_secret()));
    let text = format!(
        "[supervisorctl]\nserverurl={}\nusername={}\npassword={}",
        address.as_str(),
        user.as_str(),
        password.as_str()
    );
    ControlSettings::new(text.into())
}
