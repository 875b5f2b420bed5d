//! A frame of what the screen is about.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::map;
use super::model::{Model, Page, Target};
use crate::event::TargetResult;
use crate::nodeset::NodeSet;
use crate::overview::{Health, reason};
use crate::sink::text;

/// The least that is enough to show anything.
const LEAST: (u16, u16) = (60, 12);

/// Columns of a service's name in the map.
const NAME: usize = 28;

/// Draws a frame.
pub fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let words = format!("the terminal is too small: {} × {} at least", LEAST.0, LEAST.1);
        frame.render_widget(Paragraph::new(words), area);
        return;
    }
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)]).areas(area);
    frame.render_widget(Paragraph::new(header(model)), head);
    match model.page.clone() {
        Page::Cluster => cluster(frame, model, body),
        Page::Node(target) => node(frame, model, &target, body),
        Page::Help => frame.render_widget(Paragraph::new(help()), body),
    }
    frame.render_widget(Paragraph::new(footer(model)), foot);
    confirm(frame, model, area);
}

/// A sign for each health, so that colour is never needed.
const fn sign(health: Health) -> &'static str {
    match health {
        Health::Well => "·",
        Health::Initializing => "i",
        Health::Inactive => "s",
        Health::Timeout => "t",
        Health::Failed => "F",
        Health::Down => "D",
        Health::Unreachable => "?",
    }
}

fn style(health: Health, color: bool) -> Style {
    let plain = Style::new();
    match health {
        Health::Well if color => plain.fg(Color::Green),
        Health::Initializing | Health::Inactive if color => plain.fg(Color::Yellow),
        Health::Timeout | Health::Failed | Health::Down | Health::Unreachable if color => {
            plain.fg(Color::Red).add_modifier(Modifier::BOLD)
        }
        Health::Well | Health::Initializing | Health::Inactive => plain,
        Health::Timeout | Health::Failed | Health::Down | Health::Unreachable => plain.add_modifier(Modifier::BOLD),
    }
}

fn header(model: &Model) -> Vec<Line<'static>> {
    let overview = &model.overview;
    let first = if model.rounds == 0 {
        "ctl top · reading the cluster for the first time …".to_owned()
    } else {
        let services: usize = overview.roles.iter().map(|role| role.services).sum();
        let well: usize = overview.roles.iter().map(|role| role.services_well).sum();
        format!(
            "ctl top · {} of {} nodes well · {well} of {services} services well · {} · round of {:.1} s every {:?}",
            overview.nodes_well,
            overview.nodes,
            model.at,
            model.took.as_secs_f64(),
            model.interval
        )
    };
    let mut second = vec![Span::raw("  ")];
    for health in Health::ALL {
        let count = model.results.iter().filter(|result| Health::of(result) == health).count();
        if count > 0 {
            second.push(Span::styled(
                format!("{} {count} {}  ", sign(health), health.as_str()),
                style(health, model.color),
            ));
        }
    }
    vec![Line::styled(first, Style::new().add_modifier(Modifier::BOLD)), Line::from(second)]
}

fn footer(model: &Model) -> Line<'static> {
    let words = if model.is_typing {
        format!("filter: {}▏  (Enter: keep, Esc: none)", text::single_line(&model.filter))
    } else {
        let filter = if model.filter.is_empty() { "none".to_owned() } else { text::single_line(&model.filter) };
        format!(
            "/ filter: {filter}  o order: {}  Enter node  r restart  s start  x stop  ? keys  q quit",
            model.sort.as_str()
        )
    };
    Line::styled(words, Style::new().add_modifier(Modifier::REVERSED))
}

/// The map above, the list below.
fn cluster(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    let columns = usize::from(area.width).saturating_sub(NAME + 2);
    let rows = map::rows(&model.results, columns);
    let wanted = u16::try_from(rows.len() + role_count(&rows)).unwrap_or(u16::MAX);
    let map_height = wanted.min(area.height / 2);
    let [above, below] = Layout::vertical([Constraint::Length(map_height), Constraint::Min(3)]).areas(area);
    frame.render_widget(Paragraph::new(map_lines(&rows, model, usize::from(map_height))), above);
    list(frame, model, below);
}

fn role_count(rows: &[map::Row]) -> usize {
    let mut roles: Vec<&str> = rows.iter().map(|row| row.role.as_str()).collect();
    roles.dedup();
    roles.len()
}

/// All rows if there is room; else those that are not well first.
fn map_lines(rows: &[map::Row], model: &Model, height: usize) -> Vec<Line<'static>> {
    let is_well = |row: &&map::Row| row.cells.iter().flatten().all(|health| *health == Health::Well);
    let fits = rows.len() + role_count(rows) <= height;
    let line = |row: &map::Row, name: String| {
        let name = text::cut(&name, NAME).into_owned();
        let mut spans = vec![Span::raw(format!("{name:NAME$} "))];
        for cell in &row.cells {
            spans.push(match cell {
                Some(health) => Span::styled(sign(*health), style(*health, model.color)),
                None => Span::raw(" "),
            });
        }
        Line::from(spans)
    };
    let mut lines = Vec::new();
    if fits {
        let mut role = "";
        for row in rows {
            if row.role != role {
                role = &row.role;
                lines.push(Line::styled(text::single_line(role), Style::new().add_modifier(Modifier::UNDERLINED)));
            }
            lines.push(line(row, format!(" {}", text::single_line(&row.service))));
        }
        return lines;
    }
    let unwell: Vec<&map::Row> = rows.iter().filter(|row| !is_well(row)).collect();
    let well = rows.len() - unwell.len();
    let room = height.saturating_sub(1);
    for row in unwell.iter().take(room) {
        lines.push(line(row, text::single_line(&row.service)));
    }
    let left = unwell.len().saturating_sub(room);
    let more = if left > 0 { format!(", {left} more are not") } else { String::new() };
    lines.push(Line::raw(format!("{well} services are well on all their nodes{more}")));
    for row in rows.iter().filter(is_well).take(height.saturating_sub(lines.len())) {
        lines.push(line(row, text::single_line(&row.service)));
    }
    lines
}

/// The services, one a row.
fn list(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    let rows = usize::from(area.height).saturating_sub(2);
    model.set_page_rows(rows);
    let first = (model.selected + 1).saturating_sub(rows);
    let mut lines = Vec::new();
    for (place, result) in model.shown().enumerate().skip(first).take(rows) {
        let line = row(result, model.color);
        lines.push(if place == model.selected {
            line.patch_style(Style::new().add_modifier(Modifier::REVERSED))
        } else {
            line
        });
    }
    let title = format!(" {} of {} services, {} ", model.shown.len(), model.results.len(), model.sort.as_str());
    let block = Block::new().borders(Borders::TOP | Borders::BOTTOM).title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn row(result: &TargetResult, color: bool) -> Line<'static> {
    let health = Health::of(result);
    let uptime = result.uptime_s.map(age).unwrap_or_default();
    let service = result.service.as_deref().map_or_else(|| "-".to_owned(), text::single_line);
    let node = text::single_line(&result.node);
    let why = if health == Health::Well { String::new() } else { text::single_line(&reason(result)) };
    let column = |words: &str, width: usize| format!("{:width$} ", text::cut(words, width));
    Line::from(vec![
        Span::styled(format!("{} ", sign(health)), style(health, color)),
        Span::raw(column(&node, 14)),
        Span::raw(column(&service, 26)),
        Span::styled(column(health.as_str(), 12), style(health, color)),
        Span::raw(column(&uptime, 7)),
        Span::raw(why),
    ])
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A node: what is known of it, and the end of a log.
fn node(frame: &mut Frame<'_>, model: &Model, target: &Target, area: Rect) {
    let mut lines = vec![Line::styled(
        format!("node {}  (Esc: back, up and down: its services)", text::single_line(&target.node)),
        Style::new().add_modifier(Modifier::BOLD),
    )];
    if let Some(facts) = model.facts.get(&target.node) {
        for supervisor in &facts.supervisors {
            let version = supervisor.version.as_deref().unwrap_or("?");
            let pid = supervisor.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
            let address = supervisor.address.as_deref().unwrap_or("init");
            let words = format!("  {}: supervisor {version} at {address}{pid}", supervisor.name);
            lines.push(Line::raw(text::single_line(&words)));
        }
        for finding in &facts.findings {
            let details =
                if finding.details.is_empty() { String::new() } else { format!(" ({})", finding.details.join(", ")) };
            lines.push(Line::raw(text::single_line(&format!("  ! {}{details}", finding.message))));
        }
    }
    for result in model.results.iter().filter(|result| result.node == target.node) {
        let line = row(result, model.color);
        let is_it = result.service.as_deref() == Some(&target.service);
        lines.push(if is_it { line.patch_style(Style::new().add_modifier(Modifier::REVERSED)) } else { line });
    }
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height.saturating_sub(5));
    let [above, below] = Layout::vertical([Constraint::Length(height), Constraint::Min(1)]).areas(area);
    frame.render_widget(Paragraph::new(lines), above);
    let title = format!(" the end of the log of {} ", text::single_line(&target.service));
    let block = Block::new().borders(Borders::TOP).title(title);
    let room = usize::from(below.height).saturating_sub(1);
    let log = match model.log.as_ref().filter(|log| log.of == *target) {
        None => Vec::new(),
        Some(log) => match &log.lines {
            None => vec![Line::raw("reading it …")],
            Some(lines) => {
                let from = lines.len().saturating_sub(room);
                lines.iter().skip(from).map(|line| Line::raw(text::single_line(line))).collect()
            }
        },
    };
    frame.render_widget(Paragraph::new(log).block(block), below);
}

fn help() -> Vec<Line<'static>> {
    [
        "up, down, k, j, PgUp, PgDn, Home, End   move",
        "Enter                                   the node, and the end of the service's log",
        "/                                       filter by node, role, service, state or reason; Esc ends it",
        "o                                       another order",
        "r, s, x                                 restart, start, stop the service on its node, after a confirmation",
        "R                                       restart it on all nodes that are shown, after a confirmation",
        "q, Ctrl-C                               leave",
        "",
        "· active   i initializing   s stopped   t timeout   F failed   D supervisord down   ? unreachable",
        "A cell of the map stands for one node, or for several if there are many: it shows the worst of them.",
        "An action is an ordinary `ctl service` run: with journal, lock and guard.",
    ]
    .into_iter()
    .map(Line::raw)
    .collect()
}

fn confirm(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let Some(confirm) = &model.confirm else { return };
    let nodes = NodeSet::from_names(&confirm.nodes).to_string();
    let wanted = match confirm.nodes.len() {
        1 => "type y and Enter".to_owned(),
        count => format!("type the number of nodes ({count}) and Enter"),
    };
    let lines = vec![
        Line::raw(format!("{} {}", confirm.action.as_str(), text::single_line(&confirm.service))),
        Line::raw(format!("on {}", text::visible(&nodes))),
        Line::raw(""),
        Line::raw(format!("{wanted}, or Esc: {}▏", text::single_line(&confirm.typed))),
    ];
    let width = area.width.saturating_sub(8).min(76);
    let place = Rect { x: (area.width - width) / 2, y: area.height / 3, width, height: 6.min(area.height) };
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" Really? ")), place);
}
