//! What every exported function does with arguments that can't be right: ETCDGW_INVALID_ARGUMENT, a message that names
//! the argument, outputs emptied, nothing sent, nothing leaked.
//!
//! The table in `rows` has a call of every function, made of good arguments. Each argument knows its faults; a call is
//! made once for every fault of every argument, with that one fault. The list of functions is `tests/abi/symbols.txt`,
//! so that none can be left out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "calls the C interface, wrongly on purpose")]

mod allocations;
mod coordinator;
mod faults;
mod forked;
mod harmless;
mod probe;
mod rows;

use allocations::{Counting, live_bytes};
use etcdgw::ffi::*;
use probe::{Probe, Target};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::ptr;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A call of a function with what the probe gives it.
pub type Call = fn(&mut Probe) -> etcdgw_status;

#[test]
fn every_exported_function_is_in_the_tables() {
    let listed = include_str!("../abi/symbols.txt").lines().collect::<BTreeSet<_>>();
    let tried: Vec<&str> = rows::rows().iter().map(|row| row.0).chain(harmless::NAMES.iter().copied()).collect();
    assert_eq!(tried.iter().copied().collect::<BTreeSet<_>>(), listed);
    assert_eq!(tried.len(), listed.len(), "a function stands in the tables twice");
}

#[test]
fn good_arguments_are_not_refused() {
    let target = Target::new();
    for (name, call) in rows::rows() {
        let mut probe = Probe::good(&target);
        unsafe { *libc::__errno_location() = 77 };
        let status = call(&mut probe);
        assert_eq!(unsafe { *libc::__errno_location() }, 77, "{name} changes errno");
        let message = probe.message();
        assert!(status != ETCDGW_INVALID_ARGUMENT && status != ETCDGW_INTERNAL_PANIC, "{name}: {status} {message}");
        probe.assert_user_data_is_freed_at_most_once(name);
        probe.clean_up();
    }
}

#[test]
fn every_fault_of_every_argument_is_refused_by_its_name_and_leaves_no_trace() {
    let target = Target::new();
    let mut tried = 0;
    for (name, call) in rows::rows() {
        let mut counting = Probe::good(&target);
        call(&mut counting);
        let faults = counting.faults_seen();
        counting.clean_up();
        for index in 0..faults {
            // Twice: what the first call leaves behind for good, such as a thread's buffers, is no leak.
            try_fault(name, call, &target, index);
            let before = live_bytes();
            try_fault(name, call, &target, index);
            assert_eq!(live_bytes() - before, 0, "{name}, fault {index}: bytes leaked");
            tried += 1;
        }
    }
    assert_eq!(target.connections(), 0, "something was sent");
    assert!(tried > 500, "only {tried} faults were tried");
}

fn try_fault(name: &str, call: Call, target: &Target, index: usize) {
    let mut probe = Probe::with_fault(target, index);
    let status = call(&mut probe);
    let (fault, expected) = probe.fault().unwrap();
    let message = probe.message();
    assert_eq!(status, expected, "{name} with a wrong {fault}: {message}");
    assert!(message.contains(fault), "{name} with a wrong {fault} does not name it: {message}");
    probe.assert_outputs_are_empty(name);
    probe.assert_user_data_is_freed(name);
    probe.clean_up();
}

#[test]
fn a_status_comes_back_although_nobody_wants_the_error() {
    unsafe {
        assert_eq!(etcdgw_cancel_new(ptr::null_mut(), ptr::null_mut()), ETCDGW_INVALID_ARGUMENT);
        let status = etcdgw_get_all(ptr::null_mut(), ptr::null(), ptr::null_mut(), ptr::null_mut());
        assert_eq!(status, ETCDGW_INVALID_ARGUMENT);
    }
}

#[test]
fn options_of_a_newer_caller_are_taken_as_far_as_they_are_known() {
    let target = Target::new();
    let options = etcdgw_call_options { struct_size: usize::MAX, timeout_ms: 0, cancel: ptr::null_mut() };
    let (mut url, mut err) = (ptr::null_mut(), ptr::null_mut());
    unsafe {
        assert_eq!(etcdgw_client_base_url(target.client(), &options, &mut url, &mut err), ETCDGW_OK);
        assert!(CStr::from_ptr(url).to_str().unwrap().starts_with("http://127.0.0.1:"));
        etcdgw_string_free(url);
    }
}

#[test]
fn an_expired_wait_is_no_error() {
    let target = Target::new();
    let mut err = ptr::dangling_mut();
    let mut response = ptr::dangling_mut();
    let status = unsafe { etcdgw_watch_next(target.watch(), 0, &mut response, &mut err) };
    assert_eq!(status, ETCDGW_DEADLINE_EXCEEDED);
    assert!(err.is_null() && response.is_null());
}

#[test]
fn a_delete_of_every_key_must_be_asked_for() {
    let target = Target::new();
    let empty = unsafe { etcdgw_str(ptr::null()) };
    let options = |range_end: &'static [u8], prefix, all| etcdgw_delete_options {
        range_end: faults::bytes(range_end),
        prefix,
        all,
        ..faults::zero::<etcdgw_delete_options>(56)
    };
    let refused = |delete: &dyn Fn(*mut *mut etcdgw_error) -> etcdgw_status| {
        let mut err = ptr::null_mut();
        assert_eq!(delete(&mut err), ETCDGW_INVALID_ARGUMENT);
        let message = unsafe { CStr::from_ptr(etcdgw_error_message(err)).to_str().unwrap() };
        assert!(message.contains("all"), "{message}");
        unsafe { etcdgw_error_free(err) };
    };
    let client = target.client();
    unsafe {
        refused(&|err| etcdgw_delete_prefix(client, empty, ptr::null(), ptr::null_mut(), err));
        refused(&|err| etcdgw_delete(client, empty, &options(b"", 1, 0), ptr::null_mut(), err));
        refused(&|err| etcdgw_delete(client, empty, &options(b"\0", 0, 0), ptr::null_mut(), err));
        let mut txn = ptr::null_mut();
        etcdgw_txn_new(client, &mut txn, ptr::null_mut());
        refused(&|err| etcdgw_txn_then_delete(txn, empty, &options(b"", 1, 0), err));
        assert_eq!(etcdgw_txn_then_delete(txn, empty, &options(b"", 1, 1), ptr::null_mut()), ETCDGW_OK);
        etcdgw_txn_free(txn);
    }
    assert_eq!(target.connections(), 0, "something was sent");
}

#[test]
fn a_transaction_may_be_put_into_itself_but_not_without_end() {
    let target = Target::new();
    let mut err = ptr::null_mut();
    unsafe {
        let mut txn = ptr::null_mut();
        etcdgw_txn_new(target.client(), &mut txn, ptr::null_mut());
        let depths = (0..100).take_while(|_| etcdgw_txn_then_txn(txn, txn, &mut err) == ETCDGW_OK).count();
        assert_eq!(depths, 16);
        let message = CStr::from_ptr(etcdgw_error_message(err)).to_str().unwrap();
        assert!(message.contains("copied"), "{message}");
        etcdgw_error_free(err);
        etcdgw_txn_free(txn);
    }
}

#[test]
fn a_prefix_range_end_says_how_much_room_it_needs() {
    let (mut len, mut err, mut buf) = (7_usize, ptr::null_mut(), *b"????");
    unsafe {
        let prefix = faults::bytes(b"abc");
        assert_eq!(etcdgw_prefix_range_end(prefix, ptr::null_mut(), 0, &mut len, &mut err), ETCDGW_INVALID_ARGUMENT);
        assert_eq!(len, 3);
        etcdgw_error_free(err);
        assert_eq!(etcdgw_prefix_range_end(prefix, buf.as_mut_ptr(), 3, &mut len, &mut err), ETCDGW_OK);
        assert_eq!((len, &buf), (3, b"abd?"));
        let prefix = faults::bytes(b"\xff\xff");
        assert_eq!(etcdgw_prefix_range_end(prefix, buf.as_mut_ptr(), 4, &mut len, &mut err), ETCDGW_OK);
        assert_eq!((len, buf[0]), (1, 0));
    }
}
