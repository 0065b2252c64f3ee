//! A node in this process, in a world of memory, asked over real loopback sockets.
//!
//! | file | the question |
//! |---|---|
//! | `journey` | does every method answer what the protocol says? |
//! | `reading` | are answers streamed, bounded, and cut off rather than wrong? |
//! | `live` | do reads that wait get everything once, and an end? |
//! | `stalling` | what of readers that stay and take nothing? |
//! | `framing` | does the way a body is framed change what is stored? |
//! | `packing` | who gets gzip, and what are browsers and caches told? |
//! | `bad_input` | what does a client get that sends what no client should? |
//! | `odd_data` | what of data that looks like events, places of another life, readers that hang up at once? |
//! | `buckets` | what are buckets, and where do both shapes of a URL lead? |
//! | `lifetime` | when is a stream over, and what does it forget? |
//! | `snapshots` | are snapshots published whole or not at all, and sent with what came after them? |
//! | `forks` | how does one stream begin as a part of another? |
//! | `cluster` | does every node of three answer alike? |
//! | `admin` | what does a node say about itself? |

mod admin;
mod bad_input;
mod buckets;
mod cluster;
mod forks;
mod framing;
mod journey;
mod lifetime;
mod live;
mod odd_data;
mod packing;
mod reading;
mod server;
mod snapshots;
mod stalling;
