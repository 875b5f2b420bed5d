//! The spread of measured times, in the format of all measurements.

use std::time::Duration;

/// Prints the median, the minimum and the maximum of the times, and returns the median.
pub(crate) fn report(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let median = times[times.len() / 2];
    println!("{name:40} median {median:>8.1?}  minimum {:>8.1?}  maximum {:>8.1?}", times[0], times[times.len() - 1]);
    median
}
