//! One log as lines, whichever backend reads it: the last of them, or those and what follows.
//!
//! Here lives [`LogReader`], the state between two steps; a backend's `read_log` makes a step, by offset
//! (`LogReader::read_pieces`) or by a command that follows (`LogReader::join`). It holds no connection but that
//! command's, so it can continue over another one. Invariants: lines come in order; a [`LogStep`] is small
//! enough to be shown before the next is made; the buffers are bounded.

use super::line_buffer::LineBuffer;
use super::position::LogPosition;
use super::source::LogSource;
use super::tail_follower::{TRUNCATED, TailFollower, after_last};
use crate::error::SupervisorError;
use ctl_event::LogStream;
use ctl_transport::RemoteCommand;

/// Bytes by which a log is recognized where no offset is known.
pub(crate) const KNOWN_BYTES: usize = 512;

/// Which log, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRequest {
    /// Which of the process's logs.
    pub stream: LogStream,
    /// The last lines that are shown first.
    pub lines: usize,
    /// Whether lines that are written later are shown too.
    pub follow: bool,
}

/// Something that a step has to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// Lines of the log.
    Lines(Vec<String>),
    /// Something about the log itself.
    Notice(&'static str),
}

/// When the next step is worth making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Now: this was only a part of the log.
    Now,
    /// After the node's other logs had a turn.
    Soon,
    /// Once something may have been written.
    Later,
}

/// The result of a step of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStep {
    /// To be shown, in order.
    pub events: Vec<LogEvent>,
    /// When to make the next one.
    pub next: NextStep,
    /// Whether the log has grown.
    pub has_grown: bool,
}

impl LogStep {
    /// Nothing was written.
    const QUIET: Self = Self { events: Vec::new(), next: NextStep::Later, has_grown: false };
    /// Nothing to show, but something in the next step.
    pub(crate) const AGAIN: Self = Self { events: Vec::new(), next: NextStep::Now, has_grown: false };
}

/// How far a log was read, by whichever backend.
#[derive(Debug)]
pub struct LogReader<C: RemoteCommand> {
    request: LogRequest,
    position: LogPosition,
    lines: LineBuffer,
    /// The command that follows the log, where one does.
    follower: Option<TailFollower<C>>,
    /// The last bytes that were shown of it, where no offset is known.
    known: Vec<u8>,
    /// The end of the log when it was last found to be another one.
    replaced: Vec<u8>,
    has_started: bool,
    /// Where to end; none: nowhere.
    goal: Option<u64>,
}

impl<C: RemoteCommand> LogReader<C> {
    /// Nothing was read yet. `may_run`: whether commands may be run on the node where supervisord cannot return the log.
    #[must_use]
    pub fn new(request: LogRequest, may_run: bool) -> Self {
        Self {
            request,
            position: LogPosition::new(may_run),
            lines: LineBuffer::default(),
            follower: None,
            known: Vec::new(),
            replaced: Vec::new(),
            has_started: false,
            goal: None,
        }
    }

    /// The line whose end was not written, if there is one: the log is read to its end.
    pub fn finish(&mut self) -> Option<String> {
        self.lines.finish()
    }

    /// Whether the log was empty when it was read to its end.
    #[must_use]
    pub fn was_empty(&self) -> bool {
        self.goal == Some(0)
    }

    pub(crate) fn request(&self) -> LogRequest {
        self.request
    }

    /// Whether the place to start at was found.
    pub(crate) fn has_started(&self) -> bool {
        self.has_started
    }

    /// A step by offset: one piece.
    pub(crate) async fn read_pieces(&mut self, source: &impl LogSource) -> Result<LogStep, SupervisorError> {
        if !self.has_started {
            // Done once: after a reconnection the position continues where it was.
            let size = self.position.begin(source, self.request.lines).await?;
            self.has_started = true;
            // Without following, the size at the start is the goal, so that a log which keeps growing still ends.
            self.goal = (!self.request.follow).then_some(size);
        }
        if self.goal.is_some_and(|goal| self.position.offset() >= goal) {
            return Ok(LogStep::QUIET);
        }
        let news = self.position.next(source).await?;
        let mut events = Vec::new();
        if !news.bytes.is_empty() {
            events.push(LogEvent::Lines(self.lines.feed(&news.bytes)));
        }
        if news.rotated {
            // The end of a line that the old file left open will never come.
            events.push(LogEvent::Lines(self.lines.finish().into_iter().collect()));
            events.push(LogEvent::Notice(if news.missing {
                "its log was rotated or cleared: the last lines before that may be missing"
            } else {
                "its log was rotated"
            }));
        }
        // The goal is an offset of the file that is gone.
        let is_over = !news.more || (news.rotated && self.goal.is_some());
        let next = if is_over { NextStep::Later } else { NextStep::Now };
        Ok(LogStep { events, next, has_grown: !news.bytes.is_empty() })
    }

    /// The only step where the end of the log was read at once.
    pub(crate) fn read_out(&mut self, read: &[u8], lines: Vec<String>) -> LogStep {
        self.goal = Some(u64::try_from(read.len()).unwrap_or_default());
        LogStep { events: vec![LogEvent::Lines(lines)], ..LogStep::QUIET }
    }

    /// The command that follows the log, if one runs. It is given back by [`LogReader::follow`].
    pub(crate) fn take_follower(&mut self) -> Option<TailFollower<C>> {
        self.follower.take()
    }

    /// A step that starts to follow, with the end of the log read after the follower had started: its last lines at
    /// first, after a reconnection only the new part of it.
    pub(crate) fn join(&mut self, follower: TailFollower<C>, end: &[u8]) -> LogStep {
        self.follower = Some(follower);
        let mut events = Vec::new();
        if self.has_started {
            // After a reconnection the last bytes that were shown mark the place to continue at.
            let new = after_last(&self.known, end);
            if new.is_none() {
                events.push(LogEvent::Notice("its log was rotated, or written too fast: lines may be missing"));
                self.known.clear();
            }
            // Without that place everything is shown: a line shown twice is better than one that is lost.
            self.show(new.unwrap_or(end), &mut events);
        } else {
            self.has_started = true;
            let start = LineBuffer::start_of_last(end, self.request.lines);
            // The bytes before the first line that is shown only serve to find the place again.
            self.known = end.get(..start).unwrap_or_default().to_vec();
            self.show(end.get(start..).unwrap_or_default(), &mut events);
        }
        LogStep { events, next: NextStep::Now, has_grown: true }
    }

    /// A step with the bytes that the follower has read; it shows nothing if there are none.
    pub(crate) fn follow(&mut self, follower: TailFollower<C>, bytes: &[u8]) -> LogStep {
        self.follower = Some(follower);
        if bytes.is_empty() {
            return LogStep::QUIET;
        }
        let mut events = Vec::new();
        self.show(bytes, &mut events);
        LogStep { events, next: NextStep::Soon, has_grown: true }
    }

    /// Whether a log with this end, read while the follower was silent, is not the one that it follows.
    pub(crate) fn is_replaced_by(&mut self, end: &[u8]) -> bool {
        // The same end a second time proves nothing: then it cannot be compared.
        if ends_with(end, &self.known) || self.replaced == end {
            return false;
        }
        self.replaced = end.to_vec();
        true
    }

    fn show(&mut self, bytes: &[u8], events: &mut Vec<LogEvent>) {
        // The file no longer has the lines before that notice.
        match after_last(format!("{TRUNCATED}\n").as_bytes(), bytes) {
            Some(new) => self.known = new.to_vec(),
            None => self.known.extend_from_slice(bytes),
        }
        let spare = self.known.len().saturating_sub(KNOWN_BYTES);
        self.known.drain(..spare);
        let mut lines = self.lines.feed(bytes);
        // A notice of supervisord's, not a line of the log (`http.py`, `tail_f_producer`).
        if lines.iter().any(|line| line == TRUNCATED) {
            lines.retain(|line| line != TRUNCATED);
            events.push(LogEvent::Notice("its log was rotated"));
        }
        events.push(LogEvent::Lines(lines));
    }
}

/// Whether the end of a log, as `tail` returns it, ends with these bytes, as `tail -f` returns them. Only an empty log ends
/// with none.
fn ends_with(end: &[u8], known: &[u8]) -> bool {
    // `tail` returns each line end as `\n`, as XML has it, and both return bytes that are not UTF-8 in their own way.
    let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    // A character may be cut at the start.
    let cut = known.iter().take_while(|byte| (0x80..0xc0).contains(*byte)).count();
    let known = plain(known.get(cut..).unwrap_or_default());
    if known.is_empty() { end.is_empty() } else { plain(end).ends_with(&known) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_recognized() {
        assert!(ends_with(b"one\ntwo\n", b"one\ntwo\n"));
        assert!(ends_with(b"one\ntwo\n", b"two\n"));
        assert!(ends_with(b"one\ntwo\n", b"one\r\ntwo\r\n"));
        assert!(ends_with("x\u{fffd}\u{fffd}\n".as_bytes(), b"\xbcx\xff\xfe\n"));
        assert!(ends_with(b"", b""));
        assert!(!ends_with(b"two\n", b"one\ntwo\n"), "a shorter file");
        assert!(!ends_with(b"one\ntwo\nthree\n", b"one\ntwo\n"), "a longer file");
        assert!(!ends_with(b"new\n", b""), "a file that was empty");
        assert!(!ends_with(b"", b"one\n"), "a file that is empty");
    }
}
