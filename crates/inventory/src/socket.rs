//! Parses the address of a supervisord.
//!
//! Here lives [`control_address`]. It uses [`super::model`]. Invariants: an accepted address is an absolute path, or has
//! a host and a port. Start reading at [`control_address`].

use super::model::ControlAddress;
use super::values::{check_name, digits};

/// Maximum length of a unix socket path on Linux, in bytes (`sun_path`, without its NUL).
const MAX_SOCKET_PATH: usize = 107;

/// Parses `/path`, `unix:///path` or `http://host:port`.
///
/// The error is a text to follow the address, and the fix.
pub(super) fn control_address(said: &str) -> Result<ControlAddress, (String, String)> {
    const FORMS: &str = "write /path/of.sock, unix:///path/of.sock or http://localhost:9002";
    let bad = |what: &str, help: &str| Err((what.to_owned(), help.to_owned()));
    if let Some(rest) = said.strip_prefix("http://") {
        return http(rest);
    }
    if said.starts_with("https://") {
        return bad("is not supported: supervisord has no TLS", "write http://localhost:PORT");
    }
    // supervisord's own configuration writes `unix:///path`; `unix:/path` is accepted as well.
    let path = match said.strip_prefix("unix:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None => said,
    };
    if path.starts_with('/') {
        if path.chars().any(char::is_control) {
            return bad("contains a control character", FORMS);
        }
        // `sun_path` of Linux has 108 bytes, with a NUL at the end.
        if path.len() > MAX_SOCKET_PATH {
            return bad("is longer than 107 bytes, the limit for the path of a socket", "is it a path on the node?");
        }
        return Ok(ControlAddress::Unix(path.to_owned()));
    }
    if path.starts_with(['~', '$']) {
        return bad("is not an absolute path", "the path is on the node: neither `~` nor `$` is expanded");
    }
    // `host:port` without a scheme, as in supervisord's `[inet_http_server]`.
    let port = said.rsplit(':').next().unwrap_or_default();
    if digits::<u16>(port).is_some() {
        let host = said.strip_suffix(port).and_then(|host| host.strip_suffix(':')).filter(|host| !host.is_empty());
        return bad(
            "is not a valid supervisord address",
            &format!("did you mean http://{}:{port}?", host.unwrap_or("localhost")),
        );
    }
    bad("is not a valid supervisord address", FORMS)
}

fn http(rest: &str) -> Result<ControlAddress, (String, String)> {
    let bad = |what: &str, help: &str| Err((what.to_owned(), help.to_owned()));
    // supervisord answers XML-RPC at `/RPC2`, so some clients' URLs end with it.
    let authority = rest.strip_suffix("/RPC2").or_else(|| rest.strip_suffix('/')).unwrap_or(rest);
    if authority.contains('@') {
        return bad("contains a user name", "use `username` and `password_file` instead");
    }
    if authority.contains('/') {
        return bad("contains a path", "write http://localhost:PORT");
    }
    // The last colon: an IPv6 address has others.
    let Some((host, port)) = authority.rsplit_once(':') else {
        return bad("has no port", "write http://localhost:PORT");
    };
    let Some(port) = digits::<u16>(port).filter(|port| *port > 0) else {
        return bad("has an invalid port", "write http://localhost:PORT, with a port from 1 to 65535");
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let (host, signs) = inner.map_or((host, "._-"), |host| (host, ":."));
    if check_name(host, signs).is_err() {
        return bad("has an invalid host", "write http://localhost:PORT");
    }
    Ok(ControlAddress::Http { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (said, written) in [
            ("/var/run/a.sock", "unix:///var/run/a.sock"),
            ("unix:///var/run/a.sock", "unix:///var/run/a.sock"),
            ("unix:/var/run/a.sock", "unix:///var/run/a.sock"),
            ("http://localhost:9002", "http://localhost:9002"),
            ("http://127.0.0.1:9002/", "http://127.0.0.1:9002"),
            ("http://localhost:9002/RPC2", "http://localhost:9002"),
            ("http://[::1]:9002", "http://[::1]:9002"),
        ] {
            let address = control_address(said).expect(said);
            assert_eq!(address.to_string(), written, "{said}");
            assert_eq!(control_address(written).as_ref(), Ok(&address), "{written}");
        }
    }

    #[test]
    fn other_things_are_refused() {
        let long = format!("/{}", "x".repeat(107));
        for (said, message, help) in [
            (
                "a.sock",
                "is not a valid supervisord address",
                "write /path/of.sock, unix:///path/of.sock or http://localhost:9002",
            ),
            ("localhost:9002", "is not a valid supervisord address", "did you mean http://localhost:9002?"),
            (":9002", "is not a valid supervisord address", "did you mean http://localhost:9002?"),
            ("9002", "is not a valid supervisord address", "did you mean http://localhost:9002?"),
            (
                "unix://a.sock",
                "is not a valid supervisord address",
                "write /path/of.sock, unix:///path/of.sock or http://localhost:9002",
            ),
            ("~/a.sock", "is not an absolute path", "the path is on the node: neither `~` nor `$` is expanded"),
            ("https://localhost:1", "is not supported: supervisord has no TLS", "write http://localhost:PORT"),
            ("http://localhost", "has no port", "write http://localhost:PORT"),
            ("http://localhost:0", "has an invalid port", "write http://localhost:PORT, with a port from 1 to 65535"),
            ("http://localhost:x", "has an invalid port", "write http://localhost:PORT, with a port from 1 to 65535"),
            ("http://:9001", "has an invalid host", "write http://localhost:PORT"),
            ("http://a b:9001", "has an invalid host", "write http://localhost:PORT"),
            ("http://u:p@localhost:9001", "contains a user name", "use `username` and `password_file` instead"),
            ("http://localhost:9001/x", "contains a path", "write http://localhost:PORT"),
            (
                "/a\nb",
                "contains a control character",
                "write /path/of.sock, unix:///path/of.sock or http://localhost:9002",
            ),
            (&long, "is longer than 107 bytes, the limit for the path of a socket", "is it a path on the node?"),
        ] {
            assert_eq!(control_address(said), Err((message.to_owned(), help.to_owned())), "{said}");
        }
    }
}
