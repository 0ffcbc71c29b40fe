//! What the audience sees: one line a step, with how long it took, and the output of commands as a terminal shows it.

use std::cell::Cell;
use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;

const WIDTH: usize = 78;
/// Lines shown of one command's output.
const TERMINAL_LINES_MAX: usize = 24;

/// The stage: it counts the checks that failed.
#[derive(Debug)]
pub(super) struct Show {
    colour: bool,
    live: bool,
    passed: Cell<u32>,
    failed: Cell<u32>,
    began: Instant,
}

/// How a text is emphasised.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tone {
    /// A heading or a command.
    Bold,
    /// A detail.
    Faint,
    /// A success.
    Good,
    /// A failure.
    Bad,
}

impl Show {
    /// Colours and live lines only on a terminal; no colours with NO_COLOR.
    pub(super) fn new() -> Self {
        let live = io::stdout().is_terminal();
        let colour = live && env::var_os("NO_COLOR").is_none();
        Show { colour, live, passed: Cell::new(0), failed: Cell::new(0), began: Instant::now() }
    }

    /// Emphasised, where there are colours.
    pub(super) fn tone(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Bold => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// One line. A closed terminal loses it and nothing else.
    pub(super) fn line(&self, text: &str) {
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// An empty line and a heading.
    pub(super) fn heading(&self, text: &str) {
        self.line(&format!("\n{}", self.tone(Tone::Bold, text)));
    }

    /// A step that must succeed for the show to go on. Its line ends with the time it took.
    pub(super) fn step<T>(&self, text: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.live {
            let _ = write!(io::stdout(), "  {} {text}", self.tone(Tone::Faint, "…"));
            let _ = io::stdout().flush();
        }
        let began = Instant::now();
        let result = work();
        self.verdict(result.is_ok(), text, Some(began.elapsed()));
        result
    }

    /// A check that may fail without ending the show.
    pub(super) fn check(&self, passed: bool, text: &str) {
        self.verdict(passed, text, None);
    }

    fn verdict(&self, passed: bool, text: &str, took: Option<Duration>) {
        let (mark, count) = match passed {
            true => (self.tone(Tone::Good, "✓"), &self.passed),
            false => (self.tone(Tone::Bad, "✗"), &self.failed),
        };
        count.set(count.get() + 1);
        let start = if self.live { "\r\x1b[K" } else { "" };
        let time = took.map(|took| {
            let pad = WIDTH.saturating_sub(text.chars().count() + 4);
            format!("{:>pad$}", time(took))
        });
        self.line(&format!("{start}  {mark} {text}{}", self.tone(Tone::Faint, &time.unwrap_or_default())));
    }

    /// A command and what it printed, indented.
    pub(super) fn terminal(&self, place: &str, command: &str, output: &str) {
        let prompt = self.tone(Tone::Faint, &format!("{place} $"));
        self.line(&format!("  {prompt} {}", self.tone(Tone::Bold, command)));
        let lines: Vec<&str> = output.trim_end().lines().collect();
        lines.iter().take(TERMINAL_LINES_MAX).for_each(|line| self.line(&format!("    {}", line.trim_end())));
        if let Some(more) = lines.len().checked_sub(TERMINAL_LINES_MAX).filter(|more| *more > 0) {
            self.line(&self.tone(Tone::Faint, &format!("    ... {more} more lines")));
        }
    }

    /// The last line; true when every check passed.
    pub(super) fn end(&self) -> bool {
        let (passed, failed, took) = (self.passed.get(), self.failed.get(), time(self.began.elapsed()));
        let text = match failed {
            0 => self.tone(Tone::Good, &format!("All {passed} checks passed in {took}.")),
            _ => self.tone(Tone::Bad, &format!("{failed} of {} checks failed.", passed + failed)),
        };
        self.line(&format!("\n{text}"));
        failed == 0
    }
}

impl Default for Show {
    fn default() -> Self {
        Self::new()
    }
}

/// Milliseconds below a second, seconds above.
pub(super) fn time(duration: Duration) -> String {
    match duration.as_millis() {
        0..1000 => format!("{} ms", duration.as_millis()),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_check_fails_the_show() {
        let show = Show::new();
        show.check(true, "one");
        assert!(show.end());
        show.check(false, "two");
        assert!(!show.end());
    }

    #[test]
    fn times_read_well() {
        assert_eq!(time(Duration::from_micros(4200)), "4 ms");
        assert_eq!(time(Duration::from_millis(2340)), "2.3 s");
    }
}
