//! What can be wrong with bytes and options.

use etcdgw::ffi::*;
use std::ptr;
use std::sync::OnceLock;

const INVALID: etcdgw_status = ETCDGW_INVALID_ARGUMENT;

/// The argument at fault, the status that it calls for, and how to make it so.
pub type Fault<T> = (&'static str, etcdgw_status, fn(&mut T));

/// A struct whose fields have faults.
pub trait Faulty: Copy + 'static {
    /// The size of the first release.
    const FIRST_SIZE: usize;
    /// Everything at its default.
    fn good() -> Self;
    fn set_size(&mut self, size: usize);
    fn faults() -> Vec<Fault<Self>>;
}

pub fn bytes(bytes: &'static [u8]) -> etcdgw_bytes {
    etcdgw_bytes { data: bytes.as_ptr(), len: bytes.len() }
}

/// A C struct at its defaults: zero everywhere, but for the size that it begins with.
pub fn zero<T>(size: usize) -> T {
    unsafe {
        let mut options: T = std::mem::zeroed();
        (&raw mut options).cast::<usize>().write(size);
        options
    }
}

pub const BAD_BYTES: &[fn() -> etcdgw_bytes] = &[
    || etcdgw_bytes { data: ptr::null(), len: 5 },
    || etcdgw_bytes { data: b"x".as_ptr(), len: isize::MAX as usize + 1 },
    || etcdgw_bytes { data: b"x".as_ptr(), len: usize::MAX },
];

/// Gives an option struct its faults: flags, whatever else is set, and bytes.
macro_rules! faulty {
    ($name:ident, $size:literal,
     flags [$($flag:ident),*], bytes [$($bytes:ident),*], others [$($field:ident = $value:expr),* $(,)?]) => {
        impl Faulty for $name {
            const FIRST_SIZE: usize = $size;
            fn good() -> $name {
                zero($size)
            }
            fn set_size(&mut self, size: usize) {
                self.struct_size = size;
            }
            fn faults() -> Vec<Fault<$name>> {
                vec![
                    $(
                        (concat!("options.", stringify!($flag)), INVALID, |o| o.$flag = 2),
                        (concat!("options.", stringify!($flag)), INVALID, |o| o.$flag = -1),
                    )*
                    $(
                        (concat!("options.", stringify!($bytes)), INVALID, |o| o.$bytes = BAD_BYTES[0]()),
                        (concat!("options.", stringify!($bytes)), INVALID, |o| o.$bytes = BAD_BYTES[1]()),
                    )*
                    $((concat!("options.", stringify!($field)), INVALID, |o| o.$field = $value),)*
                ]
            }
        }
    };
}

faulty!(etcdgw_call_options, 24, flags [], bytes [], others []);
faulty!(etcdgw_put_options, 48, flags [prev_kv, ignore_value, ignore_lease], bytes [], others [reserved0 = 1]);
faulty!(etcdgw_get_options, 112,
    flags [prefix, serializable, keys_only, count_only],
    bytes [range_end],
    others [sort_order = -1, sort_order = 3, sort_target = -1, sort_target = 5,
        limit = -1, limit = i64::MIN, revision = -1, min_mod_revision = -1, max_mod_revision = -1,
        min_create_revision = -1, max_create_revision = -1]);
faulty!(etcdgw_delete_options, 56, flags [prefix, prev_kv, all], bytes [range_end], others [reserved0 = -1]);
faulty!(etcdgw_compact_options, 32, flags [physical], bytes [], others [reserved0 = 1]);
faulty!(etcdgw_lease_grant_options, 32, flags [], bytes [], others []);
faulty!(etcdgw_lease_ttl_options, 32, flags [keys], bytes [], others [reserved0 = 1]);
faulty!(etcdgw_member_list_options, 32, flags [linearizable], bytes [], others [reserved0 = 1]);

faulty!(etcdgw_scan_options, 64, flags [keys_only], bytes [range_end],
    others [reserved0 = 1, page_size = -1]);

impl Faulty for etcdgw_mirror_options {
    const FIRST_SIZE: usize = 32;
    fn good() -> etcdgw_mirror_options {
        zero(32)
    }
    fn set_size(&mut self, size: usize) {
        self.struct_size = size;
    }
    fn faults() -> Vec<Fault<etcdgw_mirror_options>> {
        Vec::new()
    }
}
faulty!(etcdgw_role_permission_options, 48, flags[prefix], bytes[range_end], others[reserved0 = 1]);
faulty!(etcdgw_snapshot_options, 48, flags [], bytes [], others [endpoint = BAD_TEXT]);

/// Options of what may deliver to a queue: not together with the callback.
macro_rules! queued {
    ($name:ident, $size:literal, [$($fault:expr),*]) => {
        impl Faulty for $name {
            const FIRST_SIZE: usize = $size;
            fn good() -> $name {
                zero($size)
            }
            fn set_size(&mut self, size: usize) {
                self.struct_size = size;
            }
            fn faults() -> Vec<Fault<$name>> {
                vec![("callback is given together with options.queue", INVALID, |o| o.queue = queue()), $($fault),*]
            }
        }
    };
}

queued!(etcdgw_keepalive_options, 32, []);
queued!(etcdgw_session_options, 48, [("options.ttl", INVALID, |o| o.ttl = -1)]);
queued!(etcdgw_election_observe_options, 32, []);
faulty!(etcdgw_stm_options, 32, flags [], bytes [],
    others [isolation = -1, isolation = 4, isolation = i32::MIN, max_attempts = -1]);
faulty!(etcdgw_lock_options, 40, flags [], bytes [],
    others [ttl = -1, uuid = BAD_TEXT]);

const BAD_TEXT: *const std::ffi::c_char = c"\xff".as_ptr();

impl Faulty for etcdgw_watch_options {
    const FIRST_SIZE: usize = 88;
    fn good() -> etcdgw_watch_options {
        // A closed client would not confirm it.
        etcdgw_watch_options { no_wait_created: 1, ..zero(88) }
    }
    fn set_size(&mut self, size: usize) {
        self.struct_size = size;
    }
    fn faults() -> Vec<Fault<etcdgw_watch_options>> {
        vec![
            ("options.prefix", INVALID, |o| o.prefix = 2),
            ("options.progress_notify", INVALID, |o| o.progress_notify = 2),
            ("options.no_put", INVALID, |o| o.no_put = -1),
            ("options.no_delete", INVALID, |o| o.no_delete = 2),
            ("options.prev_kv", INVALID, |o| o.prev_kv = 2),
            ("options.report_connection", INVALID, |o| o.report_connection = 2),
            ("options.no_require_leader", INVALID, |o| o.no_require_leader = 2),
            ("options.no_wait_created", INVALID, |o| o.no_wait_created = 2),
            ("start_revision", INVALID, |o| o.start_revision = -1),
            ("options.range_end", INVALID, |o| o.range_end = BAD_BYTES[0]()),
            ("options.range_end", INVALID, |o| o.range_end = BAD_BYTES[1]()),
        ]
    }
}

impl Faulty for etcdgw_client_options {
    const FIRST_SIZE: usize = 256;
    fn good() -> etcdgw_client_options {
        zero(256)
    }
    fn set_size(&mut self, size: usize) {
        self.struct_size = size;
    }
    fn faults() -> Vec<Fault<etcdgw_client_options>> {
        vec![
            ("options.endpoints", INVALID, |o| o.endpoints = BAD_TEXT),
            ("endpoints", INVALID, |o| o.endpoints = c"".as_ptr()),
            ("endpoints", INVALID, |o| o.endpoints = c"ftp://127.0.0.1".as_ptr()),
            ("endpoints", INVALID, |o| o.endpoints = c"http://127.0.0.1:99999".as_ptr()),
            ("options.user", INVALID, |o| o.user = BAD_TEXT),
            ("options.user", INVALID, |o| (o.user, o.password) = (c"".as_ptr(), c"secret".as_ptr())),
            ("options.password", INVALID, |o| o.password = BAD_TEXT),
            ("options.password", INVALID, |o| o.password = c"secret".as_ptr()),
            ("options.password", INVALID, |o| o.user = c"root".as_ptr()),
            ("options.token", INVALID, |o| o.token = BAD_TEXT),
            ("token", INVALID, |o| o.token = c"".as_ptr()),
            ("token", INVALID, |o| o.token = c"a\r\nb".as_ptr()),
            ("options.token", INVALID, |o| {
                (o.user, o.password, o.token) = (c"root".as_ptr(), c"secret".as_ptr(), c"token".as_ptr());
            }),
            ("options.ca_cert_file", INVALID, |o| o.ca_cert_file = BAD_TEXT),
            ("options.cert_file", INVALID, |o| o.cert_file = BAD_TEXT),
            ("options.key_file", INVALID, |o| o.key_file = BAD_TEXT),
            ("options.ca_cert_file", INVALID, |o| o.ca_cert_file = c"".as_ptr()),
            ("options.cert_file", INVALID, |o| o.cert_file = c"".as_ptr()),
            ("options.key_file", INVALID, |o| o.key_file = c"".as_ptr()),
            ("options.key_file is no path", INVALID, |o| o.key_file = c"-----BEGIN PRIVATE KEY-----\nMII".as_ptr()),
            ("key_file", INVALID, |o| {
                (o.endpoints, o.tls_insecure_skip_verify) = (c"https://127.0.0.1".as_ptr(), 1);
                o.cert_file = c"/cert.pem".as_ptr();
            }),
            ("cert_file", INVALID, |o| {
                (o.endpoints, o.tls_insecure_skip_verify) = (c"https://127.0.0.1".as_ptr(), 1);
                o.key_file = c"/key.pem".as_ptr();
            }),
            ("options.ca_cert_pem", INVALID, |o| o.ca_cert_pem = BAD_BYTES[0]()),
            ("options.cert_pem", INVALID, |o| o.cert_pem = BAD_BYTES[1]()),
            ("options.key_pem", INVALID, |o| o.key_pem = BAD_BYTES[2]()),
            ("options.ca_cert_pem", INVALID, |o| {
                (o.ca_cert_file, o.ca_cert_pem) = (c"/ca.pem".as_ptr(), bytes(b"pem"));
            }),
            ("options.cert_pem", INVALID, |o| (o.cert_file, o.cert_pem) = (c"/cert.pem".as_ptr(), bytes(b"pem"))),
            ("options.key_pem", INVALID, |o| (o.key_file, o.key_pem) = (c"/key.pem".as_ptr(), bytes(b"pem"))),
            ("options.tls_server_name", INVALID, |o| o.tls_server_name = BAD_TEXT),
            ("tls_server_name", INVALID, |o| o.tls_server_name = c"".as_ptr()),
            ("tls_server_name", INVALID, |o| o.tls_server_name = c"a b".as_ptr()),
            ("options.api_path", INVALID, |o| o.api_path = BAD_TEXT),
            ("api_path", INVALID, |o| o.api_path = c"/v 3/".as_ptr()),
            ("options.key_prefix", INVALID, |o| o.key_prefix = BAD_BYTES[0]()),
            ("options.auto_sync_ms", INVALID, |o| o.auto_sync_ms = -1),
            ("options.max_response_bytes", INVALID, |o| o.max_response_bytes = -1),
            ("options.tls_insecure_skip_verify", INVALID, |o| o.tls_insecure_skip_verify = 2),
            ("options.max_retries", INVALID, |o| o.max_retries = -2),
            ("options.max_idle_connections", INVALID, |o| o.max_idle_connections = -1),
            ("options.websocket", INVALID, |o| o.websocket = -1),
            ("options.websocket", INVALID, |o| o.websocket = 3),
            ("options.log_level", INVALID, |o| o.log_level = -1),
            ("options.log_level", INVALID, |o| o.log_level = 6),
            ("options.reserved0", INVALID, |o| o.reserved0 = 1),
            ("options.watch_buffer_bytes", INVALID, |o| o.watch_buffer_bytes = -1),
            ("options.watch_buffer_total_bytes", INVALID, |o| o.watch_buffer_total_bytes = -1),
        ]
    }
}

/// A queue that lives as long as the process.
fn queue() -> *mut etcdgw_queue {
    static QUEUE: OnceLock<usize> = OnceLock::new();
    let make = || {
        let mut queue = ptr::null_mut();
        assert_eq!(unsafe { etcdgw_queue_new(&mut queue, ptr::null_mut()) }, ETCDGW_OK);
        queue.expose_provenance()
    };
    ptr::with_exposed_provenance_mut(*QUEUE.get_or_init(make))
}

const BOTH_ENDS: &str = "options.range_end";

/// A range end together with a prefix.
pub const GET_BOTH: &[Fault<etcdgw_get_options>] =
    &[(BOTH_ENDS, INVALID, |o| (o.prefix, o.range_end) = (1, bytes(b"z")))];
/// The same.
pub const DELETE_BOTH: &[Fault<etcdgw_delete_options>] =
    &[(BOTH_ENDS, INVALID, |o| (o.prefix, o.range_end) = (1, bytes(b"z")))];
/// The same, or a queue together with the callback.
pub const WATCH_BOTH: &[Fault<etcdgw_watch_options>] = &[
    (BOTH_ENDS, INVALID, |o| (o.prefix, o.range_end) = (1, bytes(b"z"))),
    ("callback", INVALID, |o| o.queue = queue()),
];
/// A queue together with the callback.
pub const MIRROR_BOTH: &[Fault<etcdgw_mirror_options>] = &[("callback", INVALID, |o| o.queue = queue())];
/// A range end together with a prefix, or a queue where none can be.
pub const PULL_BOTH: &[Fault<etcdgw_watch_options>] = &[
    (BOTH_ENDS, INVALID, |o| (o.prefix, o.range_end) = (1, bytes(b"z"))),
    ("options.queue", INVALID, |o| o.queue = queue()),
];

/// The same.
pub const PERMISSION_BOTH: &[Fault<etcdgw_role_permission_options>] =
    &[(BOTH_ENDS, INVALID, |o| (o.prefix, o.range_end) = (1, bytes(b"z")))];

/// A range end in a function that is about a prefix.
pub const GET_END: &[Fault<etcdgw_get_options>] = &[(BOTH_ENDS, INVALID, |o| o.range_end = bytes(b"z"))];
/// The same.
pub const DELETE_END: &[Fault<etcdgw_delete_options>] = &[(BOTH_ENDS, INVALID, |o| o.range_end = bytes(b"z"))];
/// The same, or a queue together with the callback.
pub const WATCH_END: &[Fault<etcdgw_watch_options>] =
    &[(BOTH_ENDS, INVALID, |o| o.range_end = bytes(b"z")), ("callback", INVALID, |o| o.queue = queue())];
/// The same, or a queue where none can be.
pub const PULL_END: &[Fault<etcdgw_watch_options>] =
    &[(BOTH_ENDS, INVALID, |o| o.range_end = bytes(b"z")), ("options.queue", INVALID, |o| o.queue = queue())];

/// What a create or replace has no use for.
pub const ONLY_LEASE: &[Fault<etcdgw_put_options>] = &[
    ("options.prev_kv", INVALID, |o| o.prev_kv = 1),
    ("options.ignore_value", INVALID, |o| o.ignore_value = 1),
    ("options.ignore_lease", INVALID, |o| o.ignore_lease = 1),
];

/// What the options of an operation in a transaction can't say.
macro_rules! no_call {
    ($constant:ident, $options:ident, $($more:expr),*) => {
        /// No time limit and no token of its own.
        pub const $constant: &[Fault<$options>] = &[
            ("options.timeout_ms", INVALID, |o| o.timeout_ms = 1),
            ("options.timeout_ms", INVALID, |o| o.timeout_ms = -1),
            ("options.cancel", INVALID, |o| o.cancel = ptr::dangling_mut()),
            $($more),*
        ];
    };
}
no_call!(TXN_PUT, etcdgw_put_options,);
no_call!(STM_PUT, etcdgw_put_options, ONLY_LEASE[0], ONLY_LEASE[1], ONLY_LEASE[2]);
no_call!(TXN_GET, etcdgw_get_options, GET_BOTH[0]);
no_call!(TXN_DELETE, etcdgw_delete_options, DELETE_BOTH[0]);
