//! The rows passed by each daemon side by side, as the README shows them.
//!
//! A run of all rows leaves what became of them in `target/tmp/conformance/DAEMON.txt`, one row a line, so that the table can be
//! drawn again from runs made one by one (`--kept`). `--write` puts it between the marks in the README, and what was not
//! passed, with its reason, into `docs/conformance.md`.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::dut::{Make, NO_WORD, WHICH};
use crate::{Outcomes, SECTIONS, rows_of};

const MARKS: [&str; 2] = ["<!-- conformance -->\n", "<!-- end of conformance -->"];
/// Set where rows take the minutes that their text asks for.
pub(crate) const LONG: &str = "CONFORMANCE_LONG";
const REASON_CHARS_MAX: usize = 160;

/// Runs every row against every daemon, one after the other, and prints Markdown.
pub(crate) fn print() -> ExitCode {
    match draw() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "{why:#}");
            ExitCode::FAILURE
        }
    }
}

fn draw() -> Result<()> {
    let asked = |word: &str| env::args().any(|argument| argument == word);
    if !asked("--kept") {
        Make::ALL.into_iter().try_for_each(run)?;
    }
    let results = Make::ALL.map(|make| kept(make).map(|outcomes| (make, outcomes)));
    let results: Vec<_> = results.into_iter().collect::<Result<_>>()?;
    let (table, losses) = (render(&results), losses(&results));
    io::stdout().write_all(format!("{table}\n{losses}").as_bytes())?;
    if asked("--write") {
        write(&table, &losses)?;
    }
    Ok(())
}

/// A run of its own for each daemon, because which it is a case learns from the environment; that rows are not passed is
/// what it is for. What became of them is kept, and what was kept before is gone.
fn run(make: Make) -> Result<()> {
    writeln!(io::stderr(), "{} {}", make.title(), make.version())?;
    let (file, log) = (kept_in(make)?, directory()?.join(format!("{}.log", make.word())));
    if file.exists() {
        fs::remove_file(&file)?;
    }
    let mut rows = Command::new(env::current_exe()?);
    rows.arg("--quiet").stdout(fs::File::create(log)?).env(WHICH, make.word()).env(LONG, "1");
    rows.status()?;
    Ok(())
}

fn kept_in(make: Make) -> Result<PathBuf> {
    Ok(directory()?.join(format!("{}.txt", make.word())))
}

fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

fn write(table: &str, losses: &str) -> Result<()> {
    let readme = workspace().join("README.md");
    let text = fs::read_to_string(&readme)?;
    let (before, rest) = text.split_once(MARKS[0]).context("the README has no mark for the table")?;
    let (_, after) = rest.split_once(MARKS[1]).context("the README has no mark for the table's end")?;
    fs::write(&readme, [before, MARKS[0], "\n", table, "\n", MARKS[1], after].concat())?;
    let intro = "# Conformance\n\nRows of the behaviour table by section, and how many of them each daemon passes, in Debian 12's \
                 version, seen over TCP.\nDrawn by `cargo conformance --write`. A row asks for all that its line says: a \
                 right reset with the wrong data in its NOTIFICATION is not passed,\nnor a row that is passed when messages \
                 come whole but not octet by octet or glued to others.\n\n";
    fs::write(
        workspace().join("docs/conformance.md"),
        [intro, table, "\n## Not passed\n\n", losses].concat(),
    )?;
    Ok(())
}

fn directory() -> Result<PathBuf> {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Leaves what became of all rows.
pub(crate) fn keep(make: Make, outcomes: &Outcomes) -> Result<()> {
    let line = |(name, why): (&&str, &Option<String>)| match why {
        None => format!("{name} passed\n"),
        Some(why) => format!("{name} {}\n", reason(why)),
    };
    let text: String = outcomes.iter().map(line).collect();
    Ok(fs::write(kept_in(make)?, text)?)
}

fn kept(make: Make) -> Result<Outcomes> {
    let text =
        fs::read_to_string(kept_in(make)?).with_context(|| format!("{} has not been run", make.title()))?;
    let lines: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let rows = SECTIONS.iter().flat_map(|(_, parts)| rows_of(parts));
    let outcome = |name: &'static str| match lines.get(name) {
        Some(&"passed") => (name, None),
        Some(why) => (name, Some((*why).to_owned())),
        None => (name, Some("not run".to_owned())),
    };
    Ok(rows.map(|(name, _)| outcome(name)).collect())
}

/// Why a row failed, in a line: what the case itself said at last, without what was heard before.
fn reason(why: &str) -> String {
    let last = why.split("\n---- ").last().unwrap_or(why);
    let said = last
        .lines()
        .skip(1)
        .find(|line| !line.trim().is_empty())
        .unwrap_or(last.lines().next().unwrap_or(""));
    let short =
        said.split("; connection").next().unwrap_or(said).split("; heard last").next().unwrap_or(said);
    short.chars().take(REASON_CHARS_MAX).collect()
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
        let first = names.first().and_then(|name| name.chars().next()).unwrap_or_default();
        let _ = write!(text, "| {} {title} | {} |", first.to_ascii_uppercase(), names.len());
        line(&mut text, results, &names, "");
    }
    let all: Vec<&str> =
        SECTIONS.iter().flat_map(|(_, parts)| rows_of(parts)).map(|(name, _)| *name).collect();
    let _ = write!(text, "| **all** | **{}** |", all.len());
    line(&mut text, results, &all, "**");
    text
}

fn line(text: &mut String, results: &[(Make, Outcomes)], names: &[&str], strong: &str) {
    for (_, outcomes) in results {
        let passed = names.iter().filter(|name| outcomes.get(**name).is_some_and(Option::is_none)).count();
        let _ = write!(text, " {strong}{passed}{strong} |");
    }
    text.push('\n');
}

/// What was not passed, by daemon: what it cannot be configured for in a line, everything else with its reason.
fn losses(results: &[(Make, Outcomes)]) -> String {
    let mut text = String::new();
    for (make, outcomes) in results {
        let _ = writeln!(text, "### {} {}\n", make.title(), make.version());
        let failed =
            outcomes.iter().filter_map(|(name, why)| Some((name.to_ascii_uppercase(), why.as_ref()?)));
        let (unable, failed): (Vec<_>, Vec<_>) = failed.partition(|(_, why)| why.contains(NO_WORD));
        for (name, why) in failed {
            let _ = writeln!(text, "* {name}: `{}`", reason(why).replace('`', "'"));
        }
        if !unable.is_empty() {
            let names: Vec<String> = unable.into_iter().map(|(name, _)| name).collect();
            let _ = writeln!(text, "* no option for it: {}", names.join(" "));
        }
        text.push('\n');
    }
    text
}
