//! Words of the configuration language, with line and column.
//!
//! One file at a time becomes tokens on demand. Comments run from `#` to the end of the line or stand between `/*` and `*/`. A name may be
//! quoted with apostrophes and then contain anything a name of Kubernetes can. An address is recognised before a name or a number: `fd00::1`
//! begins like either.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a token begins; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column, in octets.
    pub column: u32,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or keyword.
    Word(String),
    /// A name in apostrophes, which is no keyword.
    Quoted(String),
    /// A text in quotation marks.
    Text(String),
    /// A number.
    Number(u32),
    /// An address.
    Address(IpAddr),
    /// A mark of one or two characters.
    Mark(&'static str),
    /// Nothing more.
    End,
}

/// What is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Where.
    pub place: Place,
    /// What, in the words that BIRD has for it.
    pub message: String,
}

/// Marks, longer ones before those that they begin with.
const MARKS: [&str; 29] = [
    "&&", "||", "!=", "!~", "<=", ">=", "[=", "=]", "..", "{", "}", "(", ")", "[", "]", ";", ",", ".", ":",
    "/", "=", "<", ">", "~", "!", "+", "-", "*", "?",
];

/// Reads tokens from a text.
#[derive(Debug)]
pub(super) struct Lexer {
    text: Vec<u8>,
    at: usize,
    place: Place,
}

impl Lexer {
    /// At the beginning of `text`.
    pub(super) fn new(text: impl Into<String>) -> Lexer {
        Lexer { text: text.into().into_bytes(), at: 0, place: Place { line: 1, column: 1 } }
    }

    /// The next token and where it begins.
    pub(super) fn next(&mut self) -> Result<(Token, Place), Malformed> {
        self.skip_blanks()?;
        let place = self.place;
        let Some(first) = self.peek(0) else { return Ok((Token::End, place)) };
        if let Some(token) = self.address(place)? {
            return Ok((token, place));
        }
        let token = match first {
            b'0'..=b'9' => self.number(place)?,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                Token::Word(self.take_while(|c| c.is_ascii_alphanumeric() || c == b'_'))
            }
            b'\'' => Token::Quoted(self.enclosed(b'\'', place)?),
            b'"' => Token::Text(self.enclosed(b'"', place)?),
            _ => self.mark(place)?,
        };
        Ok((token, place))
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn advance(&mut self, octets: usize) {
        for _ in 0..octets {
            match self.peek(0) {
                Some(b'\n') => self.place = Place { line: self.place.line.saturating_add(1), column: 1 },
                Some(_) => self.place.column = self.place.column.saturating_add(1),
                None => return,
            }
            self.at += 1;
        }
    }

    fn skip_blanks(&mut self) -> Result<(), Malformed> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b' ' | b'\t' | b'\r' | b'\n'), _) => self.advance(1),
                (Some(b'#'), _) => {
                    while self.peek(0).is_some_and(|c| c != b'\n') {
                        self.advance(1);
                    }
                }
                (Some(b'/'), Some(b'*')) => {
                    let place = self.place;
                    self.advance(2);
                    while (self.peek(0), self.peek(1)) != (Some(b'*'), Some(b'/')) {
                        if self.peek(0).is_none() {
                            return Err(malformed(place, "Unterminated comment"));
                        }
                        self.advance(1);
                    }
                    self.advance(2);
                }
                _ => return Ok(()),
            }
        }
    }

    fn take_while(&mut self, is_part: impl Fn(u8) -> bool) -> String {
        let begin = self.at;
        while self.peek(0).is_some_and(&is_part) {
            self.advance(1);
        }
        String::from_utf8_lossy(self.text.get(begin..self.at).unwrap_or_default()).into_owned()
    }

    /// An address, if what comes looks like one.
    fn address(&mut self, place: Place) -> Result<Option<Token>, Malformed> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let len = |is_part: fn(u8) -> bool| rest.iter().take_while(|c| is_part(**c)).count();
        let dotted = len(|c| c.is_ascii_digit() || c == b'.');
        let word = rest.get(..dotted).unwrap_or_default();
        let is_quad = word.iter().filter(|c| **c == b'.').count() == 3
            && word.split(|c| *c == b'.').all(|part| !part.is_empty());
        if is_quad {
            let text = String::from_utf8_lossy(word).into_owned();
            self.advance(dotted);
            return match text.parse::<Ipv4Addr>() {
                Ok(addr) => Ok(Some(Token::Address(addr.into()))),
                Err(_) => Err(malformed(place, &format!("Invalid IPv4 address {text}"))),
            };
        }
        let colons = len(|c| c.is_ascii_hexdigit() || c == b':' || c == b'.');
        let text = String::from_utf8_lossy(rest.get(..colons).unwrap_or_default()).into_owned();
        if !text.contains("::") && text.matches(':').count() < 3 {
            return Ok(None);
        }
        self.advance(colons);
        match text.parse::<Ipv6Addr>() {
            Ok(addr) => Ok(Some(Token::Address(addr.into()))),
            Err(_) => Err(malformed(place, &format!("Invalid IPv6 address {text}"))),
        }
    }

    fn number(&mut self, place: Place) -> Result<Token, Malformed> {
        let text = self.take_while(|c| c.is_ascii_alphanumeric());
        let number = match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => text.parse(),
        };
        match number {
            Ok(number) => Ok(Token::Number(number)),
            Err(_) if text.bytes().all(|c| c.is_ascii_digit()) => {
                Err(malformed(place, "Number out of range"))
            }
            Err(_) => Err(malformed(place, "syntax error")),
        }
    }

    fn enclosed(&mut self, by: u8, place: Place) -> Result<String, Malformed> {
        self.advance(1);
        let text = self.take_while(|c| c != by && c != b'\n');
        if self.peek(0) != Some(by) {
            return Err(malformed(place, "Unterminated string"));
        }
        self.advance(1);
        Ok(text)
    }

    fn mark(&mut self, place: Place) -> Result<Token, Malformed> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some(mark) = MARKS.iter().find(|m| rest.starts_with(m.as_bytes())) else {
            return Err(malformed(place, "Unknown character"));
        };
        self.advance(mark.len());
        Ok(Token::Mark(mark))
    }
}

fn malformed(place: Place, message: &str) -> Malformed {
    Malformed { place, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Token> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            match lexer.next().expect("a token") {
                (Token::End, _) => return tokens,
                (token, _) => tokens.push(token),
            }
        }
    }

    #[test]
    fn addresses_are_told_from_names_and_numbers() {
        let address = |text: &str| Token::Address(text.parse().expect("an address"));
        assert_eq!(all("fd00::1"), [address("fd00::1")]);
        assert_eq!(all("10.0.0.1/24"), [address("10.0.0.1"), Token::Mark("/"), Token::Number(24)]);
        assert_eq!(all("::/0"), [address("::"), Token::Mark("/"), Token::Number(0)]);
        assert_eq!(all("accept"), [Token::Word("accept".into())]);
        assert_eq!(all("Mesh_fd00__1"), [Token::Word("Mesh_fd00__1".into())]);
    }

    #[test]
    fn marks_are_as_long_as_they_can_be() {
        assert_eq!(
            all("[= 1 * =]!~x"),
            [
                Token::Mark("[="),
                Token::Number(1),
                Token::Mark("*"),
                Token::Mark("=]"),
                Token::Mark("!~"),
                Token::Word("x".into())
            ]
        );
    }

    #[test]
    fn places_count_from_one_and_comments_are_skipped() {
        let mut lexer = Lexer::new("# a\n/* b\n*/  c");
        assert_eq!(lexer.next().expect("c"), (Token::Word("c".into()), Place { line: 3, column: 5 }));
    }

    #[test]
    fn what_is_no_token_is_said_in_bird_s_words() {
        let said = |text: &str| Lexer::new(text).next().expect_err("malformed").message;
        assert_eq!(said("300.1.1.1"), "Invalid IPv4 address 300.1.1.1");
        assert_eq!(said("\"abc"), "Unterminated string");
        assert_eq!(said("/* abc"), "Unterminated comment");
        assert_eq!(said("99999999999"), "Number out of range");
    }
}
