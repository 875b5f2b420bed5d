//! Runs programs (mostly `ctl`) with a deadline, and collects their output.

use std::fmt;
use std::io::{Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::json_schema::assert_valid;
use super::{PATIENCE, eventually};

/// A running program. It is killed when dropped.
pub(crate) struct Running {
    line: String,
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    /// The stderr output so far.
    said: Arc<Mutex<Vec<u8>>>,
    /// Kept open until the end: `script` hangs up its terminal when its input ends.
    input: Option<ChildStdin>,
}

/// A program that has ended.
pub(crate) struct Finished {
    line: String,
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Running {
    /// Starts `command` and collects its output; its standard input is empty unless the caller has set it.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let line = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let said = Arc::default();
        let stdout = child.stdout.take().map(|pipe| collect(pipe, Arc::default()));
        let stderr = child.stderr.take().map(|pipe| collect(pipe, Arc::clone(&said)));
        Self { line, child, stdout, stderr, said, input: None }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes `input` to its piped standard input, and closes that.
    pub(crate) fn send_input(&mut self, input: &[u8]) {
        self.child.stdin.take().expect("stdin is not a pipe").write_all(input).unwrap();
    }

    /// Waits until stderr contains `words`, and returns all of stderr so far.
    #[track_caller]
    pub(crate) fn until_said(&self, words: &str) -> String {
        eventually(&format!("{words} of {}", self.line), || {
            let said = self.said.lock().unwrap();
            let said = String::from_utf8_lossy(&said).into_owned();
            said.contains(words).then_some(said)
        })
    }

    /// Starts `command` and writes `text` to its standard input.
    pub(crate) fn typing(mut command: Command, text: &str) -> Self {
        command.stdin(Stdio::piped());
        let mut running = Self::start(command);
        running.input = running.child.stdin.take();
        running.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
        running
    }

    /// Writes more to its standard input.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.input.as_mut().expect("stdin is not a pipe").write_all(text.as_bytes()).unwrap();
    }

    /// Whether echo is off on the terminal that `script` gave to its child.
    pub(crate) fn is_typed_unseen(&self) -> bool {
        let look = format!("stty -F /proc/$(pgrep -P {})/fd/0 -a | grep -q -w -e -echo", self.child.id());
        Command::new("sh").args(["-c", &look]).status().is_ok_and(|status| status.success())
    }

    /// Kills the child process of this process, and not the process itself.
    pub(crate) fn kill_child(&self) {
        let kill = format!("kill -KILL $(pgrep -P {})", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success(), "{} has no child", self.line);
    }

    /// Sends a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(status.success(), "cannot send {name} to {}", self.line);
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it ends.
    ///
    /// # Panics
    ///
    /// With the output so far, if it takes longer than [`PATIENCE`].
    pub(crate) fn finish(mut self) -> Finished {
        let began = Instant::now();
        let mut late = false;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > PATIENCE {
                late = true;
                self.child.kill().unwrap();
                break self.child.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let finished = Finished {
            line: self.line.clone(),
            status,
            stdout: self.stdout.take().map(|thread| thread.join().unwrap()).unwrap_or_default(),
            stderr: self.stderr.take().map(|thread| thread.join().unwrap()).unwrap_or_default(),
            took: began.elapsed(),
        };
        assert!(!late, "did not end within {PATIENCE:?}\n{finished}");
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            // This fails only if the process has ended meanwhile, which is fine.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn collect(mut pipe: impl Read + Send + 'static, so_far: Arc<Mutex<Vec<u8>>>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut piece) {
            so_far.lock().unwrap().extend_from_slice(&piece[..length]);
        }
        String::from_utf8_lossy(&so_far.lock().unwrap()).into_owned()
    })
}

/// Parses a document or a line, and checks it against docs/schema/ctl-1.json.
#[track_caller]
pub(crate) fn parsed(json: &str) -> Value {
    let value = serde_json::from_str(json).unwrap_or_else(|error| panic!("stdout is not valid JSON: {error}\n{json}"));
    assert_valid(&value);
    value
}

impl Finished {
    /// Asserts the exit code and returns itself.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "exit code; {}\n{self}", self.status);
        self
    }

    /// The exit code; `None` if a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The only JSON document on stdout, checked against the schema: see [`parsed`].
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        parsed(&self.stdout)
    }

    /// The lines of `-o jsonl`, checked against the schema.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(parsed).collect()
    }

    /// The results of the JSON document.
    #[track_caller]
    pub(crate) fn results(&self) -> Vec<Value> {
        let document = self.json();
        document["results"].as_array().unwrap_or_else(|| panic!("no results in the document\n{self}")).clone()
    }

    /// The only result of `node`.
    #[track_caller]
    pub(crate) fn result(&self, node: &str) -> Value {
        let mut found: Vec<Value> = self.results().into_iter().filter(|result| result["node"] == node).collect();
        assert_eq!(found.len(), 1, "wrong number of results of {node}\n{self}");
        found.remove(0)
    }

    /// The result of one service of `node`.
    #[track_caller]
    pub(crate) fn result_of(&self, node: &str, service: &str) -> Value {
        let mut found: Vec<Value> = self
            .results()
            .into_iter()
            .filter(|result| result["node"] == node && result["service"] == service)
            .collect();
        assert_eq!(found.len(), 1, "wrong number of results of {node}, {service}\n{self}");
        found.remove(0)
    }

    /// `outcome` and `failure.kind`, if any, of every result as `node service outcome kind`, sorted.
    #[track_caller]
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let mut lines: Vec<String> = self
            .results()
            .iter()
            .map(|result| {
                let line =
                    format!("{} {} {}", text(&result["node"]), text(&result["service"]), text(&result["outcome"]));
                match result["failure"]["kind"].as_str() {
                    Some(kind) => format!("{line} {kind}"),
                    None => line,
                }
            })
            .collect();
        lines.sort();
        lines
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "$ {}\n--- {} after {:?}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.line, self.status, self.took, self.stdout, self.stderr
        )
    }
}
