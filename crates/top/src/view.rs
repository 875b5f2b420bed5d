//! Renders the state of the view as a frame.

use nodeset::NodeSet;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::map;
use super::model::{TopModel, TopPage, TopTarget};
use ctl_event::TargetResult;
use ctl_overview::{TargetHealth, reason};
use ctl_sink::text;

/// Minimum size for any content.
const LEAST: (u16, u16) = (60, 12);

/// Column width of a service's name in the map.
const NAME: usize = 28;

/// Maximum lines for the nodes of an action.
const NODE_LINES: usize = 4;

/// Maximum lines for the reason that a service is not healthy.
const WHY_LINES: usize = 3;

/// Draws a frame.
pub fn draw(frame: &mut Frame<'_>, model: &mut TopModel) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let words = format!("the terminal is too small: {} × {} at least", LEAST.0, LEAST.1);
        frame.render_widget(Paragraph::new(words), area);
        return;
    }
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)]).areas(area);
    frame.render_widget(Paragraph::new(header(model, area.width)), head);
    match model.page.clone() {
        TopPage::Cluster => cluster(frame, model, body),
        TopPage::Node(target) => node(frame, model, &target, body),
        TopPage::Map => {
            let lines = whole_map(model, body);
            // The terminal may have grown since the last key, so limit the first line again.
            let first = model.map_first.min(lines.len().saturating_sub(usize::from(body.height)));
            let lines: Vec<Line<'static>> = lines.into_iter().skip(first).collect();
            frame.render_widget(Paragraph::new(lines), body);
            model.set_page_rows(usize::from(body.height));
        }
        TopPage::Help => frame.render_widget(Paragraph::new(help()), body),
    }
    frame.render_widget(Paragraph::new(footer(model)), foot);
    // Last, so that it covers the page.
    confirm(frame, model, area);
}

/// A symbol for each health, so that color is never needed.
const fn sign(health: TargetHealth) -> &'static str {
    match health {
        TargetHealth::Well => "·",
        TargetHealth::Initializing => "i",
        TargetHealth::Inactive => "s",
        TargetHealth::Timeout => "t",
        TargetHealth::Failed => "F",
        TargetHealth::Down => "D",
        TargetHealth::Unreachable => "?",
    }
}

fn style(health: TargetHealth, color: bool) -> Style {
    let plain = Style::new();
    match health {
        TargetHealth::Well if color => plain.fg(Color::Green),
        TargetHealth::Initializing | TargetHealth::Inactive if color => plain.fg(Color::Yellow),
        TargetHealth::Timeout | TargetHealth::Failed | TargetHealth::Down | TargetHealth::Unreachable if color => {
            plain.fg(Color::Red).add_modifier(Modifier::BOLD)
        }
        TargetHealth::Well | TargetHealth::Initializing | TargetHealth::Inactive => plain,
        TargetHealth::Timeout | TargetHealth::Failed | TargetHealth::Down | TargetHealth::Unreachable => {
            plain.add_modifier(Modifier::BOLD)
        }
    }
}

fn header(model: &TopModel, width: u16) -> Vec<Line<'static>> {
    let overview = &model.overview;
    let first = if model.rounds == 0 {
        "ctl top · reading the cluster for the first time …".to_owned()
    } else {
        let services: usize = overview.roles.iter().map(|role| role.services).sum();
        let well: usize = overview.roles.iter().map(|role| role.services_well).sum();
        let interval = humantime::format_duration(model.interval);
        let parts = [
            format!("{} of {} nodes healthy", overview.nodes_well, overview.nodes),
            format!("{well} of {services} services healthy"),
            model.at.clone(),
            format!("read in {:.1} s, every {interval}", model.took.as_secs_f64()),
        ];
        parts.into_iter().fold("ctl top".to_owned(), |line, part| {
            // The first parts matter most: a narrow terminal drops those that do not fit.
            let longer = format!("{line} · {part}");
            if text::width(&longer) <= usize::from(width) { longer } else { line }
        })
    };
    let mut second = Vec::new();
    for (health, count) in &model.counts {
        let words = format!("{} {count} {}  ", sign(*health), health.as_str());
        second.push(Span::styled(words, style(*health, model.color)));
    }
    // Missing nodes matter more than the counts of the others.
    let late = model.late.join("; ");
    let second = if late.is_empty() {
        Line::from(second)
    } else {
        Line::styled(text::cut(&late, usize::from(width)).into_owned(), Style::new().add_modifier(Modifier::BOLD))
    };
    vec![Line::styled(first, Style::new().add_modifier(Modifier::BOLD)), second]
}

fn footer(model: &TopModel) -> Line<'static> {
    let words = if model.is_typing {
        format!("filter: {}▏  (Enter: keep, Esc: clear)", text::single_line(&model.filter))
    } else {
        "/ filter  o order  m map  Enter node  r restart  s start  x stop  ? keys  q quit".to_owned()
    };
    Line::styled(words, Style::new().add_modifier(Modifier::REVERSED))
}

/// The map above, the list below.
fn cluster(frame: &mut Frame<'_>, model: &mut TopModel, area: Rect) {
    let wanted = u16::try_from(model.map.rows.len() + model.map.roles()).unwrap_or(u16::MAX);
    // At most half, so that the list keeps its place.
    let map_height = wanted.min(area.height / 2);
    let [above, below] = Layout::vertical([Constraint::Length(map_height), Constraint::Min(3)]).areas(area);
    frame.render_widget(Paragraph::new(map_lines(model, above)), above);
    list(frame, model, below);
}

/// A line of the map: a name, and a symbol for each cell.
fn map_line(row: &map::MapRow, name: &str, columns: usize, color: bool) -> Line<'static> {
    let mut spans = vec![Span::raw(format!("{:NAME$} ", text::cut(name, NAME)))];
    // Merge equal cells into one span: a thousand spans would be slow.
    for alike in row.cells(columns).chunk_by(|one, next| one == next) {
        spans.push(match alike.first().copied().flatten() {
            Some(health) => Span::styled(sign(health).repeat(alike.len()), style(health, color)),
            None => Span::raw(" ".repeat(alike.len())),
        });
    }
    Line::from(spans)
}

/// The name of a row; that of the role if it has no known service.
fn map_name(row: &map::MapRow) -> String {
    match row.service.as_str() {
        map::NONE => format!("({})", text::single_line(&row.role)),
        service => text::single_line(service),
    }
}

fn map_columns(area: Rect) -> usize {
    usize::from(area.width).saturating_sub(NAME + 2)
}

/// All rows, by role.
fn whole_map(model: &TopModel, area: Rect) -> Vec<Line<'static>> {
    let columns = map_columns(area);
    let mut lines = Vec::new();
    for role in model.map.rows.chunk_by(|one, next| one.role == next.role) {
        let Some(first) = role.first() else { continue };
        let many = if first.width() > columns { ", several nodes per cell" } else { "" };
        let nodes = if first.width() == 1 { "node" } else { "nodes" };
        let title = format!("{}: {} {nodes}{many}", text::single_line(&first.role), first.width());
        lines.push(Line::styled(title, Style::new().add_modifier(Modifier::UNDERLINED)));
        lines.extend(role.iter().map(|row| map_line(row, &format!(" {}", map_name(row)), columns, model.color)));
    }
    lines
}

/// The whole map if it fits; otherwise its rows without role headers, unhealthy ones first.
fn map_lines(model: &TopModel, area: Rect) -> Vec<Line<'static>> {
    let rows = &model.map.rows;
    let height = usize::from(area.height);
    if rows.len() + model.map.roles() <= height {
        return whole_map(model, area);
    }
    let line = |row: &&map::MapRow| map_line(row, &map_name(row), map_columns(area), model.color);
    let (well, unwell): (Vec<&map::MapRow>, Vec<&map::MapRow>) = rows.iter().partition(|row| row.is_well());
    let room = height.saturating_sub(1);
    let mut lines: Vec<Line<'static>> = unwell.iter().take(room).map(line).collect();
    let more = match unwell.len().saturating_sub(room) {
        0 => String::new(),
        left => format!(", {left} more are not"),
    };
    lines.push(Line::raw(format!("{} services are healthy on all their nodes{more} (m: the whole map)", well.len())));
    let room = height.saturating_sub(lines.len());
    lines.extend(well.iter().take(room).map(line));
    lines
}

/// The services, one per row.
fn list(frame: &mut Frame<'_>, model: &mut TopModel, area: Rect) {
    let rows = usize::from(area.height).saturating_sub(2);
    model.set_page_rows(rows);
    // Scroll only as far as the selected row requires.
    let first = (model.selected + 1).saturating_sub(rows);
    let shown: Vec<&TargetResult> = model.shown().skip(first).take(rows).collect();
    let columns = ColumnWidths::of(&shown);
    let lines: Vec<Line<'static>> = (first..)
        .zip(&shown)
        .map(|(place, result)| marked(row(result, &columns, model.color), place == model.selected))
        .collect();
    let filter = match model.filter.as_str() {
        "" => String::new(),
        filter => format!(", filter: {}", text::single_line(filter)),
    };
    let (shown, all) = (model.shown.len(), model.results.len());
    let title = format!(" {shown} of {all} services, {}{filter} ", model.sort.as_str());
    let block = Block::new().borders(Borders::TOP | Borders::BOTTOM).title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn marked(line: Line<'static>, is_selected: bool) -> Line<'static> {
    if is_selected { line.patch_style(Style::new().add_modifier(Modifier::REVERSED)) } else { line }
}

/// Widths of the columns of nodes and services.
struct ColumnWidths(usize, usize);

impl ColumnWidths {
    /// The width that these rows need, within bounds.
    fn of(rows: &[&TargetResult]) -> Self {
        let widest = |name: fn(&TargetResult) -> &str, bound: usize| {
            rows.iter().map(|row| text::width(name(row))).max().unwrap_or_default().clamp(1, bound)
        };
        Self(widest(|row| &row.node, 24), widest(|row| row.service.as_deref().unwrap_or_default(), NAME))
    }

    /// Columns to the left of the state.
    const fn before_the_state(&self) -> usize {
        // The sign, the node, the service, and the uptime, each with a space.
        2 + self.0 + 1 + self.1 + 1 + 7
    }
}

fn row(result: &TargetResult, columns: &ColumnWidths, color: bool) -> Line<'static> {
    let health = TargetHealth::of(result);
    let uptime = result.uptime_s.map(age).unwrap_or_default();
    let service = result.service.as_deref().map_or_else(|| "-".to_owned(), text::single_line);
    let state = match health {
        TargetHealth::Well => result
            .functional
            .as_ref()
            .map(ToString::to_string)
            .or_else(|| result.state.map(|state| state.as_str().to_owned())),
        TargetHealth::Initializing
        | TargetHealth::Inactive
        | TargetHealth::Timeout
        | TargetHealth::Failed
        | TargetHealth::Down
        | TargetHealth::Unreachable => Some(reason(result)),
    };
    let state = state.unwrap_or_else(|| result.message.clone());
    let column = |words: &str, width: usize| format!("{:width$} ", text::cut(words, width));
    Line::from(vec![
        Span::styled(format!("{} ", sign(health)), style(health, color)),
        Span::raw(column(&text::single_line(&result.node), columns.0)),
        Span::raw(column(&service, columns.1)),
        Span::raw(format!("{uptime:>6} ")),
        Span::styled(text::single_line(&state), style(health, color)),
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

/// A node: its facts, its services, and the end of a log.
fn node(frame: &mut Frame<'_>, model: &mut TopModel, target: &TopTarget, area: Rect) {
    let mut facts = vec![Line::styled(
        format!("node {}  (Esc: back; up and down: its services)", text::single_line(&target.node)),
        Style::new().add_modifier(Modifier::BOLD),
    )];
    if let Some(known) = model.facts.get(&target.node) {
        facts.extend(known.supervisors.iter().map(|supervisor| {
            let version = supervisor.version.as_deref().unwrap_or("?");
            let pid = supervisor.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
            let address = supervisor.address.as_deref().unwrap_or("init");
            Line::raw(text::single_line(&format!("{}: supervisor {version} at {address}{pid}", supervisor.name)))
        }));
        facts.extend(known.findings.iter().map(|finding| {
            let details = finding.details.join(", ");
            let details = if details.is_empty() { details } else { format!(" ({details})") };
            Line::raw(text::single_line(&format!("! {}{details}", finding.message)))
        }));
    }
    let own: Vec<&TargetResult> = model.of_node(&target.node).collect();
    let selected = own.iter().position(|result| target.is_of(result)).unwrap_or_default();
    let columns = ColumnWidths::of(&own);
    let mut why: Vec<Line<'static>> = Vec::new();
    if let Some(result) = own.get(selected).filter(|result| TargetHealth::of(result) != TargetHealth::Well) {
        let words = text::single_line(&reason(result));
        // The reason that does not fit into its row.
        if text::width(&words) > usize::from(area.width).saturating_sub(columns.before_the_state()) {
            let lines = text::wrap(&words, usize::from(area.width).saturating_sub(2));
            why.extend(lines.into_iter().take(WHY_LINES).map(|line| Line::raw(format!("  {line}"))));
        }
    }
    // At most a third each for facts and services, the rest for the log.
    let length = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).min(area.height / 3);
    let rows = usize::from(length(own.len()));
    let heights = [facts.len(), rows, why.len()].map(|count| Constraint::Length(length(count)));
    let [above, middle, reason, below] = Layout::vertical(heights.into_iter().chain([Constraint::Min(2)])).areas(area);
    let first = (selected + 1).saturating_sub(rows);
    let services: Vec<Line<'static>> = (first..)
        .zip(own.iter().skip(first).take(rows))
        .map(|(place, result)| marked(row(result, &columns, model.color), place == selected))
        .collect();
    frame.render_widget(Paragraph::new(facts), above);
    frame.render_widget(Paragraph::new(services), middle);
    frame.render_widget(Paragraph::new(why), reason);
    let of = target.service.as_deref().map_or_else(|| "nothing".to_owned(), text::single_line);
    let block = Block::new().borders(Borders::TOP).title(format!(" the end of the log of {of} "));
    let room = usize::from(below.height).saturating_sub(1);
    let log = match model.log.as_ref().filter(|log| log.of == *target).map(|log| &log.lines) {
        None => Vec::new(),
        Some(None) => vec![Line::raw("reading it …")],
        Some(Some(lines)) => {
            let from = lines.len().saturating_sub(room);
            // Log lines are untrusted: control characters must not reach the terminal.
            lines.iter().skip(from).map(|line| Line::raw(text::single_line(line))).collect()
        }
    };
    frame.render_widget(Paragraph::new(log).block(block), below);
    model.set_page_rows(rows);
}

fn help() -> Vec<Line<'static>> {
    [
        "up, down, k, j, PgUp, PgDn, Home, End   move",
        "Enter                                   show the node and the end of the service's log",
        "/                                       filter by node, role, service, state or reason; Esc clears it",
        "o                                       next sort order",
        "m                                       show the whole map by role; m or Esc: back",
        "r, s, x                                 restart, start or stop the service on its node (asks first)",
        "R                                       restart it on all nodes shown (asks first)",
        "q, Ctrl-C                               quit",
        "",
        "· active   i initializing   s stopped   t timeout   F failed   D supervisord down   ? unreachable",
        "A cell of the map is one node, or several if there are many: it shows the worst of them.",
        "Actions are ordinary `ctl service` runs with journal, lock and guard.",
    ]
    .into_iter()
    .map(Line::raw)
    .collect()
}

fn confirm(frame: &mut Frame<'_>, model: &TopModel, area: Rect) {
    let Some(confirm) = &model.confirm else { return };
    let nodes = NodeSet::from_names(&confirm.nodes).to_string();
    let wanted = match confirm.nodes.len() {
        1 => "type y and press Enter".to_owned(),
        count => format!("type {count}, the number of nodes, and press Enter"),
    };
    let of_role = confirm.role.as_deref().map(|role| format!(" of {}", text::single_line(role))).unwrap_or_default();
    let width = area.width.saturating_sub(8).min(76);
    let columns = usize::from(width).saturating_sub(2);
    let on = format!("on {}", text::visible(&nodes));
    let mut lines = vec![format!("{} {}{of_role}", confirm.action.as_str(), text::single_line(&confirm.service))];
    let on = text::wrap(&on, columns);
    lines.extend(on.iter().take(NODE_LINES).map(|line| (*line).to_owned()));
    if on.len() > NODE_LINES {
        lines.push(format!("… {} nodes in all", confirm.nodes.len()));
    }
    lines.push(String::new());
    lines.push(format!("{wanted}, or Esc: {}▏", text::single_line(&confirm.typed)));
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
    // Neither subtraction underflows: both sizes are bounded by the area.
    let place = Rect { x: (area.width - width) / 2, y: (area.height - height) / 3, width, height };
    let lines: Vec<Line<'static>> = lines.into_iter().map(Line::raw).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" Really? ")), place);
}
