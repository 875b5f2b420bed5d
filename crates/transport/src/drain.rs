//! The rest of the output of a command that has ended.
//!
//! sshd reports the end of a command before it has sent all of its output, and does not close the streams as long as a
//! process that the command has left behind holds them. Invariants: reading them on ends, also if that process
//! prints for ever.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::session::{ExecOutput, OutputPiece, RemoteCommand};

/// The longest silence in the rest of the output.
const SILENCE: Duration = Duration::from_secs(1);

/// The longest time for all of it: what sshd holds back for a slow network has to come through.
const TOTAL: Duration = Duration::from_secs(5);

/// Reads on after [`OutputPiece::Exit`].
#[derive(Debug, Clone, Copy)]
pub struct OutputDrain {
    silence: Duration,
    deadline: Instant,
}

impl OutputDrain {
    /// Begins now. It ends after a second without output, and after five seconds with it.
    #[must_use]
    pub fn start() -> Self {
        Self { silence: SILENCE, deadline: Instant::now() + TOTAL }
    }

    /// Begins now and ends after `time`, whether or not there is output.
    #[must_use]
    pub fn patient(time: Duration) -> Self {
        Self { silence: time, deadline: Instant::now() + time }
    }

    /// The next piece; none once the streams are closed or the time is over.
    pub async fn next<C: RemoteCommand>(&self, command: &mut C) -> Option<OutputPiece> {
        let now = Instant::now();
        // A timeout looks for a piece first, so it never ends a command that always has one.
        if now >= self.deadline {
            return None;
        }
        // No piece in time and a closed stream are the same to the caller: in both cases nothing more comes.
        timeout_at(self.deadline.min(now + self.silence), command.next()).await.ok().flatten()
    }
}

/// Reads the output of a command to its end, at most `limit` bytes of each stream, or until its standard output
/// `is_whole`; closes it then. None if it was cut short.
pub async fn collect<C: RemoteCommand>(
    running: &mut C,
    limit: usize,
    is_whole: impl Fn(&[u8]) -> bool + Send,
) -> Option<ExecOutput> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut output = ExecOutput::default();
    let mut ended = false;
    let mut rest: Option<OutputDrain> = None;
    // After the exit the streams may stay open for ever, so the rest has limits.
    loop {
        let next = match rest {
            Some(rest) => rest.next(running).await,
            None => running.next().await,
        };
        match next {
            Some(OutputPiece::Stdout(bytes)) => stdout.extend(bytes),
            Some(OutputPiece::Stderr(bytes)) => stderr.extend(bytes),
            Some(OutputPiece::Exit(code)) => {
                output.exit = code;
                ended = true;
                rest = Some(OutputDrain::start());
            }
            None => break,
        }
        // A command that prints without end would fill the memory; it is given up, and the result says so.
        if stdout.len() > limit || stderr.len() > limit {
            output.truncated = true;
            ended = true;
            break;
        }
        // A whole answer needs no end: a process left behind may hold the streams.
        if is_whole(&stdout) {
            ended = true;
            break;
        }
    }
    if !ended {
        return None;
    }
    // sshd counts the command until its channel is closed (MaxSessions).
    running.close().await;
    stdout.truncate(limit);
    stderr.truncate(limit);
    output.stdout = String::from_utf8_lossy(&stdout).into_owned();
    output.stderr = String::from_utf8_lossy(&stderr).into_owned();
    Some(output)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::time::sleep_until;

    use super::*;
    use crate::TransportError;

    /// A command whose output comes at these times after its end, in milliseconds.
    struct TimedOutput {
        since: Instant,
        output: VecDeque<u64>,
        /// Whether something holds the streams open behind that.
        is_held: bool,
    }

    impl RemoteCommand for TimedOutput {
        async fn write(&mut self, _: &[u8]) -> Result<(), TransportError> {
            Ok(())
        }

        async fn next(&mut self) -> Option<OutputPiece> {
            match self.output.front() {
                Some(time) => sleep_until(self.since + Duration::from_millis(*time)).await,
                None if self.is_held => std::future::pending().await,
                None => return None,
            }
            self.output.pop_front().map(|_| OutputPiece::Stdout(Vec::new()))
        }

        async fn close(&mut self) {}
    }

    /// How many pieces are read, and when that ends.
    async fn read(drain: OutputDrain, output: impl IntoIterator<Item = u64>, is_held: bool) -> (usize, u128) {
        let since = Instant::now();
        let mut command = TimedOutput { since, output: output.into_iter().collect(), is_held };
        let mut count = 0;
        while drain.next(&mut command).await.is_some() {
            count += 1;
        }
        (count, since.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn reading_on_has_an_end() {
        // Closed at once, after slow output, after a silence; held open in silence.
        assert_eq!(read(OutputDrain::start(), [], false).await, (0, 0));
        assert_eq!(read(OutputDrain::start(), [0, 900, 1800, 2700], false).await, (4, 2700));
        assert_eq!(read(OutputDrain::start(), [0, 900, 2000], false).await.0, 2);
        assert_eq!(read(OutputDrain::start(), [0, 500], true).await, (2, 1500));
        // For ever.
        assert_eq!(read(OutputDrain::start(), (0..1000).map(|number| number * 700), true).await, (8, 5000));
        let patient = || OutputDrain::patient(Duration::from_secs(10));
        assert_eq!(read(patient(), [9900], true).await, (1, 10_000));
        assert_eq!(read(patient(), [0, 9000, 10_500], true).await, (2, 10_000));
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_pauses_is_ended() {
        let drain = OutputDrain::start();
        let mut command = TimedOutput { since: Instant::now(), output: vec![0; 100].into(), is_held: true };
        let mut count = 0;
        while drain.next(&mut command).await.is_some() {
            count += 1;
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(count, 50);
    }
}
