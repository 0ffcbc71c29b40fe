//! What may stand inside a protocol.
//!
//! Later options win over earlier ones, and over the template's. An option that asks for what is done anyway is accepted; one that asks for
//! something else is refused under its name, because an operator who wrote it counts on it.

use std::net::IpAddr;

use super::lex::Token;
use super::parse::{Parsed, Parser};
use super::tree::{
    Bgp, Debug, Direct, Hops, Kernel, Kind, NextHopChoice, Protocol, StaticRoute, StaticTarget,
};

/// Paths of `merge paths on`.
const MERGED_PATHS_MAX: u16 = 16;

impl Parser<'_> {
    pub(super) fn option(&mut self, protocol: &mut Protocol) -> Parsed<()> {
        let word = self.word()?;
        match word.as_str() {
            "description" => protocol.description = Some(self.text()?),
            "disabled" => protocol.disabled = self.switch()?,
            "preference" => protocol.preference = Some(self.number_up_to(0xffff)? as u16),
            "debug" => protocol.debug = self.debug()?,
            "mrtdump" | "table" | "vrf" => return self.unsupported(&word),
            "import" => match self.token.clone() {
                Token::Word(w) if w == "limit" => {
                    self.bump()?;
                    protocol.channel.import_limit = self.limit()?;
                }
                Token::Word(w) if w == "keep" => return self.unsupported("import keep filtered"),
                _ => protocol.channel.import = self.filter_choice()?,
            },
            "export" => match self.token.clone() {
                Token::Word(w) if w == "limit" => return self.unsupported("export limit"),
                _ => protocol.channel.export = self.filter_choice()?,
            },
            _ => match &mut protocol.kind {
                Kind::Kernel(kernel) => self.kernel_option(&word, kernel)?,
                Kind::Device => self.device_option(&word)?,
                Kind::Direct(direct) => self.direct_option(&word, direct)?,
                Kind::Static(routes) => self.static_option(&word, routes)?,
                Kind::Bgp(bgp) => self.bgp_option(&word, bgp)?,
            },
        }
        self.mark(";")
    }

    fn debug(&mut self) -> Parsed<Debug> {
        if self.take_word("all")? {
            return Ok(Debug::All);
        }
        if self.take_word("off")? {
            return Ok(Debug::Off);
        }
        self.mark("{")?;
        let mut debug = Debug::Off;
        loop {
            match self.word()?.as_str() {
                "states" | "interfaces" => debug = if debug == Debug::All { debug } else { Debug::States },
                "routes" | "filters" | "events" | "packets" | "timers" => debug = Debug::All,
                _ => return self.syntax(),
            }
            if self.take("}")? {
                return Ok(debug);
            }
            self.mark(",")?;
        }
    }

    fn limit(&mut self) -> Parsed<Option<u32>> {
        if self.take_word("off")? {
            return Ok(None);
        }
        let limit = self.number()?;
        if self.take_word("action")? {
            match self.word()?.as_str() {
                "restart" | "disable" => {}
                word @ ("warn" | "block") => return self.unsupported(&format!("import limit action {word}")),
                _ => return self.syntax(),
            }
        }
        Ok(Some(limit))
    }

    fn kernel_option(&mut self, word: &str, kernel: &mut Kernel) -> Parsed<()> {
        match word {
            "learn" => kernel.learn = self.switch()?,
            "persist" => kernel.persist = self.switch()?,
            "scan" => {
                self.keyword("time")?;
                self.number()?;
            }
            "graceful" => self.keyword("restart")?,
            "merge" => {
                self.keyword("paths")?;
                kernel.paths_max = if self.switch()? { MERGED_PATHS_MAX } else { 1 };
                if self.take_word("limit")? {
                    kernel.paths_max = self.number_up_to(255)?.max(1) as u16;
                }
            }
            "kernel" => {
                self.keyword("table")?;
                kernel.table = self.number()?;
            }
            "device" | "metric" => return self.unsupported(word),
            _ => return self.syntax_at_last(),
        }
        Ok(())
    }

    fn device_option(&mut self, word: &str) -> Parsed<()> {
        match word {
            "scan" => {
                self.keyword("time")?;
                self.number().map(|_| ())
            }
            "primary" => self.unsupported(word),
            _ => self.syntax_at_last(),
        }
    }

    fn direct_option(&mut self, word: &str, direct: &mut Direct) -> Parsed<()> {
        match word {
            "interface" => {}
            "check" => return self.unsupported("check link"),
            _ => return self.syntax_at_last(),
        }
        loop {
            let is_taken = !self.take("-")?;
            match &self.token {
                Token::Text(_) => direct.patterns.push((is_taken, self.text()?)),
                Token::Address(_) => return self.refuse("an interface by its address is not supported"),
                _ => return self.syntax(),
            }
            if !self.take(",")? {
                return Ok(());
            }
        }
    }

    fn static_option(&mut self, word: &str, routes: &mut Vec<StaticRoute>) -> Parsed<()> {
        match word {
            "route" => {}
            "check" | "igp" => return self.unsupported(word),
            _ => return self.syntax_at_last(),
        }
        let prefix = self.prefix()?;
        let target = match self.word()?.as_str() {
            "blackhole" | "drop" => StaticTarget::Blackhole,
            "via" => match self.token {
                Token::Address(addr) => {
                    self.bump()?;
                    StaticTarget::Via(addr)
                }
                Token::Text(_) => return self.refuse("a route through an interface is not supported"),
                _ => return self.syntax(),
            },
            word @ ("unreachable" | "prohibit" | "recursive" | "reject" | "multipath") => {
                return self.unsupported(word);
            }
            _ => return self.syntax(),
        };
        routes.push(StaticRoute { prefix, target });
        Ok(())
    }

    /// The word just read may not stand here.
    fn syntax_at_last<T>(&self) -> Parsed<T> {
        Err(super::parse::Fault { place: self.last, message: "syntax error".to_owned() })
    }

    fn secs(&mut self) -> Parsed<u16> {
        Ok(self.number_up_to(u32::from(u16::MAX))? as u16)
    }

    fn bgp_option(&mut self, word: &str, bgp: &mut Bgp) -> Parsed<()> {
        match word {
            "local" => {
                if let Token::Address(addr) = self.token {
                    self.bump()?;
                    bgp.source = Some(addr);
                }
                self.keyword("as")?;
                bgp.local_asn = Some(self.number()?);
            }
            "neighbor" => self.neighbor(bgp)?,
            "source" => {
                self.keyword("address")?;
                bgp.source = Some(self.address_of_version()?);
            }
            "multihop" => {
                let hops = match self.token {
                    Token::Number(_) => Some(self.number_up_to(255)? as u8),
                    _ => None,
                };
                bgp.hops = Hops::Multihop(hops);
            }
            "direct" => bgp.hops = Hops::Direct,
            "ttl" => {
                self.keyword("security")?;
                bgp.ttl_security = self.switch()?;
            }
            "passive" => bgp.passive = self.switch()?,
            "password" => bgp.password = Some(self.text()?),
            "next" => {
                self.keyword("hop")?;
                bgp.next_hop = match self.word()?.as_str() {
                    "self" => NextHopChoice::Own,
                    "keep" => NextHopChoice::Keep,
                    _ => return self.syntax_at_last(),
                };
            }
            "rr" => self.reflection(bgp)?,
            "allow" => self.allow(bgp)?,
            "add" => {
                self.keyword("paths")?;
                let (rx, tx) = match self.token.clone() {
                    Token::Word(w) if w == "rx" => self.bump().map(|_| (true, false))?,
                    Token::Word(w) if w == "tx" => self.bump().map(|_| (false, true))?,
                    _ => self.switch().map(|on| (on, on))?,
                };
                (bgp.add_paths_rx, bgp.add_paths_tx) = (rx, tx);
            }
            "graceful" => {
                self.keyword("restart")?;
                match self.token.clone() {
                    Token::Word(w) if w == "time" => {
                        self.bump()?;
                        bgp.restart_secs = self.number_up_to(4095)? as u16;
                    }
                    Token::Word(w) if w == "aware" => {
                        self.bump()?;
                        bgp.graceful_restart = false;
                    }
                    _ => bgp.graceful_restart = self.switch()?,
                }
            }
            _ => self.bgp_timer_or_usual(word, bgp)?,
        }
        Ok(())
    }

    fn reflection(&mut self, bgp: &mut Bgp) -> Parsed<()> {
        match self.word()?.as_str() {
            "client" => bgp.rr_client = self.switch()?,
            "cluster" => {
                self.keyword("id")?;
                match self.address()? {
                    IpAddr::V4(id) => bgp.rr_cluster_id = Some(id),
                    IpAddr::V6(_) => return self.syntax_at_last(),
                }
            }
            _ => return self.syntax_at_last(),
        }
        Ok(())
    }

    fn neighbor(&mut self, bgp: &mut Bgp) -> Parsed<()> {
        bgp.neighbor = Some(self.address_of_version()?);
        loop {
            match &self.token {
                Token::Word(w) if w == "port" => {
                    self.bump()?;
                    bgp.port = self.secs()?;
                }
                Token::Word(w) if w == "as" => {
                    self.bump()?;
                    bgp.asn = Some(self.number()?);
                }
                Token::Text(_) => {
                    return self.refuse("a neighbor on an interface is not supported");
                }
                _ => return Ok(()),
            }
        }
    }

    fn allow(&mut self, bgp: &mut Bgp) -> Parsed<()> {
        match self.word()?.as_str() {
            "local" => {
                self.keyword("as")?;
                bgp.own_as_max = match self.token {
                    Token::Number(_) => self.number_up_to(255)? as u8,
                    _ => u8::MAX,
                };
                Ok(())
            }
            "bgp_local_pref" => {
                if self.switch()? {
                    self.unsupported("allow bgp_local_pref")
                } else {
                    Ok(())
                }
            }
            _ => self.syntax_at_last(),
        }
    }

    /// Timers, and options that ask for what is done anyway.
    fn bgp_timer_or_usual(&mut self, word: &str, bgp: &mut Bgp) -> Parsed<()> {
        match word {
            "hold" => {
                self.keyword("time")?;
                bgp.hold_secs = self.secs()?;
                if matches!(bgp.hold_secs, 1 | 2) {
                    return self.refuse("Hold time must be zero or at least 3");
                }
            }
            "keepalive" => {
                self.keyword("time")?;
                self.secs()?;
            }
            "connect" => match self.word()?.as_str() {
                "delay" => {
                    self.keyword("time")?;
                    bgp.connect_delay_secs = self.secs()?;
                }
                "retry" => {
                    self.keyword("time")?;
                    bgp.connect_retry_secs = self.secs()?;
                }
                _ => return self.syntax_at_last(),
            },
            "error" => match self.word()?.as_str() {
                "wait" => {
                    self.keyword("time")?;
                    let first = self.secs()?;
                    self.mark(",")?;
                    bgp.error_wait_secs = (first, self.secs()?);
                }
                "forget" => {
                    self.keyword("time")?;
                    self.secs()?;
                }
                _ => return self.syntax_at_last(),
            },
            "gateway" => {
                if !self.take_word("recursive")? {
                    let what = self.word()?;
                    return self.unsupported(&format!("gateway {what}"));
                }
            }
            "enable" => {
                let mut what = self.word()?;
                while let Token::Word(w) = &self.token
                    && !matches!(w.as_str(), "on" | "off" | "yes" | "no")
                {
                    what = format!("{what} {}", self.word()?);
                }
                let on = self.switch()?;
                let is_usual = matches!(
                    (what.as_str(), on),
                    ("as4" | "route refresh", true) | ("extended messages", false)
                );
                if !is_usual {
                    let state = if on { "on" } else { "off" };
                    return self.unsupported(&format!("enable {what} {state}"));
                }
            }
            "bfd" | "secondary" | "prefer" | "deterministic" | "check" | "rs" | "missing" | "med" | "igp"
            | "default" | "path" | "interpret" | "capabilities" | "disable" | "receive" | "route"
            | "start" | "startup" | "long" | "interface" | "advertise" => return self.unsupported(word),
            _ => return self.syntax_at_last(),
        }
        Ok(())
    }

    /// An address of this daemon's family: it has only one.
    fn address_of_version(&mut self) -> Parsed<IpAddr> {
        match self.token {
            Token::Address(addr) if addr.is_ipv4() == (self.version == bgp_proto::Version::V4) => {
                self.bump().map(|_| addr)
            }
            _ => self.syntax(),
        }
    }
}
