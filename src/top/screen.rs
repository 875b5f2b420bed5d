//! The terminal, while the view has it.
//!
//! What always holds: it is as it was found when [`TopScreen`] is dropped, and when anything panics; what ends the process
//! without a word (SIGKILL) leaves it. Keys are read by a thread, and only when asked for: the library's reader does not
//! come back from a terminal that has gone, and whoever waits for a key has signals to look at.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::TopKey;

/// How long a key is waited for before the waiting is told of.
const LOOK: Duration = Duration::from_millis(100);

/// How long the reader may take to give the keyboard back.
const HANDING_BACK: Duration = Duration::from_secs(1);

/// What comes from the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalInput {
    /// A key that means something here.
    Key(TopKey),
    /// Something that may have changed the picture, such as another size.
    Other,
    /// Nothing yet.
    Nothing,
    /// The terminal has gone.
    Gone,
}

/// The terminal: raw, and with the alternate screen.
pub struct TopScreen {
    terminal: DefaultTerminal,
    /// Asks for one event; dropped, it ends the reader.
    ask: Sender<()>,
    told: Receiver<io::Result<Option<Event>>>,
    is_asked: bool,
}

impl TopScreen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If it cannot be made raw, or there is no thread for its keys.
    pub fn take() -> io::Result<Self> {
        let ((ask, asked), (tell, told)) = (channel(), channel());
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || read(&asked, &tell))?;
        // It puts a hook before the panic's own, which gives the terminal back before anything is printed.
        Ok(Self { terminal: ratatui::try_init()?, ask, told, is_asked: false })
    }

    /// Draws a frame.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// Waits a moment for a key.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn input(&mut self) -> io::Result<TerminalInput> {
        if has_gone() {
            return Ok(TerminalInput::Gone);
        }
        let ended = || io::Error::other("the reader of keys has ended");
        if !self.is_asked {
            self.ask.send(()).map_err(|_| ended())?;
            self.is_asked = true;
        }
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
        // Whoever has the terminal next wants its keys too. A terminal that has gone needs nothing.
        if self.is_asked {
            drop(self.told.recv_timeout(HANDING_BACK));
        }
        drop(ratatui::try_restore());
    }
}

/// Reads one event each time it is asked.
fn read(asked: &Receiver<()>, tell: &Sender<io::Result<Option<Event>>>) {
    for () in asked {
        let event = event::poll(LOOK).and_then(|is_there| is_there.then(event::read).transpose());
        if tell.send(event).is_err() {
            return;
        }
    }
}

/// Whether nobody is at the other end of the terminal any more. Its signal may have been ignored.
fn has_gone() -> bool {
    let stdin = io::stdin();
    let mut ends = [PollFd::new(&stdin, PollFlags::empty())];
    poll(&mut ends, Some(&Timespec::default())).is_ok()
        && ends.iter().any(|end| end.revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL))
}

/// What a key of the terminal means.
#[expect(clippy::wildcard_enum_match_arm, reason = "a keyboard has more keys than are used here")]
fn key_of(event: &KeyEvent) -> Option<TopKey> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        KeyCode::Char('c') if control => TopKey::Interrupt,
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
