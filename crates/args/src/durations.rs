//! Durations as they are typed, for the parsers of arguments.

/// A time that may be none: `0s`, else as [`duration`].
pub(crate) fn duration_or_zero(text: &str) -> Result<std::time::Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Ok(time),
        _ if text == "0" => Ok(std::time::Duration::ZERO),
        _ => duration(text),
    }
}

/// `5s`, `2m`, `500ms`; a bare number is seconds. From a millisecond to a day.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let duration = match text.parse::<u64>() {
        Ok(seconds) => std::time::Duration::from_secs(seconds),
        Err(_) => {
            humantime::parse_duration(text).map_err(|_| "expected a duration such as 500ms, 5s or 2m".to_owned())?
        }
    };
    if duration.is_zero() || duration > std::time::Duration::from_secs(86_400) {
        return Err("expected a duration from 1ms to 1day".to_owned());
    }
    Ok(duration)
}
