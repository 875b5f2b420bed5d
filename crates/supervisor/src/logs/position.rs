//! One log read by offset, from its last lines on, whatever happens to the file meanwhile.
//!
//! Here lives [`LogPosition`]: it knows how far a log was read, and reads the next piece. It uses a [`LogSource`] and
//! holds no connection, so it can continue over another one. Invariants: each byte is returned once and in
//! order; each request includes the last bytes that are known, so that a file which was replaced (rotated, cleared,
//! another path) is noticed even when it has grown past the old one's size; a file that was moved aside is read to its
//! end first; a read is bounded. Start at [`LogPosition::next`].

use tracing::debug;

use super::source::{LogPiece, LogSource, PIECE, kept_nowhere, no_log};
use crate::error::{RpcFault, SupervisorError};

/// Bytes before the offset that are read again to recognize the file.
const CONTEXT: usize = 64;

/// Most that is searched for the start of the last lines.
const SCAN_LIMIT: u64 = 64 * 1024 * 1024;

/// Sizes of the pieces that are searched, the last one repeatedly: most users want few lines.
const SCANS: [u64; 3] = [8 * 1024, 64 * 1024, 256 * 1024];

/// Rotated files are tried up to this number: `PATH.1` is the newest, `PATH.2` the one before. supervisord names them
/// so, and keeps ten by default (supervisor 3.0 to 4.2.5, `options.py` and `loggers.py`); logrotate uses the same names.
const MOVED: u8 = 10;

/// The next part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogNews {
    /// The bytes, in order.
    pub bytes: Vec<u8>,
    /// Whether the file was replaced: the next part is from the start of the new one.
    pub rotated: bool,
    /// Whether the old file was not found: its last bytes may be missing.
    pub missing: bool,
    /// Whether there may be more already.
    pub more: bool,
}

/// How far a log was read.
#[derive(Debug, Clone)]
pub struct LogPosition {
    /// Whether commands may be run on the node where supervisord cannot return the log.
    may_run: bool,
    /// The file, where it is read by a command: it is not UTF-8, or past 2 GiB.
    by_command: Option<String>,
    offset: u64,
    /// The last bytes before `offset`.
    context: Vec<u8>,
    /// The size at which supervisord could not return the new bytes: the end of a character may be missing.
    stuck: Option<u64>,
    /// The number of the file that is read, where it was moved aside.
    moved: Option<u8>,
    /// The file before this one, until something of this one was read.
    predecessor: Option<RotatedLog>,
}

/// A file that was read to its end after it was moved aside, and how to recognise it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RotatedLog {
    /// The number that it had.
    number: u8,
    /// Where its last known bytes begin.
    start: u64,
    /// Its last bytes.
    end: Vec<u8>,
}

impl LogPosition {
    /// Nothing was read yet.
    #[must_use]
    pub const fn new(may_run: bool) -> Self {
        Self { may_run, by_command: None, offset: 0, context: Vec::new(), stuck: None, moved: None, predecessor: None }
    }

    /// How far it was read.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Moves to the start of the last `lines`. Returns the size of the log, which is 0 if it was not written yet.
    ///
    /// # Errors
    /// [`no_log`] for a log that goes to no file; else what kept it from being read.
    pub async fn begin(&mut self, source: &impl LogSource, lines: usize) -> Result<u64, SupervisorError> {
        if let Some(error) = kept_nowhere(source.stream(), source.path().await?.as_deref()) {
            return Err(error);
        }
        let size = self.size(source).await?;
        let mut end = size;
        let mut first = size;
        let mut wanted = lines;
        let mut is_last = true;
        let mut scans = SCANS.into_iter();
        let mut scan = 0;
        while end > 0 && wanted > 0 && size - end < SCAN_LIMIT {
            scan = scans.next().unwrap_or(scan);
            let start = end.saturating_sub(scan);
            let (start, bytes) = self.read_whole(source, start, end).await?;
            let mut text = bytes.as_slice();
            if std::mem::take(&mut is_last) {
                // The end of the last line starts no other.
                text = text.strip_suffix(b"\n").unwrap_or(text);
            }
            while wanted > 0
                && let Some(place) = text.iter().rposition(|byte| *byte == b'\n')
            {
                first = start + u64::try_from(place).unwrap_or_default() + 1;
                wanted -= 1;
                text = text.get(..place).unwrap_or_default();
            }
            // Without progress the loop would never end: the file has become shorter, or its bytes cannot be read.
            if bytes.is_empty() || start >= end {
                break;
            }
            end = start;
        }
        // The log has fewer lines than wanted, so it is shown from its start.
        if wanted > 0 && end == 0 {
            first = 0;
        }
        self.offset = first;
        // The bytes before the first line let the very first read notice that the file was replaced.
        if first > 0 {
            let before = first.saturating_sub(u64::try_from(CONTEXT).unwrap_or_default());
            let (start, context) = self.read_whole(source, before, first).await?;
            // A character that is only partly written is read again when it is complete.
            self.offset = start.saturating_add(u64::try_from(context.len()).unwrap_or_default());
            self.context = context;
        }
        Ok(size)
    }

    /// Reads the next part, at most 32 KiB. Empty: nothing was written.
    ///
    /// # Errors
    /// What kept it from being read; the reader can go on later, over another connection.
    pub async fn next(&mut self, source: &impl LogSource) -> Result<LogNews, SupervisorError> {
        let Some(predecessor) = self.predecessor.clone() else { return self.read_next(source).await };
        // The state to go back to, should the bytes turn out to come from the wrong file.
        let before = self.clone();
        let news = self.read_next(source).await?;
        // Without new bytes nothing can come from the wrong file.
        if news.bytes.is_empty() && !news.rotated {
            return Ok(news);
        }
        // The first bytes of a file do not identify it, and between two reads the numbers may have grown. They never shrink:
        // if the predecessor still has its number, the bytes that were read are from the file that followed it.
        match find_predecessor(source, &predecessor).await? {
            Some(number) if number == predecessor.number => {
                // `read_next` may have noted the next predecessor already, and that one stays.
                self.predecessor = self.predecessor.take().filter(|next| *next != predecessor);
                Ok(news)
            }
            Some(number) => {
                debug!(number, "rotated again meanwhile: going back to the next file");
                *self = Self {
                    // Number 0 is the log itself, which has no suffix.
                    moved: number.checked_sub(1).filter(|next| *next > 0),
                    predecessor: Some(RotatedLog { number, ..predecessor }),
                    ..before
                };
                Ok(LogNews { more: true, ..LogNews::default() })
            }
            None => {
                // Nobody can know any more whether a file in between was skipped, so lines may be missing.
                self.predecessor = self.predecessor.take().filter(|next| *next != predecessor);
                Ok(LogNews { rotated: true, missing: true, ..news })
            }
        }
    }

    async fn read_next(&mut self, source: &impl LogSource) -> Result<LogNews, SupervisorError> {
        if let Some(number) = self.moved {
            return self.next_of_moved(source, number).await;
        }
        if let Some(path) = self.by_command.clone() {
            return self.next_by_command(source, &path).await;
        }
        // supervisord failed at this size before, and only more bytes can complete the character.
        if let Some(stuck) = self.stuck
            && self.size(source).await? == stuck
        {
            if !self.may_run {
                return Ok(LogNews::default());
            }
            // Nothing came meanwhile, so it is not a character in the making: the log is not UTF-8.
            self.take_command(source).await?;
            return Ok(LogNews { more: true, ..LogNews::default() });
        }
        self.stuck = None;
        let known = self.context.len();
        // The known bytes in front show whether it is still the same file.
        match source.piece(self.context_start(), known + PIECE).await {
            Ok(LogPiece::Bytes(bytes)) => match bytes.strip_prefix(self.context.as_slice()) {
                Some(new) => Ok(self.took(new, bytes.len() >= known + PIECE)),
                None => self.rotated(source).await,
            },
            Ok(LogPiece::NotText) => self.not_text(source).await,
            // A file that was read before and is gone now was moved aside.
            Err(SupervisorError::Fault { fault: RpcFault::NoFile, .. }) if self.offset > 0 => {
                self.rotated(source).await
            }
            // Nothing was read yet, so the file is one that was not written yet.
            Err(SupervisorError::Fault { fault: RpcFault::NoFile, .. }) => Ok(LogNews::default()),
            // Past 2 GiB.
            Err(SupervisorError::Unsupported(_)) if self.may_run => {
                self.take_command(source).await?;
                Ok(LogNews { more: true, ..LogNews::default() })
            }
            Err(error) => Err(error),
        }
    }

    fn context_start(&self) -> u64 {
        self.offset.saturating_sub(u64::try_from(self.context.len()).unwrap_or_default())
    }

    /// Moves past bytes that were read.
    fn took(&mut self, new: &[u8], more: bool) -> LogNews {
        self.stuck = None;
        self.offset = self.offset.saturating_add(u64::try_from(new.len()).unwrap_or_default());
        self.context.extend_from_slice(new.get(new.len().saturating_sub(CONTEXT)..).unwrap_or(new));
        let spare = self.context.len().saturating_sub(CONTEXT);
        self.context.drain(..spare);
        // supervisord cannot return a piece that starts within a character; a command can.
        if self.by_command.is_none() {
            let inside = self.context.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
            self.context.drain(..inside);
        }
        LogNews { bytes: new.to_vec(), more, ..LogNews::default() }
    }

    /// The file was replaced. The rest of the old one is read first, if it still exists.
    async fn rotated(&mut self, source: &impl LogSource) -> Result<LogNews, SupervisorError> {
        self.stuck = None;
        self.next_of_moved(source, 1).await
    }

    /// Reads on in the file that was rotated to `number`, or to a higher one since; at its end, turns to the next file.
    async fn next_of_moved(&mut self, source: &impl LogSource, number: u8) -> Result<LogNews, SupervisorError> {
        // Without commands a file that was moved aside is out of reach.
        let path = if self.may_run { source.path().await? } else { None };
        let whole = self.context.len() + PIECE;
        let mut found = None;
        let is_next = self.moved.is_some() && self.context.is_empty();
        if let Some(path) = &path {
            // A file of which nothing was read is identified by its number only.
            let last = match (is_next, self.context.is_empty()) {
                (true, _) => number,
                (false, true) => 0,
                (false, false) => MOVED,
            };
            for number in number..=last {
                match source.file(&format!("{path}.{number}"), self.context_start(), whole).await {
                    // The right file still has the bytes that were read last at their offset.
                    Ok(bytes) if !bytes.is_empty() && bytes.starts_with(&self.context) => {
                        found = Some((number, bytes));
                        break;
                    }
                    // It may have been rotated once more, to a higher number.
                    Ok(_) => {}
                    Err(error) if error.is_connection_lost() => return Err(error),
                    Err(error) => {
                        debug!(%error, number, "cannot read the old file");
                        break;
                    }
                }
            }
        }
        let Some((number, bytes)) = found else {
            self.turn_to(None, path);
            return Ok(LogNews { rotated: true, missing: !is_next, more: true, ..LogNews::default() });
        };
        let new = bytes.get(self.context.len()..).unwrap_or_default();
        // A full piece means that the old file may have more.
        let news = self.took(new, true);
        if bytes.len() >= whole {
            self.moved = Some(number);
            return Ok(news);
        }
        // The old file is read to its end; from now on it identifies the file that followed it.
        self.predecessor = Some(RotatedLog { number, start: self.context_start(), end: self.context.clone() });
        self.turn_to(number.checked_sub(1).filter(|next| *next > 0), path);
        Ok(LogNews { rotated: true, ..news })
    }

    /// Continues at the start of the next file: one that was rotated as well, or the current log.
    fn turn_to(&mut self, moved: Option<u8>, path: Option<String>) {
        (self.offset, self.moved) = (0, moved);
        self.context.clear();
        // supervisord may write to another path by now.
        if self.by_command.is_some() {
            self.by_command = path;
        }
    }

    /// supervisord could not return the next part: the file was replaced, a character is only partly written, or it is not
    /// UTF-8. Each attempt that fails costs a page of supervisord's log.
    async fn not_text(&mut self, source: &impl LogSource) -> Result<LogNews, SupervisorError> {
        let (from, known) = (self.context_start(), self.context.len());
        // supervisord reports no size past 2 GiB, and a command has to take over.
        let Some(size) = source.size().await? else {
            self.take_command(source).await?;
            return Ok(LogNews { more: true, ..LogNews::default() });
        };
        if size < self.offset {
            return self.rotated(source).await;
        }
        if known > 0 {
            // The known bytes could be read before; if they cannot any more, the file is another one.
            match source.piece(from, known).await? {
                LogPiece::Bytes(bytes) if bytes == self.context => {}
                LogPiece::Bytes(_) | LogPiece::NotText => return self.rotated(source).await,
            }
        }
        let whole = known + PIECE;
        let there = usize::try_from(size - from).map_or(whole, |there| there.min(whole));
        // A character has at most three bytes before its last one.
        for cut in 1..=3 {
            let length = there.saturating_sub(cut);
            if length <= known {
                break;
            }
            if let LogPiece::Bytes(bytes) = source.piece(from, length).await?
                && let Some(new) = bytes.strip_prefix(self.context.as_slice())
            {
                return Ok(self.took(new, there == whole));
            }
        }
        // Only the beginning of one character is new: it is read once the rest is written.
        if there - known <= 3 && ends_within_character(source, size).await? {
            self.stuck = Some(size);
            return Ok(LogNews::default());
        }
        self.take_command(source).await?;
        Ok(LogNews { more: true, ..LogNews::default() })
    }

    /// From now on the file is read by a command.
    async fn take_command(&mut self, source: &impl LogSource) -> Result<(), SupervisorError> {
        if !self.may_run {
            let text =
                "its log is not UTF-8, which supervisord cannot return; without --via rpc it is read with a command";
            return Err(SupervisorError::Unsupported(text.to_owned()));
        }
        let path = source.path().await?.ok_or_else(|| no_log(source.stream()))?;
        debug!(path, "read by a command from now on");
        self.by_command = Some(path);
        Ok(())
    }

    async fn next_by_command(&mut self, source: &impl LogSource, path: &str) -> Result<LogNews, SupervisorError> {
        // Most of the time nothing was written, and the size shows that without a command. A file that was rotated to one of
        // the same size to the byte is noticed when it grows.
        let size = match source.size().await? {
            Some(size) => size,
            None => source.file_size(path).await?,
        };
        if size == self.offset {
            return Ok(LogNews::default());
        }
        if size < self.offset {
            return self.rotated(source).await;
        }
        let known = self.context.len();
        let bytes = source.file(path, self.context_start(), known + PIECE).await?;
        match bytes.strip_prefix(self.context.as_slice()) {
            Some(new) => Ok(self.took(new, bytes.len() >= known + PIECE)),
            None => self.rotated(source).await,
        }
    }

    async fn size(&mut self, source: &impl LogSource) -> Result<u64, SupervisorError> {
        match source.size().await? {
            Some(size) => Ok(size),
            None => {
                self.take_command(source).await?;
                let path = self.by_command.clone().unwrap_or_default();
                source.file_size(&path).await
            }
        }
    }

    /// The bytes between two offsets; the first is moved up if it is within a character, the last down if a character is not
    /// complete there and no command may be run.
    async fn read_whole(
        &mut self,
        source: &impl LogSource,
        start: u64,
        end: u64,
    ) -> Result<(u64, Vec<u8>), SupervisorError> {
        let length = |start: u64, end: u64| usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        if self.by_command.is_none() {
            for cut in 0..=3 {
                // A shorter end helps only where it cuts a character, and is needed only where no command may read the
                // rest.
                if cut == 1 && (self.may_run || !ends_within_character(source, end).await?) {
                    break;
                }
                let last = end.saturating_sub(cut);
                // The start may lie within a character; the next one begins at most three bytes later.
                for start in (start..=start.saturating_add(3)).take_while(|start| *start < last) {
                    if let LogPiece::Bytes(bytes) = source.piece(start, length(start, last)).await? {
                        return Ok((start, bytes));
                    }
                }
            }
            self.take_command(source).await?;
        }
        let path = self.by_command.clone().unwrap_or_default();
        Ok((start, source.file(&path, start, length(start, end)).await?))
    }
}

/// The number that a file has now, if it still exists. Its last known number is tried first.
async fn find_predecessor(source: &impl LogSource, file: &RotatedLog) -> Result<Option<u8>, SupervisorError> {
    let Some(path) = source.path().await? else { return Ok(None) };
    // The numbers never shrink, so lower ones need no look.
    for number in file.number..=MOVED {
        // One byte more than the known end, since the file has to end there.
        match source.file(&format!("{path}.{number}"), file.start, file.end.len() + 1).await {
            Ok(bytes) if bytes == file.end => return Ok(Some(number)),
            Ok(_) => {}
            Err(error) if error.is_connection_lost() => return Err(error),
            Err(error) => {
                debug!(%error, number, "no rotated file");
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// Whether the byte before `end` is a part of a longer character.
async fn ends_within_character(source: &impl LogSource, end: u64) -> Result<bool, SupervisorError> {
    Ok(source.piece(end.saturating_sub(1), 1).await? == LogPiece::NotText)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::super::line_buffer::LineBuffer;
    use super::*;
    use ctl_event::LogStream;

    /// A supervisord on Python 3, and the files of its node.
    #[derive(Default)]
    struct FakeSupervisord {
        files: Mutex<BTreeMap<String, Vec<u8>>>,
        /// Pieces that it could not return, each a page of its own log.
        raised: Mutex<usize>,
        commands: Mutex<usize>,
        /// Before which requests, counted from now on, something is written and the log is rotated.
        rotates_before: Mutex<Vec<usize>>,
        requests: Mutex<usize>,
        is_nowhere: bool,
        is_huge: bool,
    }

    const LOG: &str = "/var/log/a.log";

    impl FakeSupervisord {
        fn with(text: &[u8]) -> Self {
            let fake = Self::default();
            fake.write(text);
            fake
        }

        fn write(&self, text: &[u8]) {
            self.files.lock().expect("no panic before").entry(LOG.to_owned()).or_default().extend_from_slice(text);
        }

        fn rotate(&self) {
            let mut files = self.files.lock().expect("no panic before");
            for number in (1..10).rev() {
                if let Some(older) = files.remove(&format!("{LOG}.{number}")) {
                    files.insert(format!("{LOG}.{}", number + 1), older);
                }
            }
            let old = files.insert(LOG.to_owned(), Vec::new()).unwrap_or_default();
            files.insert(format!("{LOG}.1"), old);
        }

        /// Something may happen before each request.
        fn request(&self) {
            let number = {
                let mut requests = self.requests.lock().expect("no panic before");
                *requests += 1;
                *requests
            };
            let due = self.rotates_before.lock().expect("no panic before").contains(&number);
            if due {
                self.write(format!("before request {number}\n").as_bytes());
                self.rotate();
            }
        }

        fn clear(&self) {
            self.files.lock().expect("no panic before").insert(LOG.to_owned(), Vec::new());
        }

        fn range(&self, path: &str, offset: u64, length: usize) -> Option<Vec<u8>> {
            let files = self.files.lock().expect("no panic before");
            let file = files.get(path)?;
            let start = usize::try_from(offset).expect("small").min(file.len());
            Some(file[start..start.saturating_add(length).min(file.len())].to_vec())
        }
    }

    impl LogSource for FakeSupervisord {
        fn stream(&self) -> LogStream {
            LogStream::Stdout
        }

        async fn piece(&self, offset: u64, length: usize) -> Result<LogPiece, SupervisorError> {
            self.request();
            if self.is_huge {
                return Err(SupervisorError::Unsupported("past 2 GiB".to_owned()));
            }
            let bytes = self.range(LOG, offset, length).ok_or_else(|| no_log(LogStream::Stdout))?;
            Ok(if std::str::from_utf8(&bytes).is_ok() {
                LogPiece::Bytes(bytes)
            } else {
                *self.raised.lock().expect("no panic before") += 1;
                LogPiece::NotText
            })
        }

        async fn size(&self) -> Result<Option<u64>, SupervisorError> {
            let size = self.files.lock().expect("no panic before").get(LOG).map_or(0, |file| file.len() as u64);
            Ok((!self.is_huge).then_some(size))
        }

        async fn path(&self) -> Result<Option<String>, SupervisorError> {
            Ok((!self.is_nowhere).then(|| LOG.to_owned()))
        }

        async fn file(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, SupervisorError> {
            self.request();
            *self.commands.lock().expect("no panic before") += 1;
            let missing = || SupervisorError::CommandMissing("tail: cannot open".to_owned());
            self.range(path, offset, length).ok_or_else(missing)
        }

        async fn file_size(&self, path: &str) -> Result<u64, SupervisorError> {
            Ok(self.files.lock().expect("no panic before").get(path).map_or(0, |file| file.len() as u64))
        }
    }

    /// Everything up to where nothing more comes for two reads; and how often another file was found.
    async fn all(reader: &mut LogPosition, source: &FakeSupervisord) -> (Vec<u8>, usize) {
        let (mut bytes, mut rotations, mut quiet) = (Vec::new(), 0, 0);
        while quiet < 2 {
            let news = reader.next(source).await.expect("read");
            quiet = if news.more || !news.bytes.is_empty() { 0 } else { quiet + 1 };
            rotations += usize::from(news.rotated);
            bytes.extend(news.bytes);
        }
        (bytes, rotations)
    }

    #[tokio::test]
    async fn it_begins_at_the_last_lines() {
        let text: String = (0..5000).map(|number| format!("line {number} 線\n")).collect();
        for (lines, ending) in [(0, ""), (1, ""), (3, "an open end"), (4000, ""), (5000, ""), (9000, "end")] {
            let text = format!("{text}{ending}");
            let source = FakeSupervisord::with(text.as_bytes());
            let mut reader = LogPosition::new(true);
            assert_eq!(reader.begin(&source, lines).await, Ok(text.len() as u64));
            let (told, _) = all(&mut reader, &source).await;
            let wanted: Vec<&str> = text.split_inclusive('\n').collect();
            let wanted = wanted[wanted.len().saturating_sub(lines)..].concat();
            assert!(told == wanted.as_bytes(), "{lines} lines: {}", String::from_utf8_lossy(&told));
            assert_eq!((reader.offset(), *source.commands.lock().expect("no panic before")), (text.len() as u64, 0));
        }
    }

    #[tokio::test]
    async fn a_log_that_goes_nowhere_and_one_that_is_not_there_yet() {
        let nowhere = FakeSupervisord { is_nowhere: true, ..FakeSupervisord::default() };
        assert_eq!(LogPosition::new(true).begin(&nowhere, 10).await, Err(no_log(LogStream::Stdout)));
        let later = FakeSupervisord::default();
        let mut reader = LogPosition::new(true);
        assert_eq!(reader.begin(&later, 10).await, Ok(0));
        assert_eq!(reader.next(&later).await, Ok(LogNews::default()));
        later.write(b"here\n");
        assert_eq!(all(&mut reader, &later).await, (b"here\n".to_vec(), 0));
    }

    #[tokio::test]
    async fn a_file_that_is_another_is_noticed_whatever_its_size() {
        for after in [&b"x\n"[..], b"new!\n", b"much longer than what was there before\n", b""] {
            let source = FakeSupervisord::with(b"old1\n");
            let mut reader = LogPosition::new(true);
            reader.begin(&source, 10).await.expect("read");
            assert_eq!(all(&mut reader, &source).await.0, b"old1\n");
            source.write(b"just before\n");
            source.rotate();
            source.write(after);
            let wanted = [b"just before\n", after].concat();
            assert_eq!(all(&mut reader, &source).await, (wanted, 1), "{after:?}");
            source.write(b"and on\n");
            assert_eq!(all(&mut reader, &source).await, (b"and on\n".to_vec(), 0));
        }
    }

    #[tokio::test]
    async fn another_old_file_is_not_taken_for_it() {
        let source = FakeSupervisord::with(b"before\n");
        source.rotate();
        source.write(b"ours\n");
        let mut reader = LogPosition::new(true);
        reader.begin(&source, 10).await.expect("read");
        all(&mut reader, &source).await;
        source.clear();
        source.write(b"now\n");
        let news = reader.next(&source).await.expect("read");
        assert_eq!(news, LogNews { rotated: true, missing: true, more: true, ..LogNews::default() });
        assert_eq!(all(&mut reader, &source).await, (b"now\n".to_vec(), 0));
    }

    /// However much was written to the old file meanwhile, and however often it was rotated.
    #[tokio::test]
    async fn what_was_moved_aside_is_read_to_its_end() {
        let burst = |word: &str| (0..9000).map(|number| format!("{word} {number}\n")).collect::<String>().into_bytes();
        for rotations in 1..=3 {
            for may_run in [true, false] {
                let source = FakeSupervisord::with(b"first\n");
                let mut reader = LogPosition::new(may_run);
                reader.begin(&source, 10).await.expect("read");
                all(&mut reader, &source).await;
                let mut wanted = Vec::new();
                for rotation in 0..rotations {
                    let text = burst(&format!("of {rotation}"));
                    source.write(&text);
                    wanted.extend(text);
                    source.rotate();
                }
                source.write(b"now\n");
                wanted.extend(b"now\n");
                // Without commands the file that was moved aside is out of reach, and the reader reports that.
                let wanted = if may_run { (wanted, rotations) } else { (b"now\n".to_vec(), 1) };
                let read = all(&mut reader, &source).await;
                assert!(read == wanted, "{rotations} {may_run}: {} bytes of {}", read.0.len(), wanted.0.len());
            }
        }
        // It is moved on while it is read.
        let source = FakeSupervisord::with(b"first\n");
        let mut reader = LogPosition::new(true);
        reader.begin(&source, 10).await.expect("read");
        all(&mut reader, &source).await;
        source.write(&burst("old"));
        source.rotate();
        let news = reader.next(&source).await.expect("read");
        assert_eq!((news.rotated, news.bytes.len()), (false, PIECE));
        source.write(b"between\n");
        source.rotate();
        let rest = all(&mut reader, &source).await;
        let wanted = [&burst("old")[PIECE..], b"between\n"].concat();
        assert!(rest == (wanted, 2), "{}", rest.0.len());
    }

    /// At whatever moment it is rotated again, and again: nothing is lost, and nothing comes twice.
    #[tokio::test]
    async fn rotations_between_two_requests_lose_nothing() {
        for first in 1..12 {
            for apart in 1..8 {
                let rotations = [first, first + apart, first + apart * 2];
                let source = FakeSupervisord::with(b"first\n");
                let mut reader = LogPosition::new(true);
                reader.begin(&source, 10).await.expect("read");
                all(&mut reader, &source).await;
                source.write(b"moved aside\n");
                source.rotate();
                source.write(b"next\n");
                *source.requests.lock().expect("no panic before") = 0;
                *source.rotates_before.lock().expect("no panic before") = rotations.to_vec();
                let mut read = all(&mut reader, &source).await.0;
                // The next read notices a file that is rotated during the last two reads.
                let requests = *source.requests.lock().expect("no panic before");
                source.rotates_before.lock().expect("no panic before").clear();
                source.write(b"last\n");
                read.extend(all(&mut reader, &source).await.0);
                let happened = rotations.iter().filter(|number| **number <= requests);
                let between: String = happened.map(|number| format!("before request {number}\n")).collect();
                let wanted = format!("moved aside\nnext\n{between}last\n");
                assert_eq!(String::from_utf8_lossy(&read), wanted, "{rotations:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_utf_8_is_read_by_a_command_and_only_once_in_vain() {
        let source = FakeSupervisord::with(b"plain\n");
        let mut reader = LogPosition::new(true);
        reader.begin(&source, 10).await.expect("read");
        all(&mut reader, &source).await;
        for _ in 0..50 {
            source.write(b"caf\xe9\n");
            assert_eq!(all(&mut reader, &source).await, (b"caf\xe9\n".to_vec(), 0));
        }
        assert!(
            *source.raised.lock().expect("no panic before") <= 6,
            "each costs the node a page: {:?}",
            source.raised
        );
        source.rotate();
        source.write(b"\xfcber\n");
        assert_eq!(all(&mut reader, &source).await, (b"\xfcber\n".to_vec(), 1));

        let mut forbidden = LogPosition::new(false);
        assert!(matches!(
            forbidden.begin(&FakeSupervisord::with(b"caf\xe9\n"), 10).await,
            Err(SupervisorError::Unsupported(_))
        ));
    }

    #[tokio::test]
    async fn the_rest_of_a_character_is_waited_for() {
        let source = FakeSupervisord::with("grün\ngr".as_bytes());
        let mut reader = LogPosition::new(true);
        reader.begin(&source, 10).await.expect("read");
        assert_eq!(all(&mut reader, &source).await.0, "grün\ngr".as_bytes());
        source.write(b"\xc3");
        assert_eq!(reader.next(&source).await, Ok(LogNews::default()));
        source.write(b"\xbcn\n");
        assert_eq!(all(&mut reader, &source).await, ("ün\n".as_bytes().to_vec(), 0));
        assert_eq!(*source.commands.lock().expect("no panic before"), 0);
    }

    /// Where no command may be run there is nothing else to do but to wait for it, at the beginning as well.
    #[tokio::test]
    async fn without_commands_the_rest_of_a_character_is_waited_for_all_the_same() {
        for lines in [0, 1, 10] {
            let source = FakeSupervisord::with(b"one\ngr\xc3");
            let mut reader = LogPosition::new(false);
            assert_eq!(reader.begin(&source, lines).await, Ok(7));
            let mut told = all(&mut reader, &source).await.0;
            assert_eq!(all(&mut reader, &source).await, (Vec::new(), 0));
            source.write(b"\xbcn\n");
            told.extend(all(&mut reader, &source).await.0);
            let wanted = match lines {
                0 => "ün\n",
                1 => "grün\n",
                _ => "one\ngrün\n",
            };
            assert_eq!(String::from_utf8_lossy(&told), wanted, "{lines} lines");
            // Bytes that are not a character are shown as soon as that is certain.
            source.write(b"caf\xe9\n and more\n");
            let read = loop {
                match reader.next(&source).await {
                    Ok(news) if news == LogNews::default() => break Ok(news),
                    Ok(_) => {}
                    error @ Err(_) => break error,
                }
            };
            assert!(matches!(read, Err(SupervisorError::Unsupported(_))), "{read:?}");
            assert_eq!(*source.commands.lock().expect("no panic before"), 0);
        }
    }

    #[tokio::test]
    async fn a_log_past_two_gigabytes_is_read_by_a_command() {
        let source = FakeSupervisord { is_huge: true, ..FakeSupervisord::default() };
        source.write(b"one\ntwo\n");
        let mut reader = LogPosition::new(true);
        assert_eq!(reader.begin(&source, 1).await, Ok(8));
        assert_eq!(all(&mut reader, &source).await, (b"two\n".to_vec(), 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// However a text comes, and wherever its characters are cut: the lines are those of the text.
        #[test]
        fn the_lines_are_those_of_the_text(
            text in "([a-zäöü線😀]{0,9}\n?){0,40}",
            cuts in proptest::collection::vec(0..400_usize, 0..12),
            rotations in proptest::collection::vec(any::<bool>(), 13),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let source = FakeSupervisord::default();
                let mut reader = LogPosition::new(true);
                reader.begin(&source, 1000).await.expect("read");
                let mut lines = LineBuffer::default();
                let mut told = Vec::new();
                let bytes = text.as_bytes();
                let mut places: Vec<usize> = cuts.iter().map(|cut| *cut.min(&bytes.len())).chain([0, bytes.len()]).collect();
                places.sort_unstable();
                let mut file: Vec<u8> = Vec::new();
                for (pair, rotates) in places.windows(2).zip(rotations) {
                    let piece = &bytes[pair[0]..pair[1]];
                    // Where commands read it, a file that is rotated and as long as before is not looked at. One that
                    // begins with all that the old one held looks the same. Of a character that a rotation cuts in two,
                    // in a file that has little else, a part may be lost.
                    let is_told_apart = !piece.starts_with(&file) && piece.len() as u64 != reader.offset();
                    if rotates && is_told_apart && text.is_char_boundary(pair[0]) {
                        file.clear();
                        source.rotate();
                    }
                    source.write(piece);
                    file.extend_from_slice(piece);
                    told.extend(lines.feed(&all(&mut reader, &source).await.0));
                }
                told.extend(lines.finish());
                let mut whole = LineBuffer::default();
                let mut wanted = whole.feed(bytes);
                wanted.extend(whole.finish());
                assert_eq!(told, wanted);
            });
        }
    }
}
