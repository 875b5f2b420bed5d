//! Small helpers for all other modules. They use no other module.
//!
//! Invariants: nothing here blocks or panics on any input.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Locks a mutex. A poisoned mutex is used as is, because the lab must still report what it recorded.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The node's wall clock: tokio's monotonic clock, anchored to the time of day at which the lab started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    base: Instant,
    epoch: f64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        Self { base: Instant::now(), epoch }
    }

    /// Seconds since 1970 at the given instant.
    pub(crate) fn epoch_at(&self, at: Instant) -> f64 {
        self.epoch + at.saturating_duration_since(self.base).as_secs_f64()
    }

    /// Seconds since 1970, now.
    pub(crate) fn epoch_now(&self) -> f64 {
        self.epoch_at(Instant::now())
    }
}

/// Scales a duration; the result is never below one millisecond unless the duration was zero.
pub(crate) fn scaled(seconds: f64, scale: f64) -> Duration {
    let value = seconds * scale;
    if value.is_finite() && value > 0.0 { Duration::from_secs_f64(value.clamp(0.001, 1e6)) } else { Duration::ZERO }
}

/// A date split into parts, in UTC, the time zone of every simulated node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Date {
    pub(crate) year: i64,
    pub(crate) month: usize,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) weekday: usize,
}

pub(crate) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
pub(crate) const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl Date {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "epoch seconds of this century; months and weekdays are reduced first"
    )]
    pub(crate) fn from_epoch(epoch: f64) -> Self {
        let seconds = epoch.max(0.0) as i64;
        let days = seconds / 86_400;
        let rest = seconds % 86_400;
        // Days since 1970 to a civil date (proleptic Gregorian, March-based years).
        let z = days + 719_468;
        let era = z / 146_097;
        let doe = z % 146_097;
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 2 } else { mp - 10 };
        let year = yoe + era * 400 + i64::from(month < 2);
        Self {
            year,
            month: month as usize % 12,
            day,
            hour: rest / 3600,
            minute: rest % 3600 / 60,
            second: rest % 60,
            weekday: ((days + 3) % 7) as usize,
        }
    }

    /// `Nov 20 09:14 AM`, as supervisord describes a process that stopped.
    pub(crate) fn supervisor(&self) -> String {
        let half = if self.hour < 12 { "AM" } else { "PM" };
        let hour = match self.hour % 12 {
            0 => 12,
            h => h,
        };
        format!("{} {:02} {hour:02}:{:02} {half}", MONTHS[self.month], self.day, self.minute)
    }

    /// `Sun, 22 Nov 2026 21:58:39 GMT`, as in an HTTP header.
    pub(crate) fn http(&self) -> String {
        format!(
            "{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
            DAYS[self.weekday], self.day, MONTHS[self.month], self.year, self.hour, self.minute, self.second
        )
    }

    /// `Sun 2026-11-22 21:58:39 UTC`, as systemctl writes it.
    pub(crate) fn systemd(&self) -> String {
        format!(
            "{} {}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
            DAYS[self.weekday],
            self.year,
            self.month + 1,
            self.day,
            self.hour,
            self.minute,
            self.second
        )
    }
}

/// `3 days, 2:07:44`, as Python prints a `timedelta` of whole seconds.
pub(crate) fn timedelta(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest % 3600 / 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        n => format!("{n} days, {clock}"),
    }
}

/// Decodes standard base64; `None` for any other input.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut acc, mut bits) = (0u32, 0u32);
    for byte in text.bytes().filter(|b| !b.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => return None,
        };
        acc = acc << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((acc >> bits & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_python_http_and_systemd_write_them() {
        let date = Date::from_epoch(1_795_384_719.4);
        assert_eq!(date.http(), "Sun, 22 Nov 2026 21:58:39 GMT");
        assert_eq!(date.supervisor(), "Nov 22 09:58 PM");
        assert_eq!(date.systemd(), "Sun 2026-11-22 21:58:39 UTC");
        let leap = Date::from_epoch(1_709_164_800.0);
        assert_eq!(leap.http(), "Thu, 29 Feb 2024 00:00:00 GMT");
        assert_eq!(leap.supervisor(), "Feb 29 12:00 AM");
    }

    #[test]
    fn uptimes_are_written_as_python_writes_them() {
        assert_eq!(timedelta(7), "0:00:07");
        assert_eq!(timedelta(86_400), "1 day, 0:00:00");
        assert_eq!(timedelta(3 * 86_400 + 7664), "3 days, 2:07:44");
    }

    #[test]
    fn base64_is_decoded() {
        assert_eq!(base64("dXNlcjpwYXNz").as_deref(), Some(&b"user:pass"[..]));
        assert_eq!(base64("YQ==").as_deref(), Some(&b"a"[..]));
        assert_eq!(base64("a*b"), None);
    }
}
