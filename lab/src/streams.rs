//! The three streams of a command on a simulated node: where its output goes, and where its input is from.
//!
//! It uses nothing of the lab. Always holds: a command that writes finds out when nobody reads; input that one command
//! leaves is there for the next.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};

/// Output of a command on its way to the client: true for stderr.
pub(crate) type Chunk = (bool, Bytes);

#[derive(Clone)]
enum Sink {
    Out,
    Err,
    Null,
}

/// The three streams of a command.
#[derive(Clone)]
pub(crate) struct Io {
    sender: mpsc::Sender<Chunk>,
    out: Sink,
    err: Sink,
    input: Option<Arc<Mutex<Input>>>,
}

/// Stdin: its packets, and the rest of one that was not used yet.
struct Input {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    left: Bytes,
}

impl Input {
    async fn next(&mut self) -> Option<Bytes> {
        if self.left.is_empty() { self.receiver.recv().await } else { Some(std::mem::take(&mut self.left)) }
    }
}

impl Io {
    pub(crate) fn new(sender: mpsc::Sender<Chunk>, input: mpsc::UnboundedReceiver<Bytes>) -> Self {
        Self {
            sender,
            out: Sink::Out,
            err: Sink::Err,
            input: Some(Arc::new(Mutex::new(Input { receiver: input, left: Bytes::new() }))),
        }
    }

    async fn send(&self, sink: &Sink, text: &str) -> bool {
        let err = match sink {
            Sink::Null => return true,
            Sink::Out => false,
            Sink::Err => true,
        };
        text.is_empty() || self.sender.send((err, Bytes::copy_from_slice(text.as_bytes()))).await.is_ok()
    }

    /// Writes to stdout; false when nobody reads any more.
    pub(crate) async fn out(&self, text: &str) -> bool {
        self.send(&self.out, text).await
    }

    /// Writes to stderr; false when nobody reads any more.
    pub(crate) async fn err(&self, text: &str) -> bool {
        self.send(&self.err, text).await
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Ends when nobody reads any more.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }

    pub(crate) fn out_null(mut self) -> Self {
        self.out = Sink::Null;
        self
    }

    pub(crate) fn err_null(mut self) -> Self {
        self.err = Sink::Null;
        self
    }

    pub(crate) fn err_to_out(mut self) -> Self {
        self.err = self.out.clone();
        self
    }

    pub(crate) fn out_to_err(mut self) -> Self {
        self.out = self.err.clone();
        self
    }

    /// The two ends of a pipe: one that reads from it and writes where this one does, and one that writes into it.
    /// Stderr goes past the pipe.
    pub(crate) fn pipe(&self) -> (Self, Self) {
        let (sender, mut chunks) = mpsc::channel::<Chunk>(16);
        let (into, receiver) = mpsc::unbounded_channel();
        let past = self.clone();
        tokio::spawn(async move {
            while let Some((err, bytes)) = chunks.recv().await {
                if err {
                    past.err(&String::from_utf8_lossy(&bytes)).await;
                } else if into.send(bytes).is_err() {
                    break;
                }
            }
        });
        let input = Some(Arc::new(Mutex::new(Input { receiver, left: Bytes::new() })));
        (Self { input, ..self.clone() }, Self { sender, out: Sink::Out, err: Sink::Err, input: None })
    }

    pub(crate) fn no_input(&self) -> Self {
        Self { input: None, ..self.clone() }
    }

    /// The same streams with this and no more on stdin.
    pub(crate) fn with_input(&self, bytes: Bytes) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        drop(sender);
        let input = Some(Arc::new(Mutex::new(Input { receiver, left: bytes })));
        Self { input, ..self.clone() }
    }

    /// So many bytes of stdin; what follows stays to be read. `None` if it ends before.
    pub(crate) async fn read_exactly(&self, length: usize) -> Option<Vec<u8>> {
        let mut wanted = Vec::new();
        let mut input = self.input.as_ref()?.lock().await;
        while wanted.len() < length {
            let mut piece = input.next().await?;
            input.left = piece.split_off(piece.len().min(length - wanted.len()));
            wanted.extend_from_slice(&piece);
        }
        Some(wanted)
    }

    /// The next piece of stdin; `None` at its end.
    pub(crate) async fn read(&self) -> Option<Bytes> {
        self.input.as_ref()?.lock().await.next().await
    }

    /// A line of stdin without its end, and whether that end came; what follows stays to be read.
    async fn next_line(&self) -> Option<(String, bool)> {
        let mut input = self.input.as_ref()?.lock().await;
        let mut line = Vec::new();
        let whole = loop {
            match input.next().await {
                None if line.is_empty() => return None,
                None => break false,
                Some(mut bytes) => {
                    if let Some(end) = bytes.iter().position(|b| *b == b'\n') {
                        line.extend_from_slice(&bytes.split_to(end));
                        input.left = bytes.split_off(1);
                        break true;
                    }
                    line.extend_from_slice(&bytes);
                }
            }
        };
        Some((String::from_utf8_lossy(&line).into_owned(), whole))
    }

    /// A line of stdin, the last one also when it has no end.
    pub(crate) async fn read_line(&self) -> Option<String> {
        self.next_line().await.map(|(line, _)| line)
    }

    /// A line of stdin. One without its end is none, as for a shell's `read`.
    pub(crate) async fn read_whole_line(&self) -> Option<String> {
        self.next_line().await.and_then(|(line, whole)| whole.then_some(line))
    }
}
