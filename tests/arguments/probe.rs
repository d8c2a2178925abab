//! Gives a call its arguments: all good ones, or one of them with a fault.

use crate::coordinator::Coordinated;
use crate::faults::{self, Faulty};
use etcdgw::ffi::*;
use std::ffi::{CStr, c_char, c_void};
use std::net::TcpListener;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Clients whose endpoint is a socket that counts who comes.
pub struct Target {
    listener: TcpListener,
    client: *mut etcdgw_client,
    closed: *mut etcdgw_client,
    /// Its client is another one: that of the watch does connect.
    watch: *mut etcdgw_watch_handle,
    queue: *mut etcdgw_queue,
    _watched: TcpListener,
    /// Its client is a third one, and can't reach anything any more.
    coordinated: Coordinated,
}

impl Target {
    pub fn new() -> Target {
        let (listener, watched) = (listener(), listener());
        let client = client_of(&listener);
        let closed = client_of(&listener);
        let mut queue = ptr::null_mut();
        unsafe {
            etcdgw_client_close(closed);
            assert_eq!(etcdgw_queue_new(&mut queue, ptr::null_mut()), ETCDGW_OK);
        }
        Target {
            client,
            closed,
            watch: watch_at(&watched),
            queue,
            listener,
            _watched: watched,
            coordinated: Coordinated::new(),
        }
    }

    pub fn client(&self) -> *mut etcdgw_client {
        self.client
    }

    pub fn watch(&self) -> *mut etcdgw_watch_handle {
        self.watch
    }

    /// A client that is closed.
    pub fn closed(&self) -> *mut etcdgw_client {
        self.closed
    }

    pub fn queue(&self) -> *mut etcdgw_queue {
        self.queue
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        std::iter::from_fn(|| self.listener.accept().ok()).count()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        unsafe {
            etcdgw_watch_free(self.watch);
            etcdgw_queue_free(self.queue);
            etcdgw_client_free(self.closed);
            etcdgw_client_free(self.client);
        }
    }
}

pub fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

pub fn client_of(listener: &TcpListener) -> *mut etcdgw_client {
    let endpoint = format!("http://{}\0", listener.local_addr().unwrap());
    let options = etcdgw_client_options {
        endpoints: endpoint.as_ptr().cast(),
        api_path: c"/v3/".as_ptr(),
        ..faults::zero::<etcdgw_client_options>(256)
    };
    let mut client = ptr::null_mut();
    assert_eq!(unsafe { etcdgw_client_new(&options, &mut client, ptr::null_mut()) }, ETCDGW_OK);
    client
}

/// A watch that nobody ever confirms; it doesn't need to be.
fn watch_at(listener: &TcpListener) -> *mut etcdgw_watch_handle {
    let client = client_of(listener);
    let options = etcdgw_watch_options { no_wait_created: 1, ..faults::zero::<etcdgw_watch_options>(88) };
    let mut watch = ptr::null_mut();
    unsafe {
        let status = etcdgw_watch_open(client, faults::bytes(b"key"), &options, &mut watch, ptr::null_mut());
        assert_eq!(status, ETCDGW_OK);
        etcdgw_client_free(client);
    }
    watch
}

/// What an output holds before a call: no function may leave it.
const POISON: u64 = 0xa5a5_a5a5_a5a5_a5a5;

/// Where an output goes.
struct Slot {
    value: Box<u64>,
    size: usize,
}

/// Frees a value of some type.
type Release = unsafe fn(*mut c_void);

/// The arguments of one call.
pub struct Probe {
    client: *mut etcdgw_client,
    watch: *mut etcdgw_watch_handle,
    queue: *mut etcdgw_queue,
    txn: *mut etcdgw_txn,
    coordinated: &'static Coordinated,
    /// Which of the faults that the arguments offer one after another is taken; none: none.
    wanted: Option<usize>,
    seen: usize,
    /// Whether a handle was asked for.
    gives_handle: bool,
    fault: Option<(&'static str, etcdgw_status)>,
    outputs: Vec<Slot>,
    err: Box<*mut etcdgw_error>,
    user_data: Option<&'static AtomicUsize>,
    kept: Vec<(*mut c_void, Release)>,
}

/// How often each `user_data` was freed. They outlive the probes: a watch frees its own later, on another thread.
static COUNTS: [AtomicUsize; 2000] = [const { AtomicUsize::new(0) }; 2000];
static NEXT_COUNT: AtomicUsize = AtomicUsize::new(0);

pub unsafe extern "C" fn count_up(user_data: *mut c_void) {
    unsafe { &*user_data.cast::<AtomicUsize>() }.fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn drop_piece(_: *const etcdgw_bytes, _: *mut c_void) -> i32 {
    0
}
unsafe extern "C" fn ignore_lease(_: *const etcdgw_keepalive_event, _: *mut c_void) {}

unsafe extern "C" fn ignore_copy(_: *const etcdgw_mirror_event, _: *mut c_void) {}

unsafe extern "C" fn ignore_leader(_: *const etcdgw_election_event, _: *mut c_void) {}

unsafe extern "C" fn commit(_: *mut etcdgw_stm_handle, _: *mut c_void) -> etcdgw_status {
    ETCDGW_OK
}

unsafe extern "C" fn ignore(_: *const etcdgw_watch_response, _: *mut c_void) {}

impl Probe {
    /// Good arguments, of a client that answers without sending anything.
    pub fn good(target: &Target) -> Probe {
        Probe::new(target, target.closed, None)
    }

    /// Arguments of which one has the fault of this number.
    pub fn with_fault(target: &Target, index: usize) -> Probe {
        Probe::new(target, target.client, Some(index))
    }

    fn new(target: &Target, client: *mut etcdgw_client, wanted: Option<usize>) -> Probe {
        let mut txn = ptr::null_mut();
        unsafe { etcdgw_txn_new(client, &mut txn, ptr::null_mut()) };
        Probe {
            client,
            watch: target.watch,
            queue: target.queue,
            txn,
            // SAFETY: no probe outlives its target.
            coordinated: unsafe { &*ptr::from_ref(&target.coordinated) },
            wanted,
            seen: 0,
            gives_handle: false,
            fault: None,
            outputs: Vec::new(),
            err: Box::new(ptr::without_provenance_mut(usize::MAX)),
            user_data: None,
            kept: Vec::new(),
        }
    }

    /// How many faults the arguments have offered.
    pub fn faults_seen(&self) -> usize {
        self.seen
    }

    /// Whether the call takes a client, a watch, a queue or a transaction.
    pub fn gives_handle(&self) -> bool {
        self.gives_handle
    }

    /// The argument with the fault, and the status that it calls for.
    pub fn fault(&self) -> Option<(&'static str, etcdgw_status)> {
        self.fault
    }

    /// Offers a fault; true: it is this one's turn.
    fn is_turn(&mut self, name: &'static str, status: etcdgw_status) -> bool {
        let is_turn = self.wanted == Some(self.seen);
        self.seen += 1;
        if is_turn {
            self.fault = Some((name, status));
        }
        is_turn
    }

    fn is_null(&mut self, name: &'static str) -> bool {
        self.is_turn(name, ETCDGW_INVALID_ARGUMENT)
    }

    pub fn client(&mut self) -> *mut etcdgw_client {
        self.gives_handle = true;
        if self.is_null("client") { ptr::null_mut() } else { self.client }
    }

    pub fn watch(&mut self) -> *mut etcdgw_watch_handle {
        self.gives_handle = true;
        if self.is_null("watch") { ptr::null_mut() } else { self.watch }
    }

    pub fn queue(&mut self) -> *mut etcdgw_queue {
        self.gives_handle = true;
        if self.is_null("queue") { ptr::null_mut() } else { self.queue }
    }

    pub fn txn(&mut self, name: &'static str) -> *mut etcdgw_txn {
        self.gives_handle = true;
        if self.is_null(name) { ptr::null_mut() } else { self.txn }
    }

    pub fn session(&mut self) -> *mut etcdgw_session {
        self.handle("session", self.coordinated.session)
    }

    pub fn mutex(&mut self) -> *mut etcdgw_mutex {
        self.handle("mutex", self.coordinated.mutex)
    }

    pub fn rwlock(&mut self) -> *mut etcdgw_rwlock {
        self.handle("rwlock", self.coordinated.rwlock)
    }

    pub fn election(&mut self) -> *mut etcdgw_election {
        self.handle("election", self.coordinated.election)
    }

    pub fn observer(&mut self) -> *mut etcdgw_election_observer {
        self.handle("observer", self.coordinated.observer)
    }

    pub fn lock(&mut self) -> *mut etcdgw_lock {
        self.handle("lock", self.coordinated.lock)
    }

    pub fn barrier(&mut self) -> *mut etcdgw_barrier {
        self.handle("barrier", self.coordinated.barrier)
    }

    pub fn double_barrier(&mut self) -> *mut etcdgw_double_barrier {
        self.handle("double_barrier", self.coordinated.double_barrier)
    }

    pub fn workqueue(&mut self) -> *mut etcdgw_workqueue {
        self.handle("workqueue", self.coordinated.workqueue)
    }

    pub fn stm(&mut self) -> *mut etcdgw_stm_handle {
        self.handle("stm", self.coordinated.stm.handle)
    }

    /// A function that commits at once.
    pub fn apply(&mut self) -> etcdgw_stm_callback {
        if self.is_null("apply") { None } else { Some(commit) }
    }

    /// A number of something.
    pub fn count(&mut self, name: &'static str) -> i64 {
        let bad = [0, -1, i64::MIN];
        bad.into_iter().find(|_| self.is_turn(name, ETCDGW_INVALID_ARGUMENT)).unwrap_or(1)
    }

    /// A number of which 0 means something, too.
    pub fn number(&mut self, name: &'static str) -> i64 {
        let bad = [-1, i64::MIN];
        bad.into_iter().find(|_| self.is_turn(name, ETCDGW_INVALID_ARGUMENT)).unwrap_or(1)
    }

    fn handle<T>(&mut self, name: &'static str, handle: *mut T) -> *mut T {
        self.gives_handle = true;
        if self.is_null(name) { ptr::null_mut() } else { handle }
    }

    pub fn bytes(&mut self, name: &'static str) -> etcdgw_bytes {
        let faults = faults::BAD_BYTES;
        let bad = faults.iter().find(|_| self.is_turn(name, ETCDGW_INVALID_ARGUMENT));
        bad.map_or_else(|| faults::bytes(b"0"), |bad| bad())
    }

    /// JSON, which has a fault of its own.
    pub fn json(&mut self) -> etcdgw_bytes {
        let bad = self.bytes("json");
        if self.fault.is_some() {
            return bad;
        }
        let is_malformed = self.is_turn("json", ETCDGW_INVALID_ARGUMENT);
        faults::bytes(if is_malformed { b"{\"compare\": " } else { b"{}" })
    }

    /// A string; a path or an endpoint that can't be one has that as its last fault.
    pub fn text(
        &mut self,
        name: &'static str,
        required: bool,
        good: &'static CStr,
        bad: &'static CStr,
    ) -> *const c_char {
        if required && self.is_null(name) {
            return ptr::null();
        }
        if self.is_turn(name, ETCDGW_INVALID_ARGUMENT) {
            return c"\xff\xfe".as_ptr();
        }
        if self.is_turn(name, ETCDGW_INVALID_ARGUMENT) {
            return bad.as_ptr();
        }
        good.as_ptr()
    }

    /// A string that may be any.
    pub fn words(&mut self, name: &'static str) -> *const c_char {
        if self.is_null(name) {
            return ptr::null();
        }
        let is_malformed = self.is_turn(name, ETCDGW_INVALID_ARGUMENT);
        if is_malformed { c"\xff\xfe".as_ptr() } else { c"words".as_ptr() }
    }

    /// The URL of a member.
    pub fn endpoint(&mut self) -> *const c_char {
        self.text("endpoint", false, c"http://127.0.0.1:1", c"ftp://127.0.0.1")
    }

    /// The URLs of a member among its peers.
    pub fn peer_urls(&mut self) -> *const c_char {
        if self.is_turn("peer_urls", ETCDGW_INVALID_ARGUMENT) {
            return c"".as_ptr();
        }
        self.text("peer_urls", true, c"http://127.0.0.1:1,http://127.0.0.1:2", c"http://127.0.0.1:1,,")
    }

    /// A constant, of which there are `count`, numbered from 0 on.
    pub fn constant(&mut self, name: &'static str, count: i32) -> i32 {
        let bad = [-1, count, i32::MAX, i32::MIN];
        bad.into_iter().find(|_| self.is_turn(name, ETCDGW_INVALID_ARGUMENT)).unwrap_or(0)
    }

    /// Options with their faults, and those that only this function sees.
    pub fn options<T: Faulty>(&mut self, also: &[faults::Fault<T>]) -> *const T {
        let mut options = T::good();
        let sizes = [0, 1, size_of::<usize>(), T::FIRST_SIZE - 1];
        if let Some(size) = sizes.into_iter().find(|_| self.is_turn("options.struct_size", ETCDGW_INVALID_ARGUMENT)) {
            options.set_size(size);
        }
        for (name, status, spoil) in T::faults().iter().chain(also) {
            if self.is_turn(name, *status) {
                spoil(&mut options);
            }
        }
        self.keep(options)
    }

    /// Options of a client, with a log that must be let go again.
    pub fn client_options(&mut self) -> *const etcdgw_client_options {
        let options = self.options::<etcdgw_client_options>(&[]).cast_mut();
        let was_read = self.fault.is_none_or(|(name, _)| name != "options.struct_size");
        let user_data = self.user_data();
        let free = self.user_data_free();
        if !was_read {
            // Its size says that it ends before these fields.
            self.user_data = None;
            return options;
        }
        unsafe {
            (*options).log_user_data = user_data;
            (*options).log_user_data_free = free;
        }
        options
    }

    fn keep<T: Copy>(&mut self, value: T) -> *const T {
        unsafe fn release<T>(value: *mut c_void) {
            drop(unsafe { Box::from_raw(value.cast::<T>()) });
        }
        let value = Box::into_raw(Box::new(value));
        self.kept.push((value.cast(), release::<T>));
        value
    }

    pub fn callback(&mut self) -> etcdgw_watch_callback {
        if self.is_null("callback") { None } else { Some(ignore) }
    }

    pub fn sink(&mut self) -> etcdgw_snapshot_sink_callback {
        if self.is_null("sink") { None } else { Some(drop_piece) }
    }

    /// May be NULL.
    pub fn keepalive_callback(&mut self) -> etcdgw_keepalive_callback {
        Some(ignore_lease)
    }

    /// May be NULL.
    pub fn mirror_callback(&mut self) -> etcdgw_mirror_callback {
        Some(ignore_copy)
    }

    /// May be NULL.
    pub fn election_callback(&mut self) -> etcdgw_election_callback {
        Some(ignore_leader)
    }

    pub fn user_data(&mut self) -> *mut c_void {
        let count = &COUNTS[NEXT_COUNT.fetch_add(1, Ordering::SeqCst)];
        self.user_data = Some(count);
        ptr::from_ref(count).cast_mut().cast()
    }

    pub fn user_data_free(&mut self) -> Option<unsafe extern "C" fn(*mut c_void)> {
        Some(count_up)
    }

    /// Room for bytes, which is not emptied.
    pub fn buffer(&mut self, name: &'static str) -> *mut u8 {
        if self.is_null(name) { ptr::null_mut() } else { self.keep([0_u8; 8]).cast_mut().cast() }
    }

    /// An output that must be there.
    pub fn output<T>(&mut self, name: &'static str) -> *mut T {
        if self.is_null(name) { ptr::null_mut() } else { self.optional_output() }
    }

    /// An output that may be NULL.
    pub fn optional_output<T>(&mut self) -> *mut T {
        self.outputs.push(Slot { value: Box::new(POISON), size: size_of::<T>() });
        ptr::from_mut(&mut *self.outputs.last_mut().unwrap().value).cast()
    }

    pub fn err(&mut self) -> *mut *mut etcdgw_error {
        &raw mut *self.err
    }

    /// The error's message; empty where there is none.
    pub fn message(&self) -> &str {
        unsafe { CStr::from_ptr(etcdgw_error_message(*self.err)) }.to_str().unwrap()
    }

    /// Frees what a call has put into its first output.
    pub fn give_back<T>(&self, status: etcdgw_status, free: unsafe extern "C" fn(*mut T)) -> etcdgw_status {
        if status == ETCDGW_OK {
            unsafe { free(ptr::from_ref(&*self.outputs[0].value).cast::<*mut T>().read()) };
        }
        status
    }

    pub fn assert_outputs_are_empty(&self, name: &str) {
        for (index, slot) in self.outputs.iter().enumerate() {
            let bytes = slot.value.to_ne_bytes();
            assert!(bytes[..slot.size].iter().all(|byte| *byte == 0), "{name}: output {index} is not empty");
            assert!(bytes[slot.size..].iter().all(|byte| *byte == 0xa5), "{name}: wrote past output {index}");
        }
    }

    pub fn assert_user_data_is_freed(&self, name: &str) {
        if let Some(count) = &self.user_data {
            assert_eq!(count.load(Ordering::SeqCst), 1, "{name}: how often user_data_free ran");
        }
    }

    pub fn assert_user_data_is_freed_at_most_once(&self, name: &str) {
        if let Some(count) = &self.user_data {
            assert!(count.load(Ordering::SeqCst) <= 1, "{name}: how often user_data_free ran");
        }
    }

    pub fn clean_up(self) {
        unsafe {
            etcdgw_error_free(*self.err);
            etcdgw_txn_free(self.txn);
            for (value, release) in self.kept {
                release(value);
            }
        }
    }
}
