//! The tests' own query to a supervisord: XML-RPC over its unix socket, from outside the node.
//!
//! It does not use the product's codec on purpose, and supports only `getProcessInfo` and `getPID`.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// supervisord's information about one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// `RUNNING`, `STOPPED` and so on.
    pub(crate) state: String,
    /// 0 if it does not run.
    pub(crate) pid: u32,
    /// The time of its start, in seconds since 1970.
    pub(crate) start: u64,
}

/// Queries one process, `contrail-collector` or `contrail-api:0`.
pub(super) fn process(socket: &Path, name: &str) -> io::Result<Process> {
    let reply = call(socket, "supervisor.getProcessInfo", &[name])?;
    let field = |name: &str| -> io::Result<String> {
        let after = reply.split_once(&format!("<name>{name}</name>")).ok_or_else(|| bad(&reply))?.1;
        scalar(after).ok_or_else(|| bad(&reply))
    };
    Ok(Process {
        state: field("statename")?,
        pid: field("pid")?.parse().map_err(|_| bad(&reply))?,
        start: field("start")?.parse().map_err(|_| bad(&reply))?,
    })
}

/// The pid of supervisord itself.
pub(super) fn supervisord_pid(socket: &Path) -> io::Result<u32> {
    let reply = call(socket, "supervisor.getPID", &[])?;
    scalar(&reply).and_then(|pid| pid.parse().ok()).ok_or_else(|| bad(&reply))
}

fn bad(reply: &str) -> io::Error {
    io::Error::other(format!("unexpected reply: {reply}"))
}

/// The text of the first scalar after a `<value>`.
fn scalar(xml: &str) -> Option<String> {
    let typed = xml.split_once("<value><")?.1;
    let (_, rest) = typed.split_once('>')?;
    Some(rest.split_once('<')?.0.to_owned())
}

pub(super) fn call(socket: &Path, method: &str, strings: &[&str]) -> io::Result<String> {
    let params: String =
        strings.iter().map(|text| format!("<param><value><string>{text}</string></value></param>")).collect();
    let body = format!(
        "<?xml version='1.0'?><methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>"
    );
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "POST /RPC2 HTTP/1.0\r\nHost: node\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let (_, xml) = reply.split_once("\r\n\r\n").ok_or_else(|| bad(&reply))?;
    if xml.contains("<fault>") {
        return Err(bad(xml));
    }
    Ok(xml.to_owned())
}
