//! A real BIRD as the judge of filters.
//!
//! One BIRD feeds another over BGP, every destination in every variant by additional paths, told apart by MED, which no filter looks at. The judge
//! makes of each MED the variant's attributes on import, and has the variants that do not come over BGP as static routes. For each
//! configuration it is given the functions and filters as they stand, and asked for its table as each filter leaves it.
//!
//! Two things BIRD 2 cannot: `krt_tunnel` is an attribute of Calico's fork, so it becomes a number of our own; and a path that is not there is an
//! empty one to it, while BIRD 1.6 finds an error in asking whether nothing matches a pattern, and rejects: local routes are not put to filters that
//! ask for paths.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bgp_proto::{Asn, Family, Nlri, Prefix, Version};
use bgpd::bird::lang::{Config, FilterChoice, Kind};
use lab::daemon::{Daemon, write};
use lab::net::Node;
use lab::wait::{self, SOON};
use lab::{sandbox, shell};
use reflector::ids::EntryId;
use reflector::policy::{Facts, Policy, Stage, Subject, Tunnel, Verdict};

use super::samples::{Samples, Variant};

/// AS number of both.
const ASN: u32 = 64512;

/// What a filter made of a route; `None`: it was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Passed {
    preference: u32,
    local_pref: Option<u32>,
    metric: Option<u32>,
    path: String,
    communities: String,
    large: String,
    tunnel: Option<u32>,
}

type Judgements = BTreeMap<(Prefix, usize), Passed>;

/// A judge with its routes.
pub(crate) struct Oracle<'a> {
    samples: &'a Samples,
    feeder: IpAddr,
    base: String,
    socket: PathBuf,
    asked: Cell<u32>,
    /// Filters that were judged, with the functions beside them.
    known: RefCell<BTreeSet<(String, String)>>,
    _daemons: [Daemon; 2],
}

impl<'a> Oracle<'a> {
    /// Starts both and waits until the judge has every route.
    pub(crate) fn start(feeder: &Node, judge: &Node, samples: &'a Samples) -> Result<Oracle<'a>> {
        let family = match samples.version {
            Version::V4 => lab::net::Family::V4,
            Version::V6 => lab::net::Family::V6,
        };
        let word = family.word();
        let (from, to) = (feeder.address(family), judge.address(family));
        let links: Vec<String> = samples
            .variants
            .iter()
            .filter_map(|v| v.interface.clone().filter(|name| name != "eth0"))
            .collect();
        for link in links {
            // The other family made them already, or this one has.
            judge
                .sh(&format!("ip link add {link} type bridge 2>/dev/null || true; ip link set {link} up"))?;
        }
        let session = |own: IpAddr, other: IpAddr, rest: &str| {
            format!(
                "protocol bgp peer {{ local {own} as {ASN}; neighbor {other} as {ASN}; direct; connect delay time 1; connect retry time 1;\n\
                 {word} {{ add paths on; next hop self; {rest} }}; }}\n"
            )
        };
        let head = "log stderr all;\nprotocol device {}\n";
        let feeding = feeding(samples, word);
        let export = session(from, to, "import none; export all;");
        let feed = format!("router id 9.9.9.1;\n{head}{feeding}{export}");
        let import = session(to, from, "import filter variants; export none; gateway direct;");
        let base =
            format!("router id 9.9.9.2;\nattribute int tunnel;\n{head}{}{import}", judging(samples, word));
        let start = |node: &Node, text: &str| -> Result<(Daemon, PathBuf)> {
            let name = format!("{word}-{}", node.name);
            let config = write(&format!("{name}.conf"), text)?;
            let socket = sandbox::work()?.join(format!("{name}.ctl"));
            let mut command = node.command("bird");
            command.arg("-f").arg("-c").arg(config).arg("-s").arg(&socket);
            Ok((Daemon::spawn(&name, command)?, socket))
        };
        let (feeds, _) = start(feeder, &feed)?;
        let (judges, socket) = start(judge, &base)?;
        let _daemons = [feeds, judges];
        let oracle = Oracle {
            samples,
            feeder: from,
            base,
            socket,
            asked: Cell::new(0),
            known: RefCell::default(),
            _daemons,
        };
        let all = samples.destinations.len() * samples.variants.len();
        wait::until("the judge has every route", SOON, || {
            let count = oracle.ask(&["show", "route", "count"])?;
            ensure!(count.contains(&format!("{all} of {all} routes")), "{count} instead of {all}");
            Ok(())
        })?;
        Ok(oracle)
    }

    fn ask(&self, words: &[&str]) -> Result<String> {
        shell::read(shell::command("birdc").arg("-s").arg(&self.socket).args(words))
    }

    /// Has all filters of a configuration judge all routes, there and here. Returns how many judgements agree: all.
    pub(crate) fn compare(&self, text: &str, config: &Config) -> Result<usize> {
        let filters = filters(text);
        let mut all = self.base.clone();
        for (_, filter) in &filters {
            all += &filter
                .replace("krt_tunnel=\"tunl0\"", "tunnel = 1")
                .replace("krt_tunnel=\"\"", "tunnel = 0");
            all.push('\n');
        }
        self.asked.set(self.asked.get() + 1);
        let file = write(&format!("judge-{}.conf", self.asked.get()), &all)?;
        let said = self.ask(&["configure", &format!("\"{}\"", file.display())])?;
        ensure!(said.contains("Reconfigured"), "{said}");
        let mut count = 0;
        let functions = filters.iter().filter(|(name, _)| name.is_empty()).map(|(_, text)| text.as_str());
        let functions: String = functions.collect();
        for (name, filter) in filters.iter().filter(|(name, _)| !name.is_empty()) {
            let (policy, stage) = ours(config, name)?;
            let body = filter.split_once('{').map_or("", |(_, body)| body);
            if !self.known.borrow_mut().insert((functions.clone(), format!("{stage:?} {body}"))) {
                continue;
            }
            let theirs = self.judgements(&self.ask(&["show", "route", "filter", name, "all"])?)?;
            count += self.agree(name, &theirs, policy, stage, text.contains("bgp_path ~"))?;
        }
        Ok(count)
    }

    fn agree(
        &self,
        name: &str,
        theirs: &Judgements,
        policy: &Policy,
        stage: Stage,
        asks_for_paths: bool,
    ) -> Result<usize> {
        let mut count = 0;
        for destination in &self.samples.destinations {
            for (at, variant) in self.samples.variants.iter().enumerate() {
                if asks_for_paths && !variant.is_bgp() {
                    continue;
                }
                let own = self.judge(policy, stage, *destination, variant);
                let their = theirs.get(&(*destination, at));
                ensure!(
                    own.as_ref() == their,
                    "{name} of {destination} as {variant:?}: we say {own:?}, BIRD {their:?}"
                );
                count += 1;
            }
        }
        Ok(count)
    }

    fn judge(&self, policy: &Policy, stage: Stage, dest: Prefix, variant: &Variant) -> Option<Passed> {
        let attrs = variant.attrs(self.feeder);
        let nlri = Nlri::Prefix(dest);
        let preference = if variant.is_bgp() { 100 } else { 200 };
        let subject = Subject {
            family: match self.samples.version {
                Version::V4 => Family::IPV4_UNICAST,
                Version::V6 => Family::IPV6_UNICAST,
            },
            nlri: &nlri,
            attrs: &attrs,
            source: EntryId::LOCAL,
            local_asn: Asn(ASN),
            local_addr: None,
            stage,
            facts: Facts {
                provenance: variant.provenance,
                preference,
                metric: variant.metric,
                interface: variant.interface.as_deref().and_then(reflector::ids::IfName::new),
                ..Facts::default()
            },
        };
        let Verdict::Accept { edited, marks, .. } = policy.evaluate(&subject) else { return None };
        let attrs = edited.unwrap_or(attrs);
        let list = |all: Vec<String>| all.join(" ");
        Some(Passed {
            preference: marks.preference.unwrap_or(preference),
            local_pref: attrs.local_pref(),
            metric: marks.metric.or(variant.metric),
            path: list(attrs.as_path().iter().map(|asn| asn.0.to_string()).collect()),
            communities: list(
                attrs.communities().iter().map(|c| format!("({},{})", c.0 >> 16, c.0 & 0xffff)).collect(),
            ),
            large: list(
                attrs
                    .large_communities()
                    .iter()
                    .map(|c| format!("({}, {}, {})", c.global, c.local1, c.local2))
                    .collect(),
            ),
            tunnel: marks.tunnel.map(|tunnel| u32::from(tunnel != Tunnel::None)),
        })
    }

    /// `show route … all`, read.
    fn judgements(&self, text: &str) -> Result<Judgements> {
        let mut all = Judgements::new();
        let mut row: Option<(Prefix, Option<usize>, Passed)> = None;
        let mut last = None;
        for line in text.lines() {
            if let Some(attribute) = line.strip_prefix('\t') {
                let Some((name, value)) = attribute.split_once(": ").or(attribute.split_once(':')) else {
                    continue;
                };
                let Some((_, at, passed)) = &mut row else { continue };
                let number = || value.parse::<u32>().with_context(|| line.to_owned());
                match name {
                    "BGP.med" => *at = Some(number()? as usize),
                    "BGP.local_pref" => passed.local_pref = Some(number()?),
                    "Kernel.metric" => passed.metric = Some(number()?),
                    "tunnel" => passed.tunnel = Some(number()?),
                    "BGP.as_path" => passed.path = value.trim().to_owned(),
                    "BGP.community" => passed.communities = value.trim().to_owned(),
                    "BGP.large_community" => passed.large = value.trim().to_owned(),
                    _ => {}
                }
                continue;
            }
            let Some((left, right)) = line.split_once(" [") else { continue };
            finish(&mut all, row.take())?;
            let first = left.split_whitespace().next().unwrap_or_default();
            let prefix = first.parse::<Prefix>().ok().or(last).with_context(|| line.to_owned())?;
            last = Some(prefix);
            let at =
                right.split_whitespace().next().and_then(|name| name.strip_prefix("local_")?.parse().ok());
            let rank = right.split_once("] ").and_then(|(_, rest)| rest.split_once('('));
            let rank = rank.with_context(|| line.to_owned())?.1;
            let digits = rank.find(|c: char| !c.is_ascii_digit()).unwrap_or(rank.len());
            row = Some((prefix, at, Passed { preference: rank[..digits].parse()?, ..Passed::default() }));
        }
        finish(&mut all, row)?;
        Ok(all)
    }
}

fn finish(all: &mut Judgements, row: Option<(Prefix, Option<usize>, Passed)>) -> Result<()> {
    let Some((prefix, at, passed)) = row else { return Ok(()) };
    let at = at.with_context(|| format!("a route to {prefix} of no variant"))?;
    ensure!(all.insert((prefix, at), passed).is_none(), "{prefix} twice as variant {at}");
    Ok(())
}

/// Static routes of the feeder: one protocol a variant that comes over BGP, its number the MED.
fn feeding(samples: &Samples, word: &str) -> String {
    let mut text = String::new();
    for (at, _) in samples.variants.iter().enumerate().filter(|(_, v)| v.is_bgp()) {
        let _ = writeln!(
            text,
            "protocol static v{at} {{ {word} {{ import filter {{ bgp_med = {at}; accept; }}; }};"
        );
        for destination in &samples.destinations {
            let _ = writeln!(text, "  route {destination} blackhole;");
        }
        text += "}\n";
    }
    text
}

/// The judge's static routes, and what it makes of each MED.
fn judging(samples: &Samples, word: &str) -> String {
    let mut text = String::new();
    let mut import = "filter variants {\n".to_owned();
    for (at, variant) in samples.variants.iter().enumerate() {
        let set = settings(variant);
        if variant.is_bgp() {
            let _ = writeln!(import, "  if bgp_med = {at} then {{ {set} }}");
            continue;
        }
        let _ =
            writeln!(text, "protocol static local_{at} {{ {word} {{ import filter {{ {set} accept; }}; }};");
        let target = match &variant.interface {
            Some(name) => format!("via \"{name}\""),
            None => "blackhole".to_owned(),
        };
        for destination in &samples.destinations {
            let _ = writeln!(text, "  route {destination} {target};");
        }
        text += "}\n";
    }
    import + "  accept;\n}\n" + &text
}

fn settings(variant: &Variant) -> String {
    let mut set = String::new();
    if let Some(metric) = variant.metric {
        let _ = write!(set, "krt_metric = {metric}; ");
    }
    if !variant.is_bgp() {
        return set;
    }
    if let Some(name) = variant.interface.as_deref().filter(|name| *name != "eth0") {
        let _ = write!(set, "ifname = \"{name}\"; ");
    }
    if let Some(preference) = variant.local_pref {
        let _ = write!(set, "bgp_local_pref = {preference}; ");
    }
    for asn in variant.path.iter().rev() {
        let _ = write!(set, "bgp_path.prepend({asn}); ");
    }
    for (a, b) in &variant.communities {
        let _ = write!(set, "bgp_community.add(({a},{b})); ");
    }
    for (a, b, c) in &variant.large {
        let _ = write!(set, "bgp_large_community.add(({a},{b},{c})); ");
    }
    if let Some(addr) = variant.next_hop {
        let _ = write!(set, "bgp_next_hop = {addr}; ");
    }
    set
}

/// Functions and filters of a configuration as they stand, in their order; filters by name, those of sessions as `import_NAME` and
/// `export_NAME`. Functions have no name here.
fn filters(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (item, after) = rest.split_at(item_end(rest));
        let mut words = item.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("function"), ..) => all.push((String::new(), item.to_owned())),
            (Some("filter"), Some(name), _) => all.push((name.to_owned(), item.to_owned())),
            (Some("protocol"), Some("bgp"), Some(name)) => {
                for way in ["import", "export"] {
                    if let Some((_, filter)) = item.split_once(&format!("{way} filter ")) {
                        let body = &filter[..item_end(filter)];
                        all.push((format!("{way}_{name}"), format!("filter {way}_{name} {body}")));
                    }
                }
            }
            _ => {}
        }
        rest = after.trim_start();
    }
    all
}

/// Where the first statement of a text ends: behind its semicolon or its last brace.
fn item_end(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The filter of that name in our configuration, and where it stands.
fn ours<'c>(config: &'c Config, name: &str) -> Result<(&'c Policy, Stage)> {
    let of_session = |name: &str| config.protocols.iter().find(|p| p.name == name);
    let (choice, stage) = if let Some(protocol) = name.strip_prefix("import_").and_then(of_session) {
        (&protocol.channel.import, Stage::Import)
    } else if let Some(protocol) = name.strip_prefix("export_").and_then(of_session) {
        (&protocol.channel.export, Stage::ToInternal)
    } else {
        let kernel = config.protocols.iter().find(|p| matches!(p.kind, Kind::Kernel(_)));
        (&kernel.context("no kernel protocol")?.channel.export, Stage::ToKernel)
    };
    match choice {
        FilterChoice::Filter(policy) => Ok((policy, stage)),
        FilterChoice::All | FilterChoice::None => anyhow::bail!("{name} is no filter"),
    }
}
