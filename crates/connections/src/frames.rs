//! Messages on a stream: a length, then the bytes.
//!
//! Here live [`send`] and [`receive`], for messages in JSON, and [`PieceReader`], for the pieces of a command's streams.
//! Invariants: a message is bounded before it is read; the bytes of a message in JSON, which may hold a secret,
//! are overwritten when it has been read or sent. Uses nothing of ours.

use std::io;

use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest message in JSON, in bytes.
const LONGEST_MESSAGE: u32 = 16 << 20;

/// The longest piece of a command's streams, in bytes.
pub(crate) const LONGEST_PIECE: usize = 64 << 10;

/// Sends a message.
pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    // Counted first: bytes that grow are copied, and leave a copy of the secret in them behind.
    let mut counted = ByteCount(0);
    serde_json::to_writer(&mut counted, message)?;
    let length = u32::try_from(counted.0).ok().filter(|&length| length <= LONGEST_MESSAGE);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a message is too long"))?;
    // One write, so that the other end wakes up once.
    let mut bytes = Zeroizing::new(Vec::with_capacity(counted.0 + 4));
    bytes.extend(length.to_be_bytes());
    serde_json::to_writer(&mut *bytes, message)?;
    stream.write_all(&bytes).await
}

/// Counts the bytes written.
struct ByteCount(usize);

impl io::Write for ByteCount {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Receives a message; none if the other end has closed the stream. Not to be dropped before it is done.
pub(crate) async fn receive<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<T>> {
    let length = match stream.read_u32().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > LONGEST_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
    }
    let mut bytes = Zeroizing::new(vec![0; length as usize]);
    stream.read_exact(&mut bytes).await?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// A piece: its kind, and its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StreamPiece {
    pub(crate) kind: u8,
    pub(crate) bytes: Vec<u8>,
}

/// Sends a piece of at most [`LONGEST_PIECE`] bytes.
pub(crate) async fn send_piece(stream: &mut (impl AsyncWrite + Unpin), kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut frame = Vec::with_capacity(bytes.len() + 5);
    frame.extend(length.to_be_bytes());
    frame.push(kind);
    frame.extend(bytes);
    stream.write_all(&frame).await
}

/// Reads pieces.
#[derive(Debug)]
pub(crate) struct PieceReader<S> {
    stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + Unpin> PieceReader<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// The next piece; none if the other end has closed the stream. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> io::Result<Option<StreamPiece>> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            // `read_buf` takes nothing unless it ends, so a call that is dropped loses nothing.
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The piece that was read, if it is whole.
    fn buffered(&mut self) -> io::Result<Option<StreamPiece>> {
        let Some((head, rest)) = self.read.split_at_checked(5) else { return Ok(None) };
        let [a, b, c, d, kind] = *head else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > LONGEST_PIECE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a piece is too long"));
        }
        let Some(bytes) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.read.drain(..5 + length);
        Ok(Some(StreamPiece { kind, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_arrive_as_they_were_sent_however_they_are_cut() {
        let mut sent = Vec::new();
        for (kind, bytes) in [(b'o', "hello"), (b'e', ""), (b'x', "1234")] {
            send_piece(&mut sent, kind, bytes.as_bytes()).await.expect("sent");
        }
        for step in 1..sent.len() {
            let (mut writer, reader) = tokio::io::duplex(step);
            let copied = sent.clone();
            let writing = tokio::spawn(async move { writer.write_all(&copied).await });
            let mut reader = PieceReader::new(reader);
            let mut seen = Vec::new();
            while let Some(frame) = reader.next().await.expect("read") {
                seen.push((frame.kind, String::from_utf8(frame.bytes).expect("text")));
            }
            writing.await.expect("joined").expect("written");
            assert_eq!(seen, [(b'o', "hello".to_owned()), (b'e', String::new()), (b'x', "1234".to_owned())]);
        }
    }

    #[tokio::test]
    async fn lengths_are_bounded() {
        let mut piece = PieceReader::new(&[0xff; 16][..]);
        assert_eq!(piece.next().await.expect_err("refused").kind(), io::ErrorKind::InvalidData);
        let message = receive::<String>(&mut &[0xff; 16][..]).await;
        assert_eq!(message.expect_err("refused").kind(), io::ErrorKind::InvalidData);
        // Cut short is an error, closed between messages is none.
        assert!(receive::<String>(&mut &[0, 0, 0, 9, b'"'][..]).await.is_err());
        assert_eq!(receive::<String>(&mut &[][..]).await.expect("closed"), None);
        let mut sent = Vec::new();
        send(&mut sent, &"text").await.expect("sent");
        assert_eq!(receive::<String>(&mut &*sent).await.expect("read").as_deref(), Some("text"));
    }
}
