//! A call of every function that can fail, made of what the probe gives.

use crate::Call;
use crate::faults::*;
use etcdgw::ffi::*;

macro_rules! rows {
    ($p:ident; $($name:ident($($argument:expr),* $(,)?) $($free:ident)?;)*) => {
        vec![$((stringify!($name), (|$p| {
            let status = unsafe { $name($($argument),*) };
            $(let status = $p.give_back(status, $free);)?
            status
        }) as Call)),*]
    };
}

/// The functions by their names. A name behind a call frees what it gives when it succeeds.
pub fn rows() -> Vec<(&'static str, Call)> {
    [
        client(),
        keys(),
        transactions(),
        leases(),
        watches(),
        copies(),
        coordination(),
        fencing(),
        cluster(),
        maintenance(),
        auth(),
    ]
    .concat()
}

fn client() -> Vec<(&'static str, Call)> {
    rows! { p;
        etcdgw_cancel_new(p.output("out"), p.err()) etcdgw_cancel_free;
        etcdgw_client_new(p.client_options(), p.output("out"), p.err()) etcdgw_client_free;
        etcdgw_client_set_endpoints(
            p.client(), p.text("endpoints", true, c"127.0.0.1", c"http://a b"), p.err());
        etcdgw_client_set_credentials(
            p.client(), p.text("user", true, c"root", c""), p.text("password", true, c"secret", c"\xff"), p.err());
        etcdgw_client_sync_endpoints(p.client(), p.options(&[]), p.err());
        etcdgw_client_api_path(p.client(), p.options(&[]), p.output("api_path"), p.err()) etcdgw_string_free;
        etcdgw_client_base_url(p.client(), p.options(&[]), p.output("base_url"), p.err()) etcdgw_string_free;
        etcdgw_client_url(
            p.client(), p.text("path", true, c"/kv/range", c"/kv range"), p.options(&[]), p.output("url"), p.err())
            etcdgw_string_free;
        etcdgw_client_stats(p.client(), p.optional_output(), p.err());
        etcdgw_post(
            p.client(), p.text("path", true, c"/kv/range", c"/kv/range?x=1"), p.json(), p.options(&[]),
            p.optional_output(), p.err());
    }
}

fn keys() -> Vec<(&'static str, Call)> {
    rows! { p;
        etcdgw_put(p.client(), p.bytes("key"), p.bytes("value"), p.options(&[]), p.optional_output(), p.err());
        etcdgw_get(p.client(), p.bytes("key"), p.options(GET_BOTH), p.optional_output(), p.err());
        etcdgw_get_prefix(p.client(), p.bytes("prefix"), p.options(GET_END), p.optional_output(), p.err());
        etcdgw_get_all(p.client(), p.options(GET_END), p.optional_output(), p.err());
        etcdgw_delete(p.client(), p.bytes("key"), p.options(DELETE_BOTH), p.optional_output(), p.err());
        etcdgw_delete_prefix(p.client(), p.bytes("prefix"), p.options(DELETE_END), p.optional_output(), p.err());
        etcdgw_create(
            p.client(), p.bytes("key"), p.bytes("value"), p.options(ONLY_LEASE), p.output("created"),
            p.optional_output(), p.err());
        etcdgw_replace(
            p.client(), p.bytes("key"), p.bytes("expected"), p.bytes("value"), p.options(ONLY_LEASE),
            p.output("replaced"), p.optional_output(), p.err());
        etcdgw_compact(p.client(), p.number("revision"), p.options::<etcdgw_compact_options>(&[]), p.err());
        etcdgw_prefix_range_end(p.bytes("prefix"), p.buffer("buf"), 1, p.output("len"), p.err());
    }
}

fn transactions() -> Vec<(&'static str, Call)> {
    rows! { p;
        etcdgw_txn_new(p.client(), p.output("out"), p.err()) etcdgw_txn_free;
        etcdgw_txn_if_value(
            p.txn("txn"), p.bytes("key"), p.bytes("range_end"), p.constant("op", 4), p.bytes("value"), p.err());
        etcdgw_txn_if_version(p.txn("txn"), p.bytes("key"), p.bytes("range_end"), p.constant("op", 4), 1, p.err());
        etcdgw_txn_if_create_revision(
            p.txn("txn"), p.bytes("key"), p.bytes("range_end"), p.constant("op", 4), 1, p.err());
        etcdgw_txn_if_mod_revision(
            p.txn("txn"), p.bytes("key"), p.bytes("range_end"), p.constant("op", 4), 1, p.err());
        etcdgw_txn_if_lease(p.txn("txn"), p.bytes("key"), p.bytes("range_end"), p.constant("op", 4), 1, p.err());
        etcdgw_txn_then_put(p.txn("txn"), p.bytes("key"), p.bytes("value"), p.options(TXN_PUT), p.err());
        etcdgw_txn_then_get(p.txn("txn"), p.bytes("key"), p.options(TXN_GET), p.err());
        etcdgw_txn_then_delete(p.txn("txn"), p.bytes("key"), p.options(TXN_DELETE), p.err());
        etcdgw_txn_then_txn(p.txn("txn"), p.txn("copied"), p.err());
        etcdgw_txn_else_put(p.txn("txn"), p.bytes("key"), p.bytes("value"), p.options(TXN_PUT), p.err());
        etcdgw_txn_else_get(p.txn("txn"), p.bytes("key"), p.options(TXN_GET), p.err());
        etcdgw_txn_else_delete(p.txn("txn"), p.bytes("key"), p.options(TXN_DELETE), p.err());
        etcdgw_txn_else_txn(p.txn("txn"), p.txn("copied"), p.err());
        etcdgw_txn_commit(p.txn("txn"), p.options(&[]), p.optional_output(), p.err());
        etcdgw_stm(
            p.client(), p.options::<etcdgw_stm_options>(&[]), p.apply(), std::ptr::null_mut(), p.optional_output(),
            p.err());
        etcdgw_stm_get(p.stm(), p.bytes("key"), p.optional_output(), p.err());
        etcdgw_stm_put(p.stm(), p.bytes("key"), p.bytes("value"), p.options(STM_PUT), p.err());
        etcdgw_stm_delete(p.stm(), p.bytes("key"), p.err());
        etcdgw_txn_json(p.client(), p.json(), p.options(&[]), p.optional_output(), p.err());
    }
}

fn leases() -> Vec<(&'static str, Call)> {
    rows! { p;
        etcdgw_lease_grant(
            p.client(), p.number("ttl_s"), p.options::<etcdgw_lease_grant_options>(&[]), p.output("id"),
            p.optional_output(), p.err());
        etcdgw_lease_revoke(p.client(), 1, p.options(&[]), p.err());
        etcdgw_lease_refresh(p.client(), 1, p.options(&[]), p.output("ttl_s"), p.err());
        etcdgw_lease_ttl(p.client(), 1, p.options::<etcdgw_lease_ttl_options>(&[]), p.optional_output(), p.err());
        etcdgw_lease_list(p.client(), p.options(&[]), p.optional_output(), p.err());
    }
}

fn watches() -> Vec<(&'static str, Call)> {
    rows! { p;
        etcdgw_watch(
            p.client(), p.bytes("key"), p.options(WATCH_BOTH), p.callback(), p.user_data(), p.user_data_free(),
            p.output("out"), p.err()) etcdgw_watch_free;
        etcdgw_watch_prefix(
            p.client(), p.bytes("prefix"), p.options(WATCH_END), p.callback(), p.user_data(), p.user_data_free(),
            p.output("out"), p.err()) etcdgw_watch_free;
        etcdgw_watch_open(p.client(), p.bytes("key"), p.options(PULL_BOTH), p.output("out"), p.err())
            etcdgw_watch_free;
        etcdgw_watch_next(p.watch(), 0, p.optional_output(), p.err());
        etcdgw_watch_once(p.client(), p.bytes("key"), p.options(PULL_BOTH), p.optional_output(), p.err());
        etcdgw_watch_prefix_once(p.client(), p.bytes("prefix"), p.options(PULL_END), p.optional_output(), p.err());
        etcdgw_watch_request_progress(p.watch(), p.options(&[]), p.err());
        etcdgw_watch_join(p.watch(), 0, p.err());
        etcdgw_queue_new(p.output("out"), p.err()) etcdgw_queue_free;
        etcdgw_queue_next(p.queue(), 0, p.optional_output(), p.err());
    }
}

/// Of a scan and a mirror that could be opened only with a server no more than NULL is tried.
fn copies() -> Vec<(&'static str, Call)> {
    rows! { p;
        etcdgw_scan_open(p.client(), p.bytes("prefix"), p.options::<etcdgw_scan_options>(&[]), p.output("out"), p.err())
            etcdgw_scan_free;
        etcdgw_mirror_open(
            p.client(), p.bytes("prefix"), p.options(MIRROR_BOTH), p.mirror_callback(), p.user_data(),
            p.user_data_free(), p.output("out"), p.err()) etcdgw_mirror_free;
    }
}

fn coordination() -> Vec<(&'static str, Call)> {
    rows! { p;
        etcdgw_keepalive_start(
            p.client(), 1, p.options::<etcdgw_keepalive_options>(&[]), p.keepalive_callback(), p.user_data(),
            p.user_data_free(), p.output("out"), p.err()) etcdgw_keepalive_free;
        etcdgw_session_new(
            p.client(), p.options::<etcdgw_session_options>(&[]), p.keepalive_callback(), p.user_data(),
            p.user_data_free(), p.output("out"), p.err()) etcdgw_session_free;
        etcdgw_mutex_new(p.session(), p.bytes("name"), p.output("out"), p.err()) etcdgw_mutex_free;
        etcdgw_mutex_lock(p.mutex(), 0, p.options(&[]), p.err());
        etcdgw_mutex_try_lock(p.mutex(), p.options(&[]), p.output("locked"), p.err());
        etcdgw_mutex_unlock(p.mutex(), p.options(&[]), p.err());
        etcdgw_rwlock_new(p.session(), p.bytes("name"), p.output("out"), p.err()) etcdgw_rwlock_free;
        etcdgw_rwlock_read(p.rwlock(), 0, p.options(&[]), p.err());
        etcdgw_rwlock_write(p.rwlock(), 0, p.options(&[]), p.err());
        etcdgw_rwlock_unlock(p.rwlock(), p.options(&[]), p.err());
        etcdgw_election_new(p.session(), p.bytes("name"), p.output("out"), p.err()) etcdgw_election_free;
        etcdgw_election_campaign(p.election(), p.bytes("value"), 0, p.options(&[]), p.err());
        etcdgw_election_proclaim(p.election(), p.bytes("value"), p.options(&[]), p.err());
        etcdgw_election_resign(p.election(), p.options(&[]), p.err());
        etcdgw_election_leader(p.election(), p.options(&[]), p.optional_output(), p.err()) etcdgw_leader_response_free;
        etcdgw_election_observe(
            p.election(), p.options::<etcdgw_election_observe_options>(&[]), p.election_callback(), p.user_data(),
            p.user_data_free(), p.output("out"), p.err()) etcdgw_election_observer_free;
        etcdgw_election_observer_next(p.observer(), 0, p.optional_output(), p.err());
        etcdgw_lock_new(
            p.client(), p.bytes("name"), p.options::<etcdgw_lock_options>(&[]), p.output("out"), p.err())
            etcdgw_lock_free;
        etcdgw_lock_acquire(p.lock(), 0, p.options(&[]), p.output("acquired"), p.err());
        etcdgw_lock_release(p.lock(), p.options(&[]), p.output("released"), p.err());
        etcdgw_lock_refresh(p.lock(), p.options(&[]), p.output("ttl_s"), p.err());
        etcdgw_lock_is_acquired(p.lock(), p.options(&[]), p.output("acquired"), p.err());
        etcdgw_barrier_new(p.client(), p.bytes("name"), p.output("out"), p.err()) etcdgw_barrier_free;
        etcdgw_barrier_hold(p.barrier(), p.options(&[]), p.output("held"), p.err());
        etcdgw_barrier_release(p.barrier(), p.options(&[]), p.err());
        etcdgw_barrier_wait(p.barrier(), 0, p.options(&[]), p.err());
        etcdgw_double_barrier_new(p.session(), p.bytes("name"), p.count("count"), p.output("out"), p.err())
            etcdgw_double_barrier_free;
        etcdgw_double_barrier_enter(p.double_barrier(), 0, p.options(&[]), p.err());
        etcdgw_double_barrier_leave(p.double_barrier(), 0, p.options(&[]), p.err());
        etcdgw_workqueue_new(p.session(), p.bytes("name"), p.output("out"), p.err()) etcdgw_workqueue_free;
        etcdgw_workqueue_enqueue(p.workqueue(), p.bytes("value"), p.options(&[]), p.err());
        etcdgw_workqueue_dequeue(p.workqueue(), 0, p.options(&[]), p.optional_output(), p.err());
        // Last, for what they do to the session.
        etcdgw_session_orphan(p.session(), p.err());
        etcdgw_session_close(p.session(), p.options(&[]), p.err());
    }
}

fn fencing() -> Vec<(&'static str, Call)> {
    rows! { p;
        etcdgw_txn_if_owner(p.txn("txn"), p.mutex(), p.err());
        etcdgw_txn_if_leader(p.txn("txn"), p.election(), p.err());
        etcdgw_txn_if_lock(p.txn("txn"), p.lock(), p.err());
    }
}

fn cluster() -> Vec<(&'static str, Call)> {
    rows! { p;
        etcdgw_member_list(p.client(), p.options::<etcdgw_member_list_options>(&[]), p.optional_output(), p.err());
        etcdgw_member_add(p.client(), p.peer_urls(), p.options(&[]), p.optional_output(), p.err());
        etcdgw_member_add_learner(p.client(), p.peer_urls(), p.options(&[]), p.optional_output(), p.err());
        etcdgw_member_remove(p.client(), 1, p.options(&[]), p.optional_output(), p.err());
        etcdgw_member_update(p.client(), 1, p.peer_urls(), p.options(&[]), p.optional_output(), p.err());
        etcdgw_member_promote(p.client(), 1, p.options(&[]), p.optional_output(), p.err());
    }
}

fn maintenance() -> Vec<(&'static str, Call)> {
    rows! { p;
        etcdgw_maintenance_status(p.client(), p.endpoint(), p.options(&[]), p.optional_output(), p.err());
        etcdgw_maintenance_defragment(p.client(), p.endpoint(), p.options(&[]), p.err());
        etcdgw_maintenance_hash(p.client(), p.endpoint(), p.options(&[]), p.optional_output(), p.err());
        etcdgw_maintenance_hash_kv(
            p.client(), p.endpoint(), p.number("revision"), p.options(&[]), p.optional_output(), p.err());
        etcdgw_maintenance_move_leader(p.client(), 1, p.options(&[]), p.err());
        etcdgw_maintenance_alarm_list(p.client(), p.options(&[]), p.optional_output(), p.err());
        etcdgw_maintenance_alarm_disarm(
            p.client(), 1, p.constant("alarm", 3), p.options(&[]), p.optional_output(), p.err());
        etcdgw_maintenance_downgrade(
            p.client(), p.constant("action", 3), p.words("version"), p.options(&[]), p.optional_output(), p.err());
        etcdgw_snapshot_save(
            p.client(), p.text("path", true, c"/nowhere/etcdgw.db", c"/nowhere/"),
            p.options::<etcdgw_snapshot_options>(&[]), p.optional_output(), p.err());
        etcdgw_snapshot_read(
            p.client(), p.sink(), std::ptr::null_mut(), p.options::<etcdgw_snapshot_options>(&[]), p.optional_output(),
            p.err());
    }
}

fn auth() -> Vec<(&'static str, Call)> {
    rows! { p;
        etcdgw_auth_enable(p.client(), p.options(&[]), p.err());
        etcdgw_auth_disable(p.client(), p.options(&[]), p.err());
        etcdgw_auth_status(p.client(), p.options(&[]), p.optional_output(), p.err());
        etcdgw_user_add(
            p.client(), p.words("name"), p.text("password", false, c"secret", c""), p.options(&[]), p.err());
        etcdgw_user_delete(p.client(), p.words("name"), p.options(&[]), p.err());
        etcdgw_user_get(p.client(), p.words("name"), p.options(&[]), p.optional_output(), p.err());
        etcdgw_user_list(p.client(), p.options(&[]), p.optional_output(), p.err());
        etcdgw_user_change_password(
            p.client(), p.words("name"), p.text("password", true, c"secret", c""), p.options(&[]), p.err());
        etcdgw_user_grant_role(p.client(), p.words("name"), p.words("role"), p.options(&[]), p.err());
        etcdgw_user_revoke_role(p.client(), p.words("name"), p.words("role"), p.options(&[]), p.err());
        etcdgw_role_add(p.client(), p.words("role"), p.options(&[]), p.err());
        etcdgw_role_delete(p.client(), p.words("role"), p.options(&[]), p.err());
        etcdgw_role_get(p.client(), p.words("role"), p.options(&[]), p.optional_output(), p.err());
        etcdgw_role_list(p.client(), p.options(&[]), p.optional_output(), p.err());
        etcdgw_role_grant_permission(
            p.client(), p.words("role"), p.constant("permission", 3), p.bytes("key"), p.options(PERMISSION_BOTH),
            p.err());
        etcdgw_role_revoke_permission(
            p.client(), p.words("role"), p.bytes("key"), p.options(PERMISSION_BOTH), p.err());
    }
}
