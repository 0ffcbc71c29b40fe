//! `policy`: rules as they are written.

use bgp_proto::attr::{Community, LargeCommunity};
use bgp_proto::{Asn, Family, Prefix};
use serde::Deserialize;

use crate::config::text::{Any, Name, NextHopWord, Text, Word};

/// One rule of a policy: the first one that matches decides, and what none matches is rejected.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    /// All that is named must hold; nothing named: always.
    #[serde(default, rename = "match")]
    pub when: Match,
    /// What happens then.
    pub action: Action,
    /// Changes to what is accepted.
    #[serde(default)]
    pub set: Set,
}

/// `policy.NAME[].action`.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It passes.
    Accept,
    /// It does not.
    Reject,
}

/// `policy.NAME[].match`. Each key holds one value or a list, and any of the list will do; all keys must hold.
///
/// A prefix matches itself and everything inside it, as in a BGPFilter of Calico with `In` and in BIRD with `+`. This differs
/// from a prefix-list of FRR, which is exact unless it says `le`: write `exact: true` for that.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Match {
    /// The destination lies in one of these.
    #[serde(default)]
    pub prefix: Any<Prefix>,
    /// Only the prefixes themselves.
    #[serde(default)]
    pub exact: Option<bool>,
    /// The least length of the destination.
    #[serde(default)]
    pub min_length: Option<u8>,
    /// The greatest length of the destination.
    #[serde(default)]
    pub max_length: Option<u8>,
    /// The family.
    #[serde(default)]
    pub families: Any<Family>,
    /// A community is present.
    #[serde(default)]
    pub communities: Any<Community>,
    /// A large community is present.
    #[serde(default)]
    pub large_communities: Any<LargeCommunity>,
    /// The AS_PATH.
    #[serde(default)]
    pub as_path: AsPathMatch,
    /// The next hop lies in one of these.
    #[serde(default)]
    pub next_hop: Any<Prefix>,
    /// The name of a peer that sent it.
    #[serde(default)]
    pub peer: Any<Name>,
}

/// `policy.NAME[].match.asPath`.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AsPathMatch {
    /// The number is anywhere in it.
    #[serde(default)]
    pub contains: Any<Asn>,
    /// It begins with the number: the neighbouring AS.
    #[serde(default)]
    pub first: Any<Asn>,
    /// It ends with the number: the originating AS.
    #[serde(default)]
    pub origin: Any<Asn>,
}

/// `policy.NAME[].set`.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Set {
    /// LOCAL_PREF.
    #[serde(default)]
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    #[serde(default)]
    pub med: Option<u32>,
    /// Communities to add and to remove.
    #[serde(default)]
    pub communities: Edit<Community>,
    /// Large communities to add and to remove.
    #[serde(default)]
    pub large_communities: Edit<LargeCommunity>,
    /// How often our own AS number is put before the AS_PATH, besides what the session does.
    #[serde(default)]
    pub prepend: Option<u8>,
    /// The next hop.
    #[serde(default)]
    pub next_hop: Option<Text<NextHopWord>>,
}

/// `policy.NAME[].set.communities` and `largeCommunities`. Removal comes first.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", bound(deserialize = "T: Word"))]
pub struct Edit<T> {
    /// To add.
    #[serde(default)]
    pub add: Any<T>,
    /// To remove.
    #[serde(default)]
    pub remove: Any<T>,
}

impl<T> Default for Edit<T> {
    fn default() -> Self {
        Edit { add: Any::default(), remove: Any::default() }
    }
}
