//! Splits a line into words as Python's `shlex.split` does, which Ansible uses.

/// The words of a line. With `comments`, a `#` outside quotes ends the line, even inside a word.
///
/// # Errors
/// An open quote, or a backslash at the end.
pub(crate) fn split(line: &str, comments: bool) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if comments => break,
            '\\' => {
                let next = chars.next().ok_or("a backslash at the end of the line")?;
                word.get_or_insert_default().push(next);
            }
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a quote that is not closed")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("a quote that is not closed")? {
                        '"' => break,
                        '\\' => {
                            let next = chars.next().ok_or("a quote that is not closed")?;
                            // Inside double quotes a backslash stands for itself before any other character.
                            if next != '"' && next != '\\' {
                                word.push('\\');
                            }
                            word.push(next);
                        }
                        c => word.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_python_has_them() {
        for (line, words) in [
            ("a  b=c", vec!["a", "b=c"]),
            ("a b='c d' e=\"f g\"", vec!["a", "b=c d", "e=f g"]),
            ("a b=c#d e", vec!["a", "b=c"]),
            ("a b='#' # c", vec!["a", "b=#"]),
            ("a\\ b \"c\\\"d\\e\" ''", vec!["a b", "c\"d\\e", ""]),
            ("", vec![]),
        ] {
            assert_eq!(split(line, true).expect(line), words, "{line}");
        }
        assert_eq!(split("a#b", false), Ok(vec!["a#b".to_owned()]));
        for bad in ["a '", "a \"b", "a\\", "\"a\\"] {
            assert!(split(bad, true).is_err(), "{bad}");
        }
    }
}
