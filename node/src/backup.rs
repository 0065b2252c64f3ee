//! `holdfast restore` and `holdfast backup`: a lost cluster comes back from its bucket, and whether it would.

use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use net::clock::{Clock as _, SystemClock};
use net::rt;
use node::cluster::Unique;
use node::config::{ColdBackend, Config};
use node::restore::{self, Progress, Scratch, Verified};
use storage::local::LocalDisk;

use crate::{Failure, SettingsGiven, index, is_there, s3, tell};

#[derive(Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    settings: SettingsGiven,
}

#[derive(Subcommand)]
pub(crate) enum Backup {
    /// Restores everything into a scratch folder, reads every byte that streams refer to, and throws the folder away.
    /// Changes nothing in the bucket; the cluster may be at work.
    Verify(Verify),
}

#[derive(Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    settings: SettingsGiven,
    /// A folder that is not there yet, for what is built up and thrown away. Default: one in the system's folder for that.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Tells of every stream up to which byte it would be restored.
    #[arg(long)]
    streams: bool,
}

/// Which cluster, in which bucket.
#[derive(Args)]
struct From {
    /// The bucket, as s3://bucket/prefix. How it is reached, and with which key, stands in the section `s3` of the
    /// configuration or in the environment. Default: the bucket of the configuration.
    #[arg(long, value_name = "S3-URL")]
    from: Option<String>,
    /// Which cluster, if several have written there.
    #[arg(long, value_name = "NUMBER")]
    cluster: Option<String>,
    /// Prints JSON, for machines.
    #[arg(long)]
    json: bool,
}

impl From {
    /// The configuration, with this bucket.
    fn config(&self, settings: SettingsGiven) -> Result<Config, Failure> {
        let mut config = settings.config()?;
        // What a node tells of its doings is not asked for here.
        if config.log.filter == Config::default().log.filter {
            config.log.filter = "warn".into();
        }
        if let Some(from) = &self.from {
            let (bucket, prefix) = parts(from)?;
            if let Some(configured) = &config.s3.bucket
                && (configured, config.s3.prefix.as_deref().unwrap_or_default()) != (&bucket, &prefix)
            {
                return Err(Failure::refused(format!(
                    "the configuration names another bucket or prefix than {from}. A restored cluster goes on in the bucket it \
                     comes from: write that in the section `s3`"
                )));
            }
            config.s3.bucket = Some(bucket);
            config.s3.prefix = (!prefix.is_empty()).then_some(prefix);
        } else if config.s3.bucket.is_none() {
            return Err(Failure::refused(
                "say which bucket, with `--from s3://bucket/prefix` or in the section `s3`",
            ));
        }
        config.cold.backend = ColdBackend::S3;
        Ok(config)
    }

    fn wanted(&self) -> Result<Option<Unique>, Failure> {
        let wanted = self.cluster.as_deref().map(str::parse).transpose();
        wanted.map_err(|error: &str| Failure::refused(format!("--cluster: {error}")))
    }
}

/// Bucket and prefix of an S3 URL.
fn parts(url: &str) -> Result<(String, String), Failure> {
    let rest = url.strip_prefix("s3://").unwrap_or_default().trim_end_matches('/');
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(Failure::refused(format!(
            "--from: {url} is not like s3://bucket/prefix"
        )));
    }
    Ok((bucket.to_owned(), prefix.to_owned()))
}

/// `holdfast restore`
pub(crate) fn restore(flags: Restore) -> Result<(), Failure> {
    let config = flags.from.config(flags.settings)?;
    let (wanted, json) = (flags.from.wanted()?, flags.from.json);
    tell(&config)?;
    let found = rt::block_on(async {
        let disk = Arc::new(LocalDisk::open(Path::new(&config.server.data_dir)).map_err(Failure::refused)?);
        let cold = s3::bucket(&config.s3).await?;
        let now_ms = SystemClock.now_ms();
        restore::prepare(&config, disk, cold, now_ms, wanted, &mut Told::default())
            .await
            .map_err(Failure::refused)
    })
    .map_err(Failure::broken)??;
    if json {
        println!("{}", serde_json::to_string_pretty(&found).map_err(Failure::broken)?);
        return Ok(());
    }
    println!("{found}");
    println!();
    println!(
        "Node {} brings it back from {} when it is started: `holdfast serve` with the same settings. Start the other nodes with \
         empty data directories; they get everything from it. What the lost nodes still have in their data directories is not \
         looked at: keep them until you know that nothing is missed, and never start them again.",
        config.server.node_id, config.server.data_dir
    );
    Ok(())
}

/// `holdfast backup verify`
pub(crate) fn verify(flags: Verify) -> Result<(), Failure> {
    let config = flags.from.config(flags.settings)?;
    let (wanted, json) = (flags.from.wanted()?, flags.from.json);
    tell(&config)?;
    let scratch = match flags.scratch {
        Some(scratch) => scratch,
        None => std::env::temp_dir().join(format!("holdfast-verify-{:016x}", rt::random_u64())),
    };
    if is_there(&scratch) {
        let folder = scratch.display();
        return Err(Failure::refused(format!(
            "{folder} is there already: name one that is not"
        )));
    }
    let verified = rt::block_on_to_the_last(
        async {
            let disk = Arc::new(LocalDisk::open(&scratch).map_err(Failure::refused)?);
            let index = Arc::new(index(&config, &scratch.join("index"))?);
            let cold = s3::bucket_to_look(&config.s3).await?;
            let clock = Arc::new(SystemClock);
            let place = Scratch { disk, index, clock };
            restore::verify(&config, place, cold, wanted, flags.streams, &mut Told::default())
                .await
                .map_err(Failure::broken)
        },
        crate::LAST,
    )
    .map_err(Failure::broken);
    crate::discard(&scratch);
    let verified = verified??;
    if json {
        println!("{}", serde_json::to_string_pretty(&verified).map_err(Failure::broken)?);
    } else {
        print(&verified);
    }
    match verified.problems.len() {
        0 => Ok(()),
        _ => Err(Failure::broken("not all of it could be restored")),
    }
}

fn print(verified: &Verified) {
    println!("{}", verified.found);
    for stream in &verified.streams {
        let closed = if stream.closed { " closed" } else { "" };
        println!("  {:>12}{closed}  {}", stream.tail, stream.name);
    }
    let checked = verified.checked;
    println!(
        "{} streams. {} bytes in {} runs of {} objects were read and match their checksums, or are named below; {} bytes more are \
         written down with the groups.",
        checked.streams, checked.bytes, checked.runs, checked.objects, checked.written_bytes
    );
    for problem in &verified.problems {
        println!("  {problem}");
    }
    if verified.problems.is_empty() {
        println!("All of it could be restored.");
    }
}

/// Tells on standard error how it goes: on a terminal in one line that is written over.
#[derive(Default)]
struct Told {
    last: Option<(String, u64)>,
}

impl Progress for Told {
    fn step(&mut self, what: &str, done: u64, of: u64) {
        if self
            .last
            .as_ref()
            .is_some_and(|(before, at)| before == what && *at == done)
        {
            return;
        }
        let is_new = self.last.as_ref().is_none_or(|(before, _)| before != what);
        self.last = Some((what.to_owned(), done));
        let mut err = io::stderr();
        // A progress that nobody can read is no reason to stop.
        let _told = if err.is_terminal() {
            let end = if done >= of { "\n" } else { "" };
            write!(err, "\r{what}: {done} of {of}{end}").and_then(|()| err.flush())
        } else if is_new || done >= of {
            writeln!(err, "{what}: {done} of {of}")
        } else {
            Ok(())
        };
    }
}
