//! The terminal, while the view owns it.
//!
//! Invariants: it is restored when [`TopScreen`] is dropped, and on a panic; only SIGKILL leaves it as it is. A thread
//! reads the keys, and only on request: the library's reader does not return from a terminal that has closed, and the
//! caller must also handle signals.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::TopKey;

/// How long to wait for a key before returning to the caller.
const LOOK: Duration = Duration::from_millis(100);

/// How long the reader may take to release the keyboard.
const HANDING_BACK: Duration = Duration::from_secs(1);

/// Input from the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalInput {
    /// A key with a meaning in the view.
    Key(TopKey),
    /// An event that may change the picture, such as a resize.
    Other,
    /// Nothing yet.
    Nothing,
    /// The terminal has closed.
    Gone,
}

/// The terminal in raw mode, with the alternate screen.
pub struct TopScreen {
    terminal: DefaultTerminal,
    /// Requests one event; dropping it ends the reader.
    ask: Sender<()>,
    told: Receiver<io::Result<Option<Event>>>,
    is_asked: bool,
}

impl TopScreen {
    /// Takes over the terminal.
    ///
    /// # Errors
    /// If raw mode fails, or the thread for the keys cannot start.
    pub fn take() -> io::Result<Self> {
        let ((ask, asked), (tell, told)) = (channel(), channel());
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || read(&asked, &tell))?;
        // This installs a panic hook that restores the terminal before anything is printed.
        Ok(Self { terminal: ratatui::try_init()?, ask, told, is_asked: false })
    }

    /// Draws a frame.
    ///
    /// # Errors
    /// If the write fails.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// Waits briefly for a key.
    ///
    /// # Errors
    /// If the read fails.
    pub fn input(&mut self) -> io::Result<TerminalInput> {
        // Check first: the reader does not return from a closed terminal.
        if has_gone() {
            return Ok(TerminalInput::Gone);
        }
        let ended = || io::Error::other("the reader of keys has ended");
        // One request at a time: an unanswered one still holds the reader.
        if !self.is_asked {
            self.ask.send(()).map_err(|_| ended())?;
            self.is_asked = true;
        }
        // The reader answers within one interval; the second one covers its own delay.
        let event = match self.told.recv_timeout(LOOK * 2) {
            Ok(event) => event?,
            Err(RecvTimeoutError::Timeout) => return Ok(TerminalInput::Nothing),
            Err(RecvTimeoutError::Disconnected) => return Err(ended()),
        };
        self.is_asked = false;
        Ok(match event {
            None => TerminalInput::Nothing,
            Some(Event::Key(key)) => key_of(&key).map_or(TerminalInput::Nothing, TerminalInput::Key),
            Some(Event::Resize(..) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_)) => {
                TerminalInput::Other
            }
        })
    }
}

impl Drop for TopScreen {
    fn drop(&mut self) {
        // The next owner of the terminal needs its keys. A closed terminal needs nothing.
        if self.is_asked {
            drop(self.told.recv_timeout(HANDING_BACK));
        }
        // Ignore an error: `drop` cannot report one, and a closed terminal needs no restoring.
        drop(ratatui::try_restore());
    }
}

/// Reads one event per request.
fn read(asked: &Receiver<()>, tell: &Sender<io::Result<Option<Event>>>) {
    for () in asked {
        // `poll` bounds the wait, so that the reader can notice the end of its owner.
        let event = event::poll(LOOK).and_then(|is_there| is_there.then(event::read).transpose());
        if tell.send(event).is_err() {
            return;
        }
    }
}

/// Whether the other end of the terminal has closed. Its signal may be ignored.
fn has_gone() -> bool {
    let stdin = io::stdin();
    // poll(2) always reports these three events, even if none is requested.
    let mut ends = [PollFd::new(&stdin, PollFlags::empty())];
    poll(&mut ends, Some(&Timespec::default())).is_ok()
        && ends.iter().any(|end| end.revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL))
}

/// The key of a terminal event.
#[expect(clippy::wildcard_enum_match_arm, reason = "a keyboard has more keys than are used here")]
fn key_of(event: &KeyEvent) -> Option<TopKey> {
    // Some terminals report releases, too, which would double each key.
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        KeyCode::Char('c') if control => TopKey::Interrupt,
        // Not text: it must reach neither the filter nor the answer to a question.
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(char) => TopKey::Char(char),
        KeyCode::Enter => TopKey::Enter,
        KeyCode::Esc => TopKey::Escape,
        KeyCode::Backspace => TopKey::Backspace,
        KeyCode::Up => TopKey::Up,
        KeyCode::Down => TopKey::Down,
        KeyCode::PageUp => TopKey::PageUp,
        KeyCode::PageDown => TopKey::PageDown,
        KeyCode::Home => TopKey::Home,
        KeyCode::End => TopKey::End,
        _ => return None,
    })
}
