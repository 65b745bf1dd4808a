//! The JSON that ffprobe prints, element by element: a long video's packets are never all in memory as text.
//!
//! In: bytes as they come. Out: each object in a list of the top level, and each object of the top level, with the name
//! it has there, as in `{"packets": [{…}, {…}], "format": {…}}`.

use crate::limits;

/// Cuts a document into its elements.
#[derive(Debug, Default)]
pub struct Elements {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// The last string of the top level: the name of what follows.
    name: Vec<u8>,
    /// Where the element in progress began.
    began_at: Option<usize>,
    element: Vec<u8>,
}

impl Elements {
    /// Takes the next bytes; hands each element that ends in them to `found`, with its name.
    ///
    /// # Errors
    /// The first error of `found`.
    pub fn take<E>(&mut self, bytes: &[u8], mut found: impl FnMut(&str, &[u8]) -> Result<(), E>) -> Result<(), E> {
        for byte in bytes {
            if self.began_at.is_some() && self.element.len() < limits::PROBE_ELEMENT_BYTES {
                self.element.push(*byte);
            }
            if self.in_string {
                self.string(*byte);
                continue;
            }
            match byte {
                b'"' => {
                    self.in_string = true;
                    if self.depth == 1 {
                        self.name.clear();
                    }
                }
                b'{' | b'[' => {
                    if *byte == b'{' && (1..=2).contains(&self.depth) && self.began_at.is_none() {
                        self.began_at = Some(self.depth);
                        self.element.clear();
                        self.element.push(b'{');
                    }
                    self.depth += 1;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.began_at == Some(self.depth) {
                        self.began_at = None;
                        // An element that is too long was cut, so parsing it fails, and the caller reports that.
                        found(&String::from_utf8_lossy(&self.name), &self.element)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn string(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => self.in_string = false,
            _ if self.depth == 1 && self.name.len() < limits::PROBE_ELEMENT_BYTES => self.name.push(byte),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(text: &str, piece_bytes: usize) -> Vec<(String, String)> {
        let mut elements = Elements::default();
        let mut found = vec![];
        for piece in text.as_bytes().chunks(piece_bytes) {
            let taken = elements.take(piece, |name, element| {
                found.push((name.to_owned(), String::from_utf8_lossy(element).into_owned()));
                Ok::<_, ()>(())
            });
            taken.unwrap();
        }
        found
    }

    #[test]
    fn elements_are_found_whatever_pieces_they_come_in() {
        let text = r#"{ "programs": [], "packets": [ {"a": [{"b": 1}], "c": "}\"]"}, {} ],
            "format": {"x": {"y": "{"}} , "streams":[{"z":2}]}"#;
        let expected = [
            ("packets", r#"{"a": [{"b": 1}], "c": "}\"]"}"#),
            ("packets", "{}"),
            ("format", r#"{"x": {"y": "{"}}"#),
            ("streams", r#"{"z":2}"#),
        ];
        let expected: Vec<_> = expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        for piece_bytes in [1, 2, 7, 4096] {
            assert_eq!(elements(text, piece_bytes), expected, "{piece_bytes}");
        }
    }

    #[test]
    fn an_element_without_end_is_not_kept() {
        let text = format!(r#"{{"packets": [{{"a": "{}"}}, {{"b": 1}}]}}"#, "x".repeat(1 << 20));
        let found = elements(&text, 4096);
        assert_eq!((found.len(), found[0].1.len()), (2, limits::PROBE_ELEMENT_BYTES));
    }

    #[test]
    fn brackets_that_do_not_match_do_no_harm() {
        for text in ["}}}]]]", "{{{{{{", "[{]}", "\"", "{\"a\":[{\"b", ""] {
            elements(text, 3);
        }
    }
}
