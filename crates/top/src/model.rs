//! The state of the view.

use std::collections::BTreeMap;
use std::time::Duration;

use super::map::ServiceMap;
use ctl_event::{Ledger, NodeFacts, TargetResult};
use ctl_overview::{NodeRoles, Overview, TargetHealth, reason};
use ctl_plan::ServiceVerb;

/// A key with a meaning in the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopKey {
    /// A character.
    Char(char),
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// Up.
    Up,
    /// Down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// Home: to the first entry.
    Home,
    /// End: to the last entry.
    End,
    /// Ctrl-C.
    Interrupt,
}

/// A request from the view to its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopOrder {
    /// Quit.
    Quit,
    /// Read the end of a service's log on a node.
    ReadLog(TopTarget),
    /// Act; the user has confirmed it.
    Act(PendingAction),
}

/// One service on one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopTarget {
    /// The node.
    pub node: String,
    /// Its role; none if unknown.
    pub role: Option<String>,
    /// The service; none if the node reported none.
    pub service: Option<String>,
}

impl TopTarget {
    fn of(result: &TargetResult) -> Self {
        Self { node: result.node.clone(), role: result.role.clone(), service: result.service.clone() }
    }

    pub(super) fn is_of(&self, result: &TargetResult) -> bool {
        self.node == result.node && self.role == result.role && self.service == result.service
    }
}

/// An action that awaits confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingAction {
    /// What.
    pub action: ServiceVerb,
    /// The service.
    pub service: String,
    /// Its role.
    pub role: Option<String>,
    /// The nodes.
    pub nodes: Vec<String>,
    /// The input so far.
    pub typed: String,
}

impl PendingAction {
    /// The required input: `y`, or for several nodes their number.
    #[must_use]
    pub fn wanted(&self) -> String {
        if self.nodes.len() == 1 { "y".to_owned() } else { self.nodes.len().to_string() }
    }
}

/// The order of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SortOrder {
    /// Worst first.
    #[default]
    Worst,
    /// By node, then service.
    Node,
    /// By service, then node.
    Service,
    /// Most recently started first.
    Youngest,
}

impl SortOrder {
    /// The name on the screen.
    #[must_use]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Worst => "worst first",
            Self::Node => "by node",
            Self::Service => "by service",
            Self::Youngest => "newest first",
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Worst => Self::Node,
            Self::Node => Self::Service,
            Self::Service => Self::Youngest,
            Self::Youngest => Self::Worst,
        }
    }
}

/// The page on the screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum TopPage {
    /// The map and the list.
    #[default]
    Cluster,
    /// The whole map.
    Map,
    /// One node, with the log of one of its services.
    Node(TopTarget),
    /// The help.
    Help,
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogEnd {
    pub(super) of: TopTarget,
    /// `None` while it is being read.
    pub(super) lines: Option<Vec<String>>,
}

/// The state of the view.
#[derive(Debug, Clone)]
pub struct TopModel {
    pub(super) results: Vec<TargetResult>,
    pub(super) facts: BTreeMap<String, NodeFacts>,
    pub(super) overview: Overview,
    pub(super) map: ServiceMap,
    /// The number of results by health.
    pub(super) counts: BTreeMap<TargetHealth, usize>,
    roles: NodeRoles,
    /// The searchable text of each result, in lower case.
    texts: Vec<String>,
    /// Duration of the last round.
    pub(super) took: Duration,
    /// Its end, by the controller's clock.
    pub(super) at: String,
    /// The nodes that have not answered, as safe lines.
    pub(super) late: Vec<String>,
    pub(super) interval: Duration,
    /// Rounds so far.
    pub(super) rounds: u64,
    pub(super) filter: String,
    /// Whether the user is typing the filter.
    pub(super) is_typing: bool,
    pub(super) sort: SortOrder,
    /// Indexes of the visible results, in their order.
    pub(super) shown: Vec<usize>,
    /// Index in `shown`.
    pub(super) selected: usize,
    /// Whether a key was pressed while rows were shown: until then nobody has chosen one, and the first stays selected.
    has_user: bool,
    pub(super) page: TopPage,
    /// First visible line of the whole map.
    pub(super) map_first: usize,
    pub(super) confirm: Option<PendingAction>,
    pub(super) log: Option<LogEnd>,
    /// Whether to use color.
    pub(super) color: bool,
    /// Rows of a page of the list in the last frame.
    page_rows: usize,
}

impl TopModel {
    /// The state before the first round. `roles`: the nodes' roles in the inventory.
    #[must_use]
    pub fn new(roles: NodeRoles, interval: Duration, color: bool) -> Self {
        Self {
            results: Vec::new(),
            facts: BTreeMap::new(),
            overview: Overview::of_nodes(&[], &[], &roles),
            map: ServiceMap::default(),
            counts: BTreeMap::new(),
            roles,
            texts: Vec::new(),
            took: Duration::ZERO,
            at: String::new(),
            late: Vec::new(),
            interval,
            rounds: 0,
            filter: String::new(),
            is_typing: false,
            sort: SortOrder::default(),
            shown: Vec::new(),
            selected: 0,
            has_user: false,
            page: TopPage::default(),
            map_first: 0,
            confirm: None,
            log: None,
            color,
            // A guess, until the first frame sets it.
            page_rows: 10,
        }
    }

    /// Applies a round. `late`: the nodes that have not answered; `at`: the time to show.
    pub fn update(&mut self, ledger: &Ledger, late: Vec<String>, at: String) {
        // Remember it by name: the new results have other indexes. A filter is typed with the first row selected.
        let kept = self.current().filter(|_| self.has_user && !self.is_typing).map(TopTarget::of);
        let facts = ledger.facts();
        self.overview = Overview::of_nodes(ledger.results(), facts, &self.roles);
        self.results = ledger.results().to_vec();
        self.map = ServiceMap::of(&self.results, &self.roles);
        self.texts = self.results.iter().map(words_of).collect();
        self.counts.clear();
        for result in &self.results {
            *self.counts.entry(TargetHealth::of(result)).or_default() += 1;
        }
        self.facts = facts.iter().map(|facts| (facts.node.clone(), facts.clone())).collect();
        self.took = ledger.elapsed();
        self.at = at;
        self.late = late;
        self.rounds += 1;
        self.arrange();
        // Keep the selection on its target, wherever it is now.
        let place = kept.and_then(|kept| self.shown().position(|result| kept.is_of(result)));
        // A target that disappeared leaves the selection on its row. Without one it is the first row: a list that fills up
        // must not open in its middle.
        self.select(place.unwrap_or(self.selected));
    }

    /// Applies the log of a service.
    pub fn log_read(&mut self, of: &TopTarget, lines: Vec<String>) {
        // Ignore a late answer for a log that is no longer shown.
        if let Some(log) = self.log.as_mut().filter(|log| log.of == *of) {
            log.lines = Some(lines);
        }
    }

    /// The service of the visible log, if there is one.
    #[must_use]
    pub fn log_shown(&self) -> Option<&TopTarget> {
        self.log.as_ref().map(|log| &log.of)
    }

    /// Sets the rows of a page.
    pub(super) fn set_page_rows(&mut self, rows: usize) {
        self.page_rows = rows.max(1);
    }

    /// The visible results.
    pub(super) fn shown(&self) -> impl Iterator<Item = &TargetResult> {
        self.shown.iter().filter_map(|index| self.results.get(*index))
    }

    /// The selected result.
    pub(super) fn current(&self) -> Option<&TargetResult> {
        self.shown.get(self.selected).and_then(|index| self.results.get(*index))
    }

    fn select(&mut self, place: usize) {
        self.selected = place.min(self.shown.len().saturating_sub(1));
    }

    /// Filters and sorts.
    fn arrange(&mut self) {
        let words: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let matches = |text: &String| words.iter().all(|word| text.contains(word));
        let found = self.texts.iter().enumerate().filter(|(_, text)| matches(text));
        let mut shown: Vec<usize> = found.map(|(index, _)| index).collect();
        let of = |index: &usize| self.results.get(*index);
        match self.sort {
            // The sort is stable, so equal ones keep the order of the results.
            SortOrder::Worst => shown.sort_by_key(|index| std::cmp::Reverse(of(index).map(TargetHealth::of))),
            SortOrder::Node => shown.sort_by(|one, other| by_node(of(one)).cmp(&by_node(of(other)))),
            SortOrder::Service => shown.sort_by(|one, other| by_service(of(one)).cmp(&by_service(of(other)))),
            SortOrder::Youngest => {
                // Without an uptime it may never have started: last.
                shown.sort_by_key(|index| of(index).map(|one| one.uptime_s.unwrap_or(u64::MAX)));
            }
        }
        self.shown = shown;
    }

    /// Handles a key.
    #[must_use]
    pub fn key(&mut self, key: TopKey) -> Option<TopOrder> {
        // A row is chosen only once there is one.
        self.has_user |= !self.shown.is_empty();
        // Ctrl-C works in every mode, even while typing.
        if key == TopKey::Interrupt {
            return Some(TopOrder::Quit);
        }
        // A pending question takes every key, so that none of them starts something else.
        if let Some(confirm) = self.confirm.take() {
            return self.confirming(confirm, key);
        }
        if self.is_typing {
            self.type_filter(key);
            return None;
        }
        match key {
            TopKey::Char('q') => return Some(TopOrder::Quit),
            TopKey::Char('?') => self.page = TopPage::Help,
            TopKey::Char('m') => self.page = if self.page == TopPage::Map { TopPage::Cluster } else { TopPage::Map },
            TopKey::Escape => self.back(),
            TopKey::Char('/') => self.is_typing = true,
            TopKey::Char('o') => {
                self.sort = self.sort.next();
                self.arrange();
                // The old index would now point to an arbitrary service.
                self.select(0);
            }
            TopKey::Up | TopKey::Char('k') => return self.go(|place| place.saturating_sub(1)),
            TopKey::Down | TopKey::Char('j') => return self.go(|place| place + 1),
            TopKey::PageUp => return self.go_pages(usize::saturating_sub),
            TopKey::PageDown => return self.go_pages(usize::saturating_add),
            TopKey::Home | TopKey::Char('g') => return self.go(|_| 0),
            // `select` and its callers limit the place.
            TopKey::End | TopKey::Char('G') => return self.go(|_| usize::MAX),
            TopKey::Enter => return self.open(),
            TopKey::Char('s') => self.ask(ServiceVerb::Start, false),
            TopKey::Char('x') => self.ask(ServiceVerb::Stop, false),
            TopKey::Char('r') => self.ask(ServiceVerb::Restart, false),
            TopKey::Char('R') => self.ask(ServiceVerb::Restart, true),
            TopKey::Char(_) | TopKey::Backspace | TopKey::Interrupt => {}
        }
        None
    }

    fn back(&mut self) {
        // On the cluster page there is nothing to go back to, so Escape clears the filter; elsewhere the filter stays.
        if self.page == TopPage::Cluster {
            self.filter.clear();
            self.arrange();
        }
        self.page = TopPage::Cluster;
        self.log = None;
    }

    fn type_filter(&mut self, key: TopKey) {
        match key {
            TopKey::Char(char) => self.filter.push(char),
            TopKey::Backspace => {
                self.filter.pop();
            }
            TopKey::Escape => {
                self.filter.clear();
                self.is_typing = false;
            }
            TopKey::Enter => self.is_typing = false,
            TopKey::Up
            | TopKey::Down
            | TopKey::PageUp
            | TopKey::PageDown
            | TopKey::Home
            | TopKey::End
            | TopKey::Interrupt => {}
        }
        self.arrange();
        self.select(0);
    }

    fn go_pages(&mut self, to: fn(usize, usize) -> usize) -> Option<TopOrder> {
        let rows = self.page_rows;
        self.go(|place| to(place, rows))
    }

    /// Moves in the list; on a node's page, to another of its services.
    fn go(&mut self, to: impl Fn(usize) -> usize) -> Option<TopOrder> {
        let at = match &self.page {
            TopPage::Node(at) => at,
            TopPage::Cluster | TopPage::Help => {
                self.select(to(self.selected));
                return None;
            }
            TopPage::Map => {
                let last = (self.map.rows.len() + self.map.roles()).saturating_sub(self.page_rows);
                // Each role adds its title line.
                self.map_first = to(self.map_first).min(last);
                return None;
            }
        };
        let own: Vec<&TargetResult> = self.of_node(&at.node).collect();
        let now = own.iter().position(|result| at.is_of(result)).unwrap_or_default();
        let target = TopTarget::of(own.get(to(now).min(own.len().saturating_sub(1)))?);
        self.show(target)
    }

    /// The services of a node, in the order of the results.
    pub(super) fn of_node<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a TargetResult> {
        self.results.iter().filter(move |result| result.node == node)
    }

    fn open(&mut self) -> Option<TopOrder> {
        let target = match &self.page {
            TopPage::Node(target) => target.clone(),
            TopPage::Cluster => TopTarget::of(self.current()?),
            TopPage::Map | TopPage::Help => return None,
        };
        self.show(target)
    }

    fn show(&mut self, target: TopTarget) -> Option<TopOrder> {
        self.page = TopPage::Node(target.clone());
        self.log = None;
        // Without a service there is no log to read.
        target.service.as_ref()?;
        self.log = Some(LogEnd { of: target.clone(), lines: None });
        Some(TopOrder::ReadLog(target))
    }

    /// Asks whether to act on what is selected, or on all that are shown of the selected service.
    fn ask(&mut self, action: ServiceVerb, on_all: bool) {
        let target = match &self.page {
            TopPage::Node(target) => Some(target.clone()),
            TopPage::Cluster => self.current().map(TopTarget::of),
            TopPage::Map | TopPage::Help => None,
        };
        let Some(TopTarget { node, role, service: Some(service) }) = target else { return };
        let nodes = if on_all {
            let mut nodes: Vec<String> = Vec::new();
            // Two roles may have a service of the same name.
            let is_it = |result: &&TargetResult| result.service.as_ref() == Some(&service) && result.role == role;
            for result in self.shown().filter(is_it) {
                if !nodes.contains(&result.node) {
                    nodes.push(result.node.clone());
                }
            }
            nodes
        } else {
            vec![node]
        };
        // The filter may hide the target of a node's page.
        if !nodes.is_empty() {
            self.confirm = Some(PendingAction { action, service, role, nodes, typed: String::new() });
        }
    }

    fn confirming(&mut self, mut confirm: PendingAction, key: TopKey) -> Option<TopOrder> {
        match key {
            TopKey::Char(char) => confirm.typed.push(char),
            TopKey::Backspace => {
                confirm.typed.pop();
            }
            // Only the exact answer acts; Enter with anything else cancels.
            TopKey::Enter if confirm.typed == confirm.wanted() => return Some(TopOrder::Act(confirm)),
            TopKey::Escape | TopKey::Enter => return None,
            TopKey::Up
            | TopKey::Down
            | TopKey::PageUp
            | TopKey::PageDown
            | TopKey::Home
            | TopKey::End
            | TopKey::Interrupt => {}
        }
        self.confirm = Some(confirm);
        None
    }
}

fn by_node(result: Option<&TargetResult>) -> Option<(&str, Option<&str>)> {
    result.map(|result| (result.node.as_str(), result.service.as_deref()))
}

fn by_service(result: Option<&TargetResult>) -> Option<(Option<&str>, &str)> {
    result.map(|result| (result.service.as_deref(), result.node.as_str()))
}

/// The searchable text of a result.
fn words_of(result: &TargetResult) -> String {
    let state = result.state.map(|state| state.as_str()).unwrap_or_default();
    let health = TargetHealth::of(result).as_str();
    let [role, service] = [&result.role, &result.service].map(|name| name.as_deref().unwrap_or_default());
    [&result.node, role, service, state, health, &reason(result)].join(" ").to_lowercase()
}
