//! Of what cluster a member is, where that is to be known before anything else is asked of it.

use super::attempt::{Attempt, encode};
use super::rounds::Call;
use super::{Kind, Method, Size};
use crate::error::{Error, Result};
use crate::gateway::json::Decode;
use crate::gateway::{Headed, Header, HeaderOnly, NoFields};

/// A transaction of nothing. Of what has a header in its answer it is the one that a member answers by itself, changing
/// nothing, and to anybody: also where there are users it wants no token, which a stranger is not to see.
const EMPTY_TXN: Method = Method::new("kv/txn", Kind::Read, Size::Plain);

impl Attempt<'_> {
    /// Makes sure that an endpoint which was another cluster's is this one's now. Until then no call may go there: it may
    /// do something, it shows its token, and an error doesn't tell whose it is.
    pub(super) fn reclaim(&self) -> Result<()> {
        let seen = self.guard.seen();
        let judged = self.header().and_then(|header| self.judge(EMPTY_TXN, header, seen));
        judged.map_err(Error::of_a_read)?;
        self.channel.endpoints.recover(self.endpoint);
        Ok(())
    }

    /// The header of a member's answers.
    pub(super) fn header(&self) -> Result<Header> {
        let call = Call::new(Kind::Read, self.call.control).for_stranger(true);
        let attempt = Attempt { call: &call, ..*self };
        let answer = attempt.decoded_answer(EMPTY_TXN, &|out| encode(&NoFields, out), &|reader| {
            HeaderOnly::decode(reader).map(|message| message.header())
        });
        answer.map(|(header, _)| header)
    }
}
