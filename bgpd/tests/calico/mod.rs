//! What stands around BIRD in Calico's node image: the files that confd writes, how it writes them, and the programs that read the
//! control socket, from their description.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::daemon::Daemon;
use lab::net::Node;
use lab::peers::ours::binary;
use lab::wait::{self, SOON};
use lab::{sandbox, shell};

/// The priority of a route that nothing was said of.
pub(crate) const NORMAL: u32 = 1024;

/// What a node's files say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    /// The node's address.
    pub(crate) ip: String,
    /// Nodes of the mesh, this one left out.
    pub(crate) mesh: Vec<String>,
    /// Blocks of this node.
    pub(crate) blocks: Vec<String>,
    /// Pools.
    pub(crate) pools: Vec<String>,
    /// Whether sessions restart gracefully.
    pub(crate) graceful: bool,
}

impl Files {
    /// `bird.cfg`.
    fn main(&self) -> String {
        let mut text = format!(
            "include \"bird_aggr.cfg\";\ninclude \"bird_ipam.cfg\";\nrouter id {ip};\n\
             protocol kernel {{\n  learn;\n  persist;\n  scan time 2;\n  import all;\n\
             \x20 export filter calico_kernel_programming;\n  graceful restart;\n  merge paths on;\n}}\n\
             protocol device {{\n  scan time 2;\n}}\n\
             protocol direct {{\n  interface -\"cali*\", -\"kube-ipvs*\", \"*\"; # all others\n}}\n\
             template bgp bgp_template {{\n  description \"Connection to BGP peer\";\n  local as 64512;\n\
             \x20 gateway recursive;\n  add paths on;\n{graceful}  connect delay time 2;\n\
             \x20 connect retry time 5;\n  error wait time 5,30;\n}}\n",
            ip = self.ip,
            graceful = if self.graceful { "  graceful restart;\n" } else { "" },
        );
        for peer in &self.mesh {
            text += &self.session(peer);
        }
        text
    }

    fn session(&self, peer: &str) -> String {
        // As texts, not as numbers: both ends must come to the same result.
        let passive = if peer > self.ip.as_str() { "  passive on;\n" } else { "" };
        format!(
            "protocol bgp Mesh_{} from bgp_template {{\n  neighbor {peer} as 64512;\n  source address {ip};\n\
             \x20 ttl security off;\n  multihop;\n  import filter {{\n\
             \x20   if (defined(bgp_local_pref)&&(bgp_local_pref > {threshold})) then\n      preference = 200;\n\
             \x20   accept;\n  }};\n  export filter {{\n\
             \x20   if (defined(source) && source = RTS_BGP && defined(bgp_local_pref)) then {{\n\
             \x20     krt_metric = 2147483647 - bgp_local_pref;\n    }} else {{\n\
             \x20     if (!defined(krt_metric)) then {{ krt_metric = {NORMAL}; }}\n\
             \x20     bgp_local_pref = 2147483647 - krt_metric;\n    }}\n\
             \x20   calico_export_to_bgp_peers(true);\n    reject;\n  }};\n{passive}}}\n",
            peer.replace('.', "_"),
            ip = self.ip,
            threshold = 2_147_483_647 - NORMAL,
        )
    }

    /// `bird_aggr.cfg`.
    fn aggregates(&self) -> String {
        let mut text = "protocol static {\n".to_owned();
        for block in &self.blocks {
            text += &format!("  route {block} blackhole;\n");
        }
        text += "}\nfunction apply_communities ()\n{\n}\nfunction calico_aggr ()\n{\n";
        for block in &self.blocks {
            text += &format!(
                "  if ( net = {block} ) then {{ accept; }}\n  if ( net ~ {block} && krt_metric < {NORMAL} ) then {{ accept; }}\n\
                 \x20 if ( net ~ {block} ) then {{ reject; }}\n"
            );
        }
        text + "}\n"
    }

    /// `bird_ipam.cfg`.
    fn pools(&self) -> String {
        let accepts: String =
            self.pools.iter().map(|pool| format!("  if (net ~ {pool}) then {{ accept; }}\n")).collect();
        format!(
            "function calico_export_to_bgp_peers(bool internal_peer) {{\n  if (internal_peer) then {{\n\
             \x20   if (defined(ifname)) then {{\n\
             \x20     if ((ifname ~ \"*.cali\") || (ifname ~ \"*.calico\")) then {{ reject; }}\n    }}\n  }}\n\
             \x20 apply_communities();\n  calico_aggr();\n{accepts}}}\n\
             filter calico_kernel_programming {{\n\
             \x20 if (defined(source) && (source = RTS_BGP) && !defined(krt_metric)) then {{\n\
             \x20     krt_metric = {NORMAL};\n      if (defined(bgp_local_pref)) then {{\n\
             \x20         krt_metric = 2147483647 - bgp_local_pref;\n      }}\n\
             \x20     if (krt_metric < {NORMAL}) then {{\n          preference = 200;\n      }}\n  }}\n{accepts}  accept;\n}}\n"
        )
    }

    /// Writes all files, each under another name first.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        rename(directory, "bird_ipam.cfg", &self.pools())?;
        rename(directory, "bird_aggr.cfg", &self.aggregates())?;
        rename(directory, "bird.cfg", &self.main())
    }
}

/// Writes a file as confd does: beside the place, then into it.
pub(crate) fn rename(directory: &Path, name: &str, text: &str) -> Result<()> {
    let staged = directory.join(format!(".{name}1234"));
    fs::write(&staged, text)?;
    fs::rename(&staged, directory.join(name))?;
    Ok(())
}

/// Our daemon as `bird` in a node.
pub(crate) struct Bird {
    node: Node,
    /// Where its files are.
    pub(crate) directory: PathBuf,
    /// Where it answers.
    pub(crate) socket: PathBuf,
    links: PathBuf,
    /// The process.
    pub(crate) daemon: Daemon,
}

impl Bird {
    /// Makes the links, writes the files, starts the daemon and waits for its socket.
    pub(crate) fn start(node: &Node, files: &Files) -> Result<Bird> {
        let work = sandbox::work()?;
        let directory = work.join(format!("calico-{}", node.name));
        files.write(&directory)?;
        let links = work.join("bin");
        fs::create_dir_all(&links)?;
        let mut install = std::process::Command::new(binary()?);
        shell::read(install.arg("bird-links").arg(&links))?;
        let socket = work.join(format!("bird-{}.ctl", node.name));
        let daemon = launch(node, &links, &directory, &socket)?;
        let bird = Bird { node: node.clone(), directory, socket, links, daemon };
        bird.wait_answer()?;
        Ok(bird)
    }

    fn wait_answer(&self) -> Result<()> {
        wait::until("bird answers", SOON, || {
            self.daemon.alive()?;
            self.say("show status").map(drop)
        })
    }

    /// `kill -9`, and up again.
    pub(crate) fn kill_and_start(&mut self) -> Result<()> {
        self.daemon.kill();
        self.daemon = launch(&self.node, &self.links, &self.directory, &self.socket)?;
        self.wait_answer()
    }

    /// One command, and the lines of its reply as they come.
    pub(crate) fn say(&self, command: &str) -> Result<Vec<String>> {
        Dialogue::open(&self.socket)?.say(command)
    }

    /// What `birdcl` prints.
    pub(crate) fn client(&self, words: &[&str]) -> Result<String> {
        let mut command = std::process::Command::new(self.links.join("birdcl"));
        shell::read(command.arg("-s").arg(&self.socket).args(words))
    }

    /// Whether Calico's readiness probe is content: all sessions up, no recovery.
    pub(crate) fn ready(&self) -> Result<usize> {
        readiness(&self.socket)
    }
}

fn launch(node: &Node, links: &Path, directory: &Path, socket: &Path) -> Result<Daemon> {
    let program = links.join("bird");
    let mut command = node.command(program.to_str().context("a path")?);
    command.arg("-R").arg("-s").arg(socket).arg("-d").arg("-c").arg(directory.join("bird.cfg"));
    Daemon::spawn(&format!("bird-{}", node.name), command)
}

/// A connection to the control socket.
pub(crate) struct Dialogue {
    read: BufReader<UnixStream>,
    write: UnixStream,
}

impl Dialogue {
    /// Connects and reads the greeting.
    pub(crate) fn open(socket: &Path) -> Result<Dialogue> {
        let write = UnixStream::connect(socket)?;
        write.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut dialogue = Dialogue { read: BufReader::new(write.try_clone()?), write };
        let greeting = dialogue.line()?;
        ensure!(greeting.starts_with("0001 BIRD v") && greeting.ends_with(" ready."), "{greeting}");
        Ok(dialogue)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.read.read_line(&mut line)? > 0, "closed");
        Ok(line.trim_end_matches('\n').to_owned())
    }

    /// Sends commands, reading nothing, until the daemon takes no more.
    pub(crate) fn ask_without_end(&mut self) -> Result<()> {
        self.write.set_nonblocking(true)?;
        let many = "show route all\nshow protocols all\n".repeat(1000);
        loop {
            match self.write.write(many.as_bytes()) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a command and reads to the end of the reply.
    pub(crate) fn say(&mut self, command: &str) -> Result<Vec<String>> {
        self.write.write_all(format!("{command}\n").as_bytes())?;
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let is_coded = line.get(..4).is_some_and(|code| code.bytes().all(|c| c.is_ascii_digit()));
            let is_last = is_coded && line.as_bytes().get(4) == Some(&b' ');
            lines.push(line);
            if is_last {
                return Ok(lines);
            }
        }
    }
}

/// The readiness probe: anything unknown is an error. Returns how many sessions are established, all of them.
pub(crate) fn readiness(socket: &Path) -> Result<usize> {
    let mut established = 0;
    for line in Dialogue::open(socket)?.say("show protocols")? {
        let row = match line.get(..4) {
            Some("0000" | "0001") => continue,
            Some("2002") => {
                let heading: Vec<&str> = line[5..].split_whitespace().collect();
                ensure!(heading == ["name", "proto", "table", "state", "since", "info"], "{heading:?}");
                continue;
            }
            Some("1002") => &line[5..],
            _ if line.starts_with(' ') => &line[1..],
            _ => bail!("unexpected line {line:?}"),
        };
        let fields: Vec<&str> = row.split_whitespace().collect();
        let is_session = fields.len() >= 6
            && fields[1] == "BGP"
            && ["Global_", "Node_", "Mesh_"].iter().any(|kind| fields[0].starts_with(kind));
        if is_session {
            ensure!(fields[5] == "Established", "BGP not established: {row}");
            established += 1;
        }
    }
    for line in Dialogue::open(socket)?.say("show status")? {
        match line.get(..4) {
            Some("0024") => bail!("graceful restart in progress"),
            Some("0001" | "1000" | "1011" | "0013") => {}
            _ if line.starts_with(' ') => {}
            _ => bail!("unexpected line {line:?}"),
        }
    }
    Ok(established)
}

/// The status reporter's reading of `show route`: any line it does not know makes the whole report fail. Returns (destination, gateway or
/// kind, in the kernel's table).
pub(crate) fn reported_routes(lines: &[String]) -> Result<Vec<(String, String, bool)>> {
    let mut all: Vec<(String, String, bool)> = Vec::new();
    for line in lines {
        let row = match line.get(..4) {
            Some("0000" | "0001") => continue,
            Some("1007") => &line[5..],
            _ if line.starts_with(' ') => &line[1..],
            _ => bail!("unexpected line {line:?}"),
        };
        let (left, right) = row.split_once('[').with_context(|| format!("no [ in {row:?}"))?;
        let mut words: Vec<&str> = left.split_whitespace().collect();
        let dest = match words.first() {
            Some(first) if first.contains('/') => words.remove(0).to_owned(),
            _ => all.last().map(|(dest, _, _)| dest.clone()).context("a row without a destination")?,
        };
        let kind = match words.as_slice() {
            ["via", gateway, "on", _] => (*gateway).to_owned(),
            ["dev", interface] => format!("dev {interface}"),
            [kind @ ("blackhole" | "unreachable")] => (*kind).to_owned(),
            _ => bail!("unexpected route {row:?}"),
        };
        let from = right.split_whitespace().next().unwrap_or_default();
        let known = ["kernel", "static", "direct", "Global_", "Node_", "Mesh_"];
        ensure!(known.iter().any(|k| from.starts_with(k)), "unexpected source {row:?}");
        all.push((dest, kind, row.contains("] *")));
    }
    Ok(all)
}
