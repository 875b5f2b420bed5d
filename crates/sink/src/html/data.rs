//! The whole status as data for the report's script, and for any other program that reads the file.
//!
//! Here lives [`json`]. It uses `event`, `overview` and this module's [`text`]. Invariants: the result is valid JSON,
//! and holds no character that can end its HTML element; every text is made safe and bounded; each distinct text
//! appears once, so that a report of 10,000 results can still be mailed. Start at [`ReportData`].

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::mark::HealthMark;
use crate::overview::outlier_words;
use crate::{SinkError, text};
use ctl_event::{FunctionalStatus, Ledger, NodeFacts, Summary, TargetResult};
use ctl_overview::{Overview, TargetHealth, reason};

/// Name and version of the format.
const SCHEMA: &str = "ctl-report/1";

/// Columns of a result, and whether they hold numbers or indexes into [`ReportData::texts`]. `health` is an index into
/// [`ReportData::healths`]. The names are those of the JSON output.
const COLUMNS: [(&str, &str); 18] = [
    ("node", "text"),
    ("address", "text"),
    ("role", "text"),
    ("supervisor", "text"),
    ("service", "text"),
    ("outcome", "text"),
    ("health", "health"),
    ("state", "text"),
    ("pid", "number"),
    ("uptime_s", "number"),
    ("functional", "text"),
    ("version", "text"),
    ("reason", "text"),
    ("hint", "text"),
    ("failure_stage", "text"),
    ("failure_kind", "text"),
    ("via", "text"),
    ("duration_ms", "number"),
];

/// A cell of a result: a number, an index, or nothing.
type DataCell = Option<u64>;

#[derive(Serialize)]
struct ReportData {
    schema: &'static str,
    run: Value,
    overview: ReportSummary,
    summary: Summary,
    /// Other findings on the nodes; as in the JSON output.
    nodes: Vec<Value>,
    healths: Vec<StateWord>,
    columns: [(&'static str, &'static str); 18],
    texts: Vec<String>,
    results: Vec<[DataCell; 18]>,
}

#[derive(Serialize)]
struct StateWord {
    word: &'static str,
    sign: &'static str,
}

#[derive(Serialize)]
struct ReportSummary {
    roles: Vec<ReportRole>,
    troubles: Vec<ReportIssue>,
    outliers: Vec<ReportIssue>,
    maintenance: Vec<ReportIssue>,
}

#[derive(Serialize)]
struct ReportRole {
    role: Option<String>,
    nodes: usize,
    nodes_well: usize,
    maintenance: usize,
    services: usize,
    services_well: usize,
    wrong: Vec<(&'static str, usize)>,
}

#[derive(Serialize)]
struct ReportIssue {
    health: Option<&'static str>,
    what: String,
    role: Option<String>,
    nodes: String,
    count: u64,
    reason: String,
}

/// The JSON of a status, safe inside a `<script>` element.
pub(super) fn json(
    ledger: &Ledger,
    overview: &Overview,
    facts: &[NodeFacts],
    exit_code: u8,
) -> Result<String, SinkError> {
    let mut texts = TextTable::default();
    let results = ledger.results().iter().map(|result| row(result, &mut texts)).collect();
    let mut run = serde_json::to_value(ledger.head()).map_err(SinkError::Json)?;
    if let Value::Object(run) = &mut run {
        run.insert("elapsed_ms".to_owned(), u64::try_from(ledger.elapsed().as_millis()).unwrap_or(u64::MAX).into());
        run.insert("exit_code".to_owned(), exit_code.into());
    }
    let facts: Result<Vec<Value>, _> = facts.iter().map(serde_json::to_value).collect();
    let data = ReportData {
        schema: SCHEMA,
        run: safe(run),
        overview: glance(overview),
        summary: ledger.summary(),
        nodes: facts.map_err(SinkError::Json)?.into_iter().map(safe).collect(),
        healths: TargetHealth::ALL
            .map(|health| HealthMark::of(Some(health)))
            .map(|HealthMark { word, sign }| StateWord { word, sign })
            .into(),
        columns: COLUMNS,
        texts: texts.all,
        results,
    };
    Ok(for_script(&serde_json::to_string(&data).map_err(SinkError::Json)?))
}

/// Escapes the characters that HTML interprets. They occur only inside strings, so JSON escapes are valid for them.
fn for_script(json: &str) -> String {
    let mut safe = String::with_capacity(json.len() + 64);
    for char in json.chars() {
        match char {
            // `<` could end the script element or start a comment in it; U+2028 and U+2029 end a line in older
            // JavaScript.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => safe.push_str(&format!("\\u{:04x}", u32::from(char))),
            _ => safe.push(char),
        }
    }
    safe
}

fn row(result: &TargetResult, texts: &mut TextTable) -> [DataCell; 18] {
    let health = TargetHealth::of(result);
    let why = if health == TargetHealth::Well {
        // A healthy service can still carry a message.
        result.functional_reason.clone().unwrap_or_else(|| result.message.clone())
    } else {
        reason(result)
    };
    let failure = result.failure.as_ref();
    let place = TargetHealth::ALL.iter().position(|one| *one == health).and_then(|place| u64::try_from(place).ok());
    [
        texts.place(Some(&result.node)),
        texts.place(result.address.as_deref()),
        texts.place(result.role.as_deref()),
        texts.place(result.supervisor.as_deref()),
        texts.place(result.target_name().as_deref()),
        texts.place(Some(result.outcome.as_str())),
        place,
        texts.place(result.state.map(|state| state.as_str())),
        result.pid.map(u64::from),
        result.uptime_s,
        texts.place(result.functional.as_ref().map(FunctionalStatus::as_str)),
        texts.place(result.version.as_deref()),
        texts.place(Some(why.as_str()).filter(|why| !why.is_empty())),
        texts.place(failure.and_then(|failure| failure.hint.as_deref())),
        texts.place(failure.map(|failure| failure.stage.as_str())),
        texts.place(failure.map(|failure| failure.kind.as_str())),
        texts.place(result.via.map(|via| via.as_str())),
        result.duration_ms,
    ]
}

/// Each distinct text once.
#[derive(Default)]
struct TextTable {
    all: Vec<String>,
    places: HashMap<String, u64>,
}

impl TextTable {
    fn place(&mut self, words: Option<&str>) -> DataCell {
        let words = words?;
        if let Some(place) = self.places.get(words) {
            return Some(*place);
        }
        let place = u64::try_from(self.all.len()).ok()?;
        self.places.insert(words.to_owned(), place);
        self.all.push(text::single_line(words));
        Some(place)
    }
}

fn glance(overview: &Overview) -> ReportSummary {
    let line = |words: &Option<String>| words.as_deref().map(text::single_line);
    let trouble = |trouble: &ctl_overview::ClusterIssue| ReportIssue {
        health: trouble.health.map(TargetHealth::as_str),
        what: text::single_line(&trouble.what),
        role: line(&trouble.role),
        nodes: text::visible(&trouble.nodes.to_string()).into_owned(),
        count: trouble.nodes.len(),
        reason: text::single_line(&trouble.reason),
    };
    ReportSummary {
        roles: overview
            .roles
            .iter()
            .map(|summary| ReportRole {
                role: line(&summary.role),
                nodes: summary.nodes,
                nodes_well: summary.nodes_well,
                maintenance: summary.maintenance,
                services: summary.services,
                services_well: summary.services_well,
                wrong: summary.wrong.iter().map(|(health, count)| (health.0.as_str(), *count)).collect(),
            })
            .collect(),
        troubles: overview.troubles.iter().map(trouble).collect(),
        outliers: overview
            .outliers
            .iter()
            .map(|outlier| {
                let (what, reason) = outlier_words(outlier);
                let nodes = text::visible(&outlier.nodes.to_string()).into_owned();
                ReportIssue { health: None, what, role: line(&outlier.role), nodes, count: outlier.nodes.len(), reason }
            })
            .collect(),
        maintenance: overview.maintenance.iter().map(trouble).collect(),
    }
}

/// The same value with every text made safe and bounded.
fn safe(value: Value) -> Value {
    match value {
        Value::String(words) => Value::String(text::single_line(&words)),
        Value::Array(values) => Value::Array(values.into_iter().map(safe).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (text::single_line(&name), safe(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}
