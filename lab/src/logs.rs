//! The logs of a process as supervisord stores and returns them, and the entries about it in supervisord's own log.
//!
//! Invariants: a log is bytes, read the way `readFile` and `tailFile` of supervisord read a file; past [`LIMIT`] it is
//! rotated, as supervisord does; only supervisord on Python 3 rejects bytes that are not UTF-8.

use crate::rpcfault::{RpcFault, code};
use crate::spec::SupervisorVersion;
use crate::util::Date;

/// Size past which a log is rotated.
const LIMIT: usize = 4 * 1024 * 1024;

/// Size to which the entries of supervisord's own log are trimmed.
const OWN_LIMIT: usize = 16 * 1024;

/// The output of a process, and the entries about it in supervisord's own log.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    out: Vec<u8>,
    err: Vec<u8>,
    own: String,
}

impl Logs {
    /// The stdout log, or the stderr log if `stderr`.
    pub(crate) fn get(&self, stderr: bool) -> &[u8] {
        if stderr { &self.err } else { &self.out }
    }

    /// Appends to one of the logs.
    pub(crate) fn write(&mut self, stderr: bool, bytes: &[u8]) {
        let log = if stderr { &mut self.err } else { &mut self.out };
        log.extend_from_slice(bytes);
        if log.len() > LIMIT {
            log.clear();
        }
    }

    /// Empties both logs, as when the files were moved away.
    pub(crate) fn rotate(&mut self) {
        self.out.clear();
        self.err.clear();
    }

    /// Adds an entry to supervisord's own log.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of a second")]
    pub(crate) fn note(&mut self, at: f64, text: &str) {
        let date = Date::from_epoch(at);
        let milliseconds = (at.fract() * 1000.0) as u32;
        self.own.push_str(&format!(
            "{}-{:02}-{:02} {:02}:{:02}:{:02},{milliseconds:03} {text}\n",
            date.year,
            date.month + 1,
            date.day,
            date.hour,
            date.minute,
            date.second
        ));
        if self.own.len() > OWN_LIMIT {
            let cut = self.own.len() - OWN_LIMIT / 2;
            let cut =
                self.own.bytes().skip(cut).position(|byte| byte == b'\n').map_or(self.own.len(), |at| cut + at + 1);
            self.own.drain(..cut);
        }
    }

    /// The entries of supervisord's own log, a line each.
    pub(crate) fn noted(&self) -> impl Iterator<Item = &str> {
        self.own.lines()
    }
}

/// `readFile` of supervisord: `None` for arguments that it rejects.
pub(crate) fn read_file(log: &[u8], offset: i64, length: i64) -> Option<&[u8]> {
    let size = log.len();
    let (from, to) = if offset < 0 {
        if length != 0 {
            return None;
        }
        (size.saturating_sub(usize::try_from(-offset).ok()?), size)
    } else {
        let from = usize::try_from(offset).ok()?.min(size);
        let length = usize::try_from(length).ok()?;
        let to = if length == 0 { size } else { from.saturating_add(length).min(size) };
        (from, to)
    };
    log.get(from..to)
}

/// `tailFile` of supervisord: the bytes, the next offset, and whether some bytes were left out.
pub(crate) fn tail_file(log: &[u8], offset: i64, length: i64) -> (&[u8], i64, bool) {
    let size = i64::try_from(log.len()).unwrap_or(i64::MAX);
    let (mut offset, mut length, mut overflow) = (offset, length, false);
    if size > offset.saturating_add(length) {
        overflow = true;
        offset = size - 1;
    }
    if offset.saturating_add(length) > size {
        if offset > size - 1 {
            length = 0;
        }
        offset = size - length;
    }
    let from = usize::try_from(offset.max(0)).unwrap_or(0).min(log.len());
    let length = usize::try_from(length.max(0)).unwrap_or(0);
    let to = from.saturating_add(length).min(log.len());
    (log.get(from..to).unwrap_or_default(), size, overflow)
}

/// Bytes as supervisord returns them: on Python 3 it raises if they are not UTF-8.
pub(crate) fn as_string(bytes: &[u8], version: SupervisorVersion) -> Result<String, RpcFault> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) if version == SupervisorVersion::V4_2_5 => Err(RpcFault::bare(code::RAISED)),
        Err(_) => Ok(String::from_utf8_lossy(bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_read_as_supervisord_reads_files() {
        let read = |offset, length| read_file(b"abcdef", offset, length);
        assert_eq!(read(-3, 0), Some(b"def".as_slice()));
        assert_eq!(read(-30, 0), Some(b"abcdef".as_slice()));
        assert_eq!(read(-3, 1), None);
        assert_eq!(read(2, 2), Some(b"cd".as_slice()));
        assert_eq!(read(2, 0), Some(b"cdef".as_slice()));
        assert_eq!(read(20, 0), Some(b"".as_slice()));
    }

    #[test]
    fn logs_are_tailed_as_supervisord_tails_files() {
        assert_eq!(tail_file(b"abcdef", 0, 3), (b"def".as_slice(), 6, true));
        assert_eq!(tail_file(b"abcdef", 0, 100), (b"abcdef".as_slice(), 6, false));
        assert_eq!(tail_file(b"abcdef", 6, 100), (b"".as_slice(), 6, false));
        assert_eq!(tail_file(b"abcdef", 0, 0), (b"".as_slice(), 6, true));
        assert_eq!(tail_file(b"", 0, 100), (b"".as_slice(), 0, false));
    }

    #[test]
    fn only_python_3_minds_what_is_not_utf_8() {
        assert_eq!(as_string("ü".as_bytes(), SupervisorVersion::V4_2_5).ok().as_deref(), Some("ü"));
        assert!(as_string(b"\xfc", SupervisorVersion::V4_2_5).is_err());
        assert!(as_string(b"\xfc", SupervisorVersion::V3_3).is_ok());
    }

    #[test]
    fn what_is_noted_is_bounded_and_whole() {
        let mut logs = Logs::default();
        for number in 0..2000 {
            logs.note(1_700_000_000.25, &format!("INFO spawned: 'a' with pid {number}"));
        }
        assert!(logs.own.len() <= OWN_LIMIT);
        assert!(logs.noted().all(|line| line.starts_with("2023-11-14 22:13:20,250 INFO spawned: 'a' with pid ")));
        logs.write(true, b"x");
        logs.rotate();
        assert_eq!((logs.get(false), logs.get(true)), (b"".as_slice(), b"".as_slice()));
    }
}
