//! Columns of text without frames, to read in a terminal, paste into a ticket, or cut with awk.
//!
//! Here live [`plain_table`] and the `Grid` behind every table; comfy-table does the layout. They use only this
//! module's [`text`]. Invariants: every cell is made visible here, whatever its content; no line ends in spaces; color
//! never carries information of its own and does not change the width of a line. Start reading at `Grid::render`.

use comfy_table::{Attribute, Color, ColumnConstraint, ContentArrangement, Table, Width};

use super::text;

/// Spaces between two columns.
const GAP: u16 = 2;

/// Minimum width of a first column that may wrap, if the output has a width.
const LEAST_FIRST: u16 = 10;

/// Minimum width of the last column, if the output has a width.
const LEAST_LAST: u16 = 24;

/// Maximum length of a last column that wraps; every other format has the whole text.
const LONGEST_BROKEN: usize = 240;

/// The style of a cell, if color is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CellPaint {
    Plain,
    Good,
    Doubtful,
    Bad,
    Faint,
}

/// One cell of a grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GridCell {
    text: String,
    paint: CellPaint,
}

impl GridCell {
    pub(super) fn new(words: &str) -> Self {
        Self::painted(words, CellPaint::Plain)
    }

    /// Whether the cell carries no information.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self.text.as_str(), "" | "-")
    }

    pub(super) fn painted(words: &str, paint: CellPaint) -> Self {
        Self { text: text::visible(words).into_owned(), paint }
    }

    fn laid_out(&self, words: &str, color: bool) -> comfy_table::Cell {
        let cell = comfy_table::Cell::new(words);
        match self.paint {
            _ if !color => cell,
            CellPaint::Plain => cell,
            CellPaint::Good => cell.fg(Color::DarkGreen),
            CellPaint::Doubtful => cell.fg(Color::DarkYellow),
            CellPaint::Bad => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
            CellPaint::Faint => cell.add_attribute(Attribute::Dim),
        }
    }
}

/// Rows under column titles.
#[derive(Debug, Default)]
pub(super) struct Grid {
    /// Titles of the columns; without titles there is no header line.
    pub(super) titles: Vec<String>,
    pub(super) rows: Vec<Vec<GridCell>>,
    /// Columns of the terminal; `None`: lines have no limit.
    pub(super) width: Option<usize>,
    /// Whether the first column may wrap, if there is a width.
    pub(super) break_first: bool,
    pub(super) color: bool,
}

impl Grid {
    /// Whether the columns do not fit into the width; a last column that can wrap counts with its minimum width.
    pub(super) fn is_crowded(&self) -> bool {
        let Some(width) = self.width else { return false };
        let columns = self.rows.iter().map(Vec::len).chain([self.titles.len()]).max().unwrap_or(0);
        let widest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| text::width(&cell.text));
            let widest = cells.max().unwrap_or(0).max(self.titles.get(column).map_or(0, |title| text::width(title)));
            let breaks = column + 1 == columns || (column == 0 && self.break_first);
            // A column that wraps needs only its least width.
            if breaks { widest.min(usize::from(LEAST_LAST)) } else { widest }
        };
        // The last column has no gap behind it.
        (0..columns).map(|column| widest(column) + usize::from(GAP)).sum::<usize>() > width + usize::from(GAP)
    }

    /// The grid as lines.
    pub(super) fn render(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(comfy_table::presets::NOTHING)
            // The caller has decided on width and color; the library must not look at the terminal again.
            .force_no_tty()
            .set_content_arrangement(ContentArrangement::Disabled);
        if self.color {
            table.enforce_styling();
            table.style_text_only();
        }
        if !self.titles.is_empty() {
            table.set_header(&self.titles);
        }
        let last = self.rows.iter().map(Vec::len).chain([self.titles.len()]).max().unwrap_or(0).saturating_sub(1);
        for row in &self.rows {
            table.add_row(row.iter().enumerate().map(|(column, cell)| {
                let words = match self.width {
                    // The column that identifies a row is never cut; it wraps, and only if it may hold a node set.
                    Some(width) if column == 0 && self.break_first => {
                        text::wrap(&cell.text, (width / 4).max(usize::from(LEAST_FIRST))).join("\n")
                    }
                    // A huge message would push the rows off the screen.
                    Some(_) if column == last => text::cut(&cell.text, LONGEST_BROKEN).to_string(),
                    Some(_) | None => cell.text.clone(),
                };
                cell.laid_out(&words, self.color)
            }));
        }
        for column in table.column_iter_mut() {
            // A gap on the right only: `trim_end` below removes that of the last column.
            column.set_padding((0, GAP));
        }
        if let Some(width) = self.width {
            table
                .set_width(u16::try_from(width).unwrap_or(u16::MAX))
                .set_content_arrangement(ContentArrangement::Dynamic);
            let widest = table.column_max_content_widths();
            for (index, column) in table.column_iter_mut().enumerate() {
                // Every column except the message is short and is scanned vertically, so only the last one wraps.
                column.set_constraint(if index == last && index > 0 {
                    let widest = widest.get(index).map_or(LEAST_LAST, |widest| widest.saturating_add(GAP));
                    ColumnConstraint::LowerBoundary(Width::Fixed(LEAST_LAST.min(widest)))
                } else {
                    ColumnConstraint::ContentWidth
                });
            }
        }
        let mut lines = String::new();
        for line in table.lines() {
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        // An empty table has one empty line.
        if lines == "\n" { String::new() } else { lines }
    }
}

/// Rows in columns, under titles if there are any, for lists that are not results of a run. Cells are made visible.
#[must_use]
pub fn plain_table(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows = rows.map(|row| row.iter().map(|cell| GridCell::new(cell)).collect()).collect();
    let titles = titles.iter().map(|title| (*title).to_owned()).collect();
    Grid { titles, rows, ..Grid::default() }.render()
}
