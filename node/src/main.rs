//! `holdfast`: flags and files become a [`Config`], this machine becomes a [`World`], and the two a node.
//!
//! Exit codes: 0 after an orderly end, 1 when the node had to die or a question could not be answered, 2 when it refused
//! to start. Those of `holdfast stream` are in `node::cli`.

mod backup;
mod s3;

use std::{
    ffi::{OsStr, OsString},
    fs, future,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use net::{clock::SystemClock, dice::Dice, rt};
use node::{
    Node, World,
    cli::{Stream, Surroundings},
    config::{ColdBackend, Config, ConfigProblem, LogFormat, Overrides},
};
use storage::{
    cold::Cold,
    disk::Disk,
    journal::inspect::{Detail, inspect},
    local::{LocalCold, LocalDisk},
    rocks::{self, RocksIndex},
};
use tokio::signal::unix::{SignalKind, signal};

/// Returns memory to the system soon, and is quick about it: an idle node is small.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Durable streams over plain HTTP.
#[derive(Parser)]
#[command(name = "holdfast", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a node. Needs no arguments: one node, ./data, 127.0.0.1:4437.
    Serve(SettingsGiven),
    /// Creates, appends to, reads and follows streams of any server.
    Stream(Stream),
    /// Looks at configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Looks at journals.
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Makes an empty data directory that of the node that brings back a lost cluster from its bucket.
    Restore(backup::Restore),
    /// Looks at what a cluster has written down in its bucket.
    #[command(subcommand)]
    Backup(backup::Backup),
    /// Prints the version.
    Version,
}

/// What every command that concerns a node is told.
#[derive(Args)]
struct SettingsGiven {
    /// A TOML file with the configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which node of its cluster this is (server.node_id).
    #[arg(long, value_name = "N")]
    node_id: Option<String>,
    /// Address and port to listen on (server.listen).
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Where other nodes reach this one (server.advertise).
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// The folder that holds all this node stores (server.data_dir).
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Says whether a file is a good configuration, and prints what would be in effect.
    Check {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Subcommand)]
enum JournalCommand {
    /// Prints what is in the journal of a data directory, also while a node uses it. Changes nothing.
    Inspect {
        /// The data directory, or its folder `journal`.
        dir: PathBuf,
        /// Prints JSON, for machines.
        #[arg(long)]
        json: bool,
        /// Prints every record of this segment, too.
        #[arg(long, value_name = "N")]
        segment: Option<u64>,
    },
}

/// Why `holdfast` ends other than well, and with which exit code.
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The node does not start as things are.
    fn refused(message: impl ToString) -> Self {
        Self {
            code: 2,
            message: message.to_string(),
        }
    }

    /// Something broke.
    fn broken(message: impl ToString) -> Self {
        Self {
            code: 1,
            message: message.to_string(),
        }
    }

    /// Tells it to whoever started this.
    fn told(self) -> ExitCode {
        eprintln!("holdfast: {}", self.message);
        ExitCode::from(self.code)
    }
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Stream(wanted) => return stream(wanted),
        Command::Serve(flags) => serve(flags),
        Command::Restore(flags) => backup::restore(flags),
        Command::Backup(backup::Backup::Verify(flags)) => backup::verify(flags),
        Command::Config(ConfigCommand::Check { file }) => check(&file),
        Command::Journal(JournalCommand::Inspect { dir, json, segment }) => look(&dir, json, segment),
        Command::Version => {
            println!("holdfast {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.told(),
    }
}

/// How long a node that has ended may take to close what it still holds.
const LAST: Duration = Duration::from_secs(10);

/// `holdfast stream …`
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn stream(wanted: Stream) -> ExitCode {
    let url = std::env::var_os("HOLDFAST_URL").map(|url| utf8(OsStr::new("HOLDFAST_URL"), url));
    let default_url = match url.transpose() {
        Ok(url) => url,
        Err(failure) => return failure.told(),
    };
    let around = Surroundings {
        input: Box::new(io::stdin()),
        output: Box::new(io::BufWriter::new(io::stdout())),
        complaints: Box::new(io::stderr()),
        default_url,
        watched: io::stderr().is_terminal() && !io::stdout().is_terminal(),
    };
    match rt::block_on(wanted.run(around)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("holdfast: no threads to be had: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(file: &Path) -> Result<(), Failure> {
    let config = config(Some(file), &Overrides::default())?;
    print!("{}", config.to_toml());
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a person names a folder: which of two is meant?"
)]
fn look(dir: &Path, json: bool, segment: Option<u64>) -> Result<(), Failure> {
    let (root, folder) = match (
        dir.join("journal").is_dir(),
        dir.parent(),
        dir.file_name().and_then(OsStr::to_str),
    ) {
        (true, _, _) => (dir, "journal"),
        (false, Some(parent), Some(name)) if dir.is_dir() => (parent, name),
        _ => return Err(Failure::broken(format!("there is no journal in {}", dir.display()))),
    };
    // A parent of nothing is where we are.
    let root = if root.as_os_str().is_empty() {
        Path::new(".")
    } else {
        root
    };
    let disk = Arc::new(LocalDisk::open_to_look(root).map_err(Failure::broken)?);
    let detail = segment.map_or(Detail::Segments, |segment| Detail::Records { segment });
    let report = rt::block_on(inspect(disk, folder, detail))
        .map_err(Failure::broken)?
        .map_err(Failure::broken)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(Failure::broken)?);
    } else {
        println!("{report}");
    }
    match report.damage {
        None => Ok(()),
        Some(damage) => Err(Failure::broken(damage)),
    }
}

impl SettingsGiven {
    /// The configuration in effect.
    fn config(self) -> Result<Config, Failure> {
        let overrides = Overrides {
            node_id: self.node_id,
            listen: self.listen,
            advertise: self.advertise,
            data_dir: self.data_dir,
        };
        config(self.config.as_deref(), &overrides)
    }
}

fn serve(flags: SettingsGiven) -> Result<(), Failure> {
    let config = flags.config()?;
    tell(&config)?;
    rt::block_on_to_the_last(run(config), LAST)
        .map_err(|error| Failure::refused(format!("no threads to be had: {error}")))?
}

/// The configuration in effect: defaults, then the file, then the environment, then flags.
#[expect(clippy::disallowed_methods, reason = "this is where the file is read")]
fn config(file: Option<&Path>, overrides: &Overrides) -> Result<Config, Failure> {
    let (text, name) = match file {
        Some(file) => {
            let text = fs::read_to_string(file)
                .map_err(|error| Failure::refused(format!("{} cannot be read: {error}", file.display())))?;
            (text, file.display().to_string())
        }
        None => (String::new(), "the configuration".to_owned()),
    };
    Config::check(&text, environment()?, overrides).map_err(|problems| {
        let lines: Vec<String> = problems
            .iter()
            .map(ConfigProblem::to_string)
            .map(|line| format!("  {line}"))
            .collect();
        Failure::refused(format!("{name} does not hold:\n{}", lines.join("\n")))
    })
}

/// The variables that may be settings. Others are not looked at.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn environment() -> Result<Vec<(String, String)>, Failure> {
    let ours = std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"HOLDFAST_"));
    let settings = ours.filter_map(|(name, value)| match name.to_str() {
        // For `holdfast stream`.
        Some("HOLDFAST_URL") => None,
        // The log's filter has a short name, because it is set by hand so often.
        Some("HOLDFAST_LOG") => Some(("HOLDFAST_LOG_FILTER".into(), value)),
        _ => Some((name, value)),
    });
    settings
        .map(|(name, value)| Ok((utf8(&name, name.clone())?, utf8(&name, value)?)))
        .collect()
}

/// A variable's name or value as text: what is not must not be passed over, or a node runs with other settings than its
/// operator wrote.
fn utf8(variable: &OsStr, text: OsString) -> Result<String, Failure> {
    text.into_string().map_err(|_| {
        let name = variable.display();
        Failure::refused(format!(
            "{name}: is not UTF-8: mend what sets this variable, or unset it"
        ))
    })
}

/// Sets up what the node tells its operator, on standard error.
fn tell(config: &Config) -> Result<(), Failure> {
    // The consensus library tells of its every step; whoever wants that says so, and later words win.
    let filter = tracing_subscriber::EnvFilter::try_new(format!("openraft=error,{}", config.log.filter))
        .map_err(|error| Failure::refused(format!("log.filter: {error}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match config.log.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

async fn run(config: Config) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::refused)?;
    let drain = config.server.drain;
    let world = world(&config).await?;
    let node = Node::start(config.clone(), world).await.map_err(Failure::refused)?;
    greet(&config, &node);
    let died = tokio::select! {
        biased;
        reason = node.fatal() => Some(reason),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    if let Some(reason) = died {
        tracing::error!(reason, "this node cannot go on");
        return Err(Failure::broken(reason));
    }
    eprintln!(
        "holdfast: ending within {}; once more ends at once",
        humantime::format_duration(drain)
    );
    tokio::select! {
        biased;
        () = node.shutdown(drain) => Ok(()),
        _ = second(&mut terminate, &mut interrupt) => Err(Failure::broken("ended in a hurry")),
    }
}

/// Another signal of either kind.
async fn second(terminate: &mut tokio::signal::unix::Signal, interrupt: &mut tokio::signal::unix::Signal) {
    let (one, two) = (terminate.recv(), interrupt.recv());
    tokio::select! {
        biased;
        got = one => if got.is_none() { future::pending().await },
        got = two => if got.is_none() { future::pending().await },
    }
}

/// This machine: files and RocksDB in the data directory, its clock, and chance of its own.
async fn world(config: &Config) -> Result<World, Failure> {
    let folder = Path::new(&config.server.data_dir);
    // Locked before anything in it is touched.
    let disk = LocalDisk::open(folder).map_err(Failure::refused)?;
    let index = index(config, &folder.join("index"))?;
    let cold: Option<Arc<dyn Cold>> = match config.cold.backend {
        ColdBackend::None => None,
        ColdBackend::Local => Some(Arc::new(
            LocalCold::open(folder.join("cold")).map_err(Failure::refused)?,
        )),
        ColdBackend::S3 => Some(s3::bucket(&config.s3).await?),
    };
    let disk: Arc<dyn Disk> = Arc::new(disk);
    Ok(World {
        disk,
        index: Arc::new(index),
        cold,
        clock: Arc::new(SystemClock),
        dice: Dice::from_os(),
    })
}

/// RocksDB in a folder.
fn index(config: &Config, folder: &Path) -> Result<RocksIndex, Failure> {
    let options = rocks::Options {
        block_cache_bytes: usize::try_from(config.index.block_cache).unwrap_or(usize::MAX),
        write_buffer_bytes: usize::try_from(config.index.write_buffer).unwrap_or(usize::MAX),
        ..rocks::Options::default()
    };
    RocksIndex::open(folder, &options).map_err(|error| {
        let what_to_do = match error.kind() {
            io::ErrorKind::InvalidData => {
                ". Do not remove the folder `index`, for the journal alone does not hold all of it: put back the one that \
                 was there when the journal was last written. Without it leave the node stopped and keep its data \
                 directory: its peers hold every acknowledged record while a majority of them runs"
            }
            _ => "",
        };
        Failure::refused(format!("the index in {} does not open: {error}{what_to_do}", folder.display()))
    })
}

/// A text of the configuration; if it begins with `$`, what the variable of that name holds.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn resolved(key: &str, text: &str) -> Result<String, Failure> {
    let Some(name) = text.strip_prefix('$') else {
        return Ok(text.to_owned());
    };
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(Failure::refused(format!(
            "{key} is the environment variable {name}, which is not set: set it, or write another text"
        ))),
    }
}

/// Whether anything has this name.
#[expect(clippy::disallowed_methods, reason = "asked before there is a disk of a node")]
fn is_there(path: &Path) -> bool {
    path.exists()
}

/// Removes a scratch folder.
#[expect(
    clippy::disallowed_methods,
    reason = "a folder of this process, whole, when nothing uses it any more"
)]
fn discard(scratch: &Path) {
    if let Err(error) = fs::remove_dir_all(scratch) {
        eprintln!("holdfast: {} could not be removed: {error}", scratch.display());
    }
}

/// A few lines for whoever started this.
fn greet(config: &Config, node: &Node) {
    let address = node.address();
    let reach = if address.ip().is_unspecified() {
        format!("127.0.0.1:{}", address.port())
    } else {
        address.to_string()
    };
    eprintln!(
        "holdfast {} · node {} · {}",
        env!("CARGO_PKG_VERSION"),
        config.server.node_id,
        match &config.cluster {
            Some(cluster) => format!("cluster {}", cluster.name),
            None => "on its own".to_owned(),
        }
    );
    eprintln!("  listening on {address}, storing in {}", config.server.data_dir);
    eprintln!("  try it:");
    eprintln!("    curl -X PUT  {reach}/v1/stream/hello -H 'Content-Type: text/plain'");
    eprintln!("    curl -X POST {reach}/v1/stream/hello -H 'Content-Type: text/plain' -d 'hello world'");
    eprintln!("    curl         '{reach}/v1/stream/hello?offset=-1'");
}
