//! Faults in every phase of a rolling restart of eight real nodes, at pseudo-random points with a fixed seed: the
//! controller is killed, a connection is cut, a node falls silent, two runs collide.
//!
//! The tests check the nodes themselves: within 30 s of the fault, plus the time that the program needs to stop and
//! start, no service is stopped; after that no node is locked; a resumed run ends with a complete table and does not
//! restart a service again. `tests/campaign` runs many more points (CTL_CAMPAIGN is a factor) and prints the counts and
//! the worst time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Cluster, Finished, Instance, Node, NodeSpec, Program, Running, eventually};

/// Limit within which a service runs again after the controller or the connection is lost.
const PROMISE: Duration = Duration::from_secs(30);

/// Seconds that a slow program needs to stop.
const STOP_SECS: u32 = 3;

const NODES: usize = 8;
const RESTART: &str = "service contrail-collector restart --rolling -y -o json --reason campaign --connect-timeout 30s";

/// Factor on the number of points of a normal test run.
fn factor() -> usize {
    std::env::var("CTL_CAMPAIGN").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// A pseudo-random sequence (xorshift), the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// The phase in which the fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// All locks are held, nothing is changed yet.
    Locked,
    /// The stop was sent.
    Stopping,
    /// The service is stopped, or is about to be started.
    Stopped,
    /// The start was sent.
    Starting,
    /// The service runs, and the gate waits.
    Gate,
}

const PHASES: [Phase; 5] = [Phase::Locked, Phase::Stopping, Phase::Stopped, Phase::Starting, Phase::Gate];

/// Eight nodes. On every other one the program stops slowly; it needs `start_secs` to be RUNNING.
fn cluster(start_secs: u32) -> Cluster {
    let quick = NodeSpec::new(Instance::analytics().with(Program::steady("contrail-collector")));
    let slow = Program::slow_to_stop("contrail-collector", STOP_SECS).set("startsecs", &start_secs.to_string());
    let slow = NodeSpec::new(Instance::analytics().with(slow));
    let mut builder = Cluster::builder();
    for number in 1..=NODES {
        builder = builder.node(&format!("a{number}"), if number % 2 == 0 { slow.clone() } else { quick.clone() });
    }
    builder.start()
}

fn pid(node: &Node) -> u32 {
    node.process("contrail-collector").map_or(0, |process| process.pid)
}

fn pids(cluster: &Cluster) -> Vec<u32> {
    cluster.nodes().iter().map(pid).collect()
}

fn state(node: &Node) -> String {
    node.process("contrail-collector").map_or_else(String::new, |process| process.state)
}

fn is_locked(node: &Node) -> bool {
    node.sh("flock -n /run/lock true && echo free || echo held").trim() == "held"
}

/// Waits until a run reaches a phase on a node. A short phase may be over before it is seen; then the next one counts.
fn reach(phase: Phase, node: &Node, last: &Node, before: u32) {
    let is_there = || match (phase, state(node).as_str()) {
        (Phase::Locked, _) => is_locked(last),
        (Phase::Stopping, "STOPPING") => true,
        (Phase::Stopping | Phase::Stopped, "STOPPED" | "STARTING") => true,
        (Phase::Starting, "STARTING") => true,
        (_, "RUNNING") => pid(node) != before,
        _ => false,
    };
    eventually(&format!("{phase:?} on {}", node.name), || is_there().then_some(()));
}

/// Asserts that everything runs and nothing is locked.
fn is_whole_again(cluster: &Cluster, what: &str) {
    let bad = |node: &Node| state(node) != "RUNNING" || is_locked(node);
    eventually(&format!("{what}: all to run and none to be locked"), || {
        (!cluster.nodes().iter().any(bad)).then_some(())
    });
}

/// Time from the fault until the program runs on all of the nodes.
fn time_to_run<'a>(fault: Instant, nodes: impl IntoIterator<Item = &'a Node>, what: &str) -> Duration {
    for node in nodes {
        eventually(&format!("{what}: {} to run again", node.name), || (state(node) == "RUNNING").then_some(()));
    }
    fault.elapsed()
}

fn begin(cluster: &Cluster, phase: Phase) -> Running {
    let stable = if phase == Phase::Gate { "3s" } else { "0s" };
    cluster.ctl_start(&format!("{RESTART} --stable {stable}"))
}

/// Resumes the newest run: its table is complete, and no restarted service is restarted again.
fn resume(cluster: &Cluster, before: &[u32], what: &str) {
    let id = cluster.ctl("runs list -o json").expect(0).json()["runs"][0]["run"].as_str().unwrap().to_owned();
    let now = pids(cluster);
    let resumed = cluster.ctl(&format!("runs resume {id} -o json"));
    assert_eq!(resumed.code(), Some(0), "{what}: {resumed}");
    assert!(is_all_changed(&resumed), "{what}: {resumed}");
    for ((node, before), (then, after)) in cluster.nodes().iter().zip(before).zip(now.iter().zip(pids(cluster))) {
        assert_ne!(*before, after, "{what}: {} was never restarted: {resumed}", node.name);
        assert!(then == before || *then == after, "{what}: {} was restarted twice: {resumed}", node.name);
    }
}

fn is_all_changed(run: &Finished) -> bool {
    let outcomes = run.outcomes();
    outcomes.len() == NODES && outcomes.iter().all(|outcome| outcome.ends_with(" changed"))
}

/// Distributes points over clusters that run in parallel.
fn side_by_side(
    points: usize,
    clusters: usize,
    start_secs: u32,
    seed: u64,
    point: impl Fn(&mut Cluster, &mut Dice, usize) -> Duration + Sync,
) {
    let next = AtomicUsize::new(0);
    let worst = Mutex::new(Duration::ZERO);
    std::thread::scope(|scope| {
        for number in 0..clusters.min(points) {
            let (next, point, worst) = (&next, &point, &worst);
            scope.spawn(move || {
                let mut cluster = cluster(start_secs);
                let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (number as u64 + 1));
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    if index >= points {
                        return;
                    }
                    let took = point(&mut cluster, &mut dice, index);
                    // A single test run does not measure, because it may share its machine.
                    let limit = PROMISE + Duration::from_secs((STOP_SECS + start_secs).into());
                    assert!(factor() == 1 || took < limit, "point {index}: the service was down for {took:?}");
                    let mut worst = worst.lock().unwrap();
                    *worst = took.max(*worst);
                }
            });
        }
    });
    let worst = worst.into_inner().unwrap();
    println!(
        "campaign: {points} points of {}, seed {seed}, nothing left stopped, nothing left locked, running again at worst {:.1} s after the fault",
        std::thread::current().name().unwrap_or_default(),
        worst.as_secs_f64()
    );
}

#[test]
fn the_controller_is_killed() {
    side_by_side(10 * factor(), 4, 1, 20_261_123, |cluster, dice, index| {
        let phase = PHASES[index % PHASES.len()];
        let place = dice.roll(NODES);
        let what = format!("point {index}, killed at {phase:?} on a{}", place + 1);
        let before = pids(cluster);
        let run = begin(cluster, phase);
        reach(phase, &cluster.nodes()[place], &cluster.nodes()[NODES - 1], before[place]);
        let fault = Instant::now();
        run.signal("KILL");
        drop(run.finish());
        let took = time_to_run(fault, cluster.nodes(), &what);
        is_whole_again(cluster, &what);
        resume(cluster, &before, &what);
        took
    });
}

#[test]
fn a_connection_is_cut() {
    side_by_side(5 * factor(), 4, 1, 7, |cluster, dice, index| {
        let phase = PHASES[index % PHASES.len()];
        let place = dice.roll(NODES);
        let what = format!("point {index}, cut at {phase:?} on a{}", place + 1);
        let before = pids(cluster);
        let run = begin(cluster, phase);
        reach(phase, &cluster.nodes()[place], &cluster.nodes()[NODES - 1], before[place]);
        let fault = Instant::now();
        cluster.nodes()[place].cut_connections();
        let took = time_to_run(fault, [&cluster.nodes()[place]], &what);
        let run = run.finish();
        assert!(is_all_changed(&run), "{what}: {run}");
        is_whole_again(cluster, &what);
        for ((node, before), after) in cluster.nodes().iter().zip(before).zip(pids(cluster)) {
            assert!(after != before && run.result(&node.name)["pid"] == after, "{what}: {}: {run}", node.name);
        }
        took
    });
}

/// A node whose sshd sends nothing but closes nothing, as if its packets were dropped, and accepts no connection: its
/// guard acts after 20 s of silence.
#[test]
fn a_node_falls_silent() {
    // The program stays in STARTING long enough to be silenced there, even on a busy machine.
    side_by_side(2 * factor(), 2, 4, 11, |cluster, dice, index| {
        let phase = [Phase::Stopping, Phase::Starting][index % 2];
        // A node with a slow stop, so that it falls silent before the stop is over.
        let place = 2 * dice.roll(2) + 1;
        let name = cluster.nodes()[place].name.clone();
        let what = format!("point {index}, silent at {phase:?} on {name}");
        let before = pids(cluster);
        let run = cluster.ctl_start(&format!("{RESTART} --stable 0s --timeout 15s"));
        reach(phase, cluster.node(&name), &cluster.nodes()[NODES - 1], before[place]);
        cluster.node_mut(&name).refuse();
        let fault = Instant::now();
        cluster.node(&name).signal_connections("STOP");
        let took = time_to_run(fault, [cluster.node(&name)], &what);
        let run = run.finish();
        let result = run.result(&name);
        let outcome = result["outcome"].as_str().unwrap();
        assert!(matches!(outcome, "unknown" | "timed_out"), "{what}: {run}");
        is_whole_again(cluster, &what);
        cluster.node_mut(&name).listen();
        cluster.node(&name).signal_connections("CONT");
        resume_or_retry(cluster, &what);
        took
    });
}

/// Brings the cluster to a known state for the next point.
fn resume_or_retry(cluster: &Cluster, what: &str) {
    let resumed = cluster.ctl("runs resume last -o json");
    assert_eq!(resumed.results().len(), NODES, "{what}: {resumed}");
}

/// Exactly one of two concurrent runs changes the nodes; the other names it and changes nothing. Each node's
/// supervisord log gives the number of stops.
#[test]
fn two_runs_meet() {
    side_by_side(4 * factor(), 2, 1, 3, |cluster, _, index| {
        let line = if index % 2 == 0 { RESTART.replace(" --rolling", "") } else { RESTART.to_owned() };
        let before = pids(cluster);
        let counts = |cluster: &Cluster| cluster.nodes().iter().map(stops).collect::<Vec<_>>();
        let stopped = counts(cluster);
        let both = [(); 2].map(|()| cluster.ctl_start(&format!("{line} --stable 0s")));
        let both = both.map(Running::finish);
        let codes: Vec<_> = both.iter().map(Finished::code).collect();
        let (winner, loser) = match codes.as_slice() {
            [Some(0), Some(6)] => (&both[0], &both[1]),
            [Some(6), Some(0)] => (&both[1], &both[0]),
            _ => panic!("point {index}: {codes:?}\n{}\n{}", both[0], both[1]),
        };
        let run = winner.json()["run"].as_str().unwrap().to_owned();
        assert!(is_all_changed(winner), "{winner}");
        for node in cluster.nodes() {
            let result = loser.result(&node.name);
            assert_eq!(result["outcome"], "not_started", "{loser}");
            assert!(result["failure"]["message"].as_str().unwrap().contains(&run), "{loser}");
        }
        let now = counts(cluster);
        assert!(stopped.iter().zip(&now).all(|(then, now)| then + 1 == *now), "{stopped:?} {now:?}");
        assert!(pids(cluster).iter().zip(before).all(|(now, before)| *now != before));
        is_whole_again(cluster, "two runs");
        Duration::ZERO
    });
}

/// The number of exits of the service in supervisord's log.
fn stops(node: &Node) -> usize {
    let log = node.sh("cat /var/log/contrail/supervisord-analytics.log");
    log.lines().filter(|line| line.contains("stopped: contrail-collector")).count()
}
