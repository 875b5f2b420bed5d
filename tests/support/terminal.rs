//! A program at a terminal of its own, which `script` makes: what it shows there, what is typed, and how it leaves it.

use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(180);

/// A terminal, and what runs there.
pub(crate) struct Terminal {
    script: Child,
    /// None: nobody types any more.
    keyboard: Option<ChildStdin>,
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    rows: u16,
    columns: u16,
    folder: PathBuf,
}

/// How a program has left its terminal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// The exit code of the program, as a shell has it.
    pub(crate) code: Option<i32>,
    /// Whether `stty -g` says the same before and after.
    pub(crate) has_same_settings: bool,
    pub(crate) is_on_alternate_screen: bool,
    pub(crate) is_cursor_hidden: bool,
}

impl Left {
    /// As it was found, with this exit code.
    pub(crate) const fn as_found(code: i32) -> Self {
        Self { code: Some(code), has_same_settings: true, is_on_alternate_screen: false, is_cursor_hidden: false }
    }
}

impl Terminal {
    /// Runs `command`, of which no word has a blank, at a terminal of that size. `folder`: for a few files.
    pub(crate) fn start(command: &Command, rows: u16, columns: u16, folder: &Path) -> Self {
        let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        let place = folder.display();
        // The inner shell becomes the program, so that its number is known; the outer one outlives it, also Ctrl-C, which
        // reaches all that run there.
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
        let mut script = script.spawn().expect("script, of util-linux");
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (shared, mut pipe) = (Arc::clone(&bytes), script.stdout.take().expect("a pipe"));
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
        let size = |number| NonZeroU16::new(number).expect("a size");
        let mut terminal = vt100::Parser::new(size(self.rows), size(self.columns), 0);
        terminal.process(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        terminal.screen().clone()
    }

    /// What it shows now, a line a row.
    pub(crate) fn text(&self) -> String {
        let rows: Vec<String> = self.screen().rows(0, self.columns).map(|row| row.trim_end().to_owned()).collect();
        rows.join("\n")
    }

    /// Waits until it shows these words.
    #[track_caller]
    pub(crate) fn until(&self, words: &str) {
        self.until_screen(words, |text| text.contains(words));
    }

    /// Waits until what it shows is as wanted.
    #[track_caller]
    pub(crate) fn until_screen(&self, what: &str, is_wanted: impl Fn(&str) -> bool) {
        let began = Instant::now();
        while !is_wanted(&self.text()) {
            assert!(began.elapsed() < PATIENCE, "never showed {what:?}; now:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().expect("somebody who types");
        keyboard.write_all(keys.as_bytes()).and_then(|()| keyboard.flush()).expect("a keyboard");
    }

    /// Sends the program a signal by name, `TERM`.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let pid = fs::read_to_string(self.folder.join("pid")).expect("its number");
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("a shell");
        assert!(kill.success(), "cannot send {name}");
    }

    /// Takes the terminal away, as when its window is closed, and waits until the program has ended.
    #[track_caller]
    pub(crate) fn close(mut self) {
        let pid = fs::read_to_string(self.folder.join("pid")).expect("its number");
        self.script.kill().and_then(|()| self.script.wait()).expect("a terminal to close");
        let (process, began) = (Path::new("/proc").join(pid.trim()), Instant::now());
        while process.exists() {
            assert!(began.elapsed() < PATIENCE, "it goes on without a terminal");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end; nobody types any more. What it shows then can still be read.
    #[track_caller]
    pub(crate) fn finish(&mut self) -> Left {
        self.keyboard = None;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.script.try_wait().expect("a child") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end; now:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the terminal is read");
        }
        let settings = |name: &str| fs::read_to_string(self.folder.join(name)).expect("the terminal's settings");
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
            // It can only have ended in between, which is as good.
            drop(self.script.kill());
            drop(self.script.wait());
        }
    }
}
