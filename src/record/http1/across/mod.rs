//! A client of HTTP/1 whose upstream speaks HTTP/2: read as strictly as any, then carried by [`translate`].
//!
//! [`translate`]: crate::record::translate

mod answer;
mod crossing;
mod request;

use std::future::poll_fn;
use std::rc::Rc;

use http::Request;

pub(super) use request::translated;

use self::crossing::Crossing;
use super::fate::Fate;
use super::prepared::Prepared;
use super::serve::{Session, bad_body, end_in_order, refuse, slow_body};
use crate::record::answer::Refusal;
use crate::record::lane::Lane;
use crate::record::tape::parcel::End;

/// Carries one request. Says whether the connection can carry another.
pub(super) async fn carry(
    lane: &Rc<Lane>,
    session: &mut Session,
    mut prepared: Prepared,
    request: Request<()>,
) -> bool {
    if prepared.upgrades {
        return refuse(session, &mut prepared, Refusal::Unsupported, true).await;
    }
    let passage = Rc::clone(&prepared.passage);
    let mut crossing = Crossing::new(lane, session, &mut prepared, request);
    let fate = poll_fn(|cx| crossing.poll(cx)).await;
    let closes = crossing.closes();
    match fate {
        Fate::Answered => {
            let whole = crossing.is_request_over();
            drop(crossing);
            if closes {
                end_in_order(session, !whole).await;
            }
            !closes
        }
        Fate::Unanswered(refusal) => {
            drop(crossing);
            refuse(session, &mut prepared, refusal, closes).await
        }
        Fate::BadBody(malformed) => {
            let answered = crossing.is_answering();
            drop(crossing);
            bad_body(lane, session, &passage, malformed, answered).await;
            false
        }
        Fate::SlowBody => {
            drop(crossing);
            slow_body(session, &passage).await;
            false
        }
        Fate::Broken(how) => {
            passage.end(how.end());
            // The pieces before the break are the client's.
            crossing.flush().await;
            if crossing.resets_after(how) {
                session.client.reset_on_close();
            }
            false
        }
        Fate::ClientGone | Fate::Upgraded => {
            passage.end(End::ClientCancelled);
            false
        }
    }
}
