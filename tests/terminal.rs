//! The terminal's settings are restored after a full-screen program has panicked.
//!
//! This program has its own `main`, because it is also the program that panics.

use std::path::Path;
use std::process::Command;

use contrail_ctl::top::TopScreen;
use ratatui::widgets::Paragraph;

#[path = "support/terminal.rs"]
#[expect(dead_code, reason = "other tests use the other functions")]
mod terminal;

use terminal::{Left, Terminal};

const HAS_IT: &str = "it has the terminal";

/// The thread that panics, and the exit code: a panic of the main thread is 101.
const PLACES: [(&str, i32); 2] = [("here", 101), ("elsewhere", 0)];

fn main() {
    match std::env::args().nth(1) {
        Some(place) if PLACES.iter().any(|(own, _)| *own == place) => take_it_and_panic(&place),
        _ => PLACES.iter().for_each(|(place, code)| is_as_it_was_found(place, *code)),
    }
}

fn take_it_and_panic(place: &str) {
    let mut screen = TopScreen::take().expect("cannot open the terminal");
    screen.draw(|frame| frame.render_widget(Paragraph::new(HAS_IT), frame.area())).expect("cannot draw a frame");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("cannot open the keyboard");
    if place == "here" {
        panic!("it panics here");
    }
    let elsewhere = std::thread::spawn(|| panic!("it panics elsewhere")).join();
    assert!(elsewhere.is_err());
}

fn is_as_it_was_found(place: &str, code: i32) {
    let folder = tempfile::TempDir::new().expect("cannot create the directory");
    let mut itself = Command::new(std::env::current_exe().expect("cannot find this program"));
    itself.arg(place);
    let mut terminal = Terminal::start(&itself, 24, 80, Path::new(folder.path()));
    terminal.until(HAS_IT);
    terminal.press("\n");
    terminal.until_screen("the panic", |text| text.contains("it panics") && !text.contains(HAS_IT));
    assert_eq!(terminal.finish(), Left::as_found(code), "{place}");
}
