//! Columns of text without frames: what can be read in a terminal, put into a ticket, and cut with awk.
//!
//! Here live [`plain_table`] and the `Grid` behind every table. They use this room's [`text`] only. What always holds:
//! cells are made visible here, whatever they hold; no line ends in blanks; colour is never needed to understand a
//! line, and does not change its width. Start reading at `Grid::render`.

use console::Style;

use super::text;

/// Blanks between two columns.
const GAP: usize = 2;

/// Least room, in columns, that the last column is worth having beside the others; with less it goes below them.
const LEAST_LAST: usize = 24;

/// Least width of a first column that may be broken over lines.
const LEAST_FIRST: usize = 10;

/// Most lines of a cell in the last column of a table that has a width.
const MOST_LINES: usize = 3;

/// Indent of what goes below a row.
const INDENT: usize = 4;

/// How a cell stands out, where colour is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Good,
    Doubtful,
    Bad,
    Faint,
}

impl Paint {
    fn apply(self, text: &str) -> String {
        let style = match self {
            Self::Plain => return text.to_owned(),
            Self::Good => Style::new().green(),
            Self::Doubtful => Style::new().yellow(),
            Self::Bad => Style::new().red().bold(),
            Self::Faint => Style::new().dim(),
        };
        // Whether colour is allowed was decided by whoever made the grid.
        style.force_styling(true).apply_to(text).to_string()
    }
}

/// One place in a grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    pub(super) fn new(words: &str) -> Self {
        Self::painted(words, Paint::Plain)
    }

    /// Whether it says nothing.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self.text.as_str(), "" | "-")
    }

    pub(super) fn painted(words: &str, paint: Paint) -> Self {
        Self { text: text::visible(words).into_owned(), paint }
    }
}

/// Rows under titles.
#[derive(Debug, Default)]
pub(super) struct Grid {
    /// Titles of the columns; without any there is no head line.
    pub(super) titles: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// Columns of the terminal; without, no line is too long.
    pub(super) width: Option<usize>,
    /// Whether the first column may be broken over lines where there is a width.
    pub(super) break_first: bool,
    pub(super) color: bool,
}

impl Grid {
    /// The grid as lines.
    pub(super) fn render(&self) -> String {
        let count = self.rows.iter().map(Vec::len).chain([self.titles.len()]).max().unwrap_or(0);
        let Some(last) = count.checked_sub(1) else { return String::new() };
        let mut widths: Vec<usize> = (0..count).map(|column| self.natural_width(column)).collect();
        let below = self.width.filter(|_| last > 0).and_then(|width| self.fit(&mut widths, width));
        let beside = if below.is_some() { last } else { count };

        let mut lines = String::new();
        if !self.titles.is_empty() {
            let titles: Vec<Cell> = self.titles.iter().map(|title| Cell::new(title)).collect();
            self.push_row(&mut lines, &titles, &widths, beside);
        }
        for row in &self.rows {
            self.push_row(&mut lines, row, &widths, beside);
            if let (Some(columns), Some(cell)) = (below, row.get(last).filter(|cell| !cell.text.is_empty())) {
                for line in bounded(&cell.text, columns) {
                    push_line(&mut lines, &format!("{:INDENT$}{}", "", self.paint(cell, &line)));
                }
            }
        }
        lines
    }

    /// Makes the widths fit into `width` columns, as far as that can be. Where there is no room for the last column it
    /// goes below the rows, in so many columns as are returned.
    fn fit(&self, widths: &mut [usize], width: usize) -> Option<usize> {
        let [first, between @ .., widest] = widths else { return None };
        let others = GAP + between.iter().map(|column| column + GAP).sum::<usize>();
        let least = if self.break_first { LEAST_FIRST.min(*first) } else { *first };
        let wanted = LEAST_LAST.min(*widest);
        let fits = least + others + wanted <= width;
        let taken = others + if fits { wanted } else { 0 };
        *first = width.saturating_sub(taken).clamp(least, *first);
        if fits {
            *widest = (*widest).min(width - *first - others);
            return None;
        }
        Some(width.saturating_sub(INDENT).max(LEAST_LAST))
    }

    fn natural_width(&self, column: usize) -> usize {
        let title = self.titles.get(column).map_or(0, |title| text::width(title));
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| text::width(&cell.text));
        cells.max().unwrap_or(0).max(title)
    }

    fn push_row(&self, lines: &mut String, row: &[Cell], widths: &[usize], beside: usize) {
        let cells: Vec<(&Cell, usize, Vec<String>)> = row
            .iter()
            .zip(widths)
            .enumerate()
            .take(beside)
            .map(|(column, (cell, width))| {
                let broken = match self.width {
                    None => vec![cell.text.clone()],
                    // What identifies the row is never cut, only broken.
                    Some(_) if column == 0 => text::wrap(&cell.text, *width).into_iter().map(str::to_owned).collect(),
                    Some(_) => bounded(&cell.text, *width),
                };
                (cell, *width, broken)
            })
            .collect();
        let height = cells.iter().map(|(_, _, broken)| broken.len()).max().unwrap_or(0);
        for index in 0..height {
            let mut line = String::new();
            // Blanks are owed until something comes after them.
            let mut owed = 0;
            for (cell, width, broken) in &cells {
                let words = broken.get(index).map_or("", String::as_str);
                if !words.is_empty() {
                    line.extend(std::iter::repeat_n(' ', owed));
                    line.push_str(&self.paint(cell, words));
                    owed = 0;
                }
                owed += width.saturating_sub(text::width(words)) + GAP;
            }
            push_line(lines, &line);
        }
    }

    fn paint(&self, cell: &Cell, words: &str) -> String {
        if self.color { cell.paint.apply(words) } else { words.to_owned() }
    }
}

/// The text in lines of at most `columns` columns, and not too many of them.
fn bounded(words: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = text::wrap(words, columns).into_iter().map(str::to_owned).collect();
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES);
        if let Some(end) = lines.last_mut() {
            *end = format!("{}…", text::cut(end, columns.saturating_sub(1)).trim_end_matches('…'));
        }
    }
    lines
}

fn push_line(lines: &mut String, line: &str) {
    lines.push_str(line.trim_end());
    lines.push('\n');
}

/// Rows in columns, under titles if there are any: for lists that are no results of a run. Cells are made visible.
#[must_use]
pub fn plain_table(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows = rows.map(|row| row.iter().map(|cell| Cell::new(cell)).collect()).collect();
    let titles = titles.iter().map(|title| (*title).to_owned()).collect();
    Grid { titles, rows, ..Grid::default() }.render()
}
