//! Replies as they stand on BIRD's control socket: a code and a text a line, the code left out where it is the one before.

use std::fmt::Write;

/// A reply under construction. Its last line ends it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Reply {
    text: String,
    last: Option<u16>,
}

impl Reply {
    /// Nothing said.
    pub fn new() -> Reply {
        Reply::default()
    }

    /// A reply of one line.
    pub fn one(code: u16, text: &str) -> String {
        Reply::new().end(code, text)
    }

    /// A line that others follow.
    pub fn line(&mut self, code: u16, text: &str) -> &mut Reply {
        if self.last == Some(code) {
            let _ = writeln!(self.text, " {text}");
        } else {
            let _ = writeln!(self.text, "{code:04}-{text}");
        }
        self.last = Some(code);
        self
    }

    /// Takes what is said so far, to be sent; the reply goes on.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// The last line, and with it the whole.
    pub fn end(mut self, code: u16, text: &str) -> String {
        let _ = writeln!(self.text, "{code:04} {text}");
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_said_where_it_changes_and_at_the_end() {
        let mut reply = Reply::new();
        reply.line(1000, "BIRD v1").line(1011, "a").line(1011, "b");
        assert_eq!(reply.end(13, "up"), "1000-BIRD v1\n1011-a\n b\n0013 up\n");
        assert_eq!(Reply::one(0, ""), "0000 \n");
    }
}
