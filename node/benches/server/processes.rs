//! Real server processes: started, asked what they cost, killed.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use net::serve::Client;

/// A server process and where it answers.
pub(crate) struct Server {
    child: Child,
    /// `127.0.0.1:port`.
    pub(crate) authority: String,
    arguments: Vec<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    fn start(authority: String, arguments: Vec<String>) -> io::Result<Self> {
        let child = spawn(&arguments)?;
        Ok(Self {
            child,
            authority,
            arguments,
        })
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again with the same arguments.
    pub(crate) fn again(&mut self) -> io::Result<()> {
        self.kill();
        self.child = spawn(&self.arguments)?;
        Ok(())
    }

    /// User and system time it has taken, in µs (ten milliseconds' grain).
    pub(crate) fn cpu_us(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // After the name in parentheses: state is field 3, utime and stime are fields 14 and 15, in ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        (ticks(11) + ticks(12)) * 10_000
    }

    /// Resident memory in KiB: now, and at its highest.
    pub(crate) fn memory_kib(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace()
                .nth(1)
                .and_then(|kib| kib.parse().ok())
                .unwrap_or(0)
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Waits until `path` answers 200.
    pub(crate) async fn ready(&self, client: &Client, path: &str) -> Duration {
        let began = Instant::now();
        loop {
            let request = Request::get(format!("http://{}{path}", self.authority)).body(Full::new(Bytes::new()));
            let answer = client
                .call(request.expect("a valid request"), Duration::from_secs(1))
                .await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return began.elapsed();
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{} does not answer {path}",
                self.authority
            );
            net::rt::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn spawn(arguments: &[String]) -> io::Result<Child> {
    Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(arguments)
        .env("HOLDFAST_LOG", "warn")
        .env("BENCH_SECRET", "secret")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
}

/// One node with its data below `folder`.
pub(crate) fn one(folder: &Path) -> io::Result<Server> {
    let authority = format!("127.0.0.1:{}", free_port()?);
    let data = folder.join("data").display().to_string();
    let arguments = ["serve", "--listen", &authority, "--data-dir", &data]
        .map(String::from)
        .to_vec();
    Server::start(authority, arguments)
}

/// One node with its data in a folder of this name below `folder`, and these sections more in its file `NAME.toml`.
pub(crate) fn configured(folder: &Path, name: &str, more: &str) -> io::Result<Server> {
    let authority = format!("127.0.0.1:{}", free_port()?);
    let data = folder.join(name);
    let file = folder.join(format!("{name}.toml"));
    fs::write(
        &file,
        format!("version = 1\n[server]\nlisten = {authority:?}\ndata_dir = {data:?}\n{more}"),
    )?;
    let arguments = ["serve", "--config", &file.display().to_string()]
        .map(String::from)
        .to_vec();
    Server::start(authority, arguments)
}

/// Three nodes that know each other.
pub(crate) fn three(folder: &Path) -> io::Result<Vec<Server>> {
    let authorities: Vec<String> = (0..3)
        .map(|_| Ok(format!("127.0.0.1:{}", free_port()?)))
        .collect::<io::Result<_>>()?;
    let mut servers = Vec::new();
    for (at, own) in authorities.iter().enumerate() {
        let id = at + 1;
        let routes: Vec<String> = authorities
            .iter()
            .filter(|a| *a != own)
            .map(|a| format!("{a:?}"))
            .collect();
        let data = folder.join(format!("data{id}"));
        let config = format!(
            "version = 1\n[server]\nnode_id = {id}\nlisten = {own:?}\nadvertise = {own:?}\ndata_dir = {data:?}\n\
             [cluster]\nname = \"bench\"\nbootstrap_node_id = 1\nroutes = [{}]\ngroups = 16\n",
            routes.join(", ")
        );
        let file = folder.join(format!("node{id}.toml"));
        fs::write(&file, config)?;
        let arguments = ["serve", "--config", &file.display().to_string()]
            .map(String::from)
            .to_vec();
        servers.push(Server::start(own.clone(), arguments)?);
    }
    Ok(servers)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
