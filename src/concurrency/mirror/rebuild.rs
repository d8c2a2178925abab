//! How a copy is made, and made anew when the history from the old one on is gone.

use super::change::{ChangeKind, MirrorChange, difference};
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
use crate::watch::Watch;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

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

/// Makes the copy anew on a thread of its own, and goes on. Called on the delivery thread.
pub(super) fn begin(keeper: &Arc<Keeper>, cause: &Error) {
    let Some(client) = keeper.client() else { return };
    let message = cause.full_message();
    client.shared.channel.logger().log(Level::Info, format_args!("a mirror is made anew: {message}"));
    let begun = keeper.shared.rebuild_with(|| {
        let keeper = keeper.clone();
        net::spawn("etcdgw-mirror", move || rebuild(&client, keeper))
    });
    if let Err(error) = begun {
        keeper.end(error);
    }
}

/// Whatever comes of it, the keeper goes back to the delivery thread: it may be the last to hold foreign values.
fn rebuild(client: &Client, keeper: Arc<Keeper>) {
    let rebuilt = catch_unwind(AssertUnwindSafe(|| try_until_final(client, &keeper)));
    let rebuilt = rebuilt.unwrap_or_else(|_| Err(Error::Panic("making a mirror anew panicked".to_owned())));
    client.shared.hub.post(move || match rebuilt {
        Ok(rebuilt) => rebuilt.take_over(&keeper),
        Err(_) if keeper.shared.is_freed() => {}
        Err(error) => keeper.end(error),
    });
}

fn try_until_final(client: &Client, keeper: &Arc<Keeper>) -> Result<Rebuilt> {
    let stop = Some(keeper.shared.stop.clone());
    let mut losses = 0;
    loop {
        let error = match Rebuilt::new(client, keeper) {
            Err(error) if !is_final(&error) => error,
            done => return done,
        };
        let message = error.full_message();
        client.shared.channel.logger().log(Level::Warn, format_args!("a mirror can't be made anew yet: {message}"));
        let pause = backoff::doubled(limits::MIRROR_PAUSE_FIRST, limits::MIRROR_PAUSE_LONGEST, losses);
        losses += 1_u32;
        let control = Control { deadline: Deadline::NEVER, cancel: stop.clone() };
        client.shared.channel.pause(backoff::spread(pause, net::jitter()), &control)?;
    }
}

/// A copy that was made anew, and the watch that goes on from it, which has not started.
struct Rebuilt {
    tree: Tree,
    header: Header,
    watch: Watch,
}

impl Rebuilt {
    fn new(client: &Client, keeper: &Arc<Keeper>) -> Result<Rebuilt> {
        let stop = Some(keeper.shared.stop.clone());
        let each = CallOptions { timeout: TimeLimit::Default, cancel: stop };
        let (tree, header) = copy(client, &keeper.shared.prefix, &Limit::EachPage(each))?;
        // It may begin at once: a refusal comes as the watch's end, and a compaction meanwhile as well.
        let mut options = keeper.watch_options(header.revision.saturating_add(1));
        options.wait_created = false;
        let watch = client.watch(options, keeper.as_consumer())?;
        Ok(Rebuilt { tree, header, watch })
    }

    /// Shows the new copy, tells what is different, and goes on from there. Called on the delivery thread.
    fn take_over(self, keeper: &Keeper) {
        let Rebuilt { tree, header, watch } = self;
        if !keeper.shared.follow(&watch) {
            return;
        }
        let old = keeper.shared.replace(tree.clone(), header);
        let revision = header.revision;
        let events = difference(&old, &tree, revision);
        watch.start();
        // Before foreign code runs, which may come back in a child of fork.
        drop((old, tree, watch));
        keeper.tell(MirrorChange { kind: ChangeKind::Rebuilt, events, revision, error: None });
    }
}
