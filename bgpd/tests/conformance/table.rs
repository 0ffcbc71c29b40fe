//! The rows passed by each daemon side by side, as the README shows them.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use libtest_mimic::Arguments;

use crate::dut::{Make, NO_WORD};
use crate::{Outcomes, SECTIONS, THREADS, judge, rows_of};

/// Runs every row against every daemon and prints Markdown.
pub(crate) fn print() -> ExitCode {
    let results: Vec<(Make, Outcomes)> = Make::ALL
        .into_iter()
        .map(|make| {
            let _ = writeln!(io::stderr(), "{} {}", make.title(), make.version());
            let arguments = Arguments {
                test_threads: Some(THREADS),
                quiet: true,
                logfile: log(make),
                ..Arguments::default()
            };
            (make, judge(&arguments, make).1)
        })
        .collect();
    match io::stdout().write_all(render(&results).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Where the lines of each run go that nobody reads beside the table.
fn log(make: Make) -> Option<String> {
    let path = std::env::temp_dir().join(format!("conformance-{}.log", make.word()));
    Some(path.to_string_lossy().into_owned())
}

fn render(results: &[(Make, Outcomes)]) -> String {
    let mut text = String::from("| section | rows |");
    for (make, _) in results {
        let _ = write!(text, " {} {} |", make.title(), make.version());
    }
    text.push_str("\n| --- | ---: |");
    text.push_str(&" ---: |".repeat(results.len()));
    text.push('\n');
    for (title, parts) in SECTIONS {
        let names: Vec<&str> = rows_of(parts).map(|(name, _)| *name).collect();
        let letter =
            names.first().and_then(|name| name.chars().next()).unwrap_or_default().to_ascii_uppercase();
        let _ = write!(text, "| {letter} {title} | {} |", names.len());
        results.iter().for_each(|(_, outcomes)| {
            let _ = write!(text, " {} |", passed(outcomes, &names));
        });
        text.push('\n');
    }
    let all: Vec<&str> =
        SECTIONS.iter().flat_map(|(_, parts)| rows_of(parts)).map(|(name, _)| *name).collect();
    let _ = write!(text, "| **all** | **{}** |", all.len());
    for (_, outcomes) in results {
        let _ = write!(text, " **{}** |", passed(outcomes, &all));
    }
    text.push_str("\n\nNot passed:\n\n");
    results.iter().for_each(|(make, outcomes)| losses(&mut text, *make, outcomes, &all));
    text
}

fn passed(outcomes: &Outcomes, names: &[&str]) -> usize {
    names.iter().filter(|name| outcomes.get(**name).is_some_and(Option::is_none)).count()
}

/// One line for the rows that failed and one for those that a make cannot be configured for.
fn losses(text: &mut String, make: Make, outcomes: &Outcomes, names: &[&str]) {
    let failed = |is_word: bool| -> String {
        let of = names.iter().filter(|name| {
            let why = outcomes.get(**name).cloned().flatten();
            why.is_some_and(|why| why.contains(NO_WORD) == is_word)
        });
        of.map(|name| name.to_ascii_uppercase()).collect::<Vec<_>>().join(" ")
    };
    let _ = writeln!(text, "* {}: {}", make.title(), failed(false));
    let unable = failed(true);
    if !unable.is_empty() {
        let _ = writeln!(text, "  (no such option: {unable})");
    }
}
