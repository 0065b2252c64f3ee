//! openraft's calls to other nodes, over the connections all groups share. Every call has a deadline.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::{BoxStream, FuturesOrdered, Stream, StreamExt};
use net::rt;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::SnapshotResponse;
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::image::Taken;
use super::pieces::Pieces;
use super::pipeline::{Pipeline, Told, Window};
use super::state_machine::{Image, ImageSnapshot};
use super::types::{Member, Types, Vote};
use super::view::ReadError;
use super::wire::{
    self, APPEND, Append, Appended, Ask, Asked, PRE_VOTE, Piece, SNAPSHOT, TRANSFER, Taking, Transfer, Transferred,
    VOTE, What,
};
use crate::peer::{PeerError, Peers, Why};

/// Pieces of a snapshot sent and not yet answered.
const PIECES_UNDER_WAY: usize = 4;

/// How long the receiver may take to put a snapshot in force: it flushes its index.
const INSTALL: Duration = Duration::from_secs(60);

/// How groups reach other nodes. The peers of the node, or something simpler in a test.
pub trait Transport: Send + Sync + 'static {
    /// Asks a node. As [`Peers::call`].
    fn call(
        &self,
        to: u64,
        kind: u8,
        group: u32,
        parts: Vec<Bytes>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Bytes, PeerError>>;
}

impl Transport for Peers {
    fn call(
        &self,
        to: u64,
        kind: u8,
        group: u32,
        parts: Vec<Bytes>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Bytes, PeerError>> {
        Box::pin(Peers::call(self, to, kind, group, parts, deadline))
    }
}

/// Makes the connections of one group.
pub(super) struct Network {
    pub(super) me: u64,
    pub(super) group: u32,
    pub(super) transport: Arc<dyn Transport>,
    /// How long an answer that matters is waited for.
    pub(super) deadline: Duration,
    /// The pause before a node that could not be reached is tried again.
    pub(super) pause: Duration,
    /// What may be on its way to one follower.
    pub(super) window: Window,
    /// Bytes in one piece of a snapshot.
    pub(super) piece_bytes: usize,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Line;

    async fn new_client(&mut self, target: u64, _node: &Member) -> Line {
        let Self {
            me,
            group,
            deadline,
            pause,
            window,
            piece_bytes,
            ..
        } = *self;
        Line {
            target,
            me,
            group,
            transport: self.transport.clone(),
            deadline,
            pause,
            window,
            piece_bytes,
        }
    }
}

/// One group's way to one node.
#[derive(Clone)]
pub(super) struct Line {
    target: u64,
    me: u64,
    group: u32,
    transport: Arc<dyn Transport>,
    deadline: Duration,
    pause: Duration,
    window: Window,
    piece_bytes: usize,
}

impl Line {
    async fn call<A: DeserializeOwned>(
        &self,
        kind: u8,
        action: RPCTypes,
        parts: Vec<Bytes>,
        deadline: Duration,
    ) -> Result<A, RPCError<Types>> {
        let answer = match self
            .transport
            .call(self.target, kind, self.group, parts, deadline)
            .await
        {
            Ok(answer) => answer,
            Err(PeerError {
                sent: true,
                why: Why::Deadline,
            }) => {
                let (id, target) = (self.me, self.target);
                return Err(RPCError::Timeout(Timeout {
                    action,
                    id,
                    target,
                    timeout: deadline,
                }));
            }
            // Not even sent: there is no hurry to try again.
            Err(error) => return Err(RPCError::Unreachable(Unreachable::new(&error))),
        };
        wire::decode_answer("answer", &answer).map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }

    async fn ask(&self, kind: u8, ask: Ask, option: RPCOption) -> Result<Asked, RPCError<Types>> {
        self.call(
            kind,
            RPCTypes::Vote,
            wire::encode(&ask, Vec::new()),
            option.soft_ttl().max(self.deadline),
        )
        .await
    }

    /// Sends a piece of a snapshot. `Some`: the transfer is over.
    async fn piece(
        self,
        piece: Piece,
        tail: Vec<Bytes>,
        deadline: Duration,
    ) -> Result<Option<SnapshotResponse<Types>>, StreamingError<Types>> {
        let parts = wire::encode(&piece, tail);
        let taking = self
            .call(SNAPSHOT, RPCTypes::InstallSnapshot, parts, deadline)
            .await
            .map_err(streaming)?;
        match taking {
            Taking::Next => Ok(None),
            Taking::Done(vote) | Taking::Higher(vote) => Ok(Some(SnapshotResponse { vote })),
            Taking::Restart(why) => {
                tracing::info!(
                    group = self.group,
                    target = self.target,
                    why,
                    "a snapshot has to be sent anew"
                );
                Err(StreamingError::Unreachable(Unreachable::new(&io::Error::other(why))))
            }
        }
    }

    async fn send(&self, vote: Vote, mut pieces: Pieces) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let id = rt::random_u64();
        let piece = move |number: u64, what: What| Piece { vote, id, number, what };
        let mut under_way = FuturesOrdered::new();
        let mut number = 0;
        let failed = |error: ReadError| StreamingError::Unreachable(Unreachable::new(&error));
        while let Some((what, tail)) = pieces.next().await.map_err(failed)? {
            under_way.push_back(self.clone().piece(piece(number, what), tail, self.deadline).boxed());
            // The first look sends it. Its answer is waited for only when enough are under way, or a long link would set
            // the pace; they arrive in their order on the one connection. The first of all may say that none are wanted.
            loop {
                let enough = number == 0 || under_way.len() >= PIECES_UNDER_WAY;
                let look = poll_fn(|cx| match under_way.poll_next_unpin(cx) {
                    Poll::Pending if !enough => Poll::Ready(None),
                    answer => answer,
                });
                match look.await {
                    None => break,
                    Some(answer) => {
                        if let Some(over) = answer? {
                            return Ok(over);
                        }
                    }
                }
            }
            number += 1;
        }
        while let Some(answer) = under_way.next().await {
            if let Some(over) = answer? {
                return Ok(over);
            }
        }
        let over = self
            .clone()
            .piece(piece(number, What::End), Vec::new(), INSTALL)
            .await?;
        over.ok_or_else(|| streaming(network_error("the snapshot's last piece was not taken as the last")))
    }
}

fn network_error(why: &'static str) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(&io::Error::other(why)))
}

fn streaming(error: RPCError<Types>) -> StreamingError<Types> {
    match error {
        RPCError::Timeout(timeout) => StreamingError::Timeout(timeout),
        RPCError::Unreachable(unreachable) => StreamingError::Unreachable(unreachable),
        RPCError::Network(network) => StreamingError::Network(network),
        RPCError::RemoteError(remote) => match remote.source {},
    }
}

impl RaftNetworkV2<Types> for Line {
    type SnapshotData = Image;

    async fn append_entries(&mut self, rpc: Append, option: RPCOption) -> Result<Appended, RPCError<Types>> {
        // A heartbeat that is late is sent again; entries that are slow to be stored are not.
        let deadline = if rpc.entries.is_empty() {
            option.soft_ttl()
        } else {
            option.soft_ttl().max(self.deadline)
        };
        self.call(APPEND, RPCTypes::AppendEntries, wire::encode_append(&rpc), deadline)
            .await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Told>, RPCError<Types>>>
    where
        S: Stream<Item = Append> + OptionalSend + Unpin + 'static,
    {
        // One that waits behind others waits as long as they do, with or without entries.
        let deadline = option.soft_ttl().max(self.deadline);
        let line = self.clone();
        let send = move |request: Append| {
            let (line, parts) = (line.clone(), wire::encode_append(&request));
            async move { line.call(APPEND, RPCTypes::AppendEntries, parts, deadline).await }
        };
        let pipeline = Pipeline::new(input, self.window, send);
        ready(Ok(pipeline.boxed())).boxed()
    }

    async fn vote(&mut self, rpc: Ask, option: RPCOption) -> Result<Asked, RPCError<Types>> {
        self.ask(VOTE, rpc, option).await
    }

    async fn pre_vote(&mut self, rpc: Ask, option: RPCOption) -> Result<Asked, RPCError<Types>> {
        self.ask(PRE_VOTE, rpc, option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: ImageSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let Image::Here(machine) = snapshot.snapshot else {
            return Err(streaming(network_error("only this node's own state can be sent")));
        };
        let journal = machine.journal.clone();
        // What comes after the snapshot stays in the log until the receiver has had the time to ask for it.
        let _held = machine.hold_log();
        let sending = async {
            let taken = rt::blocking(move || Taken::take(&machine))
                .await
                .map_err(io::Error::other)
                .flatten();
            let taken = taken.map_err(|error| StreamingError::Unreachable(Unreachable::new(&error)))?;
            self.send(vote, Pieces::of(taken, journal, self.piece_bytes)).await
        };
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => sent,
        }
    }

    async fn transfer_leader(&mut self, req: Transfer, option: RPCOption) -> Result<Transferred, RPCError<Types>> {
        let deadline = option.soft_ttl().max(self.deadline);
        self.call(
            TRANSFER,
            RPCTypes::TransferLeader,
            wire::encode(&req, Vec::new()),
            deadline,
        )
        .await
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(self.pause)))
    }
}

/// A request's answer as bytes, or why nothing was done.
pub(super) fn answered(answer: Result<impl Serialize, impl std::fmt::Display>) -> Result<Vec<Bytes>, String> {
    match answer {
        Ok(answer) => Ok(wire::encode_answer(&answer)),
        Err(error) => Err(error.to_string()),
    }
}
