//! One log read from its last lines on, and then on and on, whatever happens to the file meanwhile.
//!
//! Here lives [`LogReader`]: it knows how far a log was read, and reads what comes next. It uses `log.rs` and holds no
//! connection, so that it goes on over another one. What always holds: each byte is told once and in order; each request asks again for the
//! last bytes that are known, so that a file which is not the same any more (rotated, cleared, another path) is noticed
//! even when it has grown past the old one's size; what is read at once is bounded. Start at [`LogReader::next`].

use std::future::Future;

use tracing::debug;

use super::log::{LogFile, LogPiece, PIECE, no_log};
use super::rpc::RpcClient;
use super::{Fault, SupervisorError};
use crate::event::LogStream;
use crate::transport::Session;

/// Bytes before the place that was read to, asked for again to know the file by.
const CONTEXT: usize = 64;

/// Most that is looked through for the beginning of the last lines.
const SCAN_LIMIT: u64 = 64 * 1024 * 1024;

/// Sizes of the pieces that are looked through, the last again and again: most want few lines.
const SCANS: [u64; 3] = [8 * 1024, 64 * 1024, 256 * 1024];

/// What a reader asks of a node.
pub trait LogSource: Sync {
    /// At most so many bytes of the log from an offset on, as supervisord tells them.
    ///
    /// # Errors
    /// As [`RpcClient::read_log`].
    fn piece(&self, offset: u64, length: usize) -> impl Future<Output = Result<LogPiece, SupervisorError>> + Send;

    /// As [`RpcClient::log_size`].
    ///
    /// # Errors
    /// As [`RpcClient::log_size`].
    fn size(&self) -> impl Future<Output = Result<Option<u64>, SupervisorError>> + Send;

    /// Where the log is.
    ///
    /// # Errors
    /// As [`RpcClient::log_path`].
    fn path(&self) -> impl Future<Output = Result<Option<String>, SupervisorError>> + Send;

    /// At most so many bytes of a file from an offset on, read by a command.
    ///
    /// # Errors
    /// What kept the command from reading.
    fn file(
        &self,
        path: &str,
        offset: u64,
        length: usize,
    ) -> impl Future<Output = Result<Vec<u8>, SupervisorError>> + Send;

    /// The size of a file, told by a command.
    ///
    /// # Errors
    /// As [`LogSource::file`].
    fn file_size(&self, path: &str) -> impl Future<Output = Result<u64, SupervisorError>> + Send;
}

/// A process's log, reached over XML-RPC.
#[derive(Debug)]
pub struct RpcLog<'a, S: Session> {
    /// The client.
    pub rpc: &'a RpcClient<S>,
    /// The process, as the API takes it.
    pub name: &'a str,
    /// Which log.
    pub stream: LogStream,
}

impl<S: Session> LogSource for RpcLog<'_, S> {
    async fn piece(&self, offset: u64, length: usize) -> Result<LogPiece, SupervisorError> {
        self.rpc.read_log(LogFile::Of(self.name, self.stream), offset, length).await
    }

    async fn size(&self) -> Result<Option<u64>, SupervisorError> {
        self.rpc.log_size(self.name, self.stream).await
    }

    async fn path(&self) -> Result<Option<String>, SupervisorError> {
        self.rpc.log_path(self.name, self.stream).await
    }

    async fn file(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, SupervisorError> {
        self.rpc.shell().read_file(path, offset, length).await
    }

    async fn file_size(&self, path: &str) -> Result<u64, SupervisorError> {
        self.rpc.shell().file_size(path).await
    }
}

/// What came next in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogNews {
    /// What was written, in order.
    pub bytes: Vec<u8>,
    /// Whether the file behind it is another one now: what comes next is from its beginning.
    pub rotated: bool,
    /// Whether there may be more already.
    pub more: bool,
}

/// How far a log was read.
#[derive(Debug, Clone)]
pub struct LogReader {
    /// Whether commands may be run on the node where supervisord cannot tell what is wanted.
    may_run: bool,
    /// The file, where it is read by a command: it is not UTF-8, or past 2 GiB.
    by_command: Option<String>,
    offset: u64,
    /// The last bytes before `offset`.
    context: Vec<u8>,
    /// The size at which supervisord could not tell what came: the end of a character may be missing.
    stuck: Option<u64>,
}

impl LogReader {
    /// Nothing was read yet.
    #[must_use]
    pub const fn new(may_run: bool) -> Self {
        Self { may_run, by_command: None, offset: 0, context: Vec::new(), stuck: None }
    }

    /// How far it was read.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes to the beginning of the last `lines`. Returns the size of the log, which is 0 if it was not written yet.
    ///
    /// # Errors
    /// [`no_log`] for a log that goes to no file; else what kept it from being read.
    pub async fn begin(&mut self, source: &impl LogSource, lines: usize) -> Result<u64, SupervisorError> {
        let size = self.size(source).await?;
        if size == 0 && source.path().await?.is_none() {
            return Err(no_log());
        }
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
                // The end of the last line begins no other.
                text = text.strip_suffix(b"\n").unwrap_or(text);
            }
            while wanted > 0
                && let Some(place) = text.iter().rposition(|byte| *byte == b'\n')
            {
                first = start + u64::try_from(place).unwrap_or_default() + 1;
                wanted -= 1;
                text = text.get(..place).unwrap_or_default();
            }
            if bytes.is_empty() || start >= end {
                break;
            }
            end = start;
        }
        if wanted > 0 && end == 0 {
            first = 0;
        }
        self.offset = first;
        let before = first.saturating_sub(u64::try_from(CONTEXT).unwrap_or_default());
        self.context = if first == 0 { Vec::new() } else { self.read_whole(source, before, first).await?.1 };
        Ok(size)
    }

    /// Reads what comes next, at most 32 KiB and what an old file may still hold. Empty: nothing has come.
    ///
    /// # Errors
    /// What kept it from being read; the reader can go on later, over another connection.
    pub async fn next(&mut self, source: &impl LogSource) -> Result<LogNews, SupervisorError> {
        if let Some(path) = self.by_command.clone() {
            return self.next_by_command(source, &path).await;
        }
        if let Some(stuck) = self.stuck.take()
            && self.size(source).await? == stuck
        {
            self.take_command(source).await?;
            return Ok(LogNews { more: true, ..LogNews::default() });
        }
        let known = self.context.len();
        match source.piece(self.context_start(), known + PIECE).await {
            Ok(LogPiece::Bytes(bytes)) => match bytes.strip_prefix(self.context.as_slice()) {
                Some(new) => Ok(self.took(new, bytes.len() >= known + PIECE)),
                None => self.rotated(source).await,
            },
            Ok(LogPiece::NotText) => self.not_text(source).await,
            Err(SupervisorError::Fault { fault: Fault::NoFile, .. }) if self.offset > 0 => self.rotated(source).await,
            Err(SupervisorError::Fault { fault: Fault::NoFile, .. }) => Ok(LogNews::default()),
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

    /// Notes what was read.
    fn took(&mut self, new: &[u8], more: bool) -> LogNews {
        self.stuck = None;
        self.offset = self.offset.saturating_add(u64::try_from(new.len()).unwrap_or_default());
        self.context.extend_from_slice(new.get(new.len().saturating_sub(CONTEXT)..).unwrap_or(new));
        let spare = self.context.len().saturating_sub(CONTEXT);
        self.context.drain(..spare);
        // supervisord could not tell what begins within a character.
        let inside = self.context.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
        self.context.drain(..inside);
        LogNews { bytes: new.to_vec(), rotated: false, more }
    }

    /// The file is another one. What was written to the old one meanwhile is read too, if that is still there.
    async fn rotated(&mut self, source: &impl LogSource) -> Result<LogNews, SupervisorError> {
        let known = self.context.len();
        let path = if self.may_run { source.path().await? } else { None };
        let mut bytes = Vec::new();
        if let Some(path) = &path
            && known > 0
        {
            // supervisord's own rotation, and logrotate's, move it there.
            match source.file(&format!("{path}.1"), self.context_start(), known + PIECE).await {
                Ok(old) => bytes = old.strip_prefix(self.context.as_slice()).unwrap_or_default().to_vec(),
                Err(error) if error.is_connection_lost() => return Err(error),
                Err(error) => debug!(%error, "the old file was not read"),
            }
        }
        (self.offset, self.stuck) = (0, None);
        self.context.clear();
        if self.by_command.is_some() {
            self.by_command = path;
        }
        Ok(LogNews { bytes, rotated: true, more: true })
    }

    /// supervisord could not tell what comes next: the file is another one, a character has come in part, or it is not
    /// UTF-8. Each attempt that fails costs a page of supervisord's log.
    async fn not_text(&mut self, source: &impl LogSource) -> Result<LogNews, SupervisorError> {
        let (from, known) = (self.context_start(), self.context.len());
        let Some(size) = source.size().await? else {
            self.take_command(source).await?;
            return Ok(LogNews { more: true, ..LogNews::default() });
        };
        if size < self.offset {
            return self.rotated(source).await;
        }
        if known > 0 {
            match source.piece(from, known).await? {
                LogPiece::Bytes(bytes) if bytes == self.context => {}
                LogPiece::Bytes(_) | LogPiece::NotText => return self.rotated(source).await,
            }
        }
        let whole = known + PIECE;
        let there = usize::try_from(size - from).map_or(whole, |there| there.min(whole));
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
        if there - known <= 3 {
            self.stuck = Some(size);
            return Ok(LogNews::default());
        }
        self.take_command(source).await?;
        Ok(LogNews { more: true, ..LogNews::default() })
    }

    /// From now on the file is read by a command.
    async fn take_command(&mut self, source: &impl LogSource) -> Result<(), SupervisorError> {
        if !self.may_run {
            let text = "its log is not UTF-8, and such a log supervisord cannot tell; without --via rpc it is read by a command";
            return Err(SupervisorError::Unsupported(text.to_owned()));
        }
        let path = source.path().await?.ok_or_else(no_log)?;
        debug!(path, "read by a command from now on");
        self.by_command = Some(path);
        Ok(())
    }

    async fn next_by_command(&mut self, source: &impl LogSource, path: &str) -> Result<LogNews, SupervisorError> {
        // Most of the time nothing has come, and no command is needed to know that.
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

    /// The bytes between two places, the first of them a few later if it is within a character.
    async fn read_whole(
        &mut self,
        source: &impl LogSource,
        start: u64,
        end: u64,
    ) -> Result<(u64, Vec<u8>), SupervisorError> {
        let length = |start: u64| usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        if self.by_command.is_none() {
            for start in (start..=start.saturating_add(3)).take_while(|start| *start < end) {
                if let LogPiece::Bytes(bytes) = source.piece(start, length(start)).await? {
                    return Ok((start, bytes));
                }
            }
            self.take_command(source).await?;
        }
        let path = self.by_command.clone().unwrap_or_default();
        Ok((start, source.file(&path, start, length(start)).await?))
    }
}
