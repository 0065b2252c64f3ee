//! One group on this node: its openraft instance, and what other nodes ask of it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{self, AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use net::rt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{Fatal, InitializeError, RaftError};
use openraft::storage::Snapshot;
use openraft::{Config, Raft, SnapshotPolicy};
use tokio::sync::Semaphore;

use super::codec::BadBytes;
use super::fate::Fate;
use super::incoming::Incoming;
use super::machine::{Machine, Position};
use super::network::{Network, Transport, answered};
use super::pipeline::Window;
use super::reads::ReadDesk;
use super::state_machine::{Image, StateMachine, meta_of};
use super::types::{Member, Types};
use super::wire::{self, APPEND, Ask, PRE_VOTE, Piece, SNAPSHOT, TRANSFER, Taking, Transfer, VOTE, What};
use super::{Lead, Settings};

/// Proposals of one group that may be under way.
const PROPOSALS: usize = 4096;

/// Bytes of entries on their way to one follower beyond which the next ones wait.
const WINDOW_BYTES: usize = 4 << 20;

/// How long an unfinished transfer of a snapshot is kept without a word of its sender.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// One group.
pub(super) struct Group {
    pub(super) number: u32,
    pub(super) me: u64,
    pub(super) raft: Raft<Types, StateMachine>,
    pub(super) machine: Arc<Machine>,
    pub(super) fate: Arc<Fate>,
    /// Places for proposals under way.
    pub(super) places: Arc<Semaphore>,
    /// The last time stamped on a proposal, Unix milliseconds.
    pub(super) stamped_ms: AtomicU64,
    pub(super) reads: ReadDesk,
    /// The age up to which a quorum's answer lets the leader serve reads.
    pub(super) lease: std::time::Duration,
    /// Before this moment no vote is given, because one may have been promised to a leader before the restart.
    pub(super) silent_until: Option<rt::Instant>,
    incoming: Mutex<Option<Incoming>>,
    /// Pieces of snapshots are taken one at a time, in the order in which they came.
    turn: tokio::sync::Mutex<()>,
    /// What is flushed has moved since openraft was last told.
    pub(super) unpurged: AtomicBool,
    /// Snapshots put in force since the start.
    pub(super) snapshots: AtomicU64,
}

impl Group {
    /// Starts openraft on a group that was recovered.
    ///
    /// # Errors
    /// If its state makes no sense to openraft, or the log cannot be re-applied.
    pub(super) async fn start(
        machine: Arc<Machine>,
        settings: &Settings,
        transport: Arc<dyn Transport>,
        fate: Arc<Fate>,
    ) -> Result<Arc<Self>, Fatal<Types>> {
        let raft_settings = &settings.raft;
        let (number, me) = (machine.group, settings.node_id);
        let network = Network {
            me,
            group: number,
            transport,
            deadline: raft_settings.rpc_deadline,
            pause: raft_settings.heartbeat,
            window: Window {
                requests: usize::try_from(raft_settings.appends_in_flight).unwrap_or(1),
                bytes: WINDOW_BYTES,
            },
            piece_bytes: usize::try_from(raft_settings.snapshot_chunk).unwrap_or(usize::MAX),
        };
        let log = machine.log.clone();
        let had_voted = log.state().vote.is_some();
        let state_machine = StateMachine {
            machine: machine.clone(),
            fate: fate.clone(),
        };
        let config = Arc::new(config(settings));
        let raft = Raft::new(me, config, network, log, state_machine).await?;

        // openraft restores the vote after a restart, but not the promise that went with it: while the leader we knew
        // may still trust its lease, we vote for nobody else, and do not stand ourselves.
        let alone = raft.with_raft_state(move |state| {
            let membership = state.membership_state.effective().membership();
            membership.voter_ids().all(|voter| voter == me)
        });
        let alone = alone.await?;
        let silent = had_voted && !alone;
        let silent_until = silent.then(|| rt::Instant::now() + raft_settings.election_max);
        let group = Arc::new(Self {
            number,
            me,
            raft,
            machine,
            fate,
            places: Arc::new(Semaphore::new(PROPOSALS)),
            stamped_ms: AtomicU64::new(0),
            reads: ReadDesk::default(),
            lease: raft_settings.lease,
            silent_until,
            incoming: Mutex::new(None),
            turn: tokio::sync::Mutex::default(),
            unpurged: AtomicBool::new(false),
            snapshots: AtomicU64::new(0),
        });
        match silent_until {
            Some(until) => {
                let waking = group.clone();
                drop(rt::spawn("raft: silence after a restart", async move {
                    rt::sleep_until(until).await;
                    waking.raft.runtime_config().elect(true);
                }));
            }
            None => {
                group.raft.runtime_config().elect(true);
                if had_voted {
                    // Nobody else could lead: no reason to wait.
                    group.raft.trigger().elect(false).await?;
                }
            }
        }
        Ok(group)
    }

    /// Whether the group has ever had members.
    pub(super) async fn is_initialized(&self) -> Result<bool, String> {
        self.raft.is_initialized().await.map_err(|error| self.failed(error))
    }

    /// Gives the group its first members.
    pub(super) async fn initialize(&self, members: BTreeMap<u64, String>) -> Result<(), String> {
        let members: BTreeMap<u64, Member> = members.into_iter().map(|(id, addr)| (id, Member { addr })).collect();
        match self.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => Err(error.to_string()),
            Err(RaftError::Fatal(error)) => Err(self.failed(error)),
        }
    }

    /// Who leads, as far as this node knows.
    pub(super) fn leader(&self) -> Lead {
        match self.raft.metrics().borrow_watched().current_leader {
            Some(leader) if leader == self.me => Lead::Here,
            Some(node) => Lead::At { node },
            None => Lead::Nobody,
        }
    }

    /// The term in which this node leads, if it does, as far as it knows.
    pub(super) fn leading_term(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        (metrics.current_leader == Some(self.me)).then_some(metrics.current_term)
    }

    /// Waits until the entry of this index has been applied here.
    pub(super) async fn wait_applied(&self, index: u64) -> Result<(), String> {
        tokio::select! {
            biased;
            () = self.machine.applied(index) => Ok(()),
            reason = self.fate.failed() => Err(reason),
        }
    }

    /// Notes that openraft has stopped; if that was not wanted, the node must end.
    pub(super) fn failed(&self, error: Fatal<Types>) -> String {
        match error {
            Fatal::Stopped => {}
            _ => self.fate.fail(format!("group {}: {error}", self.number)),
        }
        error.to_string()
    }

    /// Looks whether openraft has stopped by itself.
    pub(super) fn check(&self) {
        let running = self.raft.metrics().borrow_watched().running_state.clone();
        if let Err(error) = running {
            self.failed(error);
        }
    }

    /// Answers another node. `Err`: nothing was done, and why.
    pub(super) async fn handle(&self, kind: u8, payload: Bytes) -> Result<Vec<Bytes>, String> {
        match kind {
            APPEND => {
                let request = wire::decode_append(&payload).map_err(|error| error.to_string())?;
                drop(payload);
                answered(
                    self.raft
                        .append_entries(request)
                        .await
                        .map_err(|error| self.raft_failed(error)),
                )
            }
            VOTE | PRE_VOTE => {
                let (ask, _) = wire::decode::<Ask>("RequestVote", &payload).map_err(|error| error.to_string())?;
                // The leader that hands over has given up its lease itself.
                if !ask.leadership_transfer {
                    self.may_vote()?;
                }
                let asked = match kind {
                    VOTE => self.raft.vote(ask).await,
                    _ => self.raft.pre_vote(ask).await,
                };
                answered(asked.map_err(|error| self.raft_failed(error)))
            }
            TRANSFER => {
                let (transfer, _) =
                    wire::decode::<Transfer>("transfer", &payload).map_err(|error| error.to_string())?;
                answered(
                    self.raft
                        .handle_transfer_leader(transfer)
                        .await
                        .map_err(|error| self.failed(error)),
                )
            }
            SNAPSHOT => {
                let (piece, tail) = wire::decode::<Piece>("snapshot", &payload).map_err(|error| error.to_string())?;
                drop(payload);
                answered(self.take_in_turn(piece, tail).await)
            }
            other => Err(format!("requests of kind {other} are not known here")),
        }
    }

    pub(super) fn raft_failed(&self, error: RaftError<Types>) -> String {
        match error {
            RaftError::APIError(error) => match error {},
            RaftError::Fatal(error) => self.failed(error),
        }
    }

    fn may_vote(&self) -> Result<(), String> {
        match self.silent_until {
            Some(until) if rt::Instant::now() < until => Err(
                "this node has just restarted and may have promised its vote to a leader that still counts on it"
                    .into(),
            ),
            _ => Ok(()),
        }
    }

    /// Takes a piece of a snapshot, after those that came before it.
    pub(super) async fn take_in_turn(&self, piece: Piece, tail: Bytes) -> Result<Taking, String> {
        let _turn = self.turn.lock().await;
        self.take(piece, tail).await
    }

    async fn take(&self, piece: Piece, tail: Bytes) -> Result<Taking, String> {
        let mine = self.machine.log.state().vote;
        if let Some(mine) = mine
            && !matches!(piece.vote.partial_cmp(&mine), Some(Ordering::Greater | Ordering::Equal))
        {
            return Ok(Taking::Higher(mine));
        }
        // Taken out while it is worked on.
        let held = self.held().take();
        let mut incoming = match (piece.number, held) {
            (0, held) => {
                self.abandon(held)?;
                let What::Begin {
                    applied,
                    membership,
                    digest,
                    last_now_ms,
                } = piece.what
                else {
                    return Ok(Taking::Restart("the first piece does not begin a snapshot".into()));
                };
                let position = Position {
                    applied,
                    digest,
                    last_now_ms,
                    membership,
                };
                if position.applied <= self.machine.state().position.applied {
                    return Ok(Taking::Done(piece.vote));
                }
                tracing::info!(group = self.number, applied = ?position.applied, "a snapshot is coming in");
                self.hold(Incoming::begin(&self.machine, piece.id, position))?;
                return Ok(Taking::Next);
            }
            (number, Some(held)) if held.id == piece.id && held.next == number => held,
            (_, held) => {
                if let Some(held) = held {
                    self.hold(held)?;
                }
                return Ok(Taking::Restart("this piece does not follow the one before".into()));
            }
        };
        incoming.next += 1;
        incoming.heard = rt::Instant::now();
        let taken = match piece.what {
            What::Begin { .. } => Err(BadBytes::new("snapshot", "it began twice").into()),
            What::Rows => incoming.rows(&tail),
            What::Bytes { runs } => incoming.bytes(&runs, tail).await,
            What::Cold { runs } => incoming.cold(runs),
            What::Objects { lens } => {
                incoming.objects(&lens);
                Ok(())
            }
            What::End => return self.put_in_force(piece.vote, incoming).await,
        };
        match taken {
            Ok(()) => {
                self.hold(incoming)?;
                Ok(Taking::Next)
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.abandon(Some(incoming))?;
                Ok(Taking::Restart(error.to_string()))
            }
            Err(error) => {
                self.fate.fail(format!("group {}: {error}", self.number));
                Err(error.to_string())
            }
        }
    }

    async fn put_in_force(&self, vote: super::types::Vote, incoming: Incoming) -> Result<Taking, String> {
        incoming.settle().await.map_err(|error| error.to_string())?;
        let meta = meta_of(&incoming.position);
        let snapshot = Snapshot {
            meta,
            snapshot: Image::Received(Box::new(incoming)),
        };
        let installed = self
            .raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(|error| self.failed(error))?;
        self.snapshots.fetch_add(1, atomic::Ordering::Relaxed);
        tracing::info!(group = self.number, "a snapshot is in force");
        Ok(Taking::Done(installed.vote))
    }

    fn hold(&self, incoming: Incoming) -> Result<(), String> {
        let older = self.held().replace(incoming);
        self.abandon(older)
    }

    fn held(&self) -> MutexGuard<'_, Option<Incoming>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn abandon(&self, incoming: Option<Incoming>) -> Result<(), String> {
        incoming.map_or(Ok(()), Incoming::abandon).map_err(|error| {
            self.fate.fail(format!("group {}: {error}", self.number));
            error.to_string()
        })
    }

    /// Forgets a transfer whose sender has fallen silent.
    pub(super) fn forget_silent(&self) {
        let silent = self.held().take_if(|incoming| incoming.heard.elapsed() > SILENCE);
        // If it fails, the node ends, and the next start finds the rows.
        let _either = self.abandon(silent);
    }
}

fn config(settings: &Settings) -> Config {
    let raft = &settings.raft;
    let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: String::new(),
        heartbeat_interval: ms(raft.heartbeat),
        election_timeout_min: ms(raft.election_min),
        election_timeout_max: ms(raft.election_max),
        // Deadlines of snapshots are our own.
        install_snapshot_timeout: 60_000,
        max_payload_entries: raft.batch_entries,
        // Ours are marks of what is durable; the janitor sets them.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: raft.keep_entries,
        purge_batch_size: 1,
        // Bounded by the places for proposals and by what a peer may have under way.
        api_channel_size: Some(8192),
        notification_channel_size: Some(8192),
        state_machine_channel_size: Some(1024),
        // Turned on when it is safe: see `Group::start`.
        enable_elect: false,
        enable_pre_vote: Some(true),
        // A leader that lost its unsynced tail would write other entries under the same log ids.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
}
