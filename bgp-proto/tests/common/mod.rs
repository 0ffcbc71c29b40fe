//! What the test programs share: hexadecimal, contexts written as words, and messages written as lines of text.

#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod naive;

use bgp_proto::attr::{Flags, RawAttr};
use bgp_proto::context::{AsSets, AsnWidth, Features, MessageMax, PeerKind};
use bgp_proto::{AttrCode, AttrSet, FamilySet, Frame, Message, NlriIter, Open, Reset, Update, WireContext};
use std::fmt::Write;

/// Octets of hexadecimal text; blanks and what follows a `;` do not count.
pub(crate) fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text
        .lines()
        .flat_map(|line| line.split(';').next().unwrap_or("").bytes())
        .filter(|digit| !digit.is_ascii_whitespace())
        .collect();
    let octet = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).map_err(|error| error.to_string())?;
        u8::from_str_radix(pair, 16).map_err(|error| format!("{pair}: {error}"))
    };
    if digits.len() % 2 == 1 {
        return Err("an odd number of digits".into());
    }
    digits.chunks(2).map(octet).collect()
}

/// Hexadecimal text.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// A context from words: `as4 internal extended families=ipv4,ipv6 add-path=ipv4 hop6=ipv4 as-sets roles aigp prefix-sid`.
pub(crate) fn context(words: &str) -> Result<WireContext, String> {
    let mut ctx = WireContext::PLAIN;
    let families = |list: &str| -> Result<FamilySet, String> {
        if list == "all" {
            return Ok(FamilySet::ALL);
        }
        list.split(',').map(|word| word.parse().map_err(|error| format!("{word}: {error}"))).collect()
    };
    for word in words.split_whitespace() {
        match word.split_once('=') {
            Some(("families", list)) => ctx.families = families(list)?,
            Some(("add-path", list)) => ctx.add_path = families(list)?,
            Some(("hop6", list)) => ctx.extended_next_hop = families(list)?,
            Some(_) => return Err(format!("context {word}?")),
            None => match word {
                "as2" => ctx.asn_width = AsnWidth::Two,
                "as4" => ctx.asn_width = AsnWidth::Four,
                "external" => ctx.peer = PeerKind::External,
                "internal" => ctx.peer = PeerKind::Internal,
                "confederation" => ctx.peer = PeerKind::Confederation,
                "extended" => ctx.message_max = MessageMax::Extended,
                "as-sets" => ctx.as_sets = AsSets::Accepted,
                "roles" => ctx.features = ctx.features.union(Features::ROLES),
                "aigp" => ctx.features = ctx.features.union(Features::AIGP),
                "prefix-sid" => ctx.features = ctx.features.union(Features::PREFIX_SID),
                "bgpsec" => ctx.features = ctx.features.union(Features::BGPSEC),
                _ => return Err(format!("context {word}?")),
            },
        }
    }
    Ok(ctx)
}

/// The meaning of a stream of messages, in lines.
pub(crate) fn describe(mut stream: &[u8], ctx: &WireContext) -> Vec<String> {
    let mut lines = Vec::new();
    while !stream.is_empty() {
        let frame = match Frame::first(stream, ctx) {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                lines.push("incomplete".into());
                return lines;
            }
            Err(reset) => {
                lines.push(describe_reset(&reset));
                return lines;
            }
        };
        stream = &stream[frame.octets.len()..];
        match Message::decode(&frame, ctx) {
            Ok(message) => describe_message(&message, &mut lines),
            Err(reset) => {
                lines.push(describe_reset(&reset));
                return lines;
            }
        }
    }
    lines
}

fn describe_reset(reset: &Reset) -> String {
    match &reset.answer {
        None => format!("close: {}", reset.fault),
        Some(answer) if answer.data.is_empty() => {
            format!("reset {}/{}: {}", answer.error.code, answer.error.subcode, reset.fault)
        }
        Some(answer) => {
            let data = hex(&answer.data);
            let data = if data.len() > 64 { format!("{}.. ({})", &data[..64], data.len() / 2) } else { data };
            format!("reset {}/{} data {data}: {}", answer.error.code, answer.error.subcode, reset.fault)
        }
    }
}

fn describe_message(message: &Message<'_>, lines: &mut Vec<String>) {
    match message {
        Message::Open(open) => describe_open(open, lines),
        Message::Update(update) => describe_update(update, lines),
        Message::Notification(notification) => {
            lines.push(format!("notification {notification} [{}]", hex(&notification.data)));
        }
        Message::Keepalive => lines.push("keepalive".into()),
        Message::RouteRefresh(refresh) => {
            lines.push(format!("refresh {} {:?}", refresh.family, refresh.kind))
        }
    }
}

fn describe_open(open: &Open, lines: &mut Vec<String>) {
    lines.push(format!("open as {} id {} hold {}", open.asn, open.router_id, open.hold_secs));
    lines.extend(open.capabilities.iter().map(|capability| format!("  {capability:?}")));
}

/// The meaning of an UPDATE, in lines.
pub(crate) fn describe_update(update: &Update<'_>, lines: &mut Vec<String>) {
    lines.push(format!("update {:?}", update.verdict()).to_lowercase());
    lines.extend(update.faults().map(|fault| format!("  fault {fault}")));
    lines.extend(update.end_of_rib().map(|family| format!("  end-of-rib {family}")));
    lines.extend(update.skipped().map(|family| format!("  skipped {family}")));
    for unreach in update.unreach() {
        lines.push(format!("  unreach {}{}", unreach.family, nlri(unreach.nlri)));
    }
    for reach in update.reach() {
        lines.push(format!("  reach {} via {}{}", reach.family, reach.next_hop, nlri(reach.nlri)));
        let set = update.attr_set(reach.next_hop);
        lines.extend(set.iter().map(|attr| format!("    {}", attribute(&set, &attr))));
    }
}

fn nlri(nlri: NlriIter<'_>) -> String {
    nlri.fold(String::from(":"), |mut text, (id, nlri)| {
        let _ = match id.0 {
            0 => write!(text, " {nlri}"),
            id => write!(text, " {nlri}#{id}"),
        };
        text
    })
}

fn attribute(set: &AttrSet, attr: &RawAttr<'_>) -> String {
    let partial = if attr.flags.contains(Flags::PARTIAL) { " (partial)" } else { "" };
    let value = match attr.code {
        AttrCode::ORIGIN => set.origin().to_string(),
        AttrCode::AS_PATH => set.as_path().to_string(),
        AttrCode::MED => set.med().map(|n| n.to_string()).unwrap_or_default(),
        AttrCode::LOCAL_PREF => set.local_pref().map(|n| n.to_string()).unwrap_or_default(),
        AttrCode::AGGREGATOR => set.aggregator().map(|a| a.to_string()).unwrap_or_default(),
        AttrCode::COMMUNITIES => set.communities().to_string(),
        AttrCode::EXT_COMMUNITIES => set.ext_communities().to_string(),
        AttrCode::IPV6_EXT_COMMUNITIES => set.ipv6_ext_communities().to_string(),
        AttrCode::LARGE_COMMUNITIES => set.large_communities().to_string(),
        AttrCode::ORIGINATOR_ID => set.originator_id().map(|id| id.to_string()).unwrap_or_default(),
        AttrCode::CLUSTER_LIST => set.cluster_list().to_string(),
        AttrCode::AIGP => set.aigp().map(|n| n.to_string()).unwrap_or_default(),
        AttrCode::ONLY_TO_CUSTOMER => set.only_to_customer().map(|n| n.to_string()).unwrap_or_default(),
        _ if attr.value.len() > 40 => format!("{}.. ({})", hex(&attr.value[..40]), attr.value.len()),
        _ => hex(attr.value),
    };
    format!("{} {value}{partial}", attr.code).trim_end().to_owned()
}
