//! What the targets of the codec do with octets. The first octet chooses the [`WireContext`], so that one corpus covers all
//! kinds of session; the rest is a stream of messages, the body of an UPDATE, or one attribute.

use bgp_proto::attr::{AsPath, Community, ExtCommunity, Ipv6ExtCommunity, LargeCommunity, List};
use bgp_proto::context::{AsSets, Features};
use bgp_proto::{
    AsnWidth, AttrBlock, AttrSet, Family, FamilySet, Frame, HEADER_OCTETS, Message, MessageMax, Nlri,
    NlriIter, PathId, PeerKind, Reset, Skim, Update, Verdict, WireContext, encode_keepalive,
    encode_withdrawals,
};
use bytes::BytesMut;
use std::fmt::{Debug, Display};
use std::str::FromStr;

#[path = "../../bgp-proto/tests/common/naive.rs"]
mod naive;

fn context(choice: u8) -> WireContext {
    let pick = |bit: u8| choice & bit != 0;
    WireContext {
        asn_width: if pick(1) { AsnWidth::Four } else { AsnWidth::Two },
        peer: match (pick(2), pick(16)) {
            (true, _) => PeerKind::Internal,
            (false, true) => PeerKind::Confederation,
            (false, false) => PeerKind::External,
        },
        families: FamilySet::ALL,
        add_path: if pick(4) { FamilySet::ALL } else { FamilySet::EMPTY },
        message_max: if pick(8) { MessageMax::Extended } else { MessageMax::Standard },
        as_sets: if pick(16) { AsSets::Accepted } else { AsSets::Refused },
        features: match pick(32) {
            true => Features::ROLES.union(Features::AIGP).union(Features::PREFIX_SID).union(Features::BGPSEC),
            false => Features::NONE,
        },
        extended_next_hop: if pick(64) { FamilySet::ALL } else { FamilySet::EMPTY },
    }
}

/// A stream of messages: each is decoded, and everything in it is read and printed.
pub fn message(data: &[u8]) {
    each_message(data, |message, _| match message {
        Ok(Message::Update(update)) => read_all(&update),
        Ok(message) => drop(format!("{message:?}")),
        Err(reset) => drop(reset.to_string()),
    });
}

/// A stream of messages: what decodes is written again, and must read back the same.
pub fn roundtrip(data: &[u8]) {
    each_message(data, |message, ctx| match message {
        Ok(Message::Update(update)) => rewrite(&update, ctx),
        Ok(message) => {
            let mut out = BytesMut::new();
            match &message {
                Message::Open(open) => open.encode(&mut out),
                Message::Notification(notification) => notification.encode(&mut out),
                Message::RouteRefresh(refresh) => refresh.encode(&mut out),
                Message::Keepalive => encode_keepalive(&mut out),
                Message::Update(_) => {}
            }
            let frame = Frame::first(&out, ctx).expect("our own header").expect("a whole message");
            let again = Message::decode(&frame, ctx).expect("our own message");
            assert_eq!(format!("{again:?}"), format!("{message:?}"));
        }
        Err(_) => {}
    });
}

/// The body of an UPDATE: the views and the naive decoder of the test tree make the same of it.
pub fn differential(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let mut ctx = context(*choice);
    // The naive decoder knows families with prefixes.
    ctx.families = if choice & 128 == 0 { FamilySet::UNICAST } else { FamilySet::IPV4 };
    ctx.add_path = ctx.add_path.intersection(FamilySet::UNICAST);
    ctx.extended_next_hop = ctx.extended_next_hop.intersection(FamilySet::IPV4);
    // No session delivers a longer one.
    let body = body.get(..ctx.message_max.octets() - HEADER_OCTETS).unwrap_or(body);
    assert_eq!(naive::viewed(body, &ctx), naive::read(body, &ctx));
    let Ok(update) = Update::decode(body, &ctx) else { return };
    if update.verdict() == Verdict::Sound {
        skims_the_same(&update, Skim::new(body, &ctx));
    }
}

/// Of an UPDATE with which nothing is wrong, skimming finds the same NLRI as judging.
fn skims_the_same(update: &Update<'_>, skim: Option<Skim<'_>>) {
    let all = |parts: &mut dyn Iterator<Item = (Family, NlriIter<'_>)>| -> Named {
        parts.flat_map(|(family, nlri)| nlri.map(move |(id, nlri)| (family, id, nlri.to_owned()))).collect()
    };
    let skim = skim.expect("a sound UPDATE");
    let reach = all(&mut update.reach().map(|part| (part.family, part.nlri)));
    assert_eq!(all(&mut skim.reach()), reach, "announced");
    let unreach = all(&mut update.unreach().map(|part| (part.family, part.nlri)));
    assert_eq!(all(&mut skim.unreach()), unreach, "withdrawn");
}

/// One attribute, flags and code first: first, between and last among sound ones it means the same (RFC 7606 section 3 (h)).
pub fn attributes(data: &[u8]) {
    let Some(([choice, flags, code], value)) = data.split_first_chunk::<3>() else { return };
    let ctx = context(*choice);
    let value = value.get(..3900).unwrap_or(value);
    let len = (value.len() as u16).to_be_bytes();
    let attr = [&[*flags | 0x10, *code], &len[..], value].concat();
    let mut others: Vec<&[u8]> = vec![&[0x40, 1, 1, 0], &[0x40, 2, 0], &[0x40, 3, 4, 10, 0, 0, 1]];
    if ctx.peer == PeerKind::Internal {
        others.push(&[0x40, 5, 4, 0, 0, 0, 100]);
    }
    others.push(&[0xC0, 8, 4, 0xFD, 0xE9, 0, 1]);
    others.retain(|other| other[1] != *code);
    let bodies = [0, 2, others.len()].map(|place| {
        let mut attrs = others.clone();
        attrs.insert(place.min(others.len()), &attr);
        let attrs = attrs.concat();
        let id: &[u8] = if ctx.add_path.contains(Family::IPV4_UNICAST) { &[0, 0, 0, 1] } else { &[] };
        [&[0, 0], &(attrs.len() as u16).to_be_bytes()[..], &attrs, id, &[8, 10]].concat()
    });
    let [first, between, last] = bodies.each_ref().map(|body| attribute_meaning(body, &ctx));
    assert_eq!(first, between, "first and between");
    assert_eq!(first, last, "first and last");
}

fn attribute_meaning(body: &[u8], ctx: &WireContext) -> Result<(Verdict, AttrSet), Reset> {
    let update = Update::decode(body, ctx)?;
    read_all(&update);
    let set = update.attr_set(bgp_proto::NextHop::NONE);
    let edited = set.edit().build();
    assert_eq!(edited, set, "an edit of nothing");
    Ok((update.verdict(), set))
}

/// Calls with every message of the stream, up to the first whose header is wrong.
fn each_message(data: &[u8], mut then: impl FnMut(Result<Message<'_>, Reset>, &WireContext)) {
    let Some((choice, mut stream)) = data.split_first() else { return };
    let ctx = context(*choice);
    while let Ok(Some(frame)) = Frame::first(stream, &ctx) {
        stream = &stream[HEADER_OCTETS + frame.body().len()..];
        then(Message::decode(&frame, &ctx), &ctx);
    }
}

/// Reads everything that an UPDATE has readers for, and the text forms of what has one read back.
fn read_all(update: &Update<'_>) {
    drop(format!("{update:?} {:?} {:?}", update.end_of_rib(), update.skipped().collect::<Vec<_>>()));
    update.faults().for_each(|fault| drop(fault.to_string()));
    let path = update.as_path();
    drop(format!("{path} {} {:?}", path.decision_len(), update.as4_path()));
    assert_eq!(path.iter().count(), path.segments().map(|segment| segment.len()).sum::<usize>());
    drop(format!("{} {:?} {:?}", update.origin(), update.med(), update.local_pref()));
    drop(format!("{:?} {:?} {:?}", update.aggregator(), update.originator_id(), update.cluster_list()));
    drop(format!("{:?} {:?}", update.aigp(), update.only_to_customer()));
    items_read_back::<Community>(update.communities());
    items_read_back::<ExtCommunity>(update.ext_communities());
    items_read_back::<Ipv6ExtCommunity>(update.ipv6_ext_communities());
    read_services(update);
    items_read_back::<LargeCommunity>(update.large_communities());
    for unreach in update.unreach() {
        for (_, nlri) in unreach.nlri.clone() {
            let gone = nlri.to_withdrawn(unreach.family);
            assert_eq!(
                gone.key(unreach.family),
                gone.as_view().to_withdrawn(unreach.family).key(unreach.family)
            );
        }
        unreach.nlri.prefixes().for_each(|(_, prefix)| reads_back(prefix));
    }
    for reach in update.reach() {
        for (_, nlri) in reach.nlri.clone() {
            assert_eq!(nlri.key(reach.family), nlri.to_owned().key(reach.family), "{nlri:?}");
        }
        reach.nlri.prefixes().for_each(|(_, prefix)| reads_back(prefix));
        let set = update.attr_set(reach.next_hop);
        drop(format!("{set:?}"));
        assert!(AsPath::new(set.as_path().octets(), AsnWidth::Four).is_some(), "a set's path is well-formed");
    }
}

/// Attributes that are passed on unread, whatever their value.
fn read_services(update: &Update<'_>) {
    for tunnel in update.tunnels() {
        drop(format!("{tunnel:?} {:?} {:?}", tunnel.egress(), tunnel.vxlan()));
        drop(format!("{:?} {:?} {:?}", tunnel.protocol(), tunnel.color(), tunnel.udp_port()));
        assert!(tunnel.sub_tlvs().map(|tlv| tlv.value.len()).sum::<usize>() <= 0xFFFF);
    }
    drop(format!("{:?} {:?}", update.pmsi_tunnel(), update.bgpsec_path()));
    if let Some(sid) = update.prefix_sid() {
        drop(format!(
            "{:?} {:?} {:?}",
            sid.label_index(),
            sid.srgb().collect::<Vec<_>>(),
            sid.tlvs().count()
        ));
    }
    if let Some(customer) = update.customer_attrs() {
        drop(format!("{} {}", customer.origin_as, customer.attrs.count()));
    }
}

fn items_read_back<T>(list: List<'_, T>)
where
    T: bgp_proto::attr::Item + Display + Debug + FromStr<Err: Debug>,
{
    assert_eq!(list.iter().len(), list.iter().count());
    list.iter().for_each(reads_back);
}

fn reads_back<T: Display + Debug + PartialEq + FromStr<Err: Debug>>(value: T) {
    let text = value.to_string();
    assert_eq!(text.parse::<T>().as_ref().ok(), Some(&value), "{text}");
}

type Named = Vec<(Family, PathId, Nlri)>;

/// Writes what an UPDATE announces and withdraws; both must read back, and the attributes with them.
fn rewrite(update: &Update<'_>, ctx: &WireContext) {
    let mut out = BytesMut::new();
    for unreach in update.unreach() {
        out.clear();
        encode_withdrawals(unreach.family, unreach.nlri.clone(), ctx, &mut out);
        let wanted: Named = unreach.nlri.map(|(id, nlri)| (unreach.family, id, nlri.to_owned())).collect();
        assert_eq!(heard(&out, ctx).withdrawn, wanted, "withdrawals read back");
    }
    if update.verdict() == Verdict::Withdrawn {
        return;
    }
    for reach in update.reach() {
        let attrs = update.attr_set(reach.next_hop);
        out.clear();
        // What does not fit any more with what we add, such as AS4_PATH, is not written at all.
        if AttrBlock::new(&attrs, reach.family, ctx).encode_updates(reach.nlri.clone(), &mut out).is_err() {
            continue;
        }
        let heard = heard(&out, ctx);
        let wanted: Named = reach.nlri.map(|(id, nlri)| (reach.family, id, nlri.to_owned())).collect();
        assert_eq!(heard.announced, wanted, "announcements read back");
        // AS4_PATH has no confederation segments, so on a two-octet session their place in the path is lost (RFC 6793 section 3).
        let lossy = ctx.asn_width == AsnWidth::Two && attrs.as_path().segments().any(|s| s.kind.is_confed());
        heard.attrs.iter().for_each(|again| assert!(lossy || *again == attrs, "{again:?} was {attrs:?}"));
    }
}

#[derive(Default)]
struct Heard {
    announced: Named,
    withdrawn: Named,
    attrs: Vec<AttrSet>,
}

/// What a stream of UPDATEs of our own announces and withdraws.
fn heard(mut stream: &[u8], ctx: &WireContext) -> Heard {
    let mut heard = Heard::default();
    while let Some(frame) = Frame::first(stream, ctx).expect("our own header") {
        stream = &stream[HEADER_OCTETS + frame.body().len()..];
        let update = Update::decode(frame.body(), ctx).expect("our own UPDATE");
        for part in update.reach() {
            heard.attrs.push(update.attr_set(part.next_hop));
            heard.announced.extend(part.nlri.map(|(id, nlri)| (part.family, id, nlri.to_owned())));
        }
        for part in update.unreach() {
            heard.withdrawn.extend(part.nlri.map(|(id, nlri)| (part.family, id, nlri.to_owned())));
        }
    }
    heard
}
