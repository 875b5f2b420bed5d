//! Runs a program on its own terminal, made by `script`: its display, its input, and the terminal's state afterwards.

use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The limit after which an operation counts as hanging.
const PATIENCE: Duration = Duration::from_secs(180);

/// A terminal, and the program that runs on it.
pub(crate) struct Terminal {
    script: Child,
    /// `None` after the input was closed.
    keyboard: Option<ChildStdin>,
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    rows: u16,
    columns: u16,
    folder: PathBuf,
}

/// The state in which a program has left its terminal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// The exit code of the program, in the shell's encoding.
    pub(crate) code: Option<i32>,
    /// Whether `stty -g` prints the same before and after.
    pub(crate) has_same_settings: bool,
    pub(crate) is_on_alternate_screen: bool,
    pub(crate) is_cursor_hidden: bool,
}

impl Left {
    /// Unchanged settings, with this exit code.
    pub(crate) const fn as_found(code: i32) -> Self {
        Self { code: Some(code), has_same_settings: true, is_on_alternate_screen: false, is_cursor_hidden: false }
    }
}

impl Terminal {
    /// Runs `command`, whose arguments have no spaces, on a terminal of that size. `folder` holds a few temporary
    /// files.
    pub(crate) fn start(command: &Command, rows: u16, columns: u16, folder: &Path) -> Self {
        let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        let place = folder.display();
        // The inner shell execs the program, so that its pid is known. The outer shell outlives it, and also a Ctrl-C,
        // which reaches all processes on the terminal.
        let line = format!(
            "trap : INT; stty rows {rows} columns {columns}; stty -g >{place}/before; \
             sh -c 'echo $$ >{place}/pid; exec {}'; code=$?; stty -g >{place}/after; exit $code",
            words.join(" ")
        );
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        script.env_clear().envs([("TERM", "xterm-256color"), ("PATH", "/usr/bin:/bin")]);
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().expect("cannot run script (package util-linux)");
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (shared, mut pipe) = (Arc::clone(&bytes), script.stdout.take().expect("no pipe"));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
            }
        });
        let keyboard = script.stdin.take();
        Self { script, keyboard, bytes, reader: Some(reader), rows, columns, folder: folder.to_owned() }
    }

    fn screen(&self) -> vt100::Screen {
        let size = |number| NonZeroU16::new(number).expect("the size is zero");
        let mut terminal = vt100::Parser::new(size(self.rows), size(self.columns), 0);
        terminal.process(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        terminal.screen().clone()
    }

    /// The current display, one line per row.
    pub(crate) fn text(&self) -> String {
        let rows: Vec<String> = self.screen().rows(0, self.columns).map(|row| row.trim_end().to_owned()).collect();
        rows.join("\n")
    }

    /// Waits until the display contains this text.
    #[track_caller]
    pub(crate) fn until(&self, words: &str) {
        self.until_screen(words, |text| text.contains(words));
    }

    /// Waits until the display meets a condition.
    #[track_caller]
    pub(crate) fn until_screen(&self, what: &str, is_wanted: impl Fn(&str) -> bool) {
        let began = Instant::now();
        while !is_wanted(&self.text()) {
            assert!(began.elapsed() < PATIENCE, "timed out waiting for {what:?}; the display is:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends key presses.
    pub(crate) fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().expect("the input is closed");
        keyboard.write_all(keys.as_bytes()).and_then(|()| keyboard.flush()).expect("cannot write to the terminal");
    }

    /// Sends the program a signal by name, such as `TERM`.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let pid = fs::read_to_string(self.folder.join("pid")).expect("no pid of the program");
        let kill =
            Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("cannot run the shell");
        assert!(kill.success(), "cannot send {name}");
    }

    /// Hangs up the terminal, as when its window is closed, and waits until the program has ended.
    #[track_caller]
    pub(crate) fn close(mut self) {
        let pid = fs::read_to_string(self.folder.join("pid")).expect("no pid of the program");
        self.script.kill().and_then(|()| self.script.wait()).expect("cannot hang up the terminal");
        let (process, began) = (Path::new("/proc").join(pid.trim()), Instant::now());
        while process.exists() {
            assert!(began.elapsed() < PATIENCE, "the program still runs without a terminal");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Closes the input and waits for the end. The display can still be read afterwards.
    #[track_caller]
    pub(crate) fn finish(&mut self) -> Left {
        self.keyboard = None;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.script.try_wait().expect("cannot query the child") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "the program does not end; the display is:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("cannot read the terminal");
        }
        let settings = |name: &str| fs::read_to_string(self.folder.join(name)).expect("no settings of the terminal");
        let screen = self.screen();
        Left {
            code: status.code(),
            has_same_settings: settings("before") == settings("after"),
            is_on_alternate_screen: screen.alternate_screen(),
            is_cursor_hidden: screen.hide_cursor(),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.script.try_wait().is_ok_and(|status| status.is_none()) {
            // This fails only if the process has ended meanwhile, which is fine.
            drop(self.script.kill());
            drop(self.script.wait());
        }
    }
}
