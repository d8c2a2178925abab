//! How a copy is made, and made anew when the history from the old one on is gone.

use super::entry::Entry;
use super::keeper::{Keeper, is_final};
use super::tree::Tree;
use crate::backoff;
use crate::client::{CallOptions, Client, TimeLimit};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::limits;
use crate::log::Level;
use crate::net::{self, Control};
use crate::rpc::scan::ScanRequest;
use crate::rpc::{Header, Keys};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// All keys that start so, and the revision that they are at. The time limit is the whole's if there is one, and each
/// page's otherwise.
pub(super) fn copy(client: &Client, prefix: &[u8], within: &Limit) -> Result<(Tree, Header)> {
    let mut scan = client.scan(ScanRequest::new(Keys::Prefix(Cow::Owned(prefix.to_vec()))))?;
    let mut tree = Tree::default();
    let mut header = Header::default();
    loop {
        let page = match within {
            Limit::Whole(control) => scan.next_page_within(control)?,
            Limit::EachPage(options) => scan.next_page(options)?,
        };
        if header.cluster_id == 0 {
            header.cluster_id = page.header.cluster_id;
        }
        if page.kvs.is_empty() {
            break;
        }
        for kv in &page.kvs {
            tree.insert(Entry::new(kv, page.bytes(kv.key), page.bytes(kv.value)));
        }
    }
    header.revision = scan.revision();
    Ok((tree, header))
}

/// What bounds the making of a copy.
pub(super) enum Limit {
    Whole(Control),
    EachPage(CallOptions),
}

/// Makes the copy anew on a thread of its own, and goes on. Called where a watch has ended.
pub(super) fn begin(keeper: &Arc<Keeper>, cause: Error) {
    let begun = keeper.shared.rebuild_with(|before| {
        let keeper = keeper.clone();
        net::spawn("etcdgw-mirror", move || {
            // It has only to pass on the watch that has ended meanwhile.
            before.map(JoinHandle::join);
            rebuild(&keeper, &cause);
        })
    });
    if let Err(error) = begun {
        keeper.end(error);
    }
}

fn rebuild(keeper: &Arc<Keeper>, cause: &Error) {
    let Some(client) = keeper.client() else { return };
    let message = cause.full_message();
    client.shared.channel.logger().log(Level::Info, format_args!("a mirror is made anew: {message}"));
    let rebuilt = catch_unwind(AssertUnwindSafe(|| try_until_final(&client, keeper)));
    let rebuilt = rebuilt.unwrap_or_else(|_| Err(Error::Panic("making a mirror anew panicked".to_owned())));
    if let Err(error) = rebuilt {
        keeper.end(error);
    }
}

fn try_until_final(client: &Client, keeper: &Arc<Keeper>) -> Result<()> {
    let stop = Some(keeper.shared.stop.clone());
    let mut losses = 0;
    loop {
        let error = match try_once(client, keeper) {
            Err(error) if !is_final(&error) => error,
            done => return done,
        };
        let message = error.full_message();
        client.shared.channel.logger().log(Level::Warn, format_args!("a mirror can't be made anew yet: {message}"));
        let control = Control { deadline: Deadline::NEVER, cancel: stop.clone() };
        client.shared.channel.pause(pause(losses), &control)?;
        losses += 1;
    }
}

/// Before a copy is tried once more, after so many losses before this one.
pub(super) fn pause(losses: u32) -> Duration {
    let pause = backoff::doubled(limits::MIRROR_PAUSE_FIRST, limits::MIRROR_PAUSE_LONGEST, losses);
    backoff::spread(pause, net::jitter())
}

/// Shows a new copy, and goes on from there.
fn try_once(client: &Client, keeper: &Arc<Keeper>) -> Result<()> {
    let stop = Some(keeper.shared.stop.clone());
    let each = CallOptions { timeout: TimeLimit::Default, cancel: stop };
    let (tree, header) = copy(client, &keeper.shared.prefix, &Limit::EachPage(each))?;
    keeper.replace(tree, header);
    // A refusal comes as the watch's end, and a compaction meanwhile as well.
    let mut options = keeper.watch_options(header.revision.saturating_add(1));
    options.wait_created = false;
    let watch = client.watch_inline(options, keeper.as_consumer())?;
    keeper.shared.follow(&watch);
    Ok(())
}
