//! The commands of BIRD's control socket: one line, in full words, into what is wanted.

use std::net::IpAddr;

use bgp_proto::Prefix;

use super::lang::FilterText;
use crate::control::bird::Destination;

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
    /// `disable`, `enable`, `restart` and `reload`, by name.
    Order(Order, Which),
}

/// What is done with a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It ends.
    Disable,
    /// It begins again.
    Enable,
    /// It ends and begins again.
    Restart,
    /// Its routes are asked for and told again.
    Reload,
}

impl Order {
    /// As operators say it.
    pub fn word(self) -> &'static str {
        match self {
            Order::Disable => "disable",
            Order::Enable => "enable",
            Order::Restart => "restart",
            Order::Reload => "reload",
        }
    }
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
    /// Only to this destination.
    pub destination: Option<Destination>,
    /// That pass this filter, and as it leaves them.
    pub filter: Option<FilterText>,
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
    let (line, filter, behind) = split_filter(line);
    let words = words(line)?;
    if let Some(filter) = filter {
        return match words.as_slice() {
            [Word::Plain(show), Word::Plain(route), rest @ ..] if show == "show" && route == "route" => {
                Ok(Command::Routes(Routes { filter: Some(filter), ..routes(&[rest, &behind].concat())? }))
            }
            _ => syntax(),
        };
    }
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
        "disable" => Command::Order(Order::Disable, which(words.next())?),
        "enable" => Command::Order(Order::Enable, which(words.next())?),
        "restart" => Command::Order(Order::Restart, which(words.next())?),
        "reload" => {
            // `in` and `out` are parts of what is done.
            let _ = words.next_if(|w| matches!(w, Word::Plain(w) if w == "in" || w == "out"));
            Command::Order(Order::Reload, which(words.next())?)
        }
        "debug" | "mrtdump" | "echo" | "eval" => {
            return Err(Refusal(9001, format!("{first} is not supported")));
        }
        _ => return syntax(),
    };
    if words.next().is_some() { syntax() } else { Ok(command) }
}

/// A command, the filter in it, which is in a language of its own, and the words behind that.
fn split_filter(line: &str) -> (&str, Option<FilterText>, Vec<Word>) {
    let split = |word: &str| line.split_once(word).filter(|(command, _)| !command.contains('"'));
    let (command, text, filter): (_, _, fn(String) -> FilterText) =
        match (split(" where "), split(" filter ")) {
            (Some((command, text)), _) => (command, text, FilterText::Where),
            (None, Some((command, text))) => (command, text, FilterText::Filter),
            (None, None) => return (line, None, Vec::new()),
        };
    let mut text = text.trim().trim_end_matches(';').trim_end();
    let mut behind = Vec::new();
    while let Some((before, word)) = text.rsplit_once(char::is_whitespace)
        && matches!(word, "all" | "primary" | "count")
    {
        behind.push(Word::Plain(word.to_owned()));
        text = before.trim_end();
    }
    (command, Some(filter(text.to_owned())), behind)
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
        "route" => routes(rest).map(Command::Routes),
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

fn routes(rest: &[Word]) -> Result<Routes, Refusal> {
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
                let inner = match (word.parse::<IpAddr>(), prefix(&word)) {
                    (Ok(addr), _) => Prefix::host(addr),
                    (_, Some(found)) => found?,
                    (Err(_), None) => return syntax(),
                };
                routes.destination = Some(Destination::Around(inner));
            }
            "table" => {
                if name(words.next())? != "master" {
                    return Err(Refusal(9001, "There is only the table master".to_owned()));
                }
            }
            "noexport" | "preexport" | "filtered" | "stats" => {
                return Err(Refusal(9001, format!("show route {word} is not supported")));
            }
            _ => match prefix(word) {
                Some(found) if routes.destination.is_none() => {
                    routes.destination = Some(Destination::Prefix(found?));
                }
                Some(_) | None => return syntax(),
            },
        }
    }
    Ok(routes)
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
const FULL: [&str; 19] = [
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
    "disable",
    "enable",
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
        assert!(routes.all && routes.primary && routes.destination.is_some());
        assert_eq!(routes.protocol.as_deref(), Some("Mesh_1"));
    }

    #[test]
    fn a_filter_is_the_rest_of_the_line() {
        let routes = |line: &str| match parse(line) {
            Ok(Command::Routes(routes)) => routes,
            other => panic!("{line}: {other:?}"),
        };
        let condition = routes("show route all where net ~ [ 10.0.0.0/8+ ] && ifname = \"eth0\";");
        let text = "net ~ [ 10.0.0.0/8+ ] && ifname = \"eth0\"".to_owned();
        assert!(condition.all);
        assert_eq!(condition.filter, Some(FilterText::Where(text)));
        let named = routes("show route filter calico_kernel_programming all primary");
        assert!(named.all && named.primary);
        assert_eq!(named.filter, Some(FilterText::Filter("calico_kernel_programming".to_owned())));
        assert!(parse("show protocols where true").is_err());
    }

    #[test]
    fn orders_name_protocols() {
        let named = |name: &str| Which::Named(name.to_owned());
        assert_eq!(parse("disable Mesh_1"), Ok(Command::Order(Order::Disable, named("Mesh_1"))));
        assert_eq!(parse("enable all"), Ok(Command::Order(Order::Enable, Which::All)));
        assert_eq!(parse("reload in Mesh_1"), Ok(Command::Order(Order::Reload, named("Mesh_1"))));
        assert_eq!(
            parse("restart \"Mesh_*\""),
            Ok(Command::Order(Order::Restart, Which::Like("Mesh_*".to_owned())))
        );
    }
}
