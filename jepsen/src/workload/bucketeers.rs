//! Buckets that come and go under those who create streams in them, on both routes, and list what is there.
//!
//! Few buckets, few streams, little thought: a bucket is often just empty when somebody deletes it, and just then somebody
//! else creates.

use std::sync::Arc;

use rand::RngExt;

use super::Actor;
use crate::history::{BucketOp, Ending, Refusal};

/// How many buckets there are.
const BUCKETS: u32 = 2;

/// How many streams in each.
const STREAMS: u32 = 5;

pub(super) async fn run(mut actor: Actor) {
    while actor.goes_on().await {
        let bucket: Arc<str> = format!("race-{}", actor.dice.random_range(0..BUCKETS)).into();
        match actor.dice.random_range(0..20) {
            0..7 => {
                let stream = actor.any_in(&bucket);
                let mut create = actor.birth(&stream);
                create.in_bucket = actor.one_in(2);
                actor.client.create(actor.node, &stream, create).await;
            }
            7..13 => {
                let stream = actor.any_in(&bucket);
                actor.client.delete(actor.node, &stream).await;
            }
            13..16 => actor.empty_and_drop(&bucket).await,
            16 => {
                actor.client.bucket(actor.node, &bucket, BucketOp::Make).await;
            }
            17 => {
                actor.client.bucket(actor.node, &bucket, BucketOp::Count).await;
            }
            _ => {
                let list = actor.any_page();
                actor.client.bucket(actor.node, &bucket, list).await;
            }
        }
    }
}

impl Actor {
    fn any_in(&mut self, bucket: &str) -> Arc<str> {
        format!("{bucket}/s{}", self.dice.random_range(0..STREAMS)).into()
    }

    fn any_page(&mut self) -> BucketOp {
        let prefix = if self.one_in(4) { "s1" } else { "s" };
        let after = match self.dice.random_range(0..STREAMS * 2) {
            number if number < STREAMS => format!("s{number}"),
            _ => String::new(),
        };
        BucketOp::List {
            prefix: prefix.to_owned(),
            after,
            limit: self.dice.random_range(1..=STREAMS as usize + 1),
        }
    }

    /// Deletes what lists as there, and then the bucket: others may have created more meanwhile.
    async fn empty_and_drop(&mut self, bucket: &Arc<str>) {
        for number in 0..STREAMS {
            let stream: Arc<str> = format!("{bucket}/s{number}").into();
            match self.client.delete(self.node, &stream).await {
                Ending::Done(_) | Ending::Refused(Refusal::NotFound) => {}
                _ => return,
            }
        }
        self.client.bucket(self.node, bucket, BucketOp::Drop).await;
        if self.one_in(2) {
            let stream = self.any_in(bucket);
            let mut create = self.birth(&stream);
            create.in_bucket = self.one_in(2);
            self.client.create(self.node, &stream, create).await;
        }
    }
}
