//! A `ctl` that runs on, and what it has printed so far. For the tests of both tiers.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take before it counts as hanging; no test is to come near it.
const PATIENCE: Duration = Duration::from_secs(180);

/// Lines as they come.
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

/// A `ctl` that runs on. Killed when dropped.
pub(crate) struct Following {
    child: Child,
    out: Heard,
    err: Heard,
    readers: Vec<JoinHandle<()>>,
}

impl Following {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("ctl starts");
        let (out, err) = (Heard::default(), Heard::default());
        let readers = vec![
            out.listen(child.stdout.take().expect("its stdout")),
            err.listen(child.stderr.take().expect("its stderr")),
        ];
        Self { child, out, err, readers }
    }

    /// What is on stdout so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.out.lines()
    }

    /// What is on stderr so far.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.err.lines()
    }

    /// Waits until `enough` is true of what is on stdout and on stderr.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut enough: impl FnMut(&[String], &[String]) -> bool) {
        let began = Instant::now();
        while !enough(&self.lines(), &self.notes()) {
            let ended = self.child.try_wait().expect("it can be asked");
            if let Some(status) = ended.filter(|_| !enough(&self.lines(), &self.notes())) {
                panic!("{what}: it ended with {status}\n{self}");
            }
            assert!(began.elapsed() < PATIENCE, "{what}: not in time\n{self}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a line on stdout.
    #[track_caller]
    pub(crate) fn until_line(&mut self, line: &str) {
        self.until(line, |lines, _| lines.iter().any(|known| known == line));
    }

    /// Waits for words on stderr.
    #[track_caller]
    pub(crate) fn until_note(&mut self, words: &str) {
        self.until(words, |_, notes| notes.iter().any(|known| known.contains(words)));
    }

    /// Sends it a signal, `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                for reader in std::mem::take(&mut self.readers) {
                    drop(reader.join());
                }
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end\n{self}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as Ctrl-C does, and waits for its end.
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
