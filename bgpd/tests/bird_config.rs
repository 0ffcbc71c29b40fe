//! Every configuration that Calico is known to render, read and checked for what it means.

#![allow(clippy::print_stdout, reason = "a test program")]

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use bgp_proto::attr::{Community, Origin};
use bgp_proto::{Asn, AttrSet, AttrSetBuilder, Family, NextHop, Nlri, Version};
use bgpd::bird::lang::{self, Config, FilterChoice};
use proptest::prelude::*;
use reflector::ids::EntryId;
use reflector::policy::program::Provenance;
use reflector::policy::{Facts, Marks, Policy, Stage, Subject, Verdict};

fn corpus() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/calico/bird-cfg");
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: {} is absent", dir.display());
    None
}

fn folders(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("the corpus").flatten() {
        if entry.path().is_dir() {
            folders(&entry.path(), into);
        } else if entry.file_name() == "bird.cfg" {
            into.push(dir.to_owned());
        }
    }
}

fn read(path: &Path, version: Version) -> Result<Config, String> {
    lang::parse(path, version, &|p| std::fs::read_to_string(p)).map_err(|e| e.to_string())
}

#[test]
fn every_file_that_calico_renders_is_read() {
    let Some(dir) = corpus() else { return };
    let mut all = Vec::new();
    folders(&dir, &mut all);
    assert!(all.len() >= 40, "{} folders", all.len());
    let mut refused = Vec::new();
    for folder in &all {
        for (file, version) in [("bird.cfg", Version::V4), ("bird6.cfg", Version::V6)] {
            if let Err(error) = read(&folder.join(file), version) {
                refused.push(error);
            }
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

/// What stands in a file, read with nothing else there.
fn text(text: &str) -> Result<Config, String> {
    let name = Path::new("/etc/bird.cfg");
    let read = |path: &Path| match path == name {
        true => Ok(text.to_owned()),
        false => Err(std::io::Error::from_raw_os_error(2)),
    };
    lang::parse(name, Version::V4, &read).map_err(|e| e.to_string())
}

#[test]
fn what_is_wrong_is_said_in_bird_s_words_with_its_place() {
    let cases = [
        (
            "include \"bird_aggr.cfg\";",
            "1:9 Unable to open included file /etc/bird_aggr.cfg: No such file or directory",
        ),
        ("router id 300.1.1.1;", "1:11 Invalid IPv4 address 300.1.1.1"),
        ("router id;", "1:10 syntax error"),
        ("protocol kernel {\n  export filter nobody;\n}", "2:23 No such filter."),
        ("filter f { g(); }", "1:15 You can't call something which is not a function. Really."),
        ("filter f { if net ~ 10.0.0.1/8 then accept; }", "1:30 Invalid prefix"),
        ("bogus;", "1:6 syntax error"),
        ("protocol bfd { }", "1:10 bfd is not supported"),
        ("filter f { print \"x\"; accept; }", "1:12 print is not supported"),
    ];
    for (file, said) in cases {
        assert_eq!(text(file).expect_err(file), format!("/etc/bird.cfg:{said}"), "{file}");
    }
}

#[test]
fn what_would_grow_without_end_is_refused() {
    let filter = |condition: &str| format!("filter f {{ if {condition} then accept; }}");
    let calling = |count: usize, call: &str| {
        let functions = (1..=count)
            .map(|n| format!("function f{n}() {{ {} }}\n", call.replace('N', &(n - 1).to_string())));
        format!("function f0() {{ reject; }}\n{}", functions.collect::<String>())
    };
    let cases = [
        (filter(&["true"; 300].join(" || ")), "Expression too long"),
        (filter(&format!("1{} = 2", " + 1".repeat(300))), "Expression too long"),
        (filter(&format!("net{} = 2", ".len".repeat(300))), "Expression too long"),
        (filter(&format!("{}true{}", "(".repeat(100), ")".repeat(100))), "Nested too deeply"),
        (filter(&format!("{}true", "!".repeat(100))), "Nested too deeply"),
        (format!("filter f {}{}", "{".repeat(100), "}".repeat(100)), "Nested too deeply"),
        (calling(17, "fN();"), "Nested too deeply"),
        (calling(16, "fN(); fN(); fN();"), "Filter too long"),
    ];
    for (file, said) in cases {
        let error = text(&file).expect_err(&file);
        assert!(error.ends_with(said), "{error}");
    }
}

#[test]
fn all_files_together_are_bounded() {
    let read = |path: &Path| match path.to_str() {
        Some("/etc/bird.cfg") => Ok("include \"large.cfg\";".to_owned()),
        _ => Ok(" ".repeat(lang::OCTETS_MAX)),
    };
    let error = lang::parse(Path::new("/etc/bird.cfg"), Version::V4, &read).expect_err("too large");
    assert_eq!(error.to_string(), "/etc/bird.cfg:1:9 Configuration too large");
}

/// The longest expression in the deepest function, in a thread with the stack that the core's has.
#[test]
fn what_is_not_refused_is_evaluated_on_a_usual_stack() {
    let longest = ["true"; 256].join(" && ");
    let nested = |inner: &str| format!("{}{inner}{}", "if true then { ".repeat(30), "}".repeat(30));
    let mut file = format!("router id 10.0.0.1;\nfunction f0() {{ {} }}\n", nested("f();"))
        .replace("f();", &format!("if {longest} then accept;"));
    for n in 1..16 {
        file += &format!("function f{n}() {{ {} }}\n", nested(&format!("f{}();", n - 1)));
    }
    file += &format!("filter f {{ {} }}\nprotocol kernel {{ export filter f; }}\n", nested("f15();"));
    let accepted = std::thread::spawn(move || {
        let config = text(&file).expect("a configuration at its limits");
        judge(filter(&config.protocols[0].channel.export), Stage::ToKernel, &ROUTE).is_some()
    });
    assert!(accepted.join().expect("no overflow"));
}

/// A session's filters, as Calico writes them, and one filter for the kernel.
const SESSION: &str = "router id 10.0.0.1;
function calico_aggr (bool same) {
  if ( net = 192.168.1.0/26 ) then { accept; }
  if ( net ~ 192.168.1.0/26 && krt_metric < 1024 ) then { accept; }
  if ( net ~ 192.168.1.0/26 ) then { reject; }
  if (!same) then { if (((1, 2) ~ bgp_community)) then { bgp_path.prepend(65009); accept; } }
}
filter calico_kernel_programming {
  if (defined(source) && (source = RTS_BGP) && !defined(krt_metric)) then {
    krt_metric = 1024;
    if (defined(bgp_local_pref)) then { krt_metric = 2147483647 - bgp_local_pref; }
  }
  if (net ~ 172.16.0.0/16) then { krt_tunnel=\"tunl0\"; accept; }
  if ((bgp_path ~ [= 7 * =])) then { reject; }
  accept;
}
protocol kernel { export filter calico_kernel_programming; }
protocol bgp Mesh_10_0_0_2 {
  local as 64512; neighbor 10.0.0.2 as 64512;
  import filter {
    if (defined(bgp_local_pref)&&(bgp_local_pref > 2147482623)) then preference = 200;
    accept;
  };
  export filter {
    if (defined(source) && source = RTS_BGP && defined(bgp_local_pref)) then {
      krt_metric = 2147483647 - bgp_local_pref;
    } else {
      if (!defined(krt_metric)) then { krt_metric = 1024; }
      bgp_local_pref = 2147483647 - krt_metric;
    }
    calico_aggr(false);
    if (bgp_med < 5 || true && net ~ 192.168.0.0/16) then accept;
    reject;
  };
}
";

struct Route {
    prefix: &'static str,
    provenance: Provenance,
    metric: Option<u32>,
    local_pref: Option<u32>,
    communities: &'static [u32],
    path: &'static [u32],
}

const ROUTE: Route = Route {
    prefix: "192.168.9.0/26",
    provenance: Provenance::Bgp,
    metric: None,
    local_pref: Some(100),
    communities: &[],
    path: &[7],
};

/// Whether the policy lets the route through; then its attributes and marks.
fn judge(policy: &Policy, stage: Stage, route: &Route) -> Option<(AttrSet, Marks)> {
    let mut attrs = AttrSetBuilder::new(NextHop::from(IpAddr::from([10, 0, 0, 9])));
    let path: Vec<Asn> = route.path.iter().map(|asn| Asn(*asn)).collect();
    let communities: Vec<Community> = route.communities.iter().map(|c| Community(*c)).collect();
    attrs.origin(Origin::Igp).as_path(&path).communities(&communities).local_pref(route.local_pref);
    let attrs = attrs.build();
    let nlri = Nlri::Prefix(route.prefix.parse().expect("a prefix"));
    let subject = Subject {
        family: Family::IPV4_UNICAST,
        nlri: &nlri,
        attrs: &attrs,
        source: EntryId::LOCAL,
        local_asn: Asn(64512),
        local_addr: None,
        stage,
        facts: Facts {
            provenance: route.provenance,
            preference: 100,
            metric: route.metric,
            ..Facts::default()
        },
    };
    match policy.evaluate(&subject) {
        Verdict::Accept { edited, marks, .. } => Some((edited.unwrap_or(attrs), marks)),
        Verdict::Reject { .. } => None,
    }
}

fn filter(choice: &FilterChoice) -> &Policy {
    match choice {
        FilterChoice::Filter(policy) => policy,
        FilterChoice::All | FilterChoice::None => panic!("a filter"),
    }
}

#[test]
fn filters_do_to_routes_what_bird_s_do() {
    let config = text(SESSION).expect("a configuration");
    let kernel = filter(&config.protocols[0].channel.export);
    let (import, export) =
        (filter(&config.protocols[1].channel.import), filter(&config.protocols[1].channel.export));
    let metric = |local_pref| {
        let route = Route { local_pref: Some(local_pref), path: &[8], ..ROUTE };
        judge(kernel, Stage::ToKernel, &route).and_then(|(_, marks)| marks.metric)
    };
    assert_eq!(metric(100), Some(2_147_483_547));
    assert_eq!(metric(2_147_482_623), Some(1024));
    assert_eq!(metric(2_147_483_647), Some(0));
    assert_eq!(metric(2_147_483_648), Some(4_294_967_295), "32 bits, and they wrap");
    assert!(judge(kernel, Stage::ToKernel, &ROUTE).is_none(), "the path's pattern rejects");
    let own = Route { provenance: Provenance::Static, local_pref: None, path: &[], ..ROUTE };
    assert!(
        judge(kernel, Stage::ToKernel, &own).is_none(),
        "a pattern on no path is an error, and an error rejects"
    );
    let preference = |local_pref| {
        let route = Route { local_pref: Some(local_pref), ..ROUTE };
        judge(import, Stage::Import, &route).and_then(|(_, marks)| marks.preference)
    };
    assert_eq!((preference(2_147_482_623), preference(2_147_482_624)), (None, Some(200)));
    let block = Route { prefix: "192.168.1.0/26", ..own };
    let (told, _) = judge(export, Stage::ToInternal, &block).expect("told");
    assert_eq!(told.local_pref(), Some(2_147_482_623));
    let pod = |metric| Route { prefix: "192.168.1.5/32", provenance: Provenance::Inherited, metric, ..own };
    assert!(judge(export, Stage::ToInternal, &pod(Some(1024))).is_none());
    assert!(judge(export, Stage::ToInternal, &pod(Some(512))).is_some(), "live migration leaves the block");
    let tagged = Route { communities: &[0x1_0002], ..ROUTE };
    let (told, marks) = judge(export, Stage::ToExternal, &tagged).expect("told");
    assert!(marks.is_own_as_prepended);
    assert_eq!(told.as_path().iter().map(|asn| asn.0).collect::<Vec<_>>(), [65009, 64512, 7]);
    // `&&` and `||` bind alike: (absent < 5 || true) && in the pool.
    assert!(judge(export, Stage::ToInternal, &ROUTE).is_some());
    assert!(judge(export, Stage::ToInternal, &Route { prefix: "10.9.0.0/16", ..ROUTE }).is_none());
}

proptest! {
    /// Nothing that somebody could write makes the parser do anything but answer.
    #[test]
    fn any_text_is_read_or_refused(cuts in prop::collection::vec((any::<prop::sample::Index>(), "[{}();=~!a-z0-9./\" ]{0,4}"), 1..6)) {
        let mut file = SESSION.to_owned();
        for (at, with) in cuts {
            let at = at.index(file.len());
            let to = (at + with.len()).min(file.len());
            file.replace_range(at..to, &with);
        }
        if let Err(error) = text(&file) {
            prop_assert!(error.starts_with("/etc/bird.cfg:"), "{error}");
        }
    }
}
