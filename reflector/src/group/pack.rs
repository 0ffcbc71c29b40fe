//! Log entries as encoded messages: runs of entries that share attributes and audience, packed.

use bgp_proto::{AttrBlock, Family, PathId, WireContext};
use bgp_proto::{Nlri, encode_withdrawals};
use bytes::BytesMut;

use super::entry::{Item, State, Store, Takeover};
use crate::feed::SegmentBuilder;
use crate::ids::PeerId;

/// Entries encoded at a time, at most, so that segments end near their limit.
const RUN_MAX: usize = 4096;

/// Where the run that begins at `from` ends.
pub(super) fn run_end(items: &[Item], from: usize) -> usize {
    let first = &items[from];
    let alike = |i: &Item| (i.state, i.source, i.takeover) == (first.state, first.source, first.takeover);
    from + items[from..].iter().take(RUN_MAX).take_while(|i| alike(i)).count()
}

/// Encodes a run. Whatever does not fit was refused before ([`fits`]).
pub(super) fn encode(
    run: &[Item],
    family: Family,
    wire: &WireContext,
    store: &Store<'_>,
    builder: &mut SegmentBuilder,
) {
    let Some(first) = run.first() else { return };
    let not_to = (first.source != PeerId::LOCAL).then_some(first.source);
    let State::Live(attrs) = first.state else {
        let except = match first.takeover {
            Takeover::Settled => not_to,
            Takeover::Pending => None,
        };
        builder.withdrawals(except, |out| encode_withdrawals(family, nlri(run, store), wire, out));
        return;
    };
    let block = AttrBlock::new(&store.attrs.told(attrs), family, wire);
    let said = store.attrs.said(attrs);
    let announced = || nlri(run, store).map(|(path_id, nlri)| (path_id, said.cloned().unwrap_or(nlri)));
    let told = builder.announcements(not_to, |out| block.encode_updates(announced(), out));
    debug_assert!(told.is_ok(), "what does not fit was refused before");
    if first.takeover == Takeover::Pending {
        builder.withdrawals_for(first.source, |out| encode_withdrawals(family, nlri(run, store), wire, out));
    }
}

fn nlri<'a>(run: &'a [Item], store: &'a Store<'_>) -> impl Iterator<Item = (PathId, Nlri)> + 'a {
    run.iter().map(|i| (i.key.path_id, store.rib.nlri(i.key.prefix)))
}

/// Whether the entry fits into a message for these peers at all.
pub(super) fn fits(item: &Item, family: Family, wire: &WireContext, store: &Store<'_>) -> bool {
    let State::Live(id) = item.state else { return true };
    let attrs = store.attrs.told(id);
    if !attrs.next_hop().fits(family, wire) {
        return false;
    }
    if attrs.octets().len() < CERTAINLY_FITS {
        return true;
    }
    let nlri = store.attrs.said(id).cloned().unwrap_or_else(|| store.rib.nlri(item.key.prefix));
    let one = core::iter::once((item.key.path_id, nlri));
    AttrBlock::new(&attrs, family, wire).encode_updates(one, &mut BytesMut::new()).is_ok()
}

/// An attribute block of this size leaves room in a 4,096-octet message for the header, a next hop, AS4_PATH beside
/// AS_PATH, and any NLRI.
const CERTAINLY_FITS: usize = 1500;
