//! BIRD's files and commands: whatever octets say, they are read or refused with a place, and what is read can be run.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use bgp_proto::attr::{Community, LargeCommunity, Origin};
use bgp_proto::{Asn, AttrSet, Family, NextHop, Nlri, Prefix, Version};
use bgpd::bird::lang::{self, Config, FilterChoice, FilterText};
use bgpd::bird::{command, desired};
use reflector::ids::{EntryId, IfName};
use reflector::policy::program::Provenance;
use reflector::policy::{Facts, Policy, Stage, Subject};

/// What stands between the files of one input: `bird.cfg`, what it includes as `bird_aggr.cfg`, and as `bird_ipam.cfg`.
const CUT: &str = "\n%%\n";
/// Filters that are run, at most.
const FILTERS_MAX: usize = 8;

/// Reads octets as files and as commands, and runs what comes of it.
pub fn birdcfg(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parts: Vec<&str> = text.splitn(3, CUT).collect();
    for version in [Version::V4, Version::V6] {
        let read = |path: &Path| {
            let at = match path.file_name().and_then(|name| name.to_str()) {
                Some("bird.cfg") => 0,
                Some("bird_aggr.cfg") => 1,
                Some("bird_ipam.cfg") => 2,
                _ => usize::MAX,
            };
            let part = parts.get(at).ok_or(io::Error::from(io::ErrorKind::NotFound))?;
            Ok((*part).to_owned())
        };
        match lang::parse(Path::new("/bird.cfg"), version, &read) {
            Ok(config) => run(&config, version),
            Err(error) => assert!(error.place.is_some_and(|p| p.line > 0 && p.column > 0), "{error}"),
        }
    }
    let line = text.lines().next().unwrap_or_default();
    // A command that is completed is one that nothing more is added to.
    if let Ok(full) = command::expand(line) {
        assert_eq!(command::expand(&full).as_deref(), Ok(full.as_str()));
    }
    let _ = command::parse(line);
}

fn run(config: &Config, version: Version) {
    // What has no router identifier and the like is refused here.
    let _ = desired::desired(config, version, Path::new("/bird.ctl"));
    let choices = config.protocols.iter().flat_map(|p| [&p.channel.import, &p.channel.export]);
    let filters = choices.filter_map(|choice| match choice {
        FilterChoice::Filter(policy) => Some(policy),
        FilterChoice::All | FilterChoice::None => None,
    });
    for filter in filters.chain(config.filters.values()).take(FILTERS_MAX) {
        judge(filter, version);
    }
    for name in config.filters.keys().take(1) {
        let _ = lang::parse_filter(&FilterText::Filter(name.clone()), version, &config.filters);
    }
}

/// What a filter says of a route is the same each time.
fn judge(filter: &Policy, version: Version) {
    let (dest, hop, family): (&str, IpAddr, Family) = match version {
        Version::V4 => ("192.168.1.0/26", IpAddr::from([10, 0, 0, 9]), Family::IPV4_UNICAST),
        Version::V6 => ("fd00:1::/64", IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 9]), Family::IPV6_UNICAST),
    };
    let Ok(prefix) = dest.parse::<Prefix>() else { return };
    let nlri = Nlri::Prefix(prefix);
    let mut attrs = AttrSet::builder(NextHop::from(hop));
    attrs.origin(Origin::Egp).as_path(&[Asn(65001), Asn(7)]).local_pref(Some(2_147_483_000)).med(Some(5));
    attrs.communities(&[Community(0x1_0002)]);
    attrs.large_communities(&[LargeCommunity { global: 1, local1: 2, local2: 3 }]);
    let attrs = attrs.build();
    let routes = [
        (Provenance::Bgp, None, Stage::Import),
        (Provenance::Bgp, Some(512), Stage::ToExternal),
        (Provenance::Static, None, Stage::ToInternal),
        (Provenance::Inherited, Some(1024), Stage::ToKernel),
    ];
    for (provenance, metric, stage) in routes {
        let subject = Subject {
            family,
            nlri: &nlri,
            attrs: &attrs,
            source: EntryId::LOCAL,
            local_asn: Asn(64512),
            local_addr: Some(hop),
            stage,
            facts: Facts {
                provenance,
                metric,
                preference: 100,
                interface: IfName::new("x.cali"),
                gateway: Some(hop),
                ..Facts::default()
            },
        };
        let said = || format!("{:?}", filter.evaluate(&subject));
        assert_eq!(said(), said());
    }
}
