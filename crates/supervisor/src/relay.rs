//! A relay on the node: streams to unix sockets that the login user may not open.
//!
//! One process a connection, started through sudo when it is first needed, carries all streams to all supervisords of the
//! node, on one command channel, as frames. Invariants: nothing is written on the node; the relay looks at no
//! byte that it carries; it ends when its channel ends. It is a Python program because Python is where supervisord is.

use std::collections::HashMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::debug;

use super::error::SupervisorError;
use ctl_remote::script::{READ_AND_RUN, one_line};
use ctl_remote::{EnterError, Sudo, SudoPrompt};
use ctl_transport::{OutputPiece, RemoteCommand, Session, TransportError};

/// How long the relay may take to start; sudo may have to be answered.
const START_TIME: Duration = Duration::from_secs(30);

/// How long a stream may take to open: the relay itself gives up after 5 s.
const OPEN_TIME: Duration = Duration::from_secs(10);

/// Bytes that a stream holds until they are read.
const STREAM_BUFFER: usize = 64 * 1024;

/// Longest data of a frame that is sent.
const FRAME_DATA: usize = 16 * 1024;

/// Kind, number, length.
const HEAD: usize = 5;

const FINDER: &str = include_str!("relay.sh");
const RELAY: &str = include_str!("relay.py");

/// A relay that runs on a node. Streams that it has opened live on when this is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    asks: mpsc::Sender<RelayRequest>,
}

#[derive(Debug)]
enum RelayRequest {
    Open(String, oneshot::Sender<Result<DuplexStream, SupervisorError>>),
    Data(u16, Vec<u8>),
    Close(u16),
}

impl Relay {
    /// Starts the relay.
    ///
    /// # Errors
    /// [`SupervisorError::Sudo`]; [`SupervisorError::CommandMissing`] if it does not run there.
    pub(super) async fn start<S: Session>(session: &S, sudo: &Sudo) -> Result<Self, SupervisorError> {
        match timeout(START_TIME, Self::begin(session, sudo)).await {
            Ok(started) => started,
            Err(_) => Err(SupervisorError::Silent("the relay on the node".to_owned())),
        }
    }

    async fn begin<S: Session>(session: &S, sudo: &Sudo) -> Result<Self, SupervisorError> {
        let passage = SudoPrompt::new();
        let line =
            format!("exec /bin/sh -c {READ_AND_RUN} ctl-relay {} {}", passage.mark(), sudo.prefix(&passage).trim_end());
        debug!(command = line, "starting a relay");
        let mut command = session.start(&line).await?;
        command.write(format!("{}\n", one_line(FINDER)).as_bytes()).await?;
        let rest = match sudo.enter(&mut command, &passage, START_TIME).await {
            Ok(rest) => rest,
            Err(error) => {
                command.close().await;
                return Err(match error {
                    EnterError::Sudo(error) => SupervisorError::Sudo(error),
                    EnterError::Transport(error) => error.into(),
                    // The node has no Python that could run the relay (`relay.sh`).
                    EnterError::Ended { .. } => SupervisorError::CommandMissing(format!("no relay: {error}")),
                });
            }
        };
        // The program is sent only now, because sudo reads its password from the same standard input.
        command.write(format!("{}\n", one_line(RELAY)).as_bytes()).await?;
        let (asks, inbox) = mpsc::channel(16);
        let desk = RelayDesk {
            command,
            frames: FrameReader { rest },
            streams: HashMap::new(),
            last: 0,
            // A weak sender: the desk must not keep its own inbox open, or it would never end.
            asks: asks.downgrade(),
        };
        tokio::spawn(desk.work(inbox));
        Ok(Self { asks })
    }

    /// Whether it still runs, as far as is known.
    pub(super) fn is_alive(&self) -> bool {
        !self.asks.is_closed()
    }

    /// Opens a stream to a socket.
    ///
    /// # Errors
    /// [`SupervisorError::Down`] if nobody listens there, [`SupervisorError::Permission`].
    pub(super) async fn open(&self, path: &str) -> Result<DuplexStream, SupervisorError> {
        let gone = || SupervisorError::Down("the relay on the node has exited".to_owned());
        let (reply, answer) = oneshot::channel();
        // One limit for both waits, since the desk itself may be blocked in a write to the node.
        let asked = async {
            self.asks.send(RelayRequest::Open(path.to_owned(), reply)).await.ok()?;
            answer.await.ok()
        };
        match timeout(OPEN_TIME, asked).await {
            Ok(Some(opened)) => opened,
            Ok(None) => Err(gone()),
            Err(_) => Err(SupervisorError::Silent("the relay on the node".to_owned())),
        }
    }
}

/// Who speaks with the relay.
struct RelayDesk<C: RemoteCommand> {
    command: C,
    frames: FrameReader,
    streams: HashMap<u16, RelayStream>,
    last: u16,
    asks: mpsc::WeakSender<RelayRequest>,
}

enum RelayStream {
    Opening(String, oneshot::Sender<Result<DuplexStream, SupervisorError>>),
    Open(WriteHalf<DuplexStream>),
}

impl<C: RemoteCommand> RelayDesk<C> {
    async fn work(mut self, mut inbox: mpsc::Receiver<RelayRequest>) {
        let ended = loop {
            // Complete frames go to their streams before more input is read, so that they cannot pile up.
            while let Some(frame) = self.frames.next() {
                self.take(frame).await;
            }
            let sent = tokio::select! {
                piece = self.command.next() => match piece {
                    Some(OutputPiece::Stdout(bytes)) => {
                        self.frames.rest.extend(bytes);
                        Ok(())
                    }
                    Some(OutputPiece::Stderr(bytes)) => {
                        debug!(said = %String::from_utf8_lossy(&bytes).trim(), "message from the relay");
                        Ok(())
                    }
                    Some(OutputPiece::Exit(_)) | None => break "it ended",
                },
                ask = inbox.recv() => match ask {
                    // A write that blocks means that the node reads no more, and every stream would wait with it.
                    Some(ask) => timeout(OPEN_TIME, self.ask(ask)).await.unwrap_or_else(|_| Err(silent())),
                    // The handle and all streams were dropped.
                    None => break "no longer needed",
                },
            };
            if sent.is_err() {
                break "its connection closed or is blocked";
            }
        };
        debug!(why = ended, "closing the relay");
        self.command.close().await;
    }

    async fn ask(&mut self, ask: RelayRequest) -> Result<(), TransportError> {
        match ask {
            RelayRequest::Open(path, reply) => {
                // A number is free again once its stream has closed; the relay opens at most 64 at a time (`relay.py`).
                while self.streams.contains_key(&self.last) {
                    self.last = self.last.wrapping_add(1);
                }
                let number = self.last;
                // The next stream gets another number, so that late frames of a closed one find no stream.
                self.last = self.last.wrapping_add(1);
                let frame = frame(b'o', number, path.as_bytes());
                self.streams.insert(number, RelayStream::Opening(path, reply));
                self.command.write(&frame).await
            }
            RelayRequest::Data(number, bytes) => self.command.write(&frame(b'd', number, &bytes)).await,
            RelayRequest::Close(number) if self.streams.remove(&number).is_some() => {
                self.command.write(&frame(b'c', number, &[])).await
            }
            // The node closed the stream first and has forgotten its number.
            RelayRequest::Close(_) => Ok(()),
        }
    }

    /// A frame of the node's. A frame that makes no sense is passed over.
    async fn take(&mut self, frame: RelayFrame) {
        let RelayFrame { kind, number, data } = frame;
        // Most frames consume the state of their stream; the arms below put back the streams that stay.
        match (kind, self.streams.remove(&number)) {
            (b'o', Some(RelayStream::Opening(_, reply))) => {
                let (ours, theirs) = tokio::io::duplex(STREAM_BUFFER);
                let (read, write) = tokio::io::split(ours);
                if let Some(asks) = self.asks.upgrade() {
                    tokio::spawn(pump(read, number, asks));
                }
                self.streams.insert(number, RelayStream::Open(write));
                if reply.send(Ok(theirs)).is_err() {
                    debug!("nothing waits for the stream any longer");
                }
            }
            (b'e', Some(RelayStream::Opening(path, reply))) => {
                if reply.send(Err(refused(&path, &String::from_utf8_lossy(&data)))).is_err() {
                    debug!("nothing waits for the stream any longer");
                }
            }
            (b'd', Some(RelayStream::Open(mut write))) => {
                // A reader that is gone closes the stream: the pump reports it.
                if let Err(error) = write.write_all(&data).await {
                    debug!(%error, "nothing reads the stream any longer");
                }
                // The entry stays until the pump sends the close, which frees the number on the node as well.
                self.streams.insert(number, RelayStream::Open(write));
            }
            (b'c', Some(RelayStream::Open(mut write))) => {
                // The reader still gets the data before the end of the stream.
                if let Err(error) = write.shutdown().await {
                    debug!(%error, "nothing reads the stream any longer");
                }
            }
            (_, Some(stream)) => {
                // A frame that does not fit the state of its stream changes nothing.
                self.streams.insert(number, stream);
            }
            (_, None) => {}
        }
    }
}

fn silent() -> TransportError {
    TransportError::Lost { reason: "the relay on the node accepts no data".to_owned() }
}

/// Sends the bytes that are written to a stream, until it is closed.
async fn pump(mut stream: ReadHalf<DuplexStream>, number: u16, asks: mpsc::Sender<RelayRequest>) {
    let mut buffer = vec![0; FRAME_DATA];
    loop {
        let ask = match stream.read(&mut buffer).await {
            Ok(length) if length > 0 => RelayRequest::Data(number, buffer.get(..length).unwrap_or_default().to_vec()),
            // An error ends the stream as its regular end does: the node only has to know that it is over.
            Ok(_) | Err(_) => RelayRequest::Close(number),
        };
        let is_last = matches!(ask, RelayRequest::Close(_));
        if asks.send(ask).await.is_err() || is_last {
            return;
        }
    }
}

/// Why a socket could not be opened, by its errno on Linux.
fn refused(path: &str, errno: &str) -> SupervisorError {
    match errno {
        "2" => SupervisorError::NoSocket(path.to_owned()),
        "111" => SupervisorError::Down(format!("unix://{path} refused connection")),
        "1" | "13" => SupervisorError::Permission(format!("unix://{path}: permission denied, even through sudo")),
        "110" => SupervisorError::Silent(format!("unix://{path}")),
        other => {
            let code: String = other.chars().take(12).collect();
            SupervisorError::Down(format!("cannot open unix://{path} (errno {code})"))
        }
    }
}

fn frame(kind: u8, number: u16, data: &[u8]) -> Vec<u8> {
    let data = data.get(..data.len().min(FRAME_DATA)).unwrap_or_default();
    let mut frame = Vec::with_capacity(HEAD + data.len());
    frame.push(kind);
    frame.extend(number.to_be_bytes());
    // At most FRAME_DATA.
    frame.extend(u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
    frame.extend(data);
    frame
}

#[derive(Debug, PartialEq, Eq)]
struct RelayFrame {
    kind: u8,
    number: u16,
    data: Vec<u8>,
}

/// Cuts what comes into frames; one is 64 KiB at most.
#[derive(Debug, Default)]
struct FrameReader {
    rest: Vec<u8>,
}

impl FrameReader {
    fn next(&mut self) -> Option<RelayFrame> {
        let [kind, n1, n0, l1, l0, rest @ ..] = self.rest.as_slice() else { return None };
        let size = usize::from(u16::from_be_bytes([*l1, *l0]));
        // None until the whole frame has arrived.
        let frame =
            RelayFrame { kind: *kind, number: u16::from_be_bytes([*n1, *n0]), data: rest.get(..size)?.to_vec() };
        self.rest.drain(..HEAD + size);
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_any_pieces() {
        let mut bytes = frame(b'o', 7, b"/run/x.sock");
        bytes.extend(frame(b'd', 0x1234, &[0; 300]));
        bytes.extend(frame(b'c', 65535, b""));
        for step in [1, 2, 3, 7, bytes.len()] {
            let mut frames = FrameReader::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(step) {
                frames.rest.extend(piece);
                while let Some(frame) = frames.next() {
                    found.push((frame.kind, frame.number, frame.data.len()));
                }
            }
            assert_eq!(found, [(b'o', 7, 11), (b'd', 0x1234, 300), (b'c', 65535, 0)], "{step}");
            assert!(frames.rest.is_empty());
        }
    }

    #[test]
    fn why_a_socket_does_not_open() {
        let kind = |errno| refused("/run/x.sock", errno);
        assert!(matches!(kind("2"), SupervisorError::NoSocket(path) if path == "/run/x.sock"));
        assert_eq!(kind("2").to_string(), "unix:///run/x.sock no such file");
        assert!(matches!(kind("111"), SupervisorError::Down(text) if text.contains("refused")));
        assert!(matches!(kind("13"), SupervisorError::Permission(_)));
        assert!(matches!(kind("110"), SupervisorError::Silent(_)));
        assert!(matches!(kind("nonsense\u{1b}[2J and more"), SupervisorError::Down(text) if text.len() < 80));
    }

    #[test]
    fn the_scripts_are_one_line_each() {
        for script in [FINDER, RELAY] {
            let line = one_line(script);
            assert!(!line.contains('\n') && line.len() < 16 * 1024);
        }
    }
}
