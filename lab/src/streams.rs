//! The three streams of a command on a simulated node: the source of its input and the target of its output.
//!
//! It uses no other module of the lab. Invariants: a command that writes learns when nobody reads; the next command gets
//! input that the previous one did not read.

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

/// Stdin: its packets, and the unread rest of the current one.
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

    /// Writes to stdout. Returns false if nobody reads it.
    pub(crate) async fn out(&self, text: &str) -> bool {
        self.send(&self.out, text).await
    }

    /// Writes to stderr. Returns false if nobody reads it.
    pub(crate) async fn err(&self, text: &str) -> bool {
        self.send(&self.err, text).await
    }

    /// Whether the reader is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Resolves when the reader is gone.
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

    /// The two ends of a pipe: one that reads from it and writes to the output of `self`, and one that writes into it.
    /// Stderr bypasses the pipe.
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

    /// The same streams with exactly these bytes on stdin.
    pub(crate) fn with_input(&self, bytes: Bytes) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        drop(sender);
        let input = Some(Arc::new(Mutex::new(Input { receiver, left: bytes })));
        Self { input, ..self.clone() }
    }

    /// Reads `length` bytes of stdin and leaves the rest unread. `None` if stdin ends before.
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

    /// A line of stdin without its line end, and whether the line end was present; the rest stays unread.
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

    /// A line of stdin. The last line need not have a line end.
    pub(crate) async fn read_line(&self) -> Option<String> {
        self.next_line().await.map(|(line, _)| line)
    }

    /// A line of stdin. A line without a line end does not count, as for a shell's `read`.
    pub(crate) async fn read_whole_line(&self) -> Option<String> {
        self.next_line().await.and_then(|(line, whole)| whole.then_some(line))
    }
}
