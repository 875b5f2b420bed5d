//! One node's life in a run: connect, find its supervisords, act on each target, tell what became of it.
//!
//! What always holds: one connection; each target found has one result; the task never prints, never decides
//! which node is next, and ends within its time.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::init_target::InitTarget;
use super::job::{Book, Job};
use super::link::Link;
use super::message::{Message, News, TargetKey, Visit, VisitEnd};
use super::rows::Rows;
use super::salvage::{self, Cause, PAYING, Salvage};
use super::target::{Debt, Work};
use super::view::{Agenda, View};
use super::{NodeAccess, update};
use crate::event::{Failure, Outcome, TargetResult};
use crate::plan::{Action, Plan};
use crate::select::ServicePattern;
use crate::transport::Transport;

/// Groups of one supervisord that are worked on at once; each takes a channel of its own.
const GROUPS_AT_ONCE: usize = 8;

/// A node and all that is known of it in this run.
pub(super) struct NodeTask<T: Transport> {
    rows: Rows,
    access: NodeAccess,
    link: Arc<Link<T>>,
    view: Option<Arc<View<T>>>,
    news: mpsc::Sender<Message>,
    give_up: watch::Receiver<bool>,
}

impl<T: Transport> NodeTask<T> {
    pub(super) fn new(
        plan: Arc<Plan>,
        index: usize,
        access: NodeAccess,
        transport: Arc<T>,
        news: mpsc::Sender<Message>,
        give_up: watch::Receiver<bool>,
    ) -> Self {
        let link = Arc::new(Link::new(transport, access.endpoint.clone()));
        Self { rows: Rows { plan, index }, access, link, view: None, news, give_up }
    }

    /// Does a batch's work on this node.
    pub(super) async fn visit(&mut self, visit: Visit) -> VisitEnd {
        let mut give_up = self.give_up.clone();
        let book = Book::default();
        let ended = tokio::select! {
            ended = self.work(visit, &book) => ended,
            () = given_up(&mut give_up) => Ended::Early(Cause::GivenUp),
        };
        match ended {
            Ended::Done => VisitEnd::Done,
            Ended::Unreachable(failure) => {
                for result in self.rows.typed(visit, Outcome::Unreachable, &failure) {
                    self.tell(visit, News::Result(Box::new(result))).await;
                }
                VisitEnd::NodeLost
            }
            Ended::Early(cause) => {
                let (rows, link, access) = (&self.rows, &self.link, &self.access);
                let salvage = Salvage { rows, link, access, book: &book, visit, cause };
                for result in salvage.results().await {
                    self.tell(visit, News::Result(Box::new(result))).await;
                }
                VisitEnd::Done
            }
        }
    }

    async fn work(&mut self, visit: Visit, book: &Book<T>) -> Ended {
        self.phase(visit, "connecting").await;
        if let Err(error) = self.link.session().await {
            return Ended::Unreachable(error.failure());
        }
        let deadline = Instant::now() + self.access.timeout;
        let work = async {
            let view = self.view(visit).await;
            if let Some(failure) = view.connection_lost() {
                return Ended::Unreachable(failure.clone());
            }
            let Agenda { jobs, results } = view.agenda(visit);
            let jobs: Vec<Arc<Job<T>>> = jobs.into_iter().map(Arc::new).collect();
            book.open(&jobs);
            // Whom an update concerns is known only after it.
            let named = jobs.iter().filter(|job| !matches!(job.as_ref(), Job::Update { .. }));
            let found = named.map(|job| job.key()).chain(results.iter().map(TargetKey::of)).collect();
            self.tell(visit, News::Targets(found)).await;
            for result in results {
                self.tell(visit, News::Result(Box::new(result))).await;
            }
            self.do_all(visit, &jobs, book).await;
            Ended::Done
        };
        timeout_at(deadline, work).await.unwrap_or(Ended::Early(Cause::TimedOut))
    }

    async fn view(&mut self, visit: Visit) -> Arc<View<T>> {
        if let Some(view) = &self.view {
            return Arc::clone(view);
        }
        self.phase(visit, "asking its supervisords").await;
        let view = Arc::new(View::take(&self.link, self.rows.clone(), &self.access).await);
        self.view = Some(Arc::clone(&view));
        view
    }

    /// Does the jobs: the processes of a group one after the other if they are restarted, all else at the same time.
    async fn do_all(&self, visit: Visit, jobs: &[Arc<Job<T>>], book: &Book<T>) {
        let mut chains: Vec<Vec<&Arc<Job<T>>>> = Vec::new();
        for job in jobs {
            let same = |chain: &&mut Vec<&Arc<Job<T>>>| chain.first().is_some_and(|first| first.group() == job.group());
            match chains.iter_mut().find(same) {
                Some(chain) if job.group().is_some() => chain.push(job),
                _ => chains.push(vec![job]),
            }
        }
        stream::iter(chains)
            .for_each_concurrent(GROUPS_AT_ONCE, |chain| async move {
                let mut down: Option<String> = None;
                for job in chain {
                    if let Some(first) = &down
                        && self.rows.plan.action == Action::Restart
                    {
                        if let Job::Process { instance, process } = job.as_ref() {
                            let result = self.rows.left_alone(visit, instance, process, first);
                            self.tell_result(visit, book, result).await;
                        }
                        continue;
                    }
                    for result in self.one(visit, job, book).await {
                        if result.outcome.is_bad() {
                            down.clone_from(&result.service);
                        }
                        self.tell_result(visit, book, result).await;
                    }
                    book.told(&job.key());
                }
            })
            .await;
    }

    async fn one(&self, visit: Visit, job: &Job<T>, book: &Book<T>) -> Vec<TargetResult> {
        let began = Instant::now();
        let key = job.key();
        if self.rows.plan.action.changes() {
            let name = key.service.as_deref().unwrap_or("the configuration");
            self.phase(visit, &format!("{} {name}", doing(self.rows.plan.action))).await;
        }
        let owe = |debt: Debt| {
            book.owe(&key, debt);
            if debt != Debt::None {
                let message = Message { visit, news: News::Begun(key.clone()) };
                if self.news.try_send(message).is_err() {
                    debug!("the run no longer listens");
                }
            }
        };
        let mut results = match job {
            Job::Process { instance, process } => {
                let work = Work { instance: instance.as_ref(), listed: process, owe };
                let mut verdict = match self.rows.plan.action {
                    Action::Start => work.start().await,
                    Action::Stop => work.stop().await,
                    Action::Restart => work.restart().await,
                    Action::Status | Action::Update | Action::Ping => {
                        return vec![self.rows.read(visit, instance, process)];
                    }
                };
                // However the work ended: what this run has stopped is started again, if that can still be done.
                if book.entry(&key).debt == Debt::Start && verdict.leaves_it_down() {
                    let mut seen = None;
                    let pay = salvage::pay(instance, process, Debt::Start, PAYING, &mut seen);
                    let paid = timeout(PAYING, pay).await.unwrap_or(false);
                    verdict.was_mended(seen, paid);
                }
                vec![self.rows.judged(visit, instance, process, verdict)]
            }
            Job::Init { role, service, is_instance, named } => {
                let target =
                    InitTarget { link: &self.link, name: service, sudo: self.access.sudo, is_instance: *is_instance };
                let verdict = target.act(self.rows.plan.action, owe).await;
                vec![self.rows.of_init(visit, role, service, *is_instance, *named, verdict)]
            }
            Job::Update { instances, .. } => {
                let services = &self.rows.plan.selection.services;
                let mut results = Vec::new();
                for instance in instances {
                    let updated = update::update(instance, services, &owe).await;
                    results.extend(
                        updated.into_iter().map(|(group, verdict)| self.rows.updated(visit, instance, group, verdict)),
                    );
                }
                let concerns = |service: &ServicePattern, result: &TargetResult| {
                    result
                        .service
                        .as_deref()
                        .is_some_and(|name| name == service.as_str() || service.matches_group(name))
                };
                for service in services {
                    if !results.iter().any(|result| concerns(service, result)) {
                        results.push(self.rows.not_in_any_configuration(visit, service));
                    }
                }
                results
            }
        };
        let took = u64::try_from(began.elapsed().as_millis()).ok();
        for result in &mut results {
            result.duration_ms = took;
        }
        results
    }

    async fn phase(&self, visit: Visit, phase: &str) {
        self.tell(visit, News::Phase(phase.to_owned())).await;
    }

    async fn tell_result(&self, visit: Visit, book: &Book<T>, result: TargetResult) {
        let key = TargetKey::of(&result);
        self.tell(visit, News::Result(Box::new(result))).await;
        book.told(&key);
    }

    async fn tell(&self, visit: Visit, news: News) {
        if self.news.send(Message { visit, news }).await.is_err() {
            debug!("the run no longer listens");
        }
    }
}

/// Why a visit's work ended.
enum Ended {
    Done,
    Unreachable(Failure),
    Early(Cause),
}

async fn given_up(give_up: &mut watch::Receiver<bool>) {
    if give_up.wait_for(|given_up| *given_up).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn doing(action: Action) -> &'static str {
    match action {
        Action::Start => "starting",
        Action::Stop => "stopping",
        Action::Restart => "restarting",
        Action::Update => "updating",
        Action::Status | Action::Ping => "reading",
    }
}
