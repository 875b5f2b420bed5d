//! Makes the pictures of the docs from real runs: `ctl` on a terminal, against the lab.
//!
//!     cargo run --release -p demo --example pictures -- docs/pictures
//!
//! Writes one SVG for each picture into the directory. Needs `script` (package util-linux), which makes the terminals.

mod ctl_binary;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use contrail_lab::{ClusterSpec, Fault, Lab, Timing};

/// The time limit for a picture.
const PATIENCE: Duration = Duration::from_secs(60);

/// A picture is complete when no output arrives for this long.
const SETTLED: Duration = Duration::from_millis(20);

/// A picture of a run of `ctl`.
struct Picture {
    /// Name of the file.
    name: &'static str,
    /// The command line as a user types it.
    line: &'static str,
    /// Size of the terminal.
    rows: u16,
    columns: u16,
    /// The keys to type, each after the screen shows the text before it.
    typed: &'static [(&'static str, &'static str)],
    /// The picture is taken when the screen shows all of this; if empty, when the run has ended.
    shows: &'static [&'static str],
}

const PICTURES: [Picture; 3] = [
    Picture {
        name: "progress",
        line: "service contrail-vrouter-agent restart --serial 8 --stable 1s",
        rows: 8,
        columns: 100,
        typed: &[],
        shows: &["restarting", "24/"],
    },
    Picture { name: "status", line: "status", rows: 26, columns: 90, typed: &[], shows: &[] },
    Picture { name: "top", line: "top", rows: 30, columns: 100, typed: &[], shows: &["c21 ", "q quit"] },
];

fn main() -> ExitCode {
    let mut words: VecDeque<OsString> = std::env::args_os().skip(1).collect();
    let folder = words.pop_front().map_or_else(|| PathBuf::from("docs/pictures"), PathBuf::from);
    if let Err(error) = std::fs::create_dir_all(&folder) {
        drop(writeln!(std::io::stderr(), "error: {}: {error}", folder.display()));
        return ExitCode::FAILURE;
    }
    let made = ctl_binary::build().and_then(|ctl| PICTURES.iter().try_for_each(|picture| make(picture, &ctl, &folder)));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            drop(writeln!(std::io::stderr(), "error: {reason}"));
            ExitCode::FAILURE
        }
    }
}

/// A cluster of 100 nodes, with a few faults if `faulty`.
fn cluster(faulty: bool) -> ClusterSpec {
    let spec = ClusterSpec::demo(100);
    if !faulty {
        return spec.timing(Timing::default());
    }
    let agent = || "contrail-vrouter-agent".to_owned();
    let no_database = || Fault::NonFunctional {
        program: "contrail-collector".to_owned(),
        description: "Database:Global connection down".to_owned(),
    };
    let faults = [
        ("c07", Fault::Refused),
        ("c13", Fault::Refused),
        ("ctl02", Fault::SupervisorMissing),
        ("db02", Fault::InstanceDown("supervisor-database".to_owned())),
        ("web01", Fault::SupervisorMissing),
        ("c21", Fault::Fatal(agent())),
        ("ctl01", Fault::Backoff("contrail-dns".to_owned())),
        ("a6s01", no_database()),
        ("a6s03", no_database()),
        ("a6s02", Fault::IntrospectHang("contrail-query-engine".to_owned())),
        ("c33", Fault::CoreFile(agent())),
        ("c34", Fault::CoreFile(agent())),
        ("cfg01", Fault::StaleTmpSocket),
        ("cfg02", Fault::IntrospectClosed("contrail-schema".to_owned())),
    ];
    faults.into_iter().fold(spec, |spec, (node, fault)| spec.fault(node, fault))
}

fn make(picture: &Picture, ctl: &Path, folder: &Path) -> Result<(), String> {
    let told = |what: &str, error: &dyn std::fmt::Display| format!("{}: {what}: {error}", picture.name);
    let runtime = tokio::runtime::Runtime::new().map_err(|error| told("no runtime", &error))?;
    let spec = cluster(picture.name != "progress");
    let lab = runtime.block_on(Lab::start(spec)).map_err(|error| told("the lab does not start", &error))?;
    let screen = take(picture, ctl, &lab)?;
    drop(lab);
    runtime.shutdown_background();
    let path = folder.join(format!("{}.svg", picture.name));
    let term =
        anstyle_svg::Term::new().palette(anstyle_svg::WIN10_CONSOLE).min_width_px(usize::from(picture.columns) * 8);
    std::fs::write(&path, term.render_svg(&screen)).map_err(|error| told(&path.display().to_string(), &error))
}

/// Runs `ctl` on a terminal, and returns the display when the picture is taken, as lines with colors.
fn take(picture: &Picture, ctl: &Path, lab: &Lab) -> Result<String, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", picture.name);
    let mut child = at_a_terminal(picture, ctl, lab).map_err(|error| told(&error))?;
    let mut keyboard = child.stdin.take().ok_or_else(|| told(&"no keyboard"))?;
    let output = bytes_of(child.stdout.take().ok_or_else(|| told(&"no output"))?);
    let size = |number: u16| std::num::NonZeroU16::new(number).ok_or_else(|| told(&"a terminal of no size"));
    // One more row, for the typed command line: `ctl` leaves room for it.
    let mut parser = vt100::Parser::new(size(picture.rows + 1)?, size(picture.columns)?, 0);
    parser.process(format!("$ ctl {}\r\n", picture.line).as_bytes());
    let mut typed: VecDeque<_> = picture.typed.iter().collect();
    let began = Instant::now();
    let mut taken = None;
    while taken.is_none() && began.elapsed() < PATIENCE {
        match output.recv_timeout(SETTLED) {
            Ok(bytes) => {
                parser.process(&bytes);
                // More output of the same picture may arrive.
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if picture.shows.is_empty() => taken = Some(lines(parser.screen())),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let text = parser.screen().contents();
        if let Some((_, keys)) = typed.front().filter(|(shown, _)| text.contains(shown)) {
            typed.pop_front();
            keyboard.write_all(keys.as_bytes()).and_then(|()| keyboard.flush()).map_err(|error| told(&error))?;
        } else if typed.is_empty() && !picture.shows.is_empty() && picture.shows.iter().all(|part| text.contains(part))
        {
            taken = Some(lines(parser.screen()));
        }
    }
    // This fails only if the process has ended meanwhile, which is fine.
    drop(child.kill());
    drop(child.wait());
    taken.ok_or_else(|| told(&format!("it never looked as it should; last:\n{}", parser.screen().contents())))
}

fn at_a_terminal(picture: &Picture, ctl: &Path, lab: &Lab) -> Result<Child, String> {
    let size = format!("stty rows {} columns {}", picture.rows, picture.columns);
    let options = format!(
        "--inventory {} --known-hosts {} --ssh-config none --yes",
        lab.inventory_path().display(),
        lab.known_hosts_path().display()
    );
    let options = if picture.line.starts_with("service") { options } else { options.replace(" --yes", "") };
    let line = format!("{size}; exec {} {} {options}", ctl.display(), picture.line);
    Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env("XDG_STATE_HOME", lab.dir())
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("script, of util-linux, does not start: {error}"))
}

fn bytes_of(mut output: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut bytes) {
            if sender.send(bytes.iter().take(length).copied().collect()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The screen as lines of text with colors, without any other terminal control.
fn lines(screen: &vt100::Screen) -> String {
    let (rows, columns) = screen.size();
    let mut text = String::new();
    for row in 0..rows.get() {
        let mut line = String::new();
        let is_drawn = |column: &u16| screen.cell(row, *column).is_some_and(is_visible);
        let end = (0..columns.get()).rev().find(is_drawn).map_or(0, |last| last + 1);
        for column in 0..end {
            let Some(cell) = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation()) else { continue };
            let contents = if cell.has_contents() { cell.contents() } else { " " };
            line.push_str(&format!("\x1b[0m{}{contents}", style(cell)));
        }
        text.push_str(&line);
        text.push_str("\x1b[0m\n");
    }
    let drawn = text.trim_end_matches("\x1b[0m\n").len();
    text.truncate(drawn);
    text
}

/// Whether a cell has visible content.
fn is_visible(cell: &vt100::Cell) -> bool {
    !matches!(cell.contents(), "" | " ") || cell.bgcolor() != vt100::Color::Default || cell.inverse()
}

/// The attributes of a cell, each as a separate sequence, because the drawing library reads two colors in one sequence
/// as one.
fn style(cell: &vt100::Cell) -> String {
    let color = |color: vt100::Color, normal: u8| match color {
        vt100::Color::Default => String::new(),
        vt100::Color::Idx(index) => format!("\x1b[{};5;{index}m", normal + 8),
        vt100::Color::Rgb(red, green, blue) => format!("\x1b[{};2;{red};{green};{blue}m", normal + 8),
    };
    let on = |is_on: bool, parameter: &'static str| if is_on { parameter } else { "" };
    let or = |color: vt100::Color, default: u8| match color {
        vt100::Color::Default => vt100::Color::Idx(default),
        vt100::Color::Idx(_) | vt100::Color::Rgb(..) => color,
    };
    // Black on gray by default.
    let (foreground, background) =
        if cell.inverse() { (or(cell.bgcolor(), 0), or(cell.fgcolor(), 7)) } else { (cell.fgcolor(), cell.bgcolor()) };
    format!(
        "{}{}{}{}",
        on(cell.bold(), "\x1b[1m"),
        on(cell.dim(), "\x1b[2m"),
        color(foreground, 30),
        color(background, 40)
    )
}
