//! `ctl snapshot diff`: the changes, for people and for scripts.
//!
//! Here live the output formats of a [`SnapshotDiff`]. They use `snapshot`, `nodeset` and this module. Invariants:
//! every change is in every format; changes for the worse come first; color is never needed; text from a node is made
//! safe here. Start reading at [`lines`].

use console::Style;
use serde::Serialize;

use super::csv::cell;
use super::encode::{self, SchemaName};
use super::grid::{CellPaint, Grid, GridCell};
use super::{SinkError, text};
use ctl_snapshot::{ChangeLine, ChangeVerdict, DiffSummary, NodeChange, SnapshotDiff};

const TITLES: [&str; 8] = ["VERDICT", "NODE", "ROLE", "SUPERVISOR", "SERVICE", "CHANGE", "BEFORE", "AFTER"];
const HEADER: [&str; 8] = ["node", "role", "supervisor", "service", "change", "verdict", "before", "after"];

/// The changes, one line for the same change on several nodes; colored if `color`.
#[must_use]
pub fn lines(diff: &SnapshotDiff, color: bool) -> Vec<String> {
    if diff.changes.is_empty() {
        return vec!["nothing has changed".to_owned()];
    }
    diff.lines().iter().map(|line| of_line(line, color)).collect()
}

/// The changes, one line each; colored if `color`.
#[must_use]
pub fn each(diff: &SnapshotDiff, color: bool) -> Vec<String> {
    if diff.changes.is_empty() {
        return lines(diff, color);
    }
    diff.changes.iter().map(|change| of_line(&ChangeLine::of(change), color)).collect()
}

fn of_line(line: &ChangeLine, color: bool) -> String {
    let style = Style::new().force_styling(color);
    let style = match line.verdict {
        ChangeVerdict::Worse => style.red().bold(),
        ChangeVerdict::Better => style.green(),
        ChangeVerdict::Different => style.dim(),
    };
    let nodes = line.nodes.to_string();
    let what = line.what.as_deref().map(|what| format!("{} on ", text::visible(what))).unwrap_or_default();
    let word = style.apply_to(format!("{}:", line.verdict.as_str()));
    format!("{word} {what}{}: {}", text::visible(&nodes), text::single_line(&line.text))
}

/// The changes, one row each; a terminal of `width` columns is filled.
#[must_use]
pub fn rows(diff: &SnapshotDiff, width: Option<u16>, color: bool) -> String {
    let maybe = |text: &Option<String>| GridCell::new(text.as_deref().unwrap_or("-"));
    let row = |change: &NodeChange| {
        let paint = match change.verdict {
            ChangeVerdict::Worse => CellPaint::Bad,
            ChangeVerdict::Better => CellPaint::Good,
            ChangeVerdict::Different => CellPaint::Faint,
        };
        vec![
            GridCell::painted(change.verdict.as_str(), paint),
            GridCell::new(&change.node),
            maybe(&change.role),
            maybe(&change.supervisor),
            maybe(&change.service),
            GridCell::new(change.kind.as_str()),
            maybe(&change.before),
            maybe(&change.after),
        ]
    };
    let titles = TITLES.map(str::to_owned).to_vec();
    let rows = diff.changes.iter().map(row).collect();
    Grid { titles, rows, width: width.map(usize::from), break_first: false, color }.render()
}

/// `3 worse, 1 better, 12 different; 97 nodes the same`.
#[must_use]
pub fn summary(summary: &DiffSummary) -> String {
    let DiffSummary { worse, better, different, nodes: _, nodes_same } = *summary;
    let noun = if nodes_same == 1 { "node" } else { "nodes" };
    format!("{worse} worse, {better} better, {different} different; {nodes_same} {noun} the same")
}

/// One JSON document.
///
/// # Errors
/// [`SinkError::Json`].
pub fn json(diff: &SnapshotDiff) -> Result<String, SinkError> {
    encode::json(&ChangeDocument::of(diff))
}

/// The same document as YAML.
///
/// # Errors
/// [`SinkError::Yaml`].
pub fn yaml(diff: &SnapshotDiff) -> Result<String, SinkError> {
    encode::yaml(&ChangeDocument::of(diff))
}

/// One JSON object per line: the changes, then their counts.
///
/// # Errors
/// [`SinkError::Json`].
pub fn jsonl(diff: &SnapshotDiff) -> Result<String, SinkError> {
    let changes = diff.changes.iter().map(TaggedLine::Change);
    let mut lines = String::new();
    for line in changes.chain([TaggedLine::DiffFinished { summary: &diff.summary }]) {
        lines.push_str(&encode::json_line(&ChangeEvent { schema: SchemaName::Ctl1, line })?);
    }
    Ok(lines)
}

/// One line per change, for spreadsheets.
///
/// # Errors
/// [`SinkError::Csv`].
pub fn csv(diff: &SnapshotDiff) -> Result<String, SinkError> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(HEADER)?;
    let maybe = |words: &Option<String>| cell(words.as_deref().unwrap_or_default());
    for change in &diff.changes {
        table.write_record([
            cell(&change.node),
            maybe(&change.role),
            maybe(&change.supervisor),
            maybe(&change.service),
            change.kind.as_str().to_owned(),
            change.verdict.as_str().to_owned(),
            maybe(&change.before),
            maybe(&change.after),
        ])?;
    }
    let bytes = table.into_inner().map_err(|error| SinkError::Io(error.into_error()))?;
    // Every cell is a `String`, so nothing is lost.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The differences between two snapshots.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SnapshotDiff"))]
pub(super) struct ChangeDocument<'a> {
    schema: SchemaName,
    changes: &'a [NodeChange],
    summary: &'a DiffSummary,
}

impl<'a> ChangeDocument<'a> {
    fn of(diff: &'a SnapshotDiff) -> Self {
        Self { schema: SchemaName::Ctl1, changes: &diff.changes, summary: &diff.summary }
    }
}

/// One line of a snapshot diff.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "DiffLine"))]
pub(super) struct ChangeEvent<'a> {
    schema: SchemaName,
    // Only ever written: nothing has to find out which fields are whose.
    #[serde(flatten)]
    line: TaggedLine<'a>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum TaggedLine<'a> {
    Change(&'a NodeChange),
    DiffFinished { summary: &'a DiffSummary },
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use ctl_event::Outcome;
    use ctl_snapshot::{Snapshot, diff};

    fn sample() -> SnapshotDiff {
        let of = |pids: [u32; 2], word: &str| Snapshot {
            results: ["a6s01", "a6s02"]
                .into_iter()
                .zip(pids)
                .map(|(node, pid)| {
                    let mut result = fixtures::running(node, Outcome::Ok, pid, 4);
                    result.functional = Some(if node == "a6s01" { word } else { "active" }.into());
                    result.functional_reason =
                        (word == "initializing").then(|| "\u{1b}[2J\u{9b}31m\n, \"x\"".to_owned());
                    result
                })
                .collect(),
            nodes: ["a6s01", "a6s02"]
                .map(|node| ctl_event::NodeFacts { node: node.to_owned(), ..Default::default() })
                .to_vec(),
            ..Snapshot::default()
        };
        diff(&of([1, 2], "active"), &of([1, 3], "initializing"))
    }

    #[test]
    fn changes_for_the_worse_come_first() {
        insta::assert_snapshot!(lines(&sample(), false).join("\n"), @r#"
        worse: contrail-collector on a6s01: active → initializing (\x1b[2J\x9b31m\n, "x")
        different: contrail-collector on a6s02: restarted
        "#);
        insta::assert_snapshot!(rows(&sample(), None, false), @r#"
        VERDICT    NODE   ROLE       SUPERVISOR            SERVICE             CHANGE     BEFORE  AFTER
        worse      a6s01  analytics  supervisor-analytics  contrail-collector  state      active  initializing (\x1b[2J\x9b31m\n, "x")
        different  a6s02  analytics  supervisor-analytics  contrail-collector  restarted  pid 2   pid 3
        "#);
        assert_eq!(summary(&sample().summary), "1 worse, 0 better, 1 different; 0 nodes the same");
        let colored = lines(&sample(), true).join("\n");
        assert!(colored.contains("\u{1b}[31m"));
        assert_eq!(console::strip_ansi_codes(&colored), lines(&sample(), false).join("\n"));
        let same = diff(&Snapshot::default(), &Snapshot::default());
        assert_eq!(lines(&same, false), ["nothing has changed"]);
    }

    #[test]
    fn scripts_read_every_change() {
        insta::assert_snapshot!(jsonl(&sample()).expect("JSON"), @r#"
        {"schema":"ctl/1","event":"change","node":"a6s01","role":"analytics","supervisor":"supervisor-analytics","service":"contrail-collector","change":"state","verdict":"worse","before":"active","after":"initializing (\u001b[2J\u009b31m\n, \"x\")"}
        {"schema":"ctl/1","event":"change","node":"a6s02","role":"analytics","supervisor":"supervisor-analytics","service":"contrail-collector","change":"restarted","verdict":"different","before":"pid 2","after":"pid 3"}
        {"schema":"ctl/1","event":"diff_finished","summary":{"worse":1,"better":0,"different":1,"nodes":2,"nodes_same":0}}
        "#);
        insta::assert_snapshot!(csv(&sample()).expect("CSV"), @r#"
        node,role,supervisor,service,change,verdict,before,after
        a6s01,analytics,supervisor-analytics,contrail-collector,state,worse,active,"initializing (\x1b[2J\x9b31m\n, ""x"")"
        a6s02,analytics,supervisor-analytics,contrail-collector,restarted,different,pid 2,pid 3
        "#);
        let json = json(&sample()).expect("JSON");
        assert!(json.chars().all(|char| char == '\n' || !char.is_control()), "{json}");
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let yaml: serde_json::Value = serde_saphyr::from_str(&yaml(&sample()).expect("YAML")).expect("YAML");
        assert_eq!(json, yaml);
        assert_eq!(json["summary"]["worse"], 1);
        let fields: Vec<&String> = json["changes"][0].as_object().expect("an object").keys().collect();
        let mut header = HEADER.to_vec();
        header.sort_unstable();
        let mut fields: Vec<&str> = fields.into_iter().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, header);
    }
}
