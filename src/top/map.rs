//! The map: a line for each service of a role, a cell for each node or, where there are too many, for a few.

use std::collections::BTreeMap;

use crate::event::TargetResult;
use crate::overview::Health;

/// A line of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) role: String,
    pub(super) service: String,
    /// The worst of each cell's nodes; none: none of them has the service.
    pub(super) cells: Vec<Option<Health>>,
}

/// The map in at most `columns` cells a line. The nodes of a role stand in the order of the results.
pub(super) fn rows(results: &[TargetResult], columns: usize) -> Vec<Row> {
    let mut roles: Vec<&str> = Vec::new();
    let mut nodes: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut services: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for result in results {
        let role = result.role.as_deref().unwrap_or("-");
        if !nodes.contains_key(role) {
            roles.push(role);
        }
        let known = nodes.entry(role).or_default();
        let next = known.len();
        known.entry(&result.node).or_insert(next);
        let service = result.service.as_deref().unwrap_or("-");
        let known = services.entry(role).or_default();
        if !known.contains(&service) {
            known.push(service);
        }
    }
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut rows: Vec<Row> = Vec::new();
    for role in roles {
        let count = nodes.get(role).map_or(0, BTreeMap::len);
        let width = count.min(columns.max(1));
        for service in services.get(role).into_iter().flatten() {
            places.insert((role, service), rows.len());
            rows.push(Row { role: role.to_owned(), service: (*service).to_owned(), cells: vec![None; width] });
        }
    }
    for result in results {
        let role = result.role.as_deref().unwrap_or("-");
        let service = result.service.as_deref().unwrap_or("-");
        let Some(nodes) = nodes.get(role) else { continue };
        let row = places.get(&(role, service)).and_then(|place| rows.get_mut(*place));
        let (Some(row), Some(place)) = (row, nodes.get(result.node.as_str())) else { continue };
        let cell = place * row.cells.len() / nodes.len().max(1);
        if let Some(cell) = row.cells.get_mut(cell) {
            *cell = (*cell).max(Some(Health::of(result)));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Outcome, ProcessState};

    fn result(node: usize, service: &str, state: ProcessState) -> TargetResult {
        TargetResult {
            role: Some("compute".to_owned()),
            service: Some(service.to_owned()),
            state: Some(state),
            ..TargetResult::new(format!("c{node:04}"), Outcome::Ok)
        }
    }

    #[test]
    fn a_cell_is_as_bad_as_the_worst_of_its_nodes() {
        let mut results: Vec<TargetResult> =
            (0..1000).map(|node| result(node, "agent", ProcessState::Running)).collect();
        results.push(result(999, "other", ProcessState::Fatal));
        if let Some(one) = results.get_mut(500) {
            one.state = Some(ProcessState::Stopped);
        }
        let rows = rows(&results, 50);
        assert_eq!(rows.len(), 2);
        let bad: Vec<usize> = (0..50).filter(|cell| rows[0].cells[*cell] != Some(Health::Well)).collect();
        assert_eq!(bad, [25]);
        assert_eq!(rows[0].cells[25], Some(Health::Inactive));
        assert_eq!((rows[1].cells[49], rows[1].cells[0]), (Some(Health::Failed), None));
    }

    #[test]
    fn few_nodes_have_a_cell_each() {
        let rows = rows(&[result(1, "a", ProcessState::Running), result(2, "a", ProcessState::Running)], 50);
        assert_eq!(rows[0].cells.len(), 2);
        assert_eq!(super::rows(&[], 0), []);
    }
}
