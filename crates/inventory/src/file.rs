//! YAML files that users write: the inventory, and the files of other modules with the same reader.
//!
//! Here live [`FileKind`], the kind of a file, [`load`], which reads its text, and [`tree`], which parses the text into
//! values with places. It uses [`super::raw`] and [`super::problem`]. Invariants: at most [`FileKind::max_bytes`] are
//! read, whatever length the file reports. Start reading at [`load`].

use std::io;
use std::path::Path;

use super::problem::{Diagnostic, InventoryProblem, ProblemReport};
use super::raw::{self, RawValue};
use ctl_local::file::{self, FileAccess, FileContent, ReadBounds};

/// A kind of file, for messages and limits.
#[derive(Debug, Clone, Copy)]
pub struct FileKind {
    /// With its article, such as `an inventory`.
    pub name: &'static str,
    /// Maximum size in bytes.
    pub max_bytes: u64,
}

/// A file that is not text, with the reason.
#[derive(Debug)]
pub struct NoText {
    /// As much of the text as the places of the problems need; may be empty.
    pub text: String,
    /// Never empty.
    pub problems: Vec<InventoryProblem>,
}

impl FileKind {
    /// The problem of a file larger than [`Self::max_bytes`].
    pub fn too_large(self) -> InventoryProblem {
        let message = format!("it is larger than {} MiB", self.max_bytes >> 20);
        InventoryProblem::of_file(message, Some(&format!("is it {}?", self.name)))
    }

    fn unreadable(self, error: &io::Error) -> InventoryProblem {
        let kind = error.kind();
        if kind == io::ErrorKind::NotFound {
            InventoryProblem::of_file("no such file", None)
        } else if kind == io::ErrorKind::PermissionDenied {
            InventoryProblem::of_file("permission denied", Some("check its owner and mode"))
        } else if kind == io::ErrorKind::IsADirectory {
            let noun = self.name.split_once(' ').map_or(self.name, |(_, noun)| noun);
            InventoryProblem::of_file(
                "it is a directory, not a file",
                Some(&format!("give the {noun} file in that directory")),
            )
        } else if kind == io::ErrorKind::FileTooLarge {
            self.too_large()
        } else if kind == io::ErrorKind::TimedOut {
            InventoryProblem::of_file(error.to_string(), None)
        } else {
            InventoryProblem::of_file(format!("cannot read it: {error}"), None)
        }
    }
}

/// The text of a file, and its access rights.
pub fn load(path: &Path, kind: FileKind) -> Result<(String, FileAccess), NoText> {
    // The file may be a pipe, and a command may still be writing to it.
    let bounds = ReadBounds { max_bytes: kind.max_bytes, patience: file::PIPE_PATIENCE, only_regular: false };
    let FileContent { bytes, access } = file::read(path, bounds)
        .map_err(|error| NoText { text: String::new(), problems: vec![kind.unreadable(&error)] })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        // The byte order marks of UTF-16, little and big endian.
        let wide = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        let what = if wide { "this is UTF-16" } else { "this is not UTF-8" };
        let byte = bytes.get(at).copied().unwrap_or_default();
        let fault = Diagnostic::new(at..at + 1, format!("{what}: byte 0x{byte:02x} at offset {at}"));
        let mut report = ProblemReport::default();
        report.add(fault.help(text_file(kind)));
        // Up to the invalid byte the text equals the bytes, so the offset is valid in it.
        let text = String::from_utf8_lossy(bytes).into_owned();
        NoText { problems: report.into_problems(&text), text }
    })?;
    Ok((text, access))
}

fn text_file(kind: FileKind) -> String {
    format!("{} must be a UTF-8 text file", kind.name)
}

/// The text without the byte order mark that some editors write.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The values of a text without a byte order mark.
///
/// `None` if it is not well-formed; `report` then has the reason.
pub fn tree(text: &str, kind: FileKind, report: &mut ProblemReport) -> Option<RawValue> {
    // NUL is valid UTF-8, but not valid YAML; it also reveals UTF-16 without a mark.
    if let Some(at) = text.find('\0') {
        let message = format!("this is not a text file: byte 0x00 at offset {at}");
        report.add(Diagnostic::new(at..at + 1, message).help(text_file(kind)));
        return None;
    }
    raw::read(text, kind.name, report)
}
