//! Ranges of any size, read in pages that are all of one revision.

use super::keys::{ZERO, prefix_range_end};
use super::kv::{RangeRequest, RangeResponse};
use super::{Keys, Namespace, Response};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Outcome, Reason, Result};
use crate::limits;
use crate::net::Control;
use std::borrow::Cow;

/// What to scan.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// Which keys.
    pub keys: Keys<'static>,
    /// As they were at this revision; 0: at the one that the first page finds.
    pub revision: i64,
    /// At most so many keys in a page. `None`: as many as make a page of a few megabytes, which is found out from the
    /// pages before.
    pub page_size: Option<i64>,
    /// Without values.
    pub keys_only: bool,
}

impl ScanRequest {
    /// Scans these keys as they are now.
    pub fn new(keys: Keys<'static>) -> ScanRequest {
        ScanRequest { keys, revision: 0, page_size: None, keys_only: false }
    }
}

/// A range of any size, ascending by key, page by page, all of them at one revision. It holds no page and no connection
/// between two pages: one that isn't wanted any more is dropped.
pub struct Scan {
    client: Client,
    /// The full name of the next page's first key.
    first: Vec<u8>,
    /// The full name of the first key after all pages, or `"\0"`.
    end: Vec<u8>,
    /// 0: not fixed yet.
    revision: i64,
    page: PageSize,
    keys_only: bool,
    has_ended: bool,
}

impl Client {
    /// A scan; nothing is sent before its first page is asked for.
    pub fn scan(&self, request: ScanRequest) -> Result<Scan> {
        self.check_open()?;
        let ScanRequest { keys, revision, page_size, keys_only } = request;
        if revision < 0 {
            return Err(Error::invalid(format!("revision is negative: {revision}")));
        }
        if let Some(size) = page_size.filter(|size| *size <= 0) {
            return Err(Error::invalid(format!("page_size is not positive: {size}")));
        }
        self.check_key(matches!(&keys, Keys::One(key) if key.is_empty()))?;
        let (first, end) = bounds(&keys, self.namespace());
        let page = page_size.map_or(PageSize::Adapting(limits::SCAN_FIRST_PAGE), PageSize::Given);
        Ok(Scan { client: self.clone(), first, end, revision, page, keys_only, has_ended: false })
    }
}

impl Scan {
    /// The next page. One without keys is the end, and comes again however often it is asked for.
    ///
    /// After an error the same page may be asked for again, unless it is [`Error::Compacted`]: then the revision of the
    /// scan is gone.
    pub fn next_page(&mut self, options: &CallOptions) -> Result<Response<RangeResponse>> {
        let control = self.client.control(options);
        self.next_page_within(&control)
    }

    /// The revision that all pages show; 0: the first one has not come yet.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    pub(crate) fn next_page_within(&mut self, control: &Control) -> Result<Response<RangeResponse>> {
        if self.has_ended {
            self.client.shared.channel.check(control)?;
            let mut end = RangeResponse::default();
            end.header.revision = self.revision;
            return Ok(Response::new(Vec::new(), end));
        }
        let mut page = self.read(control)?;
        self.fix_revision(page.header.revision)?;
        let last = page.kvs.last().map(|kv| [page.bytes(kv.key), ZERO].concat());
        match last {
            Some(next) if page.more => self.first = next,
            _ => self.has_ended = true,
        }
        self.page.learn(&page);
        super::kv::strip_range(self.client.namespace(), page.message_mut());
        Ok(page)
    }

    fn read(&mut self, control: &Control) -> Result<Response<RangeResponse>> {
        loop {
            let (key, end) = (Cow::Borrowed(&*self.first), Cow::Borrowed(&*self.end));
            let request = RangeRequest {
                limit: self.page.limit(),
                revision: self.revision,
                keys_only: self.keys_only,
                ..RangeRequest::new(Keys::Range { key, end })
            };
            match self.client.range_of_full_names(&request, control) {
                Err(error) if is_too_large(&error) && self.page.shrink() => {}
                Err(error) => return Err(self.explain(error)),
                Ok(page) => return Ok(page),
            }
        }
    }

    /// The first page says which revision all others are read at.
    fn fix_revision(&mut self, revision: i64) -> Result<()> {
        if self.revision == 0 {
            if revision <= 0 {
                let what = "the answer to a range has no revision".to_owned();
                let endpoint = self.client.base_url();
                return Err(Error::Protocol { endpoint, http_status: 200, what, outcome: Outcome::NotApplied });
            }
            self.revision = revision;
        }
        Ok(())
    }

    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Server { endpoint, reason: Reason::Compacted, .. } => {
                // etcd doesn't say here which revisions are left.
                Error::Compacted { endpoint, wanted: self.revision, compact_revision: 0 }
            }
            error => error,
        }
    }
}

/// The full names that a range goes from and to.
fn bounds(keys: &Keys<'_>, namespace: &Namespace) -> (Vec<u8>, Vec<u8>) {
    let first = match keys {
        Keys::One(key) => namespace.add(key).into_owned(),
        _ => keys.first_in(namespace).into_owned(),
    };
    let end = match keys {
        Keys::One(_) => [&*first, ZERO].concat(),
        Keys::Prefix(prefix) => prefix_range_end(&namespace.add(prefix)),
        Keys::From(_) => namespace.end(),
        Keys::Range { end, .. } => namespace.add(end).into_owned(),
    };
    (first, end)
}

/// Whether fewer keys might have been answered: with more than this client takes, or the server's gateway.
fn is_too_large(error: &Error) -> bool {
    matches!(error, Error::TooLarge { .. }) || error.reason() == Reason::RequestTooLarge
}

/// How many keys a page may have.
#[derive(Clone, Copy, Debug)]
enum PageSize {
    Given(i64),
    /// So many in the next one.
    Adapting(i64),
}

impl PageSize {
    fn limit(self) -> i64 {
        match self {
            PageSize::Given(limit) | PageSize::Adapting(limit) => limit,
        }
    }

    /// Sets the size of the next page by what this one weighed. It grows in steps, so that values which are suddenly
    /// large are met by pages that are not, and shrinks at once.
    fn learn(&mut self, page: &Response<RangeResponse>) {
        if let (PageSize::Adapting(limit), false) = (&mut *self, page.kvs.is_empty()) {
            let weight = page.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum::<usize>();
            let average = (weight / page.kvs.len()).max(1);
            let fitting = i64::try_from(limits::SCAN_PAGE_BYTES / average).unwrap_or(i64::MAX);
            *limit = fitting.min(limit.saturating_mul(limits::SCAN_PAGE_GROWTH)).clamp(1, limits::SCAN_LARGEST_PAGE);
        }
    }

    /// Makes a page smaller that was too large. False: it can't be.
    fn shrink(&mut self) -> bool {
        match self {
            PageSize::Adapting(limit) if *limit > 1 => {
                *limit = (*limit / limits::SCAN_PAGE_GROWTH).max(1);
                true
            }
            _ => false,
        }
    }
}
