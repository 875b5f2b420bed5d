//! A long-running `ctl`, and its output so far. For tests against the lab and against real nodes.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The limit after which an operation counts as hanging. No test should come near it.
const PATIENCE: Duration = Duration::from_secs(180);

/// Lines in order of arrival.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn listen(&self, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let own = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                own.0.lock().unwrap_or_else(PoisonError::into_inner).push(String::from_utf8_lossy(&line).into_owned());
            }
        })
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A long-running `ctl`. It is killed when dropped.
pub(crate) struct Following {
    child: Child,
    out: Heard,
    err: Heard,
    readers: Vec<JoinHandle<()>>,
}

impl Following {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("cannot start ctl");
        let (out, err) = (Heard::default(), Heard::default());
        let readers = vec![
            out.listen(child.stdout.take().expect("no stdout")),
            err.listen(child.stderr.take().expect("no stderr")),
        ];
        Self { child, out, err, readers }
    }

    /// The lines on stdout so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.out.lines()
    }

    /// The lines on stderr so far.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.err.lines()
    }

    /// Waits until `enough` returns true for the lines on stdout and on stderr.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut enough: impl FnMut(&[String], &[String]) -> bool) {
        let began = Instant::now();
        while !enough(&self.lines(), &self.notes()) {
            let ended = self.child.try_wait().expect("cannot query the process");
            if let Some(status) = ended.filter(|_| !enough(&self.lines(), &self.notes())) {
                panic!("waiting for {what}: ctl ended with {status}\n{self}");
            }
            assert!(began.elapsed() < PATIENCE, "timed out waiting for {what}\n{self}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a line on stdout.
    #[track_caller]
    pub(crate) fn until_line(&mut self, line: &str) {
        self.until(line, |lines, _| lines.iter().any(|known| known == line));
    }

    /// Waits for a text on stderr.
    #[track_caller]
    pub(crate) fn until_note(&mut self, words: &str) {
        self.until(words, |_, notes| notes.iter().any(|known| known.contains(words)));
    }

    /// Sends a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill");
    }

    /// Waits until it ends.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("cannot query the process") {
                for reader in std::mem::take(&mut self.readers) {
                    drop(reader.join());
                }
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "ctl does not end\n{self}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Interrupts it as Ctrl-C does, and waits until it ends.
    #[track_caller]
    pub(crate) fn interrupt(&mut self) {
        self.signal("INT");
        assert_eq!(self.end().code(), Some(130), "{self}");
    }
}

impl std::fmt::Display for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--- stdout\n{}\n--- stderr\n{}\n---", self.lines().join("\n"), self.notes().join("\n"))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
