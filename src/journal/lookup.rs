//! Which run is meant by what was typed.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::JournalError;
use super::rows::at;

/// Shortest part that names a run: the letters at its end.
const PART_CHARS: usize = 4;

/// How many runs are named where a part could be of several.
const MATCHES_NAMED: usize = 10;

/// Newest runs that are looked at for one that is nearly named as was asked.
const NEAR_RUNS: usize = 200;

/// Longest text that is compared with the names of runs, in bytes.
const NEAR_BYTES: usize = 64;

/// Edits between a name and one that is near.
const NEAR_EDITS: usize = 3;

/// The name of the run that is meant by `id`: a name, a part of one that no other has, or `last`.
pub(super) fn resolve(connection: &Connection, path: &Path, id: &str) -> Result<String, JournalError> {
    if id == "last" {
        let newest = newest(connection, 1).map_err(at(path))?.pop();
        return newest.ok_or_else(|| not_found(connection, path, id));
    }
    let whole = connection.query_one("SELECT run FROM runs WHERE run = ?1", [id], |row| row.get(0)).optional();
    if let Some(run) = whole.map_err(at(path))? {
        return Ok(run);
    }
    if id.chars().count() < PART_CHARS {
        return Err(JournalError::TooShort { id: id.to_owned() });
    }
    // Not LIKE or GLOB, to which some characters mean something.
    let holds = "SELECT run FROM runs WHERE instr(run, ?1) > 0 ORDER BY number DESC LIMIT ?2";
    let mut matches = names(connection, holds, params![id, limit(MATCHES_NAMED + 1)]).map_err(at(path))?;
    if matches.len() > 1 {
        let more = matches.len() > MATCHES_NAMED;
        matches.truncate(MATCHES_NAMED);
        return Err(JournalError::Ambiguous { id: id.to_owned(), matches, more });
    }
    matches.pop().ok_or_else(|| not_found(connection, path, id))
}

/// There is no such run; which one may be meant.
pub(super) fn not_found(connection: &Connection, path: &Path, id: &str) -> JournalError {
    let newest = match newest(connection, NEAR_RUNS) {
        Ok(newest) => newest,
        Err(error) => return JournalError::storage(path, error),
    };
    let near = newest
        .iter()
        .filter(|_| id.len() <= NEAR_BYTES)
        .map(|run| (strsim::damerau_levenshtein(run, id), run))
        .filter(|(edits, _)| *edits <= NEAR_EDITS)
        .min_by_key(|(edits, _)| *edits);
    JournalError::NotFound {
        path: path.to_owned(),
        id: id.to_owned(),
        near: near.map(|(_, run)| run.clone()),
        newest: newest.first().cloned(),
    }
}

/// The names of so many runs, newest first.
fn newest(connection: &Connection, count: usize) -> rusqlite::Result<Vec<String>> {
    names(connection, "SELECT run FROM runs ORDER BY number DESC LIMIT ?1", [limit(count)])
}

fn names(connection: &Connection, sql: &str, parameters: impl Params) -> rusqlite::Result<Vec<String>> {
    connection.prepare(sql)?.query_map(parameters, |row| row.get(0))?.collect()
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
