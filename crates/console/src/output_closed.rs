//! The end of a command whose output is all there is to it: when nobody reads on, or a signal comes.
//!
//! Invariants: a reader that has gone is noticed also while nothing is written; a signal ends the process even
//! where the reader has stopped reading.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use ctl_event::CancelReason;

/// Between two looks at who reads the output.
const LOOK: Duration = Duration::from_millis(200);

/// After a signal the end comes by itself within so long, unless the output is stuck: the guards are taken leave of within
/// 3 s (`FAREWELL` in `guard`).
const STUCK: Duration = Duration::from_secs(5);

/// The signals, and the end of the reader of stdout, if there is one (`is_stdout`). Others report that end to `closed`.
pub fn or_closed(
    mut signals: mpsc::Receiver<CancelReason>,
    closed: (mpsc::Sender<CancelReason>, mpsc::Receiver<CancelReason>),
    is_stdout: bool,
    work: &Arc<()>,
) -> mpsc::Receiver<CancelReason> {
    let ((closed, mut ends), work) = (closed, Arc::downgrade(work));
    let (sender, receiver) = mpsc::channel(4);
    // A terminal does not go away without SIGHUP.
    if is_stdout && !io::stdout().is_terminal() {
        tokio::spawn(async move {
            while !is_closed() {
                tokio::time::sleep(LOOK).await;
            }
            // A sink that wrote to it may have reported it already.
            if closed.send(CancelReason::OutputClosed).await.is_err() {
                tracing::debug!("it has ended already");
            }
        });
    }
    tokio::spawn(async move {
        loop {
            let reason = tokio::select! {
                Some(reason) = signals.recv() => {
                    // Armed before the reason is passed on, because that step may be the one that is stuck.
                    leave_if_stuck(reason, work.clone());
                    reason
                }
                Some(reason) = ends.recv() => reason,
                else => return,
            };
            if sender.send(reason).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Whether nobody reads stdout any more.
fn is_closed() -> bool {
    let stdout = io::stdout();
    // No events are asked for: poll(2) reports the error of a pipe without a reader by itself.
    let mut looked_at = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut looked_at, Some(&at_once)).is_ok()
        && looked_at.iter().any(|fd| fd.revents().intersects(PollFlags::ERR | PollFlags::NVAL))
}

/// Ends the process if its `work` does not end by itself: a thread that writes to a full pipe notices no signal. A
/// process that continues after the work, such as `ctl top`, is left alone.
#[expect(clippy::exit, reason = "the thread that would end it in order is the one that is stuck")]
pub(crate) fn leave_if_stuck(reason: CancelReason, work: Weak<()>) {
    let code = match reason {
        CancelReason::HungUp => 129,
        CancelReason::Terminated => 143,
        CancelReason::Interrupted | CancelReason::GivenUp => 130,
        // Neither is a signal, and the run ends by itself.
        CancelReason::JournalLost | CancelReason::OutputClosed => return,
    };
    std::thread::spawn(move || {
        std::thread::sleep(STUCK);
        // No work left means that the process is past the point where it could be stuck.
        if work.strong_count() > 0 {
            std::process::exit(code);
        }
    });
}
