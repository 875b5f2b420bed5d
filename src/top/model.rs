//! What the screen is about.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{Ledger, NodeFacts, TargetResult};
use crate::overview::{Health, NodeRoles, Overview, reason};
use crate::plan::Action;

/// A key, as far as one means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Return.
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
    /// To the first.
    Home,
    /// To the last.
    End,
    /// Ctrl-C.
    Interrupt,
}

/// What a key asks of whoever runs the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// To end.
    Quit,
    /// To read the end of a service's log on a node.
    ReadLog(Target),
    /// To act; it has been confirmed.
    Act(Confirm),
}

/// One service on one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The node.
    pub node: String,
    /// The service.
    pub service: String,
}

/// An action that is to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirm {
    /// What.
    pub action: Action,
    /// The service.
    pub service: String,
    /// Where.
    pub nodes: Vec<String>,
    /// What was typed so far.
    pub typed: String,
}

impl Confirm {
    /// What has to be typed: `y`, or of several nodes their number.
    #[must_use]
    pub fn wanted(&self) -> String {
        if self.nodes.len() == 1 { "y".to_owned() } else { self.nodes.len().to_string() }
    }
}

/// In which order the services stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sort {
    /// What is worst first.
    #[default]
    Worst,
    /// By node, then service.
    Node,
    /// By service, then node.
    Service,
    /// What was started last first.
    Youngest,
}

impl Sort {
    /// The word for it.
    #[must_use]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Worst => "worst first",
            Self::Node => "by node",
            Self::Service => "by service",
            Self::Youngest => "youngest first",
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

/// What is on the screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Page {
    /// The map and the list.
    #[default]
    Cluster,
    /// One node, with the log of one of its services.
    Node(Target),
    /// The keys.
    Help,
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) of: Target,
    /// None: it is being read.
    pub(super) lines: Option<Vec<String>>,
}

/// What the screen is about.
#[derive(Debug, Clone)]
pub struct Model {
    pub(super) results: Vec<TargetResult>,
    pub(super) facts: BTreeMap<String, NodeFacts>,
    pub(super) overview: Overview,
    roles: NodeRoles,
    /// How long the last round took.
    pub(super) took: Duration,
    /// When it ended, as the operator's clock has it.
    pub(super) at: String,
    pub(super) interval: Duration,
    /// Rounds so far.
    pub(super) rounds: u64,
    pub(super) filter: String,
    /// Whether the filter is being typed.
    pub(super) is_typing: bool,
    pub(super) sort: Sort,
    /// Indexes of the results that are shown, in their order.
    pub(super) shown: Vec<usize>,
    /// Place in `shown`.
    pub(super) selected: usize,
    pub(super) page: Page,
    pub(super) confirm: Option<Confirm>,
    pub(super) log: Option<Log>,
    /// Whether it may be coloured.
    pub(super) color: bool,
    /// Rows of a page of the list, as last drawn.
    page_rows: usize,
}

impl Model {
    /// Before the first round. `roles`: those of the nodes, as the inventory has them.
    #[must_use]
    pub fn new(roles: NodeRoles, interval: Duration, color: bool) -> Self {
        Self {
            results: Vec::new(),
            facts: BTreeMap::new(),
            overview: Overview::of_nodes(&[], &[], &roles),
            roles,
            took: Duration::ZERO,
            at: String::new(),
            interval,
            rounds: 0,
            filter: String::new(),
            is_typing: false,
            sort: Sort::default(),
            shown: Vec::new(),
            selected: 0,
            page: Page::default(),
            confirm: None,
            log: None,
            color,
            page_rows: 10,
        }
    }

    /// A round is over. `at`: the time, as it is shown.
    pub fn update(&mut self, ledger: &Ledger, at: String) {
        let kept = self.current().map(key_of);
        let facts = ledger.facts();
        self.overview = Overview::of_nodes(ledger.results(), &facts, &self.roles);
        self.results = ledger.results().to_vec();
        self.facts = facts.into_iter().map(|facts| (facts.node.clone(), facts)).collect();
        self.took = ledger.elapsed();
        self.at = at;
        self.rounds += 1;
        self.arrange();
        // What was selected stays so, wherever it stands now.
        let place = kept.and_then(|kept| self.shown().position(|result| key_of(result) == kept));
        self.select(place.unwrap_or(self.selected));
    }

    /// The log of a service was read.
    pub fn log_read(&mut self, of: &Target, lines: Vec<String>) {
        if let Some(log) = self.log.as_mut().filter(|log| log.of == *of) {
            log.lines = Some(lines);
        }
    }

    /// The service whose log is shown, if one is.
    #[must_use]
    pub fn log_shown(&self) -> Option<&Target> {
        self.log.as_ref().map(|log| &log.of)
    }

    /// How many rows a page has.
    pub(super) fn set_page_rows(&mut self, rows: usize) {
        self.page_rows = rows.max(1);
    }

    /// What is shown in the list.
    pub(super) fn shown(&self) -> impl Iterator<Item = &TargetResult> {
        self.shown.iter().filter_map(|index| self.results.get(*index))
    }

    /// What is selected.
    pub(super) fn current(&self) -> Option<&TargetResult> {
        self.shown.get(self.selected).and_then(|index| self.results.get(*index))
    }

    fn select(&mut self, place: usize) {
        self.selected = place.min(self.shown.len().saturating_sub(1));
    }

    /// Filters and sorts.
    fn arrange(&mut self) {
        let words: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let matches = |result: &TargetResult| {
            let state = result.state.map(|state| state.as_str()).unwrap_or_default();
            let text = [
                &result.node,
                result.role.as_deref().unwrap_or_default(),
                result.service.as_deref().unwrap_or_default(),
                state,
                Health::of(result).as_str(),
                &reason(result),
            ]
            .join(" ")
            .to_lowercase();
            words.iter().all(|word| text.contains(word))
        };
        let mut shown: Vec<usize> =
            self.results.iter().enumerate().filter(|(_, result)| matches(result)).map(|(index, _)| index).collect();
        let of = |index: &usize| self.results.get(*index);
        match self.sort {
            Sort::Worst => shown.sort_by_key(|index| std::cmp::Reverse(of(index).map(Health::of))),
            Sort::Node => shown.sort_by_key(|index| of(index).map(|one| (one.node.clone(), one.service.clone()))),
            Sort::Service => shown.sort_by_key(|index| of(index).map(|one| (one.service.clone(), one.node.clone()))),
            Sort::Youngest => {
                shown.sort_by_key(|index| of(index).map(|one| one.uptime_s.unwrap_or(u64::MAX)));
            }
        }
        self.shown = shown;
    }

    /// A key was pressed.
    #[must_use]
    pub fn key(&mut self, key: Key) -> Option<Order> {
        if key == Key::Interrupt {
            return Some(Order::Quit);
        }
        if let Some(confirm) = self.confirm.take() {
            return self.confirming(confirm, key);
        }
        if self.is_typing {
            self.type_filter(key);
            return None;
        }
        match key {
            Key::Char('q') => return Some(Order::Quit),
            Key::Char('?') => self.page = Page::Help,
            Key::Escape => self.back(),
            Key::Char('/') => self.is_typing = true,
            Key::Char('o') => {
                self.sort = self.sort.next();
                self.arrange();
                self.select(0);
            }
            Key::Up | Key::Char('k') => return self.move_to(self.selected.saturating_sub(1)),
            Key::Down | Key::Char('j') => return self.move_to(self.selected + 1),
            Key::PageUp => return self.move_to(self.selected.saturating_sub(self.page_rows)),
            Key::PageDown => return self.move_to(self.selected.saturating_add(self.page_rows)),
            Key::Home | Key::Char('g') => return self.move_to(0),
            Key::End | Key::Char('G') => return self.move_to(usize::MAX),
            Key::Enter => return self.open(),
            Key::Char('s') => self.ask(Action::Start, false),
            Key::Char('x') => self.ask(Action::Stop, false),
            Key::Char('r') => self.ask(Action::Restart, false),
            Key::Char('R') => self.ask(Action::Restart, true),
            Key::Char(_) | Key::Backspace | Key::Interrupt => {}
        }
        None
    }

    fn back(&mut self) {
        if self.page == Page::Cluster {
            self.filter.clear();
            self.arrange();
        }
        self.page = Page::Cluster;
        self.log = None;
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Char(char) => self.filter.push(char),
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Escape => {
                self.filter.clear();
                self.is_typing = false;
            }
            Key::Enter => self.is_typing = false,
            Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Home | Key::End | Key::Interrupt => {}
        }
        self.arrange();
        self.select(0);
    }

    /// On a node's page the services of that node are gone through.
    fn move_to(&mut self, place: usize) -> Option<Order> {
        let Page::Node(at) = &self.page else {
            self.select(place);
            return None;
        };
        let own: Vec<Target> = self.targets_of(&at.node);
        let now = own.iter().position(|target| target == at).unwrap_or_default();
        let to = if place > self.selected { now + 1 } else { now.saturating_sub(1) };
        let target = own.get(to.min(own.len().saturating_sub(1)))?.clone();
        self.show(target)
    }

    /// The services of a node, in the order of the results.
    pub(super) fn targets_of(&self, node: &str) -> Vec<Target> {
        self.results.iter().filter(|result| result.node == node).filter_map(target_of).collect()
    }

    fn open(&mut self) -> Option<Order> {
        if let Page::Node(target) = &self.page {
            return self.show(target.clone());
        }
        let result = self.current()?;
        let target = target_of(result).unwrap_or_else(|| Target { node: result.node.clone(), service: String::new() });
        self.show(target)
    }

    fn show(&mut self, target: Target) -> Option<Order> {
        self.page = Page::Node(target.clone());
        if target.service.is_empty() {
            return None;
        }
        self.log = Some(Log { of: target.clone(), lines: None });
        Some(Order::ReadLog(target))
    }

    /// Asks whether to act on what is selected, or on all that are shown of the selected service.
    fn ask(&mut self, action: Action, on_all: bool) {
        let selected = match &self.page {
            Page::Node(target) => Some(target.clone()),
            Page::Cluster | Page::Help => self.current().and_then(target_of),
        };
        let Some(Target { node, service }) = selected.filter(|target| !target.service.is_empty()) else { return };
        let nodes = if on_all {
            let mut nodes: Vec<String> = Vec::new();
            for result in self.shown().filter(|result| result.service.as_deref() == Some(&service)) {
                if !nodes.contains(&result.node) {
                    nodes.push(result.node.clone());
                }
            }
            nodes
        } else {
            vec![node]
        };
        self.confirm = Some(Confirm { action, service, nodes, typed: String::new() });
    }

    fn confirming(&mut self, mut confirm: Confirm, key: Key) -> Option<Order> {
        match key {
            Key::Char(char) => confirm.typed.push(char),
            Key::Backspace => {
                confirm.typed.pop();
            }
            Key::Enter if confirm.typed == confirm.wanted() => return Some(Order::Act(confirm)),
            Key::Escape | Key::Enter => return None,
            Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Home | Key::End | Key::Interrupt => {}
        }
        self.confirm = Some(confirm);
        None
    }
}

fn key_of(result: &TargetResult) -> (String, Option<String>, Option<String>) {
    (result.node.clone(), result.role.clone(), result.service.clone())
}

fn target_of(result: &TargetResult) -> Option<Target> {
    result.service.clone().map(|service| Target { node: result.node.clone(), service })
}
