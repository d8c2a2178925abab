//! The functions that can't fail, and what they do with NULL.

use etcdgw::ffi::*;
use std::ffi::CStr;
use std::ptr;

macro_rules! freeing {
    ($($name:ident),* $(,)?) => {
        const FREEING: &[&str] = &[$(stringify!($name)),*];

        #[test]
        fn freeing_null_does_nothing() {
            unsafe {
                *libc::__errno_location() = 77;
                $($name(ptr::null_mut());)*
                assert_eq!(*libc::__errno_location(), 77);
            }
        }
    };
}

freeing! {
    etcdgw_auth_status_response_free, etcdgw_barrier_free, etcdgw_cancel_free, etcdgw_client_free, etcdgw_delete_response_free, etcdgw_double_barrier_free, etcdgw_election_free, etcdgw_election_observer_free, etcdgw_error_free, etcdgw_event_free, etcdgw_get_response_free, etcdgw_keepalive_free, etcdgw_leader_response_free, etcdgw_lease_list_response_free, etcdgw_lease_ttl_response_free, etcdgw_lock_free, etcdgw_maintenance_alarm_list_response_free, etcdgw_maintenance_downgrade_response_free, etcdgw_maintenance_hash_kv_response_free, etcdgw_maintenance_hash_response_free, etcdgw_maintenance_status_response_free, etcdgw_member_add_response_free, etcdgw_member_list_response_free, etcdgw_mirror_free, etcdgw_mutex_free, etcdgw_put_response_free, etcdgw_queue_free, etcdgw_raw_response_free, etcdgw_role_get_response_free, etcdgw_role_list_response_free, etcdgw_rwlock_free, etcdgw_scan_free, etcdgw_session_free, etcdgw_snapshot_response_free, etcdgw_stats_response_free, etcdgw_string_free, etcdgw_txn_free, etcdgw_txn_response_free, etcdgw_user_get_response_free, etcdgw_user_list_response_free, etcdgw_watch_free, etcdgw_watch_response_free, etcdgw_workqueue_free,
    // Nothing to end, either.
    etcdgw_cancel_trigger, etcdgw_client_close, etcdgw_election_observer_cancel, etcdgw_watch_cancel,
}

const OTHERS: &[&str] = &[
    "etcdgw_election_key",
    "etcdgw_election_revision",
    "etcdgw_error_endpoint",
    "etcdgw_error_grpc_code",
    "etcdgw_error_http_status",
    "etcdgw_error_is_retryable",
    "etcdgw_error_may_have_applied",
    "etcdgw_error_message",
    "etcdgw_error_reason",
    "etcdgw_error_status",
    "etcdgw_queue_fd",
    "etcdgw_mirror_age_ms",
    "etcdgw_mirror_get",
    "etcdgw_mirror_range",
    "etcdgw_mirror_revision",
    "etcdgw_mirror_wait_for_revision",
    "etcdgw_scan_next",
    "etcdgw_keepalive_is_lost",
    "etcdgw_keepalive_remaining_ms",
    "etcdgw_lock_key",
    "etcdgw_lock_revision",
    "etcdgw_lock_uuid",
    "etcdgw_mutex_key",
    "etcdgw_mutex_revision",
    "etcdgw_rwlock_key",
    "etcdgw_rwlock_revision",
    "etcdgw_session_is_lost",
    "etcdgw_session_lease",
    "etcdgw_session_remaining_ms",
    "etcdgw_status_name",
    "etcdgw_str",
    "etcdgw_version",
    "etcdgw_version_number",
    "etcdgw_watch_fd",
];

/// All of them.
pub const NAMES: &[&str] = &{
    let mut names = [""; FREEING.len() + OTHERS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = if index < FREEING.len() { FREEING[index] } else { OTHERS[index - FREEING.len()] };
        index += 1;
    }
    names
};

#[test]
fn no_error_is_ok_without_a_message() {
    let none = ptr::null();
    unsafe {
        assert_eq!(etcdgw_error_status(none), ETCDGW_OK);
        assert_eq!(CStr::from_ptr(etcdgw_error_message(none)), c"");
        assert_eq!(etcdgw_error_grpc_code(none), -1);
        assert_eq!(etcdgw_error_http_status(none), 0);
        assert!(etcdgw_error_endpoint(none).is_null());
        assert_eq!(etcdgw_error_reason(none), ETCDGW_REASON_OTHER);
        assert_eq!(etcdgw_error_is_retryable(none), 0);
        assert_eq!(etcdgw_error_may_have_applied(none), 0);
    }
}

#[test]
fn what_is_not_there_has_nothing() {
    unsafe {
        assert_eq!(etcdgw_election_key(ptr::null()).len, 0);
        assert_eq!(etcdgw_election_revision(ptr::null()), 0);
        assert_eq!(etcdgw_keepalive_is_lost(ptr::null()), 0);
        assert_eq!(etcdgw_keepalive_remaining_ms(ptr::null()), 0);
        assert_eq!(etcdgw_lock_key(ptr::null()).len, 0);
        assert_eq!(etcdgw_lock_revision(ptr::null()), 0);
        assert_eq!(CStr::from_ptr(etcdgw_lock_uuid(ptr::null())), c"");
        assert_eq!(etcdgw_mutex_key(ptr::null()).len, 0);
        assert_eq!(etcdgw_mutex_revision(ptr::null()), 0);
        assert_eq!(etcdgw_rwlock_key(ptr::null()).len, 0);
        assert_eq!(etcdgw_rwlock_revision(ptr::null()), 0);
        assert_eq!(etcdgw_session_is_lost(ptr::null()), 0);
        assert_eq!(etcdgw_session_lease(ptr::null()), 0);
        assert_eq!(etcdgw_session_remaining_ms(ptr::null()), 0);
    }
}

#[test]
fn the_others_answer_null_and_unlisted_numbers_with_something_sensible() {
    unsafe {
        assert_eq!(etcdgw_str(ptr::null()).len, 0);
        assert_eq!(etcdgw_str(c"abc".as_ptr()).len, 3);
        assert_eq!((etcdgw_watch_fd(ptr::null()), etcdgw_queue_fd(ptr::null())), (-1, -1));
        assert_eq!(etcdgw_watch_fd(ptr::null()), -1);
        assert_eq!((etcdgw_mirror_age_ms(ptr::null()), etcdgw_mirror_revision(ptr::null())), (-1, 0));
        let (none, key) = (ptr::null_mut(), etcdgw_str(c"key".as_ptr()));
        let (response, err) = (ptr::null_mut(), ptr::null_mut());
        assert_eq!(etcdgw_mirror_get(none, key, response, err), ETCDGW_INVALID_ARGUMENT);
        assert_eq!(etcdgw_mirror_range(none, key, response, err), ETCDGW_INVALID_ARGUMENT);
        assert_eq!(etcdgw_mirror_wait_for_revision(none, 1, 0, err), ETCDGW_INVALID_ARGUMENT);
        assert_eq!(etcdgw_scan_next(ptr::null_mut(), ptr::null(), response, err), ETCDGW_INVALID_ARGUMENT);
        assert_eq!(CStr::from_ptr(etcdgw_status_name(ETCDGW_NOT_FOUND)), c"NOT_FOUND");
        assert_eq!(CStr::from_ptr(etcdgw_status_name(-7)), c"UNLISTED");
        let version = CStr::from_ptr(etcdgw_version()).to_str().unwrap();
        let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
        assert_eq!(etcdgw_version_number(), parts[0] << 16 | parts[1] << 8 | parts[2]);
    }
}
