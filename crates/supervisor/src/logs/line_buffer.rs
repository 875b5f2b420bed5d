//! Bytes of a log become whole lines, wherever the pieces were cut.
//!
//! Pure. Invariants: the lines do not depend on the cuts; a line is kept up to [`LONGEST`] bytes and marked
//! where more of it was left out; broken UTF-8 is replaced.

/// Longest part of a line that is kept, in bytes.
pub const LONGEST: usize = 64 * 1024;

/// Appended to a line of which a part was left out.
pub const CUT: &str = "… (the line is longer)";

/// Puts lines together.
#[derive(Debug, Clone, Default)]
pub struct LineBuffer {
    /// The start of a line whose end was not read yet.
    open: Vec<u8>,
    /// Whether a part of it was left out.
    is_cut: bool,
}

impl LineBuffer {
    /// The lines that end in `bytes`, in order, without their ends.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            // The rest of a longer line is dropped as it arrives, which bounds the memory.
            let room = LONGEST.saturating_sub(self.open.len());
            self.is_cut |= text.len() > room;
            self.open.extend(text.iter().take(room));
            if ends {
                lines.push(self.close());
            }
        }
        lines
    }

    /// The line whose end was not read, if there is one: nothing more will follow.
    pub fn finish(&mut self) -> Option<String> {
        (!self.open.is_empty()).then(|| self.close())
    }

    /// Bytes of the line whose end was not read yet.
    #[must_use]
    pub fn open_bytes(&self) -> usize {
        self.open.len()
    }

    fn close(&mut self) -> String {
        let is_cut = std::mem::take(&mut self.is_cut);
        let mut bytes = std::mem::take(&mut self.open);
        // `\r\n` ends a line as well; where the line was cut, its last byte is not its end.
        if bytes.last() == Some(&b'\r') && !is_cut {
            bytes.pop();
        }
        let mut line = String::from_utf8_lossy(&bytes).into_owned();
        if is_cut {
            line.push_str(CUT);
        }
        line
    }

    /// Where the last `most` lines of `bytes` start. The end of the last line starts no other.
    #[must_use]
    pub fn start_of_last(bytes: &[u8], most: usize) -> usize {
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let ends = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place + 1);
        if most == 0 { bytes.len() } else { ends.take(most).nth(most - 1).unwrap_or(0) }
    }

    /// The last lines of `bytes`, oldest first and at most `most`. `is_part`: something stood before, so that the first
    /// of them may not be whole, and is left out unless it is the only one.
    #[must_use]
    pub fn last_of(bytes: &[u8], is_part: bool, most: usize) -> Vec<String> {
        let mut lines = Self::default();
        let mut all = lines.feed(bytes);
        all.extend(lines.finish());
        // A line without its beginning is better than none, so it is dropped only where others are left.
        let spare = usize::from(is_part && all.len() > 1);
        all.split_off(all.len().saturating_sub(most).max(spare))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_end_where_they_end() {
        let mut lines = LineBuffer::default();
        assert_eq!(lines.feed(b"one\r\ntw"), ["one"]);
        assert_eq!(lines.feed(b"o\n\n \xc3"), ["two", ""]);
        assert_eq!(lines.feed(b"\xbc\ncaf\xe9\nrest"), [" ü", "caf\u{fffd}"]);
        assert_eq!(lines.finish().as_deref(), Some("rest"));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn a_line_without_an_end_is_cut_and_marked() {
        let mut lines = LineBuffer::default();
        let endless = vec![b'x'; LONGEST];
        for _ in 0..10 {
            assert_eq!(lines.feed(&endless), Vec::<String>::new());
            assert_eq!(lines.open_bytes(), LONGEST);
        }
        let told = lines.feed(b"end\nnext\n");
        assert_eq!(told.first().map(String::len), Some(LONGEST + CUT.len()));
        assert!(told.first().is_some_and(|line| line.ends_with(CUT)));
        assert_eq!(told.get(1).map(String::as_str), Some("next"));
    }

    #[test]
    fn the_last_lines_are_whole() {
        assert_eq!(LineBuffer::last_of(b"a\nb\nc\n", false, 2), ["b", "c"]);
        assert_eq!(LineBuffer::last_of(b"a\nb\nc", false, 9), ["a", "b", "c"]);
        assert_eq!(LineBuffer::last_of(b"a\nb\nc", true, 9), ["b", "c"]);
        assert_eq!(LineBuffer::last_of(b"only", true, 9), ["only"]);
        assert_eq!(LineBuffer::last_of(b"a\nb\n", false, 0), Vec::<String>::new());
        assert_eq!(LineBuffer::last_of(b"", true, 3), Vec::<String>::new());
        let start = |most| LineBuffer::start_of_last(b"a\nb\nc\n", most);
        assert_eq!([start(0), start(1), start(2), start(3), start(9)], [6, 4, 2, 0, 0]);
        assert_eq!(LineBuffer::start_of_last(b"a\nb", 1), 2);
    }

    proptest! {
        #[test]
        fn wherever_the_pieces_are_cut_the_lines_are_the_same(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..400),
            cuts in proptest::collection::vec(0..400_usize, 0..20),
        ) {
            let mut whole = LineBuffer::default();
            let mut wanted = whole.feed(&text);
            wanted.extend(whole.finish());
            let mut places: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            places.sort_unstable();
            let mut pieces = LineBuffer::default();
            let mut told = Vec::new();
            for pair in places.windows(2) {
                told.extend(pieces.feed(&text[pair[0]..pair[1]]));
            }
            told.extend(pieces.finish());
            prop_assert_eq!(told, wanted);
        }
    }
}
