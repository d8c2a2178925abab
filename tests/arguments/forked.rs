//! What every exported function does in a child of `fork` with the handles that the parent made: ETCDGW_FORKED at once,
//! and freeing them takes nothing from the parent.

use crate::coordinator::Coordinated;
use crate::faults;
use crate::probe::{Probe, Target, count_up};
use crate::rows::rows;
use etcdgw::ffi::*;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Longer than anything in a child takes; one that hangs is ended by it.
const CHILD_LIMIT_S: u32 = 30;

/// Runs claims in a child; each that doesn't hold is told by its name, and a child that hangs is ended.
#[track_caller]
fn in_a_child(run: impl FnOnce(&dyn Fn(bool, &str))) {
    let mut pipe = [-1; 2];
    unsafe {
        assert_eq!(libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC), 0);
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            libc::alarm(CHILD_LIMIT_S);
            // A panic would want locks that another thread of the parent may have held.
            run(&|holds, claim| {
                if !holds {
                    libc::write(pipe[1], claim.as_ptr().cast(), claim.len());
                    libc::write(pipe[1], c"\n".as_ptr().cast(), 1);
                }
            });
            libc::_exit(0);
        }
        libc::close(pipe[1]);
        let (mut broken, mut status) = (String::new(), -1);
        std::fs::File::from_raw_fd(pipe[0]).read_to_string(&mut broken).unwrap();
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert_eq!((broken.as_str(), status), ("", 0), "what does not hold in a child, and how it ended");
    }
}

#[test]
fn every_function_refuses_a_handle_from_before_a_fork() {
    let target = Target::new();
    let mut probes: Vec<Probe> = rows().iter().map(|_| Probe::good(&target)).collect();
    in_a_child(|claim| {
        for ((name, call), probe) in rows().iter().zip(&mut probes) {
            let status = call(probe);
            claim((status == ETCDGW_FORKED) == probe.gives_handle(), name);
            claim(!probe.gives_handle() || probe.message().contains("fork"), name);
        }
    });
    for ((name, call), mut probe) in rows().iter().zip(probes) {
        assert_ne!(call(&mut probe), ETCDGW_FORKED, "{name} in the parent");
        probe.clean_up();
    }
    assert_eq!(target.connections(), 0, "something was sent");
}

#[test]
fn a_token_from_before_a_fork_ends_no_call_in_a_child() {
    let target = Target::new();
    let mut token = ptr::null_mut();
    assert_eq!(unsafe { etcdgw_cancel_new(&mut token, ptr::null_mut()) }, ETCDGW_OK);
    in_a_child(|claim| unsafe {
        let (mut client, mut url) = (ptr::null_mut(), ptr::null_mut());
        claim(etcdgw_client_new(ptr::null(), &mut client, ptr::null_mut()) == ETCDGW_OK, "a new client");
        let options = etcdgw_call_options { cancel: token, ..faults::zero::<etcdgw_call_options>(24) };
        let status = etcdgw_client_base_url(client, &options, &mut url, ptr::null_mut());
        claim(status == ETCDGW_FORKED && url.is_null(), "an inherited token in options");
        claim(etcdgw_client_base_url(client, ptr::null(), &mut url, ptr::null_mut()) == ETCDGW_OK, "no token");
        etcdgw_string_free(url);
        etcdgw_cancel_trigger(token);
        etcdgw_cancel_free(token);
        etcdgw_client_free(client);
    });
    let options = etcdgw_call_options { cancel: token, ..faults::zero::<etcdgw_call_options>(24) };
    let mut url = ptr::null_mut();
    unsafe {
        // Were it triggered, a call that waits would end at once: this one is refused a connection first.
        let status = etcdgw_client_api_path(target.client(), &options, &mut url, ptr::null_mut());
        assert_eq!(status, ETCDGW_OK);
        etcdgw_string_free(url);
        etcdgw_cancel_free(token);
    }
}

fn open_and_close_descriptors(is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        let mut tokens = [ptr::null_mut(); 8];
        for token in &mut tokens {
            assert_eq!(unsafe { etcdgw_cancel_new(token, ptr::null_mut()) }, ETCDGW_OK);
        }
        tokens.into_iter().for_each(|token| unsafe { etcdgw_cancel_free(token) });
    }
}

#[test]
fn a_child_keeps_its_own_files_although_others_were_opened_while_it_was_forked() {
    let mut token = ptr::null_mut();
    assert_eq!(unsafe { etcdgw_cancel_new(&mut token, ptr::null_mut()) }, ETCDGW_OK);
    let is_over = Arc::new(AtomicBool::new(false));
    let others = [0; 2].map(|_| {
        let is_over = is_over.clone();
        std::thread::spawn(move || open_and_close_descriptors(&is_over))
    });
    // The system copies the descriptors at another moment than the memory, with the list of them.
    for _ in 0..100 {
        in_a_child(|claim| unsafe {
            let files = [0; 40].map(|_| libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY));
            etcdgw_cancel_free(token);
            let are_open = files.iter().all(|file| libc::fcntl(*file, libc::F_GETFD) >= 0);
            claim(are_open, "a file of the child's own is open");
        });
    }
    is_over.store(true, Ordering::SeqCst);
    others.into_iter().for_each(|other| other.join().unwrap());
    unsafe { etcdgw_cancel_free(token) };
}

#[test]
fn in_a_child_an_inherited_session_is_lost() {
    let coordinated = Coordinated::new();
    let session = coordinated.session;
    let lost_and_left = || unsafe { (etcdgw_session_is_lost(session), etcdgw_session_remaining_ms(session)) };
    in_a_child(|claim| claim(lost_and_left() == (1, 0), "lost"));
    assert!(matches!(lost_and_left(), (0, 1..)));
}

#[test]
fn in_a_child_every_free_of_an_inherited_handle_closes_what_was_open_and_an_error_stays_readable() {
    let target = Target::new();
    let (mut token, mut txn, mut none, mut err) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    unsafe {
        assert_eq!(etcdgw_cancel_new(&mut token, ptr::null_mut()), ETCDGW_OK);
        assert_eq!(etcdgw_txn_new(target.client(), &mut txn, ptr::null_mut()), ETCDGW_OK);
        assert_eq!(etcdgw_txn_new(ptr::null_mut(), &mut none, &mut err), ETCDGW_INVALID_ARGUMENT);
    }
    let fd = unsafe { etcdgw_watch_fd(target.watch()) };
    assert!(fd >= 0);
    in_a_child(|claim| unsafe {
        claim(etcdgw_watch_fd(target.watch()) == -1, "the descriptor of an inherited watch");
        etcdgw_client_close(target.client());
        etcdgw_watch_cancel(target.watch());
        claim(libc::fcntl(fd, libc::F_GETFD) >= 0, "no function but _free closes a descriptor");
        etcdgw_txn_free(txn);
        claim(libc::fcntl(fd, libc::F_GETFD) == -1, "the descriptor after a free");
        etcdgw_watch_free(target.watch());
        etcdgw_client_free(target.client());
        etcdgw_cancel_free(token);
        claim(etcdgw_error_status(err) == ETCDGW_INVALID_ARGUMENT, "the error");
        etcdgw_error_free(err);
    });
    unsafe {
        assert!(libc::fcntl(fd, libc::F_GETFD) >= 0);
        assert_eq!(etcdgw_watch_fd(target.watch()), fd);
        let mut response = ptr::null_mut();
        // Neither triggered nor cancelled: nothing has come, and it goes on.
        let status = etcdgw_watch_next(target.watch(), 0, &mut response, ptr::null_mut());
        assert_eq!(status, ETCDGW_DEADLINE_EXCEEDED);
        etcdgw_txn_free(txn);
        etcdgw_cancel_free(token);
        etcdgw_error_free(err);
    }
}

#[test]
fn in_a_child_an_inherited_queue_gives_nothing_and_its_events_free_nothing_of_the_callers() {
    let target = Target::new();
    let freed = AtomicUsize::new(0);
    let (mut watch, mut event, mut late) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    let options =
        etcdgw_watch_options { queue: target.queue(), no_wait_created: 1, ..faults::zero::<etcdgw_watch_options>(88) };
    let user_data = ptr::from_ref(&freed).cast_mut().cast();
    let (key, free) = (faults::bytes(b"key"), Some(count_up as unsafe extern "C" fn(_)));
    unsafe {
        let mut closed = ptr::null_mut();
        assert_eq!(etcdgw_client_new(ptr::null(), &mut closed, ptr::null_mut()), ETCDGW_OK);
        let status = etcdgw_watch(closed, key, &options, None, user_data, free, &mut watch, ptr::null_mut());
        assert_eq!(status, ETCDGW_OK);
        etcdgw_client_close(closed);
        etcdgw_client_free(closed);
        assert_eq!(etcdgw_queue_next(target.queue(), -1, &mut event, ptr::null_mut()), ETCDGW_OK);
        assert_eq!(((*event).source, (*event).user_data), (ETCDGW_SOURCE_WATCH, user_data));
        assert_eq!((*(*event).watch).kind, ETCDGW_WATCH_ENDED);
    }
    let fd = unsafe { etcdgw_queue_fd(target.queue()) };
    assert!(fd >= 0);
    in_a_child(|claim| unsafe {
        claim(etcdgw_queue_fd(target.queue()) == -1, "the descriptor of an inherited queue");
        claim(etcdgw_queue_next(target.queue(), -1, &mut late, ptr::null_mut()) == ETCDGW_FORKED, "a wait");
        let mut client = ptr::null_mut();
        claim(etcdgw_client_new(ptr::null(), &mut client, ptr::null_mut()) == ETCDGW_OK, "a new client");
        let none = ptr::null_mut();
        let status = etcdgw_watch(client, key, &options, None, none, None, &mut watch, ptr::null_mut());
        claim(status == ETCDGW_FORKED, "an inherited queue in options");
        let (mut kept, mut session) = (ptr::null_mut(), ptr::null_mut());
        let options =
            etcdgw_keepalive_options { queue: target.queue(), ..faults::zero::<etcdgw_keepalive_options>(32) };
        let status = etcdgw_keepalive_start(client, 1, &options, None, none, None, &mut kept, ptr::null_mut());
        claim(status == ETCDGW_FORKED, "an inherited queue in options of a keep-alive");
        let options = etcdgw_session_options { queue: target.queue(), ..faults::zero::<etcdgw_session_options>(48) };
        let status = etcdgw_session_new(client, &options, None, none, None, &mut session, ptr::null_mut());
        claim(status == ETCDGW_FORKED, "an inherited queue in options of a session");
        etcdgw_client_free(client);
        etcdgw_event_free(event);
        etcdgw_queue_free(target.queue());
        claim(libc::fcntl(fd, libc::F_GETFD) == -1, "the descriptor after a free");
        claim(freed.load(Ordering::SeqCst) == 0, "user_data_free");
    });
    unsafe {
        assert_eq!((freed.load(Ordering::SeqCst), etcdgw_queue_fd(target.queue())), (0, fd));
        etcdgw_event_free(event);
        assert_eq!(freed.load(Ordering::SeqCst), 1);
        etcdgw_watch_free(watch);
    }
}
