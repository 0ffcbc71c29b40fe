//! The commands of BIRD's control socket: one line, in full words, into what is wanted.

use std::net::IpAddr;

use bgp_proto::Prefix;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `show status`.
    Status,
    /// `show protocols`.
    Protocols {
        /// `all`.
        all: bool,
        /// Which.
        which: Which,
    },
    /// `show route`.
    Routes(Routes),
    /// `show interfaces`.
    Interfaces,
    /// `show memory`.
    Memory,
    /// `configure`.
    Configure {
        /// `check`.
        check: bool,
        /// Another file.
        file: Option<String>,
    },
    /// `configure undo`.
    Undo,
    /// `configure confirm`.
    Confirm,
    /// `restrict`.
    Restrict,
    /// `down`.
    Down,
    /// `restart` and `reload`, by name.
    Again(Again, Which),
}

/// What is done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The session.
    Restart,
    /// Its routes.
    Reload,
}

/// Protocols meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// This one.
    Named(String),
    /// All whose names are like this.
    Like(String),
}

/// `show route`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// With all attributes.
    pub all: bool,
    /// Numbers only.
    pub count: bool,
    /// Only those in use.
    pub primary: bool,
    /// To this destination.
    pub prefix: Option<Prefix>,
    /// The best way to this address.
    pub covering: Option<IpAddr>,
    /// From this protocol.
    pub protocol: Option<String>,
    /// As this protocol is told them.
    pub export: Option<String>,
}

/// Why a line is no command: a code and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub u16, pub String);

fn syntax<T>() -> Result<T, Refusal> {
    Err(Refusal(9001, "syntax error".to_owned()))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Plain(String),
    Quoted(String),
}

/// Reads a line.
pub fn parse(line: &str) -> Result<Command, Refusal> {
    let words = words(line)?;
    let mut words = words.into_iter().peekable();
    let mut plain = || match words.next() {
        Some(Word::Plain(word)) => Some(word),
        Some(Word::Quoted(_)) | None => None,
    };
    let first = plain().unwrap_or_default();
    let command = match first.as_str() {
        "show" => {
            let what = plain().unwrap_or_default();
            return show(&what, &words.collect::<Vec<_>>());
        }
        "configure" => return configure(&words.collect::<Vec<_>>()),
        "restrict" => Command::Restrict,
        "down" => Command::Down,
        "restart" => Command::Again(Again::Restart, which(words.next())?),
        "reload" => Command::Again(Again::Reload, which(words.next())?),
        "disable" | "enable" | "debug" | "mrtdump" | "echo" | "eval" => {
            return Err(Refusal(9001, format!("{first} is not supported")));
        }
        _ => return syntax(),
    };
    if words.next().is_some() { syntax() } else { Ok(command) }
}

fn which(word: Option<Word>) -> Result<Which, Refusal> {
    match word {
        Some(Word::Plain(word)) if word == "all" => Ok(Which::All),
        Some(Word::Plain(word)) => Ok(Which::Named(word)),
        Some(Word::Quoted(word)) => Ok(Which::Like(word)),
        None => syntax(),
    }
}

fn show(what: &str, rest: &[Word]) -> Result<Command, Refusal> {
    let is_alone = rest.is_empty();
    match what {
        "status" if is_alone => Ok(Command::Status),
        "memory" if is_alone => Ok(Command::Memory),
        "interfaces" if is_alone => Ok(Command::Interfaces),
        "protocols" => protocols(rest),
        "route" => routes(rest),
        "roa" => Err(Refusal(9001, "No ROA table defined".to_owned())),
        "bfd" => Err(Refusal(9001, "There is no BFD protocol running".to_owned())),
        "interfaces" | "static" | "symbols" | "ospf" | "rip" => {
            Err(Refusal(9001, format!("show {what} is not supported")))
        }
        _ => syntax(),
    }
}

fn protocols(rest: &[Word]) -> Result<Command, Refusal> {
    let (all, rest) = match rest {
        [Word::Plain(word), rest @ ..] if word == "all" => (true, rest),
        _ => (false, rest),
    };
    match rest {
        [] => Ok(Command::Protocols { all, which: Which::All }),
        [word] => Ok(Command::Protocols { all, which: which(Some(word.clone()))? }),
        _ => syntax(),
    }
}

fn configure(rest: &[Word]) -> Result<Command, Refusal> {
    let mut check = false;
    let mut file = None;
    for word in rest {
        match word {
            Word::Plain(word) if word == "soft" => {}
            Word::Plain(word) if word == "check" => check = true,
            Word::Plain(word) if word == "undo" && rest.len() == 1 => return Ok(Command::Undo),
            Word::Plain(word) if word == "confirm" && rest.len() == 1 => return Ok(Command::Confirm),
            Word::Plain(word) if word == "timeout" => {
                return Err(Refusal(9001, "configure timeout is not supported".to_owned()));
            }
            Word::Plain(_) => return syntax(),
            Word::Quoted(name) => file = Some(name.clone()),
        }
    }
    Ok(Command::Configure { check, file })
}

fn routes(rest: &[Word]) -> Result<Command, Refusal> {
    let mut routes = Routes::default();
    let mut words = rest.iter();
    let name = |word: Option<&Word>| match word {
        Some(Word::Plain(name) | Word::Quoted(name)) => Ok(name.clone()),
        None => syntax(),
    };
    while let Some(word) = words.next() {
        let Word::Plain(word) = word else { return syntax() };
        match word.as_str() {
            "all" => routes.all = true,
            "count" => routes.count = true,
            "primary" => routes.primary = true,
            "protocol" => routes.protocol = Some(name(words.next())?),
            "export" => routes.export = Some(name(words.next())?),
            "for" => {
                let word = name(words.next())?;
                match (word.parse::<IpAddr>(), prefix(&word)) {
                    (Ok(addr), _) => routes.covering = Some(addr),
                    (_, Some(found)) => routes.covering = Some(found?.addr()),
                    (Err(_), None) => return syntax(),
                }
            }
            "table" => {
                if name(words.next())? != "master" {
                    return Err(Refusal(9001, "There is only the table master".to_owned()));
                }
            }
            "where" | "filter" | "noexport" | "preexport" | "filtered" | "stats" => {
                return Err(Refusal(9001, format!("show route {word} is not supported")));
            }
            _ => match prefix(word) {
                Some(found) if routes.prefix.is_none() => routes.prefix = Some(found?),
                Some(_) | None => return syntax(),
            },
        }
    }
    Ok(Command::Routes(routes))
}

/// `address/length`; `None` if it looks like something else.
fn prefix(word: &str) -> Option<Result<Prefix, Refusal>> {
    let (addr, len) = word.split_once('/')?;
    let (addr, len) = (addr.parse::<IpAddr>().ok()?, len.parse::<u8>().ok()?);
    let prefix = Prefix::new(addr, len).ok().filter(|p| p.addr() == addr);
    Some(prefix.ok_or_else(|| Refusal(9001, "Invalid prefix".to_owned())))
}

fn words(line: &str) -> Result<Vec<Word>, Refusal> {
    let mut words = Vec::new();
    let mut rest = line.trim().trim_end_matches(';').trim_end();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let Some((text, after)) = quoted.split_once('"') else { return syntax() };
            words.push(Word::Quoted(text.to_owned()));
            rest = after.trim_start();
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            words.push(Word::Plain(word.to_owned()));
            rest = after.trim_start();
        }
    }
    Ok(words)
}

/// Commands as `birdcl` completes abbreviated ones.
const FULL: [&str; 17] = [
    "show status",
    "show protocols",
    "show protocols all",
    "show interfaces",
    "show route",
    "show memory",
    "show bfd sessions",
    "configure",
    "configure soft",
    "configure check",
    "configure undo",
    "configure confirm",
    "restrict",
    "restart",
    "reload",
    "down",
    "help",
];

/// A line with its abbreviated words in full, or why not.
pub fn expand(line: &str) -> Result<String, String> {
    let mut full: Vec<&str> = Vec::new();
    let mut rest = line.trim();
    loop {
        let (word, after) = match rest.find(char::is_whitespace) {
            Some(at) => (rest.get(..at).unwrap_or(rest), rest.get(at..).unwrap_or("").trim_start()),
            None => (rest, ""),
        };
        let mut next: Vec<&str> = FULL
            .iter()
            .filter(|c| c.split(' ').take(full.len()).eq(full.iter().copied()))
            .filter_map(|c| c.split(' ').nth(full.len()))
            .filter(|w| !word.is_empty() && w.starts_with(word))
            .collect();
        next.dedup();
        next.sort_unstable();
        next.dedup();
        if let Some(exact) = next.iter().copied().find(|w| *w == word) {
            next = vec![exact];
        }
        match next.as_slice() {
            [one] => full.push(one),
            [] => break,
            _ => return Err("Ambiguous command, possible expansions are: ".to_owned() + &next.join(", ")),
        }
        rest = after;
    }
    let mut line = full.join(" ");
    if !rest.is_empty() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(rest);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_is_answered_as_bird_does() {
        for line in ["", "show", "help", "bogus", "show route 10.0.0.1", "show status now"] {
            assert_eq!(parse(line), Err(Refusal(9001, "syntax error".to_owned())), "{line}");
        }
        assert_eq!(parse("show route 10.0.0.1/8"), Err(Refusal(9001, "Invalid prefix".to_owned())));
        assert_eq!(parse("show roa"), Err(Refusal(9001, "No ROA table defined".to_owned())));
    }

    #[test]
    fn abbreviations_are_expanded_by_the_client() {
        let full = |line: &str| expand(line).expect("one expansion");
        assert_eq!(full("sh pr"), "show protocols");
        assert_eq!(full("sh prot all Mesh_1"), "show protocols all Mesh_1");
        assert_eq!(full("s r 10.0.0.0/8 all"), "show route 10.0.0.0/8 all");
        assert_eq!(full("conf"), "configure");
        assert_eq!(full("show status"), "show status");
        assert!(expand("re").is_err());
    }

    #[test]
    fn route_queries_combine() {
        let Ok(Command::Routes(routes)) = parse("show route 10.0.0.0/8 all protocol Mesh_1 primary") else {
            panic!("a command");
        };
        assert!(routes.all && routes.primary && routes.prefix.is_some());
        assert_eq!(routes.protocol.as_deref(), Some("Mesh_1"));
    }
}
