//! `-o html`: one self-contained file for the browser that holds the whole status and makes no request.
//!
//! Here live [`HtmlSink`] and the page that it fills in: `html/report.html` (a template), `report.css` and `report.js`
//! (both inlined), and `data.rs`, the data for `report.js`. It uses `event`, `overview` and this module. Invariants:
//! problems are visible without JavaScript; text from a node is escaped by the template or inserted as text, never as
//! HTML; a Content-Security-Policy forbids every request, and every script and style except these two; [`Overview`] and
//! [`TargetHealth`] supply the content, as in the table. Start reading at [`ReportPage::of`].

mod data;
mod mark;

use std::io::Write;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use self::mark::{HealthMark, LEFT_OUT, UNLIKE};
use super::overview::outlier_words;
use super::{Sink, SinkError, footer, text};
use ctl_event::{Ledger, RunEvent};
use ctl_overview::{ClusterIssue, Outlier, Overview, RoleSummary, TargetHealth};

const CSS: &str = include_str!("html/report.css");
const JS: &str = include_str!("html/report.js");

/// Maximum number of problem rows. More appear only if nearly every node has a different problem, and then the table
/// below is the better place.
const TROUBLES_SHOWN: usize = 500;

/// One file, written at the end of the run.
pub struct HtmlSink {
    out: Box<dyn Write + Send>,
}

impl HtmlSink {
    /// Writes the file to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }
}

impl Sink for HtmlSink {
    fn event(&mut self, _event: &RunEvent, _ledger: &Ledger) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, ledger: &Ledger, exit_code: u8) -> Result<(), SinkError> {
        let page = ReportPage::of(ledger, exit_code)?.render().map_err(SinkError::Html)?;
        self.out.write_all(page.as_bytes())?;
        // Askama strips the final newline of the template.
        self.out.write_all(b"\n")?;
        Ok(self.out.flush()?)
    }
}

/// The values of the template. Every text is safe to show; the template escapes it for HTML.
#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage {
    policy: String,
    css: &'static str,
    js: &'static str,
    data: String,
    version: &'static str,
    run: String,
    services: String,
    started: String,
    took: String,
    exit_code: u8,
    exit_words: &'static str,
    given_up: &'static str,
    /// Without targets that were skipped on purpose, which are not problems.
    nodes: HealthyShare,
    left: usize,
    targets: HealthyShare,
    roles: Vec<RoleRow>,
    troubles: Vec<TroubleRow>,
    troubles_left: usize,
    /// Healthy outliers, and targets that were skipped on purpose.
    besides: Vec<TroubleRow>,
}

/// The number of healthy items, and their total.
struct HealthyShare {
    well: usize,
    all: usize,
}

/// A line of the summary.
struct RoleRow {
    role: String,
    nodes: HealthyShare,
    left: usize,
    services: HealthyShare,
    wrong: Vec<(usize, HealthMark)>,
}

/// A line of the list of problems.
struct TroubleRow {
    mark: HealthMark,
    what: String,
    role: String,
    nodes: String,
    count: u64,
    reason: String,
}

impl ReportPage {
    fn of(ledger: &Ledger, exit_code: u8) -> Result<Self, SinkError> {
        let results = ledger.results();
        let facts = ledger.facts();
        let overview = Overview::of(results, facts);
        let head = ledger.head();
        let services = head.map(|head| head.services.join(", ")).unwrap_or_default();
        let healths: Vec<TargetHealth> = results.iter().map(TargetHealth::of).collect();
        let left = overview.maintenance.iter().map(|left| usize::try_from(left.nodes.len()).unwrap_or(0)).sum();
        let well = healths.iter().filter(|health| **health == TargetHealth::Well).count();
        Ok(Self {
            policy: policy(),
            css: CSS,
            js: JS,
            data: data::json(ledger, &overview, facts, exit_code)?,
            version: env!("CARGO_PKG_VERSION"),
            run: head.map(|head| head.run.clone()).unwrap_or_default(),
            services: text::single_line(&services),
            started: head.map(|head| head.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default(),
            took: footer::took(ledger.elapsed()),
            exit_code,
            exit_words: exit_words(exit_code),
            given_up: footer::given_up(ledger).trim_start_matches("; "),
            // A node in maintenance is no problem, so it must not lower the share.
            nodes: HealthyShare { well: overview.nodes_well + left, all: overview.nodes },
            left,
            targets: HealthyShare { well, all: results.len() },
            roles: overview.roles.iter().map(role_row).collect(),
            troubles: overview.troubles.iter().take(TROUBLES_SHOWN).map(trouble_row).collect(),
            troubles_left: overview.troubles.len().saturating_sub(TROUBLES_SHOWN),
            besides: besides(&overview),
        })
    }
}

fn role_row(summary: &RoleSummary) -> RoleRow {
    let wrong = summary.wrong.iter().map(|(health, count)| (*count, HealthMark::of(Some(health.0))));
    RoleRow {
        role: text::single_line(summary.role.as_deref().unwrap_or("no role")),
        nodes: HealthyShare { well: summary.nodes_well, all: summary.nodes },
        left: summary.maintenance,
        services: HealthyShare { well: summary.services_well, all: summary.services },
        wrong: wrong.collect(),
    }
}

fn trouble_row(trouble: &ClusterIssue) -> TroubleRow {
    TroubleRow {
        mark: HealthMark::of(trouble.health),
        what: text::single_line(&trouble.what),
        role: text::single_line(trouble.role.as_deref().unwrap_or_default()),
        nodes: text::visible(&trouble.nodes.to_string()).into_owned(),
        count: trouble.nodes.len(),
        reason: text::single_line(&trouble.reason),
    }
}

fn besides(overview: &Overview) -> Vec<TroubleRow> {
    let outliers = overview.outliers.iter().map(outlier_row);
    let left = overview.maintenance.iter().map(|trouble| TroubleRow { mark: LEFT_OUT, ..trouble_row(trouble) });
    outliers.chain(left).take(TROUBLES_SHOWN).collect()
}

fn outlier_row(outlier: &Outlier) -> TroubleRow {
    let (what, reason) = outlier_words(outlier);
    TroubleRow {
        mark: UNLIKE,
        what,
        role: text::single_line(outlier.role.as_deref().unwrap_or_default()),
        nodes: text::visible(&outlier.nodes.to_string()).into_owned(),
        count: outlier.nodes.len(),
        reason,
    }
}

/// The Content-Security-Policy. It names the script and the style by their hashes, so that nothing else runs, whatever
/// text gets into the page.
fn policy() -> String {
    // Hashes, since a file has no server that could issue a nonce.
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'",
        hash(JS),
        hash(CSS)
    )
}

/// The description in docs/exit-codes.md of each exit code of a status.
fn exit_words(code: u8) -> &'static str {
    match code {
        0 => "all healthy",
        1 => "something could not be read",
        3 => "something is not healthy",
        4 => "a node was unreachable",
        // 128 plus the signal, as in a shell.
        129 | 130 | 143 => "stopped before its end",
        _ => "see EXIT STATUS in the manual page ctl(1)",
    }
}

#[cfg(test)]
mod tests;
