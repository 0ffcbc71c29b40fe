//! The parser: files into tokens, tokens into protocols.
//!
//! One token is looked at ahead. Includes are files on a stack; a name of one is relative to the directory of the file that names it. Everything
//! is bounded: octets, the depth of includes, blocks, expressions and calls, and the steps of a filter, which calls could multiply.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bgp_proto::{Prefix, Version};
use reflector::policy::Policy;
use reflector::policy::program::{Expression, Function, Value};

use super::lex::{Lexer, Malformed, Place, Token};
use super::tree::{Config, FilterChoice, FilterText, Kind, Protocol};

/// Files that include each other, at most.
const INCLUDES_MAX: usize = 8;
/// Blocks and expressions within each other, at most.
pub(super) const DEPTH_MAX: usize = 64;
/// Operators in one expression, at most: each is one more level for whoever walks it.
const OPERATORS_MAX: usize = 256;
/// Functions that call each other, at most.
const CALLS_MAX: usize = 16;
/// Statements and operators that a route can meet in one filter, at most, with those of the functions that it calls: some milliseconds.
const STEPS_MAX: usize = 100_000;
/// Octets of a configuration, at most, every file counted as often as it is included. One of 5,000 peers has 5 MB.
pub const OCTETS_MAX: usize = 64 * 1024 * 1024;
/// Filters that a new one is compared with, so that a thousand sessions share one.
const SHARED_MAX: usize = 32;

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The file; empty where none could be read.
    pub file: PathBuf,
    /// Where in it; `None` where the file itself is the matter.
    pub place: Option<Place>,
    /// What is the matter.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(Place { line, column }) => {
                write!(f, "{}:{line}:{column} {}", self.file.display(), self.message)
            }
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for ParseError {}

/// Reads a configuration of `version`: `file` and what it includes, by means of `read`.
pub fn parse(
    file: &Path,
    version: Version,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Config, ParseError> {
    let text = read(file).map_err(|error| ParseError {
        file: file.to_owned(),
        place: None,
        message: format!("Unable to open configuration file {}: {}", file.display(), plain(&error)),
    })?;
    let mut parser = Parser::new(file, text, version, read);
    let parsed = parser.bump().and_then(|_| parser.file());
    match parsed {
        Ok(()) => {
            parser.config.filters = parser.names.filters;
            Ok(parser.config)
        }
        Err(Fault { place, message }) => {
            let file = parser.files.last().map(|open| open.path.clone()).unwrap_or_default();
            Err(ParseError { file, place: Some(place), message })
        }
    }
}

/// A filter that stands alone, behind `where` or `filter` of a command: `known` are those that have names.
pub fn parse_filter(
    choice: &FilterText,
    version: Version,
    known: &BTreeMap<String, Arc<Policy>>,
) -> Result<Arc<Policy>, String> {
    let text = match choice {
        FilterText::Where(text) | FilterText::Filter(text) => text.clone(),
    };
    let nothing = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let mut parser = Parser::new(Path::new(""), text, version, &nothing);
    parser.names.filters.clone_from(known);
    let parsed = parser.bump().and_then(|_| {
        let filter = match choice {
            FilterText::Where(_) => parser.where_filter()?,
            FilterText::Filter(_) => parser.filter_or_name()?,
        };
        if parser.token == Token::End { Ok(filter) } else { parser.syntax() }
    });
    parsed.map_err(|fault| fault.message)
}

/// An error without its number: "No such file or directory".
pub(in crate::bird) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// What stops the parser.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) message: String,
}

impl From<Malformed> for Fault {
    fn from(m: Malformed) -> Fault {
        Fault { place: m.place, message: m.message }
    }
}

pub(super) type Parsed<T> = Result<T, Fault>;

struct Open {
    path: PathBuf,
    lexer: Lexer,
}

/// A function with the names of its parameters.
pub(super) struct Known {
    pub(super) function: Arc<Function>,
    pub(super) parameters: usize,
    pub(super) extent: Extent,
}

/// How much a filter or function has to do at most.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    /// Statements and operators.
    steps: usize,
    /// Functions that call each other.
    calls: usize,
    /// Operators of the expression that is being read.
    operators: usize,
}

/// What has been defined so far.
#[derive(Default)]
pub(super) struct Names {
    pub(super) functions: BTreeMap<String, Known>,
    pub(super) filters: BTreeMap<String, Arc<Policy>>,
    pub(super) constants: BTreeMap<String, Value>,
    templates: BTreeMap<String, Protocol>,
    /// Protocols, by their places in the configuration.
    protocols: BTreeMap<String, usize>,
    /// Parameters of the function that is being read.
    pub(super) parameters: Vec<String>,
}

pub(super) struct Parser<'a> {
    pub(super) version: Version,
    read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// Octets read.
    octets: usize,
    files: Vec<Open>,
    /// The token ahead.
    pub(super) token: Token,
    /// Where it begins.
    pub(super) place: Place,
    /// Where the token before it begins.
    pub(super) last: Place,
    pub(super) config: Config,
    pub(super) names: Names,
    shared: Vec<Arc<Policy>>,
    pub(super) depth: usize,
    /// Of the filter or function that is being read.
    pub(super) extent: Extent,
}

impl<'a> Parser<'a> {
    fn new(
        file: &Path,
        text: String,
        version: Version,
        read: &'a dyn Fn(&Path) -> io::Result<String>,
    ) -> Parser<'a> {
        Parser {
            version,
            read,
            octets: text.len(),
            files: vec![Open { path: file.to_owned(), lexer: Lexer::new(text) }],
            token: Token::End,
            place: Place { line: 1, column: 1 },
            last: Place { line: 1, column: 1 },
            config: Config::default(),
            names: Names::default(),
            shared: Vec::new(),
            depth: 0,
            extent: Extent::default(),
        }
    }
}

impl Parser<'_> {
    fn file(&mut self) -> Parsed<()> {
        loop {
            if self.token == Token::End {
                return Ok(());
            }
            if self.take(";")? {
                continue;
            }
            self.statement()?;
        }
    }

    fn statement(&mut self) -> Parsed<()> {
        let word = self.word()?;
        match word.as_str() {
            "include" => self.include(),
            "router" => {
                self.keyword("id")?;
                match self.address()? {
                    IpAddr::V4(id) => self.config.router_id = Some(id),
                    IpAddr::V6(_) => return self.syntax(),
                }
                self.mark(";")
            }
            "listen" => self.listen(),
            "define" => self.define(),
            "function" => self.function(),
            "filter" => {
                let name = self.name()?;
                let filter = self.filter_body(name.clone())?;
                self.names.filters.insert(name, filter);
                Ok(())
            }
            "template" => {
                let protocol = self.protocol(Standing::Template)?;
                if let Kind::Bgp(bgp) = &protocol.kind {
                    self.config.template_asns.extend(bgp.local_asn);
                }
                self.names.templates.insert(protocol.name.clone(), protocol);
                Ok(())
            }
            "protocol" => {
                let protocol = self.protocol(Standing::Instance)?;
                self.names.protocols.insert(protocol.name.clone(), self.config.protocols.len());
                self.config.protocols.push(protocol);
                Ok(())
            }
            "log" | "debug" | "mrtdump" | "table" | "roa" | "eval" | "timeformat" | "watchdog"
            | "password" | "graceful" => self.unsupported(&word),
            _ => self.syntax(),
        }
    }

    fn include(&mut self) -> Parsed<()> {
        let place = self.place;
        let Token::Text(name) = self.token.clone() else { return self.syntax() };
        let dir =
            self.files.last().and_then(|open| open.path.parent()).map(Path::to_owned).unwrap_or_default();
        let path = dir.join(&name);
        if name.contains(['*', '?', '[']) {
            return Err(Fault { place, message: format!("include pattern {name} is not supported") });
        }
        if self.files.len() >= INCLUDES_MAX {
            return Err(Fault { place, message: "Max include depth reached".to_owned() });
        }
        let text = (self.read)(&path).map_err(|error| Fault {
            place,
            message: format!("Unable to open included file {}: {}", path.display(), plain(&error)),
        })?;
        self.octets = self.octets.saturating_add(text.len());
        if self.octets > OCTETS_MAX {
            return Err(Fault { place, message: "Configuration too large".to_owned() });
        }
        // The semicolon behind the name belongs to this file.
        self.bump()?;
        if self.token != Token::Mark(";") {
            return self.syntax();
        }
        self.files.push(Open { path, lexer: Lexer::new(text) });
        self.bump()?;
        Ok(())
    }

    fn listen(&mut self) -> Parsed<()> {
        self.keyword("bgp")?;
        loop {
            if self.take(";")? {
                return Ok(());
            }
            match self.word()?.as_str() {
                "address" => self.config.listen_address = Some(self.address()?),
                "port" => self.config.listen_port = Some(self.number_up_to(u32::from(u16::MAX))? as u16),
                word @ ("v6only" | "dual") => return self.unsupported(word),
                _ => return self.syntax(),
            }
        }
    }

    fn define(&mut self) -> Parsed<()> {
        let name = self.name()?;
        self.mark("=")?;
        let value = self.constant()?;
        self.names.constants.insert(name, value);
        self.mark(";")
    }

    fn function(&mut self) -> Parsed<()> {
        let name = self.name()?;
        self.mark("(")?;
        let mut parameters: Vec<String> = Vec::new();
        while !self.take(")")? {
            if !parameters.is_empty() {
                self.mark(";")?;
            }
            match self.word()?.as_str() {
                "int" | "bool" | "ip" | "prefix" | "string" | "pair" | "enum" => {}
                word @ ("quad" | "ec" | "lc" | "bgpmask" | "bgppath" | "clist" | "eclist" | "lclist"
                | "set") => {
                    return self.unsupported(word);
                }
                _ => return self.syntax(),
            }
            parameters.push(self.name()?);
        }
        if self.token != Token::Mark("{") {
            return match &self.token {
                Token::Word(_) => self.refuse("variables are not supported"),
                _ => self.syntax(),
            };
        }
        let count = parameters.len();
        if count > 8 {
            return self.refuse("a function of more than 8 parameters is not supported");
        }
        self.names.parameters = parameters;
        self.extent = Extent::default();
        let body = self.block()?;
        self.names.parameters.clear();
        let function = Arc::new(Function { name: name.clone(), body });
        self.names.functions.insert(name, Known { function, parameters: count, extent: self.extent });
        Ok(())
    }

    fn protocol(&mut self, standing: Standing) -> Parsed<Protocol> {
        let kind = self.word()?;
        let kind = match kind.as_str() {
            "kernel" => Kind::Kernel(Default::default()),
            "device" => Kind::Device,
            "direct" => Kind::Direct(Default::default()),
            "static" => Kind::Static(Vec::new()),
            "bgp" => Kind::Bgp(Default::default()),
            "bfd" | "ospf" | "rip" | "pipe" | "radv" | "babel" => return self.unsupported(&kind),
            _ => return self.syntax(),
        };
        let name = match &self.token {
            Token::Word(word) if word != "from" => Some(self.name()?),
            Token::Quoted(_) => Some(self.name()?),
            _ => None,
        };
        let mut protocol = Protocol {
            name: String::new(),
            description: None,
            disabled: false,
            debug: Default::default(),
            preference: None,
            channel: Default::default(),
            kind,
        };
        if self.token == Token::Word("from".to_owned()) {
            self.bump()?;
            protocol = self.inherited(protocol)?;
        }
        protocol.name = name.unwrap_or_else(|| self.numbered(&protocol.kind));
        if self.names.contains(&protocol.name) {
            return self.refuse("Symbol already defined");
        }
        self.mark("{")?;
        while !self.take("}")? {
            if self.take(";")? {
                continue;
            }
            self.option(&mut protocol)?;
        }
        if standing == Standing::Instance {
            self.complete(&protocol)?;
        }
        Ok(protocol)
    }

    /// A protocol's start with what its template says.
    fn inherited(&mut self, protocol: Protocol) -> Parsed<Protocol> {
        let from = self.name()?;
        let of_protocol = || self.names.protocols.get(&from).and_then(|at| self.config.protocols.get(*at));
        let Some(template) = self.names.templates.get(&from).or_else(of_protocol) else {
            return self.refuse("Template or protocol name expected");
        };
        if template.kind.word() != protocol.kind.word() {
            return self.refuse("Protocol template not found");
        }
        Ok(template.clone())
    }

    fn numbered(&self, kind: &Kind) -> String {
        let word = kind.word().to_lowercase();
        let count = self.config.protocols.iter().filter(|p| p.kind.word() == kind.word()).count();
        format!("{word}{}", count + 1)
    }

    /// Whether a session says what it has to.
    fn complete(&mut self, protocol: &Protocol) -> Parsed<()> {
        let Kind::Bgp(bgp) = &protocol.kind else { return Ok(()) };
        let refuse = |message: &str| Err(Fault { place: self.last, message: message.to_owned() });
        let Some(local) = bgp.local_asn else { return refuse("Local AS number must be set") };
        if bgp.neighbor.is_none() {
            return refuse("Neighbor must be configured");
        }
        let Some(asn) = bgp.asn else { return refuse("Remote AS number must be set") };
        if bgp.rr_client && local != asn {
            return refuse("Only internal neighbor can be RR client");
        }
        Ok(())
    }

    /// The filter that `import` or `export` names.
    pub(super) fn filter_choice(&mut self) -> Parsed<FilterChoice> {
        match &self.token {
            Token::Word(word) => match word.as_str() {
                "all" => self.bump().map(|_| FilterChoice::All),
                "none" => self.bump().map(|_| FilterChoice::None),
                "where" => {
                    self.bump()?;
                    self.where_filter().map(FilterChoice::Filter)
                }
                "filter" => {
                    self.bump()?;
                    self.filter_or_name().map(FilterChoice::Filter)
                }
                _ => self.syntax(),
            },
            _ => self.syntax(),
        }
    }

    /// A filter in braces, or by its name.
    fn filter_or_name(&mut self) -> Parsed<Arc<Policy>> {
        if self.token == Token::Mark("{") {
            return self.filter_body(String::new());
        }
        let name = self.name()?;
        match self.names.filters.get(&name) {
            Some(filter) => Ok(filter.clone()),
            None => self.refuse("No such filter."),
        }
    }

    /// The filter, or one that says the same and was there before.
    pub(super) fn share(&mut self, filter: Policy) -> Arc<Policy> {
        if let Some(same) = self.shared.iter().find(|f| ***f == filter) {
            return same.clone();
        }
        let filter = Arc::new(filter);
        if self.shared.len() < SHARED_MAX {
            self.shared.push(filter.clone());
        }
        filter
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Template,
    Instance,
}

impl Names {
    fn contains(&self, name: &str) -> bool {
        self.functions.contains_key(name)
            || self.filters.contains_key(name)
            || self.templates.contains_key(name)
            || self.protocols.contains_key(name)
    }
}

/// Tokens.
impl Parser<'_> {
    /// Goes on to the next token, and out of a file that has none.
    pub(super) fn bump(&mut self) -> Parsed<Token> {
        self.last = self.place;
        loop {
            let Some(open) = self.files.last_mut() else { return Ok(Token::End) };
            let (token, place) = open.lexer.next()?;
            if token == Token::End && self.files.len() > 1 {
                self.files.pop();
                continue;
            }
            self.place = place;
            return Ok(std::mem::replace(&mut self.token, token));
        }
    }

    pub(super) fn syntax<T>(&self) -> Parsed<T> {
        Err(Fault { place: self.place, message: "syntax error".to_owned() })
    }

    /// The token ahead makes no sense.
    pub(super) fn refuse<T>(&self, message: &str) -> Parsed<T> {
        Err(Fault { place: self.place, message: message.to_owned() })
    }

    /// What was just read is not supported.
    pub(super) fn unsupported<T>(&self, what: &str) -> Parsed<T> {
        Err(Fault { place: self.last, message: format!("{what} is not supported") })
    }

    /// Whether the mark is next; then it is taken.
    pub(super) fn take(&mut self, mark: &str) -> Parsed<bool> {
        match self.token {
            Token::Mark(m) if m == mark => self.bump().map(|_| true),
            _ => Ok(false),
        }
    }

    pub(super) fn mark(&mut self, mark: &str) -> Parsed<()> {
        if self.take(mark)? { Ok(()) } else { self.syntax() }
    }

    pub(super) fn take_word(&mut self, word: &str) -> Parsed<bool> {
        match &self.token {
            Token::Word(w) if w == word => self.bump().map(|_| true),
            _ => Ok(false),
        }
    }

    pub(super) fn keyword(&mut self, word: &str) -> Parsed<()> {
        if self.take_word(word)? { Ok(()) } else { self.syntax() }
    }

    pub(super) fn word(&mut self) -> Parsed<String> {
        match self.token {
            Token::Word(_) => match self.bump()? {
                Token::Word(word) => Ok(word),
                _ => self.syntax(),
            },
            _ => self.syntax(),
        }
    }

    /// A name, quoted or not.
    pub(super) fn name(&mut self) -> Parsed<String> {
        match self.token {
            Token::Word(_) | Token::Quoted(_) => match self.bump()? {
                Token::Word(word) | Token::Quoted(word) => Ok(word),
                _ => self.syntax(),
            },
            _ => self.syntax(),
        }
    }

    pub(super) fn text(&mut self) -> Parsed<String> {
        match self.token {
            Token::Text(_) => match self.bump()? {
                Token::Text(text) => Ok(text),
                _ => self.syntax(),
            },
            _ => self.syntax(),
        }
    }

    pub(super) fn number(&mut self) -> Parsed<u32> {
        match self.token {
            Token::Number(number) => self.bump().map(|_| number),
            _ => self.syntax(),
        }
    }

    pub(super) fn number_up_to(&mut self, max: u32) -> Parsed<u32> {
        let place = self.place;
        let number = self.number()?;
        if number > max {
            return Err(Fault { place, message: "Number out of range".to_owned() });
        }
        Ok(number)
    }

    pub(super) fn address(&mut self) -> Parsed<IpAddr> {
        match self.token {
            Token::Address(addr) => self.bump().map(|_| addr),
            _ => self.syntax(),
        }
    }

    /// The rest of a prefix behind its address.
    pub(super) fn prefix_of(&mut self, addr: IpAddr) -> Parsed<Prefix> {
        let Token::Number(len) = self.token else { return self.syntax() };
        match u8::try_from(len).ok().and_then(|len| Prefix::new(addr, len).ok()) {
            Some(prefix) if prefix.addr() == addr && prefix.version() == self.version => {
                self.bump()?;
                Ok(prefix)
            }
            _ => self.refuse("Invalid prefix"),
        }
    }

    pub(super) fn prefix(&mut self) -> Parsed<Prefix> {
        let addr = self.address()?;
        self.mark("/")?;
        self.prefix_of(addr)
    }

    /// `on`, `off`, or nothing, which is on.
    pub(super) fn switch(&mut self) -> Parsed<bool> {
        let value = match &self.token {
            Token::Word(word) => match word.as_str() {
                "on" | "yes" => true,
                "off" | "no" => false,
                _ => return self.syntax(),
            },
            Token::Number(number @ (0 | 1)) => *number == 1,
            Token::Mark(";" | "}") => return Ok(true),
            _ => return self.syntax(),
        };
        self.bump().map(|_| value)
    }

    /// One statement more.
    pub(super) fn step(&mut self) -> Parsed<()> {
        self.steps(1)
    }

    fn steps(&mut self, more: usize) -> Parsed<()> {
        self.extent.steps = self.extent.steps.saturating_add(more);
        if self.extent.steps > STEPS_MAX { self.refuse("Filter too long") } else { Ok(()) }
    }

    /// One operator more in the expression.
    pub(super) fn operator(&mut self) -> Parsed<()> {
        self.extent.operators += 1;
        if self.extent.operators > OPERATORS_MAX { self.refuse("Expression too long") } else { self.step() }
    }

    /// Another expression begins.
    pub(super) fn expression(&mut self) -> Parsed<Expression> {
        self.extent.operators = 0;
        self.term()
    }

    /// Whatever a function does is done here too.
    pub(super) fn called(&mut self, function: Extent) -> Parsed<()> {
        self.extent.calls = self.extent.calls.max(function.calls + 1);
        if self.extent.calls > CALLS_MAX {
            self.refuse("Nested too deeply")
        } else {
            self.steps(function.steps)
        }
    }

    pub(super) fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { self.refuse("Nested too deeply") } else { Ok(()) }
    }
}
