//! Forks: a stream that begins as a part of another one, its source. What is asked, answered and remembered.
//!
//! PROTOCOL-NOTES, Forks. A fork has the offsets of its source. The bytes below its base are read from the source, the
//! ones above are its own. A source and its fork may belong to different groups, so that no single step can make a fork
//! and count it; it takes four, and any of them may be the last before a crash:
//!
//! 1. The fork's group keeps a [`Pledge`]. Its log index is the fork's [`Token`], which is like no other, ever.
//! 2. The source's group keeps a [`Reference`] under that token. From now on the source's bytes stay.
//! 3. The fork's group makes the fork, if it still has the pledge, which is gone then.
//! 4. The source's group learns that the fork is there.
//!
//! A token is alive as long as its pledge is open or a stream is based on it, and never comes to life again. So what is
//! left over is found from both ends: a pledge that stays open is given up; a reference that nobody has confirmed is
//! looked into. A fork that goes, or is given up, leaves a debt in the same step: its pledge, owing now, which is settled
//! only after the reference was given back. Every step may be repeated.

use serde::{Deserialize, Serialize};

use super::etag::Condition;
use super::lifetime::Lifetime;
use super::name::StreamName;
use super::offset::Offset;
use super::outcome::Refusal;
use super::retention::Retention;
use super::versioned::{self, BadFormat};

/// Version byte of an encoded pledge.
const PLEDGE_VERSION: u8 = 1;

/// Version byte of an encoded reference.
const REFERENCE_VERSION: u8 = 1;

/// What names a fork, or the attempt at one, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token {
    /// The fork's group.
    pub group: u32,
    /// Log index of the entry that put its pledge there.
    pub index: u64,
}

/// Where a fork's first bytes are. Part of its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The stream it was forked from.
    pub source: StreamName,
    /// In that life of it.
    pub incarnation: u64,
    /// The bytes below are the source's, the others its own.
    pub offset: Offset,
    /// `Stream-Fork-Offset`, as sent or as it was by default.
    pub anchor: Offset,
    /// `Stream-Fork-Sub-Offset`: how many bytes or messages past that.
    pub sub: u64,
    /// Index of the [`Token`] of its pledge and of its reference.
    pub token: u64,
    /// Log index of the reference in the source's group: whoever has applied so much there has all bytes below `offset`.
    pub seen: u64,
    /// How many streams it is based on: one more than its source is.
    pub depth: u32,
    /// Whether its lifetime was asked for, and not taken over from the source.
    pub own_lifetime: bool,
}

/// What a `PUT` with `Stream-Forked-From` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// `Stream-Forked-From`.
    pub source: StreamName,
    /// `Stream-Fork-Offset`; by default the source's tail.
    pub offset: Option<Offset>,
    /// `Stream-Fork-Sub-Offset`.
    pub sub: u64,
    /// `Content-Type`; by default the source's, and never another.
    pub content_type: Option<String>,
    /// Whether it is born closed.
    pub closed: bool,
    /// `If-Match`.
    pub if_match: Option<Condition>,
    /// `Stream-TTL` or `Stream-Expires-At`; by default the source's.
    pub lifetime: Option<Lifetime>,
    /// What it forgets by itself, as far as the client says so.
    pub retention: Retention,
    /// What it forgets by itself where the client does not say.
    pub retention_default: Retention,
}

/// A step of making or unmaking a fork. The command's stream says in whose group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForkOp {
    /// In the fork's group: is it lawful? If so, keep a pledge.
    Pledge(Box<Pledging>),
    /// In the source's group: keep a reference.
    Retain(Box<Retaining>),
    /// In the fork's group: make the fork, with the body as its first own bytes, for its pledge.
    Bear(Box<Bearing>),
    /// In the fork's group: the pledge is given up, and owes.
    Abandon {
        /// Index of its token.
        token: u64,
    },
    /// In the source's group: the reference goes; and the source, if it was deleted and this was the last one.
    Release {
        /// The fork's.
        token: Token,
        /// In which of its lives the source was forked.
        incarnation: u64,
    },
    /// In the source's group: the fork is there, the reference needs no more looking into.
    Confirm {
        /// The fork's.
        token: Token,
        /// In which of its lives the source was forked.
        incarnation: u64,
        /// Log index of the reference that was looked into.
        seen: u64,
    },
    /// In the fork's group: the reference was given back, the pledge owes nothing any more.
    Settle {
        /// Index of its token.
        token: u64,
    },
}

/// [`ForkOp::Pledge`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pledging {
    /// What is wanted.
    pub asked: Asked,
    /// In which of its lives the source is to be forked.
    pub incarnation: u64,
}

/// [`ForkOp::Retain`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retaining {
    /// The fork's.
    pub token: Token,
    /// The fork's name.
    pub fork: StreamName,
    /// Of this life of the source only.
    pub incarnation: u64,
    /// The bytes below are wanted.
    pub offset: Offset,
}

/// [`ForkOp::Bear`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bearing {
    /// What is wanted.
    pub asked: Asked,
    /// Where its first bytes are.
    pub base: Base,
    /// The source's first byte when the reference was taken.
    pub earliest: Offset,
    /// The source's media type, as first spelled.
    pub content_type: String,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// As of which log index of group 0 its bucket was live: see [`Create::as_of`](super::Create::as_of).
    pub as_of: u64,
}

/// What became of such a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForkDone {
    /// The pledge is kept; there is no such stream yet.
    Pledged {
        /// Index of its token.
        token: u64,
    },
    /// The reference is kept.
    Retained {
        /// Log index of its entry.
        seen: u64,
        /// The source's first byte then.
        earliest: Offset,
    },
    /// The pledge is open no more.
    Abandoned {
        /// What it owes, if it does.
        debt: Option<Box<Debt>>,
    },
    /// The reference is there no more.
    Released {
        /// What the source owes that went with it, if it did.
        debt: Option<Box<Debt>>,
    },
    /// The reference, if it is there, needs no more looking into.
    Confirmed,
    /// The pledge, if there was one, owes nothing any more.
    Settled,
    /// `DELETE` removed a fork, which owes now.
    Deleted {
        /// What it owes.
        debt: Box<Debt>,
    },
}

/// Why such a step changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForkRefusal {
    /// There is no such source (404).
    NoSource,
    /// The source is deleted, and kept for its forks only (409).
    SourceGone,
    /// The source was deleted and made anew meanwhile: look again.
    AnotherLife,
    /// The source has no bytes there yet (400).
    BeyondTail {
        /// Its tail.
        tail: Offset,
    },
    /// The source has no bytes there any more (410).
    Trimmed {
        /// Its first byte.
        earliest: Offset,
    },
    /// The pledge was given up meanwhile, because this took so long.
    TooLate,
    /// The source has [`FORKS_MAX`](super::FORKS_MAX) forks (409).
    TooMany,
}

/// An attempt at a fork that is under way, or the debt of one that is over. A row of the fork's group, under its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pledge {
    /// The fork.
    pub fork: StreamName,
    /// Its source.
    pub source: StreamName,
    /// In that life of it.
    pub incarnation: u64,
    /// The source may hold a reference that is to be given back; the fork will not be made any more, or is gone.
    pub owing: bool,
}

/// A pledge that owes, and its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debt {
    /// Index of its token.
    pub token: u64,
    /// What is owed to whom.
    pub pledge: Pledge,
}

/// Says that a fork needs this life of a stream. A row of the source's group, under incarnation and token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The source.
    pub source: StreamName,
    /// The fork.
    pub fork: StreamName,
    /// Log index of the entry that put it.
    pub seen: u64,
    /// The source's first byte then.
    pub earliest: Offset,
    /// Whether the fork was seen to be there.
    pub confirmed: bool,
}

/// What happens to a row of forks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForkChange {
    /// This is the pledge of that token now; or it goes.
    Pledge(u64, Option<Pledge>),
    /// This is the reference of that incarnation and token now; or it goes.
    Reference(u64, Token, Option<Reference>),
}

impl ForkOp {
    /// The stream it names besides the command's.
    #[must_use]
    pub fn other(&self) -> Option<&StreamName> {
        match self {
            Self::Pledge(pledging) => Some(&pledging.asked.source),
            Self::Retain(retaining) => Some(&retaining.fork),
            Self::Bear(bearing) => Some(&bearing.base.source),
            Self::Abandon { .. } | Self::Release { .. } | Self::Confirm { .. } | Self::Settle { .. } => None,
        }
    }

    /// Index of the token whose pledge must be loaded before the law can judge.
    #[must_use]
    pub fn pledge(&self) -> Option<u64> {
        match self {
            Self::Bear(bearing) => Some(bearing.base.token),
            Self::Abandon { token } | Self::Settle { token } => Some(*token),
            Self::Pledge(_) | Self::Retain(_) | Self::Release { .. } | Self::Confirm { .. } => None,
        }
    }

    /// Incarnation and token of the reference that must be loaded before the law can judge.
    #[must_use]
    pub fn reference(&self) -> Option<(u64, Token)> {
        match self {
            Self::Retain(retaining) => Some((retaining.incarnation, retaining.token)),
            Self::Release { token, incarnation } | Self::Confirm { token, incarnation, .. } => {
                Some((*incarnation, *token))
            }
            Self::Pledge(_) | Self::Bear(_) | Self::Abandon { .. } | Self::Settle { .. } => None,
        }
    }
}

impl From<ForkRefusal> for Refusal {
    fn from(refusal: ForkRefusal) -> Self {
        Self::Fork(refusal)
    }
}

impl Pledge {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        versioned::encode(PLEDGE_VERSION, self)
    }

    /// What [`Pledge::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        versioned::decode("pledge", PLEDGE_VERSION, bytes)
    }
}

impl Reference {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        versioned::encode(REFERENCE_VERSION, self)
    }

    /// What [`Reference::encode`] wrote.
    ///
    /// # Errors
    /// When it is of an unknown version or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFormat> {
        versioned::decode("reference", REFERENCE_VERSION, bytes)
    }
}
