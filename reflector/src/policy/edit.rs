//! What a rule changes.

use bgp_proto::attr::{Community, LargeCommunity, Origin};
use bgp_proto::{Asn, AttrSet, AttrSetBuilder, NextHop};
use core::net::IpAddr;

use super::Subject;

/// One change of a path's attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// LOCAL_PREF becomes this.
    LocalPref(u32),
    /// MULTI_EXIT_DISC becomes this.
    Med(u32),
    /// ORIGIN becomes this.
    Origin(Origin),
    /// These communities are added where missing.
    AddCommunities(Vec<Community>),
    /// These communities are removed where present.
    RemoveCommunities(Vec<Community>),
    /// These large communities are added where missing.
    AddLargeCommunities(Vec<LargeCommunity>),
    /// These large communities are removed where present.
    RemoveLargeCommunities(Vec<LargeCommunity>),
    /// An AS number, this speaker's own unless given, is put before AS_PATH this often.
    Prepend {
        /// The number; `None` means this speaker's.
        asn: Option<Asn>,
        /// How often.
        count: u8,
    },
    /// The next hop becomes this.
    NextHop(NextHopEdit),
}

/// What the next hop becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHopEdit {
    /// This speaker's address on the session.
    Own,
    /// This address.
    Addr(IpAddr),
}

/// Applies `edits` in order; `None` where there are none.
pub(super) fn apply(edits: &[Edit], s: &Subject<'_>) -> Option<AttrSet> {
    if edits.is_empty() {
        return None;
    }
    let mut b = s.attrs.edit();
    for edit in edits {
        apply_one(&mut b, edit, s);
    }
    Some(b.build())
}

fn apply_one(b: &mut AttrSetBuilder, edit: &Edit, s: &Subject<'_>) {
    match edit {
        Edit::LocalPref(value) => {
            b.local_pref(Some(*value));
        }
        Edit::Med(value) => {
            b.med(Some(*value));
        }
        Edit::Origin(origin) => {
            b.origin(*origin);
        }
        Edit::AddCommunities(all) => all.iter().for_each(|c| {
            b.add_community(*c);
        }),
        Edit::RemoveCommunities(all) => {
            b.retain_communities(|c| !all.contains(&c));
        }
        Edit::AddLargeCommunities(all) => all.iter().for_each(|c| {
            b.add_large_community(*c);
        }),
        Edit::RemoveLargeCommunities(all) => {
            b.retain_large_communities(|c| !all.contains(&c));
        }
        Edit::Prepend { asn, count } => {
            b.prepend(asn.unwrap_or(s.local_asn), usize::from(*count));
        }
        Edit::NextHop(to) => {
            let addr = match to {
                NextHopEdit::Own => s.local_addr,
                NextHopEdit::Addr(addr) => Some(*addr),
            };
            if let Some(addr) = addr {
                b.next_hop(NextHop::from(addr));
            }
        }
    }
}
