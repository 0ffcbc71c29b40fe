//! Conformance, judged from outside: one case for each row of the behaviour table, over TCP against a running daemon.
//!
//! The suite has a scripted speaker of its own ([`speaker`]) that plays every neighbour: two external ones (E1, E2), two
//! clients (C1, C2) and two others of the same AS (N1, N2), and strangers. A case ([`a`] to [`m`], one function for each
//! row, named after it) starts the daemon with what it needs, says something right or wrong, and expects what the RFC
//! says. "Nothing happened" is proven, not waited for: routes sent behind the stimulus arrive at the observer, so all
//! that was to be told before them has been told ([`bench::Bench::settle`]). After every case the same process runs and a session that had
//! no part in the case is still up.
//!
//! A row is run three times, with what the speaker says in whole messages, octet by octet, and glued to other messages
//! ([`speaker::Form`]), and passed when it is passed in all three. Rows about time or numbers are run once ([`ONCE`]).
//!
//! ```text
//! cargo test -p bgpd --test conformance            # bgpd
//! cargo test -p bgpd --test conformance e4         # one row of it, and those whose name begins with it
//! CONFORMANCE_DUT=frr cargo test ...               # another daemon: bird, frr, gobgp, openbgpd
//! CONFORMANCE_LONG=1 cargo test ...                # with rows that need minutes in full: C13's minute of peace
//! CONFORMANCE_SESSIONS=5000 LAB_LIFE_SECS=900 cargo test --release -p bgpd --test conformance -- --exact m1
//!                                                  # a row about scale at its full size: g16, m1, m2, m3, m5
//! CONFORMANCE_INTERLEAVINGS=1000 CONFORMANCE_MUTATIONS=1000000 LAB_LIFE_SECS=3600 ... d7, e40
//! cargo conformance                                # all five side by side, as a table
//! cargo conformance --write                        # the same, into the README and docs/conformance.md
//! ```
//!
//! Rows that `bgpd` does not pass yet are in [`expected`]; one that passes although it is listed fails the run, so that
//! the list stays true.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

mod bench;
mod bfd;
mod crowd;
mod dut;
mod expected;
mod f;
mod faults;
mod g;
mod h;
mod i;
mod j;
mod k;
mod l;
mod m;
mod m2;
mod open;
mod plan;
mod routes;
mod speaker;
mod table;
mod wire;

mod a;
mod b;
mod c;
mod d;
mod e;
mod e2;

use bench::Bench;
use dut::Make;
use speaker::Form;

/// A case: the row's name and what happens.
type Row = (&'static str, fn(&mut Bench) -> Result<()>);

/// Names functions as rows.
#[macro_export]
macro_rules! rows {
    ($($row:ident)*) => { pub(crate) const ROWS: &[$crate::Row] = &[$((stringify!($row), $row)),*]; };
}

/// Every section in the order of the table; a long one has its rows in two files.
const SECTIONS: &[(&str, &[&[Row]])] = &[
    ("header and framing", &[a::ROWS]),
    ("OPEN", &[b::ROWS]),
    ("states and timers", &[c::ROWS]),
    ("connection collision", &[d::ROWS]),
    ("UPDATE errors", &[e::ROWS, e2::ROWS]),
    ("propagation and decision", &[f::ROWS]),
    ("route reflection", &[g::ROWS]),
    ("families, roles, capabilities", &[h::ROWS]),
    ("route refresh", &[i::ROWS]),
    ("add-path", &[j::ROWS]),
    ("graceful restart", &[k::ROWS]),
    ("long-lived graceful restart", &[l::ROWS]),
    ("scale and isolation", &[m::ROWS, m2::ROWS]),
];

/// All rows of a section.
fn rows_of(parts: &'static [&'static [Row]]) -> impl Iterator<Item = &'static Row> {
    parts.iter().flat_map(|rows| rows.iter())
}

/// Rows about time, many routes or many sessions, which say themselves how they are spoken: run in one form only.
const ONCE: &[&str] = &[
    "a8", "a9", "a12", "b10", "b11", "c1", "c8", "c9", "c10", "c11", "c13", "c14", "c15", "d7", "d8", "e40",
    "e41", "f6", "f17", "f18", "f19", "f20", "g15", "g16", "i9", "i10", "k13", "m1", "m2", "m3", "m4", "m5",
    "m6", "m7", "m8",
];

/// Cases that run at the same time. They wait most of the time, for timers and for the kernel.
const THREADS: usize = 8;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--table") {
        return table::print();
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    match Make::wanted() {
        Ok(make) => judge(&arguments, make),
        Err(why) => {
            let _ = writeln!(io::stderr(), "{why:#}");
            ExitCode::FAILURE
        }
    }
}

/// What became of each row: `None` passed, in every form.
type Outcomes = BTreeMap<&'static str, Option<String>>;

/// Runs the rows that were asked for, each in its forms.
fn judge(arguments: &Arguments, make: Make) -> ExitCode {
    let outcomes: Arc<Noted> = Arc::default();
    // First every row whole: of another's row that is not passed so it need not be known in which other forms it is not.
    let rows = || SECTIONS.iter().flat_map(|(_, parts)| rows_of(parts));
    let trials = Form::ALL.into_iter().flat_map(|form| rows().map(move |(name, case)| (*name, form, *case)));
    let trials = trials.filter(|(name, form, _)| *form == Form::Whole || !ONCE.contains(name));
    let trials: Vec<Trial> = trials
        .map(|(name, form, case)| {
            let outcomes = Arc::clone(&outcomes);
            let full = format!("{name}{}", form.suffix());
            // Seen beside its name, because it is no failure when it fails.
            let kind =
                expected::reason(&full).filter(|_| make == Make::Ours).map_or("", |_| "not passed yet");
            Trial::test(full.clone(), move || {
                speaker::speak(form);
                if make != Make::Ours && is_lost(&outcomes, name) {
                    return note(&outcomes, name, None).map_err(Failed::from);
                }
                let result = bench::run(make, &full, case).map_err(|why| format!("{why:#}"));
                note(&outcomes, name, result.clone().err())?;
                verdict(make, &full, result).map_err(Failed::from)
            })
            .with_kind(kind)
        })
        .collect();
    let all = trials.len();
    let conclusion = libtest_mimic::run(arguments, trials);
    let outcomes = outcomes.lock().map(|outcomes| outcomes.clone()).unwrap_or_default();
    let is_everything = outcomes.len() == all;
    let mut rows = Outcomes::new();
    for (name, why) in outcomes {
        let row = rows.entry(name).or_default();
        *row = row.take().or(why);
    }
    if is_everything && let Err(why) = table::keep(make, &rows) {
        let _ = writeln!(io::stderr(), "what became of the rows is not kept: {why:#}");
    }
    conclusion.exit_code()
}

/// What became of each row in each form, in the order in which they ended.
type Noted = Mutex<Vec<(&'static str, Option<String>)>>;

fn note(outcomes: &Noted, name: &'static str, why: Option<String>) -> Result<(), String> {
    outcomes.lock().map_err(|_| "a case panicked".to_owned())?.push((name, why));
    Ok(())
}

fn is_lost(outcomes: &Noted, name: &str) -> bool {
    let lost = |outcomes: &Vec<(&str, Option<String>)>| {
        outcomes.iter().any(|(row, why)| *row == name && why.is_some())
    };
    outcomes.lock().is_ok_and(|outcomes| lost(&outcomes))
}

/// What the run says of a row, however it is spoken: inside the sandbox the truth, outside of it whether that was expected.
fn verdict(make: Make, name: &str, result: Result<(), String>) -> Result<(), String> {
    if make != Make::Ours || lab::sandbox::is_inside() {
        return result;
    }
    match (expected::reason(name), result) {
        (None, result) => result,
        (Some(_), Err(_)) => Ok(()),
        (Some(reason), Ok(())) => {
            Err(format!("passes, so take it off the list of expected failures: {reason}"))
        }
    }
}
