//! Appends on condition: only if the log is where this client last saw it.

use super::Actor;
use crate::history::{Answer, Append, Ending};

pub(super) async fn run(mut actor: Actor) {
    let mut known: Option<(std::sync::Arc<str>, String)> = None;
    while actor.goes_on().await {
        let (log, etag) = match known.take() {
            Some(known) => known,
            None => {
                let log = actor.any_log();
                let Ending::Done(Answer::Head { etag: Some(etag), .. }) = actor.client.head(actor.node, &log).await
                else {
                    continue;
                };
                (log, etag)
            }
        };
        let append = Append {
            if_match: Some(etag),
            ..actor.fresh(&log)
        };
        if let Ending::Done(Answer::Appended { etag: Some(etag), .. }) =
            actor.client.append(actor.node, &log, append).await
            && !actor.one_in(3)
        {
            known = Some((log, etag));
        }
    }
}
