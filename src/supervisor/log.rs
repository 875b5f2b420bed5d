//! What services have written: their logs, and supervisord's own, read through supervisord.
//!
//! Here live [`LogFile`], the reading of pieces over XML-RPC, and [`last_lines`], for whoever wants just the end of a
//! log. Facts that shape it (supervisor 3.0 to 4.2.5, `options.py` and `rpcinterface.py`): `readProcess…Log(name, offset, length)`
//! reads a piece, and everything to the end for length 0; a negative offset with length 0 reads so many bytes at the
//! end; `tailProcess…Log(name, 0, 0)` tells the size, and 0 for a file that is missing; a log that is written to no file is told as
//! missing. On Python 3 a piece that is not UTF-8, or cuts a character, makes supervisord raise: it answers HTTP 500, and
//! writes a page into its own log. So what failed once is not tried again and again. What always holds: what is read
//! is bounded, and is exactly the bytes of the file.

use base64::Engine as _;

use super::command::NodeShell;
use super::line_buffer::LineBuffer;
use super::rpc::{RpcAnswer, RpcClient};
use super::{ProcessInfo, RpcFault, SupervisorClient, SupervisorError, xmlrpc};
use crate::event::LogStream;
use crate::transport::Session;

/// Most that is read of a log in one request.
pub const PIECE: usize = 32 * 1024;

/// Most that [`last_lines`] reads.
const END: usize = 256 * 1024;

/// A log of a supervisord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFile<'a> {
    /// supervisord's own.
    Own,
    /// One of a process: its name as the API takes it, always with the group.
    Of(&'a str, LogStream),
}

/// What came of reading a piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPiece {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// supervisord could not tell it: it cuts a character, or it is not UTF-8.
    NotText,
}

impl<S: Session> RpcClient<S> {
    /// At most `length` bytes of a log from `offset` on; none past its end.
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call; [`RpcFault::NoFile`] if there is no such file.
    pub async fn read_log(&self, log: LogFile<'_>, offset: u64, length: usize) -> Result<LogPiece, SupervisorError> {
        let (Ok(offset), Ok(length)) = (i32::try_from(offset), i32::try_from(length.max(1))) else {
            return Err(SupervisorError::Unsupported("logs past 2 GiB cannot be read through supervisord".to_owned()));
        };
        self.piece(log, offset, length).await
    }

    /// The last bytes of a log, at most so many.
    ///
    /// # Errors
    /// As [`RpcClient::read_log`].
    pub async fn end_of_log(&self, log: LogFile<'_>, bytes: usize) -> Result<LogPiece, SupervisorError> {
        let bytes = i32::try_from(bytes.max(1)).unwrap_or(i32::MAX);
        // A character that is cut at the beginning has at most three more bytes.
        for more in 0..=3 {
            if let piece @ LogPiece::Bytes(_) = self.piece(log, -(bytes.saturating_add(more)), 0).await? {
                return Ok(piece);
            }
        }
        Ok(LogPiece::NotText)
    }

    async fn piece(&self, log: LogFile<'_>, offset: i32, length: i32) -> Result<LogPiece, SupervisorError> {
        let answer = match log {
            LogFile::Own => self.ask("supervisor.readLog", &(offset, length)).await?,
            LogFile::Of(name, stream) => {
                let method = match stream {
                    LogStream::Stdout => "supervisor.readProcessStdoutLog",
                    LogStream::Stderr => "supervisor.readProcessStderrLog",
                };
                self.ask(method, &(name.to_owned(), offset, length)).await?
            }
        };
        match answer {
            RpcAnswer::Raised => Ok(LogPiece::NotText),
            RpcAnswer::Body(body) => match xmlrpc::raw_text(&body) {
                Some(bytes) => Ok(LogPiece::Bytes(bytes)),
                None => Err(self.no_text(&body)),
            },
        }
    }

    /// Bytes that a process's log has now; 0 also where it is missing. None if supervisord cannot tell: past 2 GiB.
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call.
    pub async fn log_size(&self, name: &str, stream: LogStream) -> Result<Option<u64>, SupervisorError> {
        let method = match stream {
            LogStream::Stdout => "supervisor.tailProcessStdoutLog",
            LogStream::Stderr => "supervisor.tailProcessStderrLog",
        };
        let RpcAnswer::Body(body) = self.ask(method, &(name.to_owned(), 0, 0)).await? else { return Ok(None) };
        let answer = self.decoded(&body)?;
        let size = xmlrpc::items(&answer).and_then(|items| items.get(1)).and_then(xmlrpc::integer);
        Ok(size.and_then(|size| u64::try_from(size).ok()))
    }

    /// Where a process's log is on the node; none if it is written to no file.
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call.
    pub async fn log_path(&self, name: &str, stream: LogStream) -> Result<Option<String>, SupervisorError> {
        let key = match stream {
            LogStream::Stdout => "stdout_logfile",
            LogStream::Stderr => "stderr_logfile",
        };
        let path = self.process_text(name, key).await?;
        Ok(path.filter(|path| !path.is_empty()))
    }
}

impl<S: Session> NodeShell<S> {
    /// At most `length` bytes of a file from `offset` on, read by a command, through sudo where asked.
    ///
    /// # Errors
    /// [`SupervisorError::Permission`] or [`SupervisorError::CommandMissing`] with what the node said, and every error
    /// of running a command.
    pub async fn read_file(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, SupervisorError> {
        let path = shlex::try_quote(path)
            .map_err(|_| SupervisorError::Unsupported("a path contains a NUL character".to_owned()))?;
        let first = offset.saturating_add(1);
        // As text, so that nothing of it is replaced on its way.
        let output = self.ask(|sudo| format!("{sudo}tail -c +{first} -- {path} | head -c {length} | base64")).await?;
        let text: String = output.stdout.split_ascii_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        match output.stderr.lines().find(|line| !line.trim().is_empty()) {
            // A tail that is told that nobody reads on has done its work.
            Some(said) if bytes.as_ref().is_ok_and(Vec::is_empty) => {
                let said: String = said.chars().take(200).collect();
                let denied = said.contains("ermission denied") || said.contains("password is required");
                Err(if denied { SupervisorError::Permission(said) } else { SupervisorError::CommandMissing(said) })
            }
            _ => bytes.map_err(|_| SupervisorError::Protocol("unexpected answer while reading the log".to_owned())),
        }
    }

    /// The size of a file, read by a command, through sudo where asked.
    ///
    /// # Errors
    /// As [`NodeShell::read_file`].
    pub async fn file_size(&self, path: &str) -> Result<u64, SupervisorError> {
        let path = shlex::try_quote(path)
            .map_err(|_| SupervisorError::Unsupported("a path contains a NUL character".to_owned()))?;
        let output = self.ask(|sudo| format!("{sudo}stat -L -c %s -- {path}")).await?;
        output.stdout.trim().parse().map_err(|_| {
            let said: String = output.stderr.trim().chars().take(200).collect();
            SupervisorError::CommandMissing(format!("cannot read the size of its log: {said}"))
        })
    }
}

/// The last lines of one of a process's logs, oldest first and at most `lines`; an empty log has none. At most 256 KiB
/// are read. For a look at one log; whoever follows logs reads them piece by piece.
///
/// # Errors
/// Every [`SupervisorError`] of a call; [`RpcFault::NoFile`] if it has no such log, [`SupervisorError::Unsupported`] where
/// the way to the supervisord cannot read logs.
pub async fn last_lines<S: Session>(
    client: &SupervisorClient<S>,
    process: &ProcessInfo,
    stream: LogStream,
    lines: usize,
) -> Result<Vec<String>, SupervisorError> {
    let bytes = lines.saturating_mul(256).clamp(4096, END);
    let (read, whole) = match client {
        SupervisorClient::Rpc(rpc) => {
            let name = process.api_name();
            if let Some(error) = kept_nowhere(stream, rpc.log_path(&name, stream).await?.as_deref()) {
                return Err(error);
            }
            match rpc.end_of_log(LogFile::Of(&name, stream), bytes).await? {
                LogPiece::Bytes(read) => (read, bytes),
                LogPiece::NotText => {
                    let path = rpc.log_path(&name, stream).await?.ok_or_else(|| no_log(stream))?;
                    let size = rpc.shell().file_size(&path).await?;
                    let start = size.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
                    (rpc.shell().read_file(&path, start, bytes).await?, bytes)
                }
            }
        }
        SupervisorClient::Supervisorctl(control) => (control.tail(&process.full_name(), stream, bytes).await?, bytes),
        SupervisorClient::Service(_) => return Err(no_logs_by_init()),
    };
    Ok(LineBuffer::last_of(&read, read.len() >= whole, lines))
}

/// A process whose log is kept in no file.
#[must_use]
pub fn no_log(stream: LogStream) -> SupervisorError {
    SupervisorError::Fault { fault: RpcFault::NoFile, text: format!("supervisord keeps no {stream} log for it") }
}

/// Why no log is kept at a path that supervisord reports for one: none, or no file but what supervisord's own output, or
/// nothing, goes to. Of these it reads nothing, and says that nothing was written.
#[must_use]
pub fn kept_nowhere(stream: LogStream, path: Option<&str>) -> Option<SupervisorError> {
    let path = match path {
        None => return Some(no_log(stream)),
        Some(path) => path,
    };
    let is_device = path.starts_with("/dev/") && !path.starts_with("/dev/shm/");
    let is_descriptor = path.starts_with("/proc/") && path.contains("/fd/");
    let path: String = path.chars().take(200).collect();
    (is_device || is_descriptor).then(|| SupervisorError::Fault {
        fault: RpcFault::NoFile,
        text: format!("supervisord keeps no {stream} log for it: it writes to {path}"),
    })
}

/// The init wrapper passes no log on.
#[must_use]
pub fn no_logs_by_init() -> SupervisorError {
    SupervisorError::Unsupported("the init wrapper cannot read logs; use --via rpc or supervisorctl".to_owned())
}
