//! A channel of a connection, carried to a command over its stream.
//!
//! Here lives [`channel`]. Invariants: what one end does not read, the other cannot send: nothing is buffered
//! beyond a piece and what the channel itself allows; the channel is closed when the command closes the stream.

use std::io;
use std::time::Duration;

use ctl_transport::{OutputPiece, RemoteCommand, Session, SshCommand, SshSession, TransportError};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::frames::{LONGEST_PIECE, PieceReader, StreamPiece, send, send_piece};
use crate::protocol::{ChannelRequest, HolderReply, piece};

/// Pieces of input that wait for the node to take them.
const INPUT_AHEAD: usize = 4;

/// The most that is read at once: several answers of a supervisord. A buffer for each direction of each channel.
const READ_AT_ONCE: usize = 4 << 10;

/// How long a node may take to take the input of a command that nobody waits for any longer.
const LAST_INPUT: Duration = Duration::from_secs(3);

/// How long the close of a channel may come after the end of its stream.
const CLOSE_FOLLOWS: Duration = Duration::from_millis(100);

/// Opens a channel and carries it until one end closes it. `is_gone`: whether the connection ended before it was used.
pub(crate) async fn channel(
    session: &SshSession,
    channel: &ChannelRequest,
    stream: &mut UnixStream,
    is_gone: impl Fn() -> bool,
) -> io::Result<()> {
    let failed = |error: TransportError| if is_gone() { HolderReply::Gone } else { HolderReply::Failed(error) };
    match channel {
        ChannelRequest::Command { command, is_short } => {
            let started = if *is_short { session.start_short(command).await } else { session.start(command).await };
            match started {
                Ok(command) => {
                    send(stream, &HolderReply::Opened).await?;
                    carry_command(command, stream).await
                }
                Err(error) => send(stream, &failed(error)).await,
            }
        }
        ChannelRequest::Unix { path } => match session.open_unix(path).await {
            Ok(opened) => {
                send(stream, &HolderReply::Opened).await?;
                carry_bytes(opened, stream).await
            }
            Err(error) => send(stream, &failed(error)).await,
        },
        ChannelRequest::Tcp { host, port } => match session.open_tcp(host, *port).await {
            Ok(opened) => {
                send(stream, &HolderReply::Opened).await?;
                carry_bytes(opened, stream).await
            }
            Err(error) => send(stream, &failed(error)).await,
        },
    }
}

/// Carries bytes both ways. The end of the command's side closes the channel.
async fn carry_bytes(opened: impl AsyncRead + AsyncWrite, stream: &mut UnixStream) -> io::Result<()> {
    let (mut from_node, mut to_node) = tokio::io::split(opened);
    let (mut from_command, mut to_command) = stream.split();
    let mut from_command = BufReader::with_capacity(READ_AT_ONCE, &mut from_command);
    let mut sending = Box::pin(tokio::io::copy_buf(&mut from_command, &mut to_node));
    tokio::select! {
        sent = &mut sending => {
            drop(sending);
            end_stream(&mut from_node, &mut to_node).await;
            return sent.map(drop);
        }
        received = receive_all(&mut from_node, &mut to_command) => received?,
    };
    to_command.shutdown().await?;
    // Closing a stream with unread bytes in it would take away what the other end has not read yet.
    sending.await.map(drop)
}

async fn receive_all(from_node: impl AsyncRead + Unpin, to_command: &mut (impl AsyncWrite + Unpin)) -> io::Result<u64> {
    tokio::io::copy_buf(&mut BufReader::with_capacity(READ_AT_ONCE, from_node), to_command).await
}

/// Ends the command's side and lets the node close the channel, if it does so soon: see [`SshCommand::finish`].
async fn end_stream(from_node: &mut (impl AsyncRead + Unpin), to_node: &mut (impl AsyncWrite + Unpin)) {
    let ended = async {
        to_node.shutdown().await?;
        receive_all(from_node, &mut tokio::io::sink()).await
    };
    if let Ok(Ok(_)) = tokio::time::timeout(LAST_INPUT, ended).await {
        // The end of the stream comes right before the close of the channel, which the library reads meanwhile.
        tokio::time::sleep(CLOSE_FOLLOWS).await;
    }
}

/// Carries the streams of a command.
async fn carry_command(mut command: SshCommand, stream: &mut UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let (queued, mut input) = mpsc::channel(INPUT_AHEAD);
    let mut reading = Box::pin(read_input(PieceReader::new(read), queued));
    let mut carrying = Box::pin(async {
        loop {
            tokio::select! {
                frame = input.recv() => match frame {
                    Some(StreamPiece { kind: piece::INPUT, bytes }) => {
                        command.write(&bytes).await.map_err(|error| io::Error::other(error.to_string()))?;
                    }
                    // `CLOSE`, or the end of the stream, which means the same. Nobody reads any longer.
                    Some(_) | None => {
                        command.finish().await;
                        return Ok::<(), io::Error>(());
                    }
                },
                output = command.next() => match output {
                    Some(OutputPiece::Stdout(bytes)) => send_bytes(&mut write, piece::STDOUT, &bytes).await?,
                    Some(OutputPiece::Stderr(bytes)) => send_bytes(&mut write, piece::STDERR, &bytes).await?,
                    Some(OutputPiece::Exit(Some(code))) => {
                        send_piece(&mut write, piece::EXIT, &code.to_be_bytes()).await?;
                    }
                    Some(OutputPiece::Exit(None)) => {
                        let signal = command.signal().unwrap_or_default().to_owned();
                        send_piece(&mut write, piece::SIGNAL, signal.as_bytes()).await?;
                    }
                    None => {
                        write.shutdown().await?;
                        return Ok(());
                    }
                },
            }
        }
    });
    tokio::select! {
        carried = &mut carrying => carried?,
        read = &mut reading => {
            // Nobody is there any longer. Data sent before still goes to the node, if it takes it.
            drop(tokio::time::timeout(LAST_INPUT, carrying).await);
            return read;
        }
    }
    drop(carrying);
    // As in `carry_bytes`.
    reading.await
}

/// Reads pieces until the stream is closed; those that nobody takes any longer are dropped.
async fn read_input(
    mut reader: PieceReader<impl AsyncRead + Unpin>,
    queue: mpsc::Sender<StreamPiece>,
) -> io::Result<()> {
    while let Some(frame) = reader.next().await? {
        drop(queue.send(frame).await);
    }
    Ok(())
}

async fn send_bytes(write: &mut (impl AsyncWrite + Unpin), kind: u8, bytes: &[u8]) -> io::Result<()> {
    for bytes in bytes.chunks(LONGEST_PIECE) {
        send_piece(write, kind, bytes).await?;
    }
    Ok(())
}
