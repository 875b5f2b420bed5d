//! The terminal after a program that had all of it and has panicked: as it was found.
//!
//! This program has a `main` of its own, since it is also the one that panics.

use std::path::Path;
use std::process::Command;

use contrail_ctl::top::TopScreen;
use ratatui::widgets::Paragraph;

#[path = "support/terminal.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod terminal;

use terminal::{Left, Terminal};

const HAS_IT: &str = "it has the terminal";

/// Where it panics, and how it ends then: a panic of the main thread is 101.
const PLACES: [(&str, i32); 2] = [("here", 101), ("elsewhere", 0)];

fn main() {
    match std::env::args().nth(1) {
        Some(place) if PLACES.iter().any(|(own, _)| *own == place) => take_it_and_panic(&place),
        _ => PLACES.iter().for_each(|(place, code)| is_as_it_was_found(place, *code)),
    }
}

fn take_it_and_panic(place: &str) {
    let mut screen = TopScreen::take().expect("a terminal");
    screen.draw(|frame| frame.render_widget(Paragraph::new(HAS_IT), frame.area())).expect("a frame");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a keyboard");
    if place == "here" {
        panic!("it panics here");
    }
    let elsewhere = std::thread::spawn(|| panic!("it panics elsewhere")).join();
    assert!(elsewhere.is_err());
}

fn is_as_it_was_found(place: &str, code: i32) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut itself = Command::new(std::env::current_exe().expect("this program"));
    itself.arg(place);
    let mut terminal = Terminal::start(&itself, 24, 80, Path::new(folder.path()));
    terminal.until(HAS_IT);
    terminal.press("\n");
    terminal.until_screen("the panic", |text| text.contains("it panics") && !text.contains(HAS_IT));
    assert_eq!(terminal.finish(), Left::as_found(code), "{place}");
}
