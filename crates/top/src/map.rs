//! The map: one line for each service of a role, one cell for each node or, with too many of them, for several.

use std::collections::HashMap;

use ctl_event::{Outcome, TargetResult};
use ctl_overview::{NodeRoles, TargetHealth};

/// Placeholder for a missing role, and for an unknown service.
pub(super) const NONE: &str = "-";

/// The services of all roles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ServiceMap {
    /// The rows of a role are adjacent.
    pub(super) rows: Vec<MapRow>,
}

/// A line of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MapRow {
    pub(super) role: String,
    pub(super) service: String,
    /// One for each node of the role, in the order of the results; `None`: the node does not have the service.
    nodes: Vec<Option<TargetHealth>>,
}

impl MapRow {
    /// The nodes in at most `columns` cells, each with the worst health of its nodes.
    pub(super) fn cells(&self, columns: usize) -> Vec<Option<TargetHealth>> {
        let count = self.nodes.len();
        let mut cells = vec![None; count.min(columns.max(1))];
        let width = cells.len();
        for (place, health) in self.nodes.iter().enumerate() {
            // Spreads the nodes evenly; `place < count` keeps the index below `width`.
            if let Some(cell) = cells.get_mut(place * width / count.max(1)) {
                // The order of the values is their severity, and no service ranks below all of them.
                *cell = (*cell).max(*health);
            }
        }
        cells
    }

    /// Whether the service is healthy on all its nodes.
    pub(super) fn is_well(&self) -> bool {
        self.nodes.iter().flatten().all(|health| *health == TargetHealth::Well)
    }

    /// The number of nodes of the role.
    pub(super) fn width(&self) -> usize {
        self.nodes.len()
    }
}

/// A role during the construction of the map.
#[derive(Default)]
struct MapRole<'a> {
    nodes: HashMap<&'a str, usize>,
    /// The services in the order of the results, and their indexes.
    services: Vec<&'a str>,
    places: HashMap<&'a str, usize>,
    /// `(service, node, health)`, by index.
    known: Vec<(usize, usize, TargetHealth)>,
    /// The health of all services of the role on a node that could not be asked.
    whole: Vec<(usize, TargetHealth)>,
}

impl<'a> MapRole<'a> {
    fn take(&mut self, result: &'a TargetResult) {
        let next = self.nodes.len();
        let node = *self.nodes.entry(&result.node).or_insert(next);
        let health = TargetHealth::of(result);
        match (&result.service, result.state) {
            (Some(service), Some(_)) => {
                let next = self.services.len();
                let place = *self.places.entry(service).or_insert(next);
                if place == next {
                    self.services.push(service);
                }
                self.known.push((place, node, health));
            }
            // Without a state, the failure concerns the node, and so each of its services.
            _ if health != TargetHealth::Well => self.whole.push((node, health)),
            _ => {}
        }
    }

    fn rows(self, role: &str) -> Vec<MapRow> {
        // A role without a readable service keeps one row, so that its nodes stay visible.
        let names = if self.services.is_empty() { vec![NONE] } else { self.services };
        let mut rows: Vec<MapRow> = names
            .into_iter()
            .map(|service| MapRow {
                role: role.to_owned(),
                service: service.to_owned(),
                nodes: vec![None; self.nodes.len()],
            })
            .collect();
        let mark = |row: &mut MapRow, node: usize, health: TargetHealth| {
            if let Some(cell) = row.nodes.get_mut(node) {
                *cell = (*cell).max(Some(health));
            }
        };
        for (service, node, health) in self.known {
            if let Some(row) = rows.get_mut(service) {
                mark(row, node, health);
            }
        }
        for (node, health) in self.whole {
            for row in &mut rows {
                mark(row, node, health);
            }
        }
        rows
    }
}

impl ServiceMap {
    /// The map of a round. A node without roles in its results has its known roles.
    pub(super) fn of(results: &[TargetResult], known: &NodeRoles) -> Self {
        let mut order: Vec<&str> = Vec::new();
        let mut parts: HashMap<&str, MapRole<'_>> = HashMap::new();
        for result in results.iter().filter(|result| result.outcome != Outcome::NotConfigured) {
            let mut take = |role| {
                parts.entry(role).or_insert_with(|| {
                    order.push(role);
                    MapRole::default()
                });
                if let Some(part) = parts.get_mut(role) {
                    part.take(result);
                }
            };
            match (result.role.as_deref(), known.of(&result.node)) {
                (Some(role), _) => take(role),
                (None, []) => take(NONE),
                (None, roles) => roles.iter().for_each(|role| take(role)),
            }
        }
        // The sort is stable, so roles that the inventory does not know keep the order of the results.
        order.sort_by_key(|role| known.place(Some(*role).filter(|role| *role != NONE)));
        let rows = order.iter().filter_map(|role| Some(parts.remove(role)?.rows(role)));
        Self { rows: rows.flatten().collect() }
    }

    /// The number of roles.
    pub(super) fn roles(&self) -> usize {
        self.rows.chunk_by(|one, next| one.role == next.role).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctl_event::ProcessState;

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
        let map = ServiceMap::of(&results, &NodeRoles::default());
        assert_eq!((map.rows.len(), map.roles()), (2, 1));
        let cells = map.rows[0].cells(50);
        let bad: Vec<usize> = (0..50).filter(|cell| cells[*cell] != Some(TargetHealth::Well)).collect();
        assert_eq!(bad, [25]);
        assert_eq!(cells[25], Some(TargetHealth::Inactive));
        let other = map.rows[1].cells(50);
        assert_eq!((other[49], other[0]), (Some(TargetHealth::Failed), None));
    }

    #[test]
    fn few_nodes_have_a_cell_each() {
        let results = [result(1, "a", ProcessState::Running), result(2, "a", ProcessState::Running)];
        let map = ServiceMap::of(&results, &NodeRoles::default());
        assert_eq!(map.rows[0].cells(50).len(), 2);
        assert_eq!(map.rows[0].cells(0).len(), 1);
        assert_eq!(ServiceMap::of(&[], &NodeRoles::default()), ServiceMap::default());
    }

    #[test]
    fn an_unreachable_node_is_in_every_row_of_its_roles() {
        let lost = TargetResult::new("c0002".to_owned(), Outcome::Unreachable);
        let mut down = TargetResult::new("c0003".to_owned(), Outcome::Failed);
        down.role = Some("compute".to_owned());
        let mut left_out = TargetResult::new("c0004".to_owned(), Outcome::Skipped);
        left_out.role = Some("compute".to_owned());
        let results = [
            result(1, "agent", ProcessState::Running),
            result(1, "nodemgr", ProcessState::Running),
            lost,
            down,
            left_out,
        ];
        let roles = NodeRoles::new(&[], [("c0002".to_owned(), vec!["compute".to_owned(), "web-ui".to_owned()])]);
        let map = ServiceMap::of(&results, &roles);
        let told: Vec<_> = map.rows.iter().map(|row| (row.service.as_str(), row.cells(9))).collect();
        let compute = vec![Some(TargetHealth::Well), Some(TargetHealth::Unreachable), Some(TargetHealth::Failed), None];
        assert_eq!(
            told,
            [("agent", compute.clone()), ("nodemgr", compute), (NONE, vec![Some(TargetHealth::Unreachable)])]
        );
    }
}
