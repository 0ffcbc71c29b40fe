//! The command line of `bird`: BIRD's own letters, in BIRD's own manner.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bgp_proto::Version;

use super::VERSION;
use super::run::{self, Start};

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Run { config: PathBuf, socket: PathBuf, pid_file: Option<PathBuf>, parse_only: bool },
    Version,
    Help,
}

/// Runs the daemon as `arguments` (without the program's name) say.
pub fn main(version: Version, arguments: &[String]) -> ExitCode {
    let name = match version {
        Version::V4 => "bird",
        Version::V6 => "bird6",
    };
    let mut err = io::stderr();
    // Nothing more can be done where standard error is closed.
    let asked = match parse(name, arguments) {
        Ok(asked) => asked,
        Err(error) => {
            let _ = writeln!(err, "{name}: {error}\n{}", usage(name));
            return ExitCode::FAILURE;
        }
    };
    let (config, socket, pid_file, parse_only) = match asked {
        Asked::Version => {
            let _ = writeln!(err, "BIRD version {VERSION}");
            return ExitCode::SUCCESS;
        }
        Asked::Help => {
            let _ = writeln!(err, "{}", usage(name));
            return ExitCode::SUCCESS;
        }
        Asked::Run { config, socket, pid_file, parse_only } => (config, socket, pid_file, parse_only),
    };
    let start = Start { version, config, socket, pid_file };
    let done = if parse_only { run::check(&start) } else { run::run(&start) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(err, "{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(name: &str) -> String {
    format!(
        "Usage: {name} [--version] [--help] [-c <config-file>] [OPTIONS]\n\n\
         Options:\n\
         \x20 -c <config-file>     Use given configuration file instead\n\
         \x20 -d, -f               Run in foreground (the only way there is); messages go to stderr\n\
         \x20 -h, --help           Display this information\n\
         \x20 -l                   Look for configuration file and control socket in current directory\n\
         \x20 -p                   Test configuration file and exit without start\n\
         \x20 -P <pid-file>        Create a PID file with given filename\n\
         \x20 -R                   Apply graceful restart recovery after start (always done)\n\
         \x20 -s <control-socket>  Use given filename for a control socket\n\
         \x20 --version            Display version"
    )
}

fn parse(name: &str, arguments: &[String]) -> Result<Asked, String> {
    let mut config = PathBuf::from(format!("/usr/local/etc/{name}.conf"));
    let mut socket = default_socket(name);
    let (mut pid_file, mut parse_only) = (None, false);
    match arguments.first().map(String::as_str) {
        Some("--version") => return Ok(Asked::Version),
        Some("--help") => return Ok(Asked::Help),
        _ => {}
    }
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let letters = argument.strip_prefix('-').filter(|l| !l.is_empty() && !l.starts_with('-'));
        let Some(letters) = letters else { return Err(format!("unexpected argument {argument}")) };
        for (at, letter) in letters.char_indices() {
            let rest = letters.get(at + letter.len_utf8()..).unwrap_or_default();
            match letter {
                'd' | 'f' | 'R' => continue,
                'p' => parse_only = true,
                'l' => {
                    config = PathBuf::from(format!("{name}.conf"));
                    socket = PathBuf::from(format!("{name}.ctl"));
                }
                'h' => return Ok(Asked::Help),
                'c' | 's' | 'P' | 'D' | 'u' | 'g' => {
                    let value =
                        if rest.is_empty() { arguments.next().cloned() } else { Some(rest.to_owned()) };
                    let value = value.ok_or_else(|| format!("option -{letter} needs an argument"))?;
                    match letter {
                        'c' => config = value.into(),
                        's' => socket = value.into(),
                        'P' => pid_file = Some(value.into()),
                        _ => return Err(format!("option -{letter} is not supported")),
                    }
                    break;
                }
                _ => return Err(format!("unknown option -{letter}")),
            }
        }
    }
    Ok(Asked::Run { config, socket, pid_file, parse_only })
}

/// Where Calico's node image has the socket of the daemon called `name`.
pub(super) fn default_socket(name: &str) -> PathBuf {
    Path::new("/var/run/calico").join(format!("{name}.ctl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn calico_s_command_lines_are_understood() {
        let line = "-R -s /var/run/calico/bird.ctl -d -c /etc/calico/confd/config/bird.cfg";
        let run = |parse_only| Asked::Run {
            config: "/etc/calico/confd/config/bird.cfg".into(),
            socket: "/var/run/calico/bird.ctl".into(),
            pid_file: None,
            parse_only,
        };
        assert_eq!(parse("bird", &words(line)), Ok(run(false)));
        assert_eq!(parse("bird", &words("-p -c /etc/calico/confd/config/bird.cfg")), Ok(run(true)));
        assert_eq!(parse("bird", &words("-pc/etc/calico/confd/config/bird.cfg")), Ok(run(true)));
        assert_eq!(parse("bird", &words("--version")), Ok(Asked::Version));
    }

    #[test]
    fn what_is_not_supported_is_said() {
        let said = |line: &str| parse("bird", &words(line)).expect_err("refused");
        assert_eq!(said("-x"), "unknown option -x");
        assert_eq!(said("-u nobody"), "option -u is not supported");
        assert_eq!(said("-c"), "option -c needs an argument");
    }
}
