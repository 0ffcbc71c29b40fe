//! The series of `/metrics`, written from one snapshot (OpenMetrics text, which Prometheus reads).
//!
//! `peer` is always the plain IP address of the neighbour, without port or zone, so that queries survive whatever else changes; its name,
//! type and AS number are labels of `bgpd_peer_info` to join with.
//!
//! | series | labels | meaning |
//! |---|---|---|
//! | `bgpd_build_info` | `version` | always 1 |
//! | `bgpd_start_time_seconds` | | when the daemon started |
//! | `bgpd_syncing` | | 1 until the peers' first routes are in |
//! | `bgpd_config_reload_ok` | | 0 if the last configuration was refused and an older one is in force |
//! | `bgpd_config_loaded_time_seconds` | | since when it has been in force |
//! | `bgpd_prefixes`, `bgpd_paths` | `family` | destinations known, paths to them |
//! | `bgpd_kernel_routes` | `state`: `desired`, `installed`, `refused` | routes of ours in the kernel |
//! | `bgpd_range_peers` | `range` | peers connected from a listen range |
//! | `bgpd_peer_info` | `peer`, `name`, `type`, `asn`, `import`, `export` | always 1 |
//! | `bgpd_peer_up` | `peer` | 1 if Established |
//! | `bgpd_peer_state` | `peer` | 1 Idle, 2 Connect, 3 Active, 4 OpenSent, 5 OpenConfirm, 6 Established |
//! | `bgpd_peer_state_time_seconds` | `peer` | when it became, or ceased to be, Established |
//! | `bgpd_peer_flaps_total` | `peer` | how often it left Established |
//! | `bgpd_peer_messages_received_total`, `..._sent_total` | `peer`, `type` | messages |
//! | `bgpd_peer_prefixes_received`, `..._accepted`, `..._best`, `..._stale`, `..._advertised` | `peer`, `family` | as in `bgpd peers` |

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::control::protocol::{Instance, Messages, Peer, PeerFamily, State};

/// What [`write()`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters carry no exemplars.
type NoLabels = [(&'static str, &'static str); 0];

/// What the core said.
#[derive(Debug)]
pub struct Snapshot {
    /// The instance.
    pub instance: Instance,
    /// Its peers.
    pub peers: Vec<Peer>,
}

/// Writes the snapshot down.
pub fn write(snapshot: Snapshot) -> Result<String, Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.encode_instance(&mut encoder)?;
        self.encode_routes(&mut encoder)?;
        self.encode_peers(&mut encoder)?;
        self.encode_messages(&mut encoder)?;
        self.encode_peer_families(&mut encoder)
    }
}

impl Snapshot {
    fn encode_instance(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let it = &self.instance;
        encoder
            .encode_descriptor("bgpd_build", "The daemon", None, MetricType::Info)?
            .encode_info(&[("version", it.version.as_str())])?;
        let mut gauge = |name, help, value: i64| {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
        };
        gauge("bgpd_start_time_seconds", "When the daemon started", it.started.at.as_second())?;
        gauge("bgpd_syncing", "1 until the first routes of all peers are in", i64::from(it.syncing))?;
        let ok = i64::from(it.config.refused.is_none());
        gauge("bgpd_config_reload_ok", "0 if the last configuration was refused", ok)?;
        let loaded = it.config.loaded.at.as_second();
        gauge("bgpd_config_loaded_time_seconds", "Since when the configuration has been in force", loaded)
    }

    fn encode_routes(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let it = &self.instance;
        let by_family = |count: fn(&crate::control::protocol::FamilyCounts) -> u64| {
            it.families.iter().map(move |one| ([("family", one.family.as_str())], count(one)))
        };
        gauges(encoder, "bgpd_prefixes", "Destinations known", by_family(|one| one.prefixes))?;
        gauges(encoder, "bgpd_paths", "Paths known", by_family(|one| one.paths))?;
        if let Some(kernel) = it.kernel {
            let by_state =
                [("desired", kernel.desired), ("installed", kernel.installed), ("refused", kernel.refused)];
            let by_state = by_state.into_iter().map(|(state, count)| ([("state", state)], count));
            gauges(encoder, "bgpd_kernel_routes", "Routes of ours in the kernel", by_state)?;
        }
        let ranges: Vec<_> = it.ranges.iter().map(|range| (range.range.to_string(), range.peers)).collect();
        let ranges = ranges.iter().map(|(range, peers)| ([("range", range.as_str())], *peers));
        gauges(encoder, "bgpd_range_peers", "Peers connected from a listen range", ranges)
    }

    fn encode_peers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut info = encoder.encode_descriptor("bgpd_peer", "A neighbour", None, MetricType::Info)?;
        for peer in &self.peers {
            let (address, kind, asn) =
                (peer.address.to_string(), peer.kind.to_string(), peer.asn.to_string());
            info.encode_info(&[
                ("peer", address.as_str()),
                ("name", peer.name.as_str()),
                ("type", kind.as_str()),
                ("asn", asn.as_str()),
                ("import", peer.import.as_deref().unwrap_or("")),
                ("export", peer.export.as_deref().unwrap_or("")),
            ])?;
        }
        let up = |peer: &Peer| u64::from(peer.state == State::Established);
        self.per_peer(encoder, "bgpd_peer_up", "1 if Established", up)?;
        let state = |peer: &Peer| u64::from(peer.state.number());
        self.per_peer(encoder, "bgpd_peer_state", "State, 1 Idle to 6 Established", state)?;
        let since = |peer: &Peer| u64::try_from(peer.since.at.as_second()).unwrap_or(0);
        let help = "When it became or ceased to be Established";
        self.per_peer(encoder, "bgpd_peer_state_time_seconds", help, since)?;
        let help = "How often it left Established";
        let mut flaps = encoder.encode_descriptor("bgpd_peer_flaps", help, None, MetricType::Counter)?;
        for peer in &self.peers {
            let address = peer.address.to_string();
            flaps
                .encode_family(&[("peer", address.as_str())])?
                .encode_counter::<NoLabels, _, u64>(&peer.flaps, None)?;
        }
        Ok(())
    }

    fn per_peer(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: fn(&Peer) -> u64,
    ) -> Result<(), Error> {
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for peer in &self.peers {
            let address = peer.address.to_string();
            gauge.encode_family(&[("peer", address.as_str())])?.encode_gauge(&value(peer))?;
        }
        Ok(())
    }

    fn encode_messages(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        type Direction = (&'static str, &'static str, fn(&Peer) -> &Messages);
        let directions: [Direction; 2] = [
            ("bgpd_peer_messages_received", "Messages received", |peer| &peer.received),
            ("bgpd_peer_messages_sent", "Messages sent", |peer| &peer.sent),
        ];
        for (name, help, messages) in directions {
            let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for peer in &self.peers {
                let address = peer.address.to_string();
                let Messages { open, update, notification, keepalive, refresh } = messages(peer);
                let by_type = [
                    ("open", open),
                    ("update", update),
                    ("notification", notification),
                    ("keepalive", keepalive),
                    ("refresh", refresh),
                ];
                for (kind, count) in by_type {
                    counter
                        .encode_family(&[("peer", address.as_str()), ("type", kind)])?
                        .encode_counter::<NoLabels, _, u64>(count, None)?;
                }
            }
        }
        Ok(())
    }

    fn encode_peer_families(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        type Series = (&'static str, &'static str, fn(&PeerFamily) -> u64);
        let series: [Series; 5] = [
            ("bgpd_peer_prefixes_received", "Paths it sent and has not withdrawn", |one| one.received),
            ("bgpd_peer_prefixes_accepted", "Those that import policy let in", |one| one.accepted),
            ("bgpd_peer_prefixes_best", "Those that are best", |one| one.best),
            ("bgpd_peer_prefixes_stale", "Those kept from a former session", |one| one.stale),
            ("bgpd_peer_prefixes_advertised", "Prefixes that it has been told of", |one| one.advertised),
        ];
        for (name, help, value) in series {
            let rows = self.peers.iter().flat_map(|peer| {
                let address = peer.address.to_string();
                peer.families.iter().map(move |one| (address.clone(), one))
            });
            let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (address, one) in rows {
                gauge
                    .encode_family(&[("peer", address.as_str()), ("family", one.family.as_str())])?
                    .encode_gauge(&value(one))?;
            }
        }
        Ok(())
    }
}

fn gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = ([(&'static str, &'a str); 1], u64)>,
) -> Result<(), Error> {
    let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in rows {
        gauge.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_page_is_as_documented() {
        let peers =
            vec![samples::peer("10.0.0.2".parse().unwrap()), samples::peer_down("fd00::3".parse().unwrap())];
        let page = write(Snapshot { instance: samples::instance(), peers }).unwrap();
        for line in [
            "bgpd_build_info{version=\"0.1.0\"} 1",
            "bgpd_start_time_seconds 1795569500",
            "bgpd_syncing 0",
            "bgpd_config_reload_ok 1",
            "bgpd_prefixes{family=\"ipv4\"} 3",
            "bgpd_paths{family=\"ipv4\"} 4",
            "bgpd_kernel_routes{state=\"refused\"} 1",
            "bgpd_range_peers{range=\"10.1.0.0/16\"} 1",
            "bgpd_peer_info{peer=\"fd00::3\",name=\"tor\",type=\"external\",asn=\"65001\",import=\"\",export=\"\"} 1",
            "bgpd_peer_up{peer=\"10.0.0.2\"} 1",
            "bgpd_peer_up{peer=\"fd00::3\"} 0",
            "bgpd_peer_state{peer=\"fd00::3\"} 3",
            "bgpd_peer_flaps_total{peer=\"10.0.0.2\"} 1",
            "bgpd_peer_messages_received_total{peer=\"10.0.0.2\",type=\"update\"} 4",
            "bgpd_peer_messages_sent_total{peer=\"10.0.0.2\",type=\"keepalive\"} 7",
            "bgpd_peer_prefixes_accepted{peer=\"10.0.0.2\",family=\"ipv4\"} 2",
            "bgpd_peer_prefixes_advertised{peer=\"10.0.0.2\",family=\"ipv4\"} 5",
            "# TYPE bgpd_peer_flaps counter",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(page.ends_with("# EOF\n"));
    }
}
