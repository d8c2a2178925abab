/*
 * The layouts of the first release, which stay: frozen types keep their size, all others only grow at their end. Built
 * and run by tests/headers/run.sh against the library: it also compares the version of the header with the library's.
 */
#include <stdio.h>
#include <string.h>

#include "etcdgw.h"

/* A type that programs make arrays of. */
#define FROZEN(type, size) _Static_assert(sizeof(type) == (size), #type " has another size")
/* A type whose size programs know at most as a minimum. */
#define GROWS(type, size) _Static_assert(sizeof(type) >= (size), #type " has shrunk")
#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field " has moved")


FROZEN(etcdgw_bytes, 16);
AT(etcdgw_bytes, data, 0);
AT(etcdgw_bytes, len, 8);

GROWS(etcdgw_scan_options, 64);
AT(etcdgw_scan_options, page_size, 24);
AT(etcdgw_scan_options, revision, 32);
AT(etcdgw_scan_options, range_end, 40);
AT(etcdgw_scan_options, keys_only, 56);

GROWS(etcdgw_mirror_options, 32);
AT(etcdgw_mirror_options, queue, 24);

GROWS(etcdgw_mirror_event, 40);
AT(etcdgw_mirror_event, kind, 0);
AT(etcdgw_mirror_event, events, 8);
AT(etcdgw_mirror_event, events_len, 16);
AT(etcdgw_mirror_event, revision, 24);
AT(etcdgw_mirror_event, error, 32);

GROWS(etcdgw_client_options, 256);
AT(etcdgw_client_options, struct_size, 0);
AT(etcdgw_client_options, timeout_ms, 8);
AT(etcdgw_client_options, cancel, 16);
AT(etcdgw_client_options, endpoints, 24);
AT(etcdgw_client_options, user, 32);
AT(etcdgw_client_options, password, 40);
AT(etcdgw_client_options, token, 48);
AT(etcdgw_client_options, ca_cert_file, 56);
AT(etcdgw_client_options, cert_file, 64);
AT(etcdgw_client_options, key_file, 72);
AT(etcdgw_client_options, ca_cert_pem, 80);
AT(etcdgw_client_options, cert_pem, 96);
AT(etcdgw_client_options, key_pem, 112);
AT(etcdgw_client_options, tls_server_name, 128);
AT(etcdgw_client_options, api_path, 136);
AT(etcdgw_client_options, key_prefix, 144);
AT(etcdgw_client_options, connect_timeout_ms, 160);
AT(etcdgw_client_options, auto_sync_ms, 168);
AT(etcdgw_client_options, watch_buffer_bytes, 176);
AT(etcdgw_client_options, watch_buffer_total_bytes, 184);
AT(etcdgw_client_options, watch_liveness_ms, 192);
AT(etcdgw_client_options, max_response_bytes, 200);
AT(etcdgw_client_options, tls_insecure_skip_verify, 208);
AT(etcdgw_client_options, max_retries, 212);
AT(etcdgw_client_options, max_idle_connections, 216);
AT(etcdgw_client_options, websocket, 220);
AT(etcdgw_client_options, log, 224);
AT(etcdgw_client_options, log_user_data, 232);
AT(etcdgw_client_options, log_user_data_free, 240);
AT(etcdgw_client_options, log_level, 248);
AT(etcdgw_client_options, reserved0, 252);

GROWS(etcdgw_call_options, 24);
AT(etcdgw_call_options, struct_size, 0);
AT(etcdgw_call_options, timeout_ms, 8);
AT(etcdgw_call_options, cancel, 16);

FROZEN(etcdgw_header, 32);
AT(etcdgw_header, cluster_id, 0);
AT(etcdgw_header, member_id, 8);
AT(etcdgw_header, revision, 16);
AT(etcdgw_header, raft_term, 24);

FROZEN(etcdgw_kv, 64);
AT(etcdgw_kv, key, 0);
AT(etcdgw_kv, value, 16);
AT(etcdgw_kv, create_revision, 32);
AT(etcdgw_kv, mod_revision, 40);
AT(etcdgw_kv, version, 48);
AT(etcdgw_kv, lease, 56);

GROWS(etcdgw_put_response, 40);
AT(etcdgw_put_response, header, 0);
AT(etcdgw_put_response, prev_kv, 32);

GROWS(etcdgw_get_response, 64);
AT(etcdgw_get_response, header, 0);
AT(etcdgw_get_response, kvs, 32);
AT(etcdgw_get_response, kvs_len, 40);
AT(etcdgw_get_response, count, 48);
AT(etcdgw_get_response, more, 56);
AT(etcdgw_get_response, reserved0, 60);

GROWS(etcdgw_delete_response, 56);
AT(etcdgw_delete_response, header, 0);
AT(etcdgw_delete_response, deleted, 32);
AT(etcdgw_delete_response, prev_kvs, 40);
AT(etcdgw_delete_response, prev_kvs_len, 48);

GROWS(etcdgw_put_options, 48);
AT(etcdgw_put_options, struct_size, 0);
AT(etcdgw_put_options, timeout_ms, 8);
AT(etcdgw_put_options, cancel, 16);
AT(etcdgw_put_options, lease, 24);
AT(etcdgw_put_options, prev_kv, 32);
AT(etcdgw_put_options, ignore_value, 36);
AT(etcdgw_put_options, ignore_lease, 40);
AT(etcdgw_put_options, reserved0, 44);

GROWS(etcdgw_get_options, 112);
AT(etcdgw_get_options, struct_size, 0);
AT(etcdgw_get_options, timeout_ms, 8);
AT(etcdgw_get_options, cancel, 16);
AT(etcdgw_get_options, range_end, 24);
AT(etcdgw_get_options, limit, 40);
AT(etcdgw_get_options, revision, 48);
AT(etcdgw_get_options, min_mod_revision, 56);
AT(etcdgw_get_options, max_mod_revision, 64);
AT(etcdgw_get_options, min_create_revision, 72);
AT(etcdgw_get_options, max_create_revision, 80);
AT(etcdgw_get_options, prefix, 88);
AT(etcdgw_get_options, sort_order, 92);
AT(etcdgw_get_options, sort_target, 96);
AT(etcdgw_get_options, serializable, 100);
AT(etcdgw_get_options, keys_only, 104);
AT(etcdgw_get_options, count_only, 108);

GROWS(etcdgw_delete_options, 56);
AT(etcdgw_delete_options, struct_size, 0);
AT(etcdgw_delete_options, timeout_ms, 8);
AT(etcdgw_delete_options, cancel, 16);
AT(etcdgw_delete_options, range_end, 24);
AT(etcdgw_delete_options, prefix, 40);
AT(etcdgw_delete_options, prev_kv, 44);
AT(etcdgw_delete_options, all, 48);
AT(etcdgw_delete_options, reserved0, 52);

GROWS(etcdgw_compact_options, 32);
AT(etcdgw_compact_options, struct_size, 0);
AT(etcdgw_compact_options, timeout_ms, 8);
AT(etcdgw_compact_options, cancel, 16);
AT(etcdgw_compact_options, physical, 24);
AT(etcdgw_compact_options, reserved0, 28);

GROWS(etcdgw_txn_result, 40);
AT(etcdgw_txn_result, operation, 0);
AT(etcdgw_txn_result, reserved0, 4);
AT(etcdgw_txn_result, put, 8);
AT(etcdgw_txn_result, get, 16);
AT(etcdgw_txn_result, deleted, 24);
AT(etcdgw_txn_result, txn, 32);

GROWS(etcdgw_txn_response, 56);
AT(etcdgw_txn_response, header, 0);
AT(etcdgw_txn_response, succeeded, 32);
AT(etcdgw_txn_response, reserved0, 36);
AT(etcdgw_txn_response, results, 40);
AT(etcdgw_txn_response, results_len, 48);

GROWS(etcdgw_lease_grant_options, 32);
AT(etcdgw_lease_grant_options, struct_size, 0);
AT(etcdgw_lease_grant_options, timeout_ms, 8);
AT(etcdgw_lease_grant_options, cancel, 16);
AT(etcdgw_lease_grant_options, id, 24);

GROWS(etcdgw_lease_ttl_options, 32);
AT(etcdgw_lease_ttl_options, struct_size, 0);
AT(etcdgw_lease_ttl_options, timeout_ms, 8);
AT(etcdgw_lease_ttl_options, cancel, 16);
AT(etcdgw_lease_ttl_options, keys, 24);
AT(etcdgw_lease_ttl_options, reserved0, 28);

GROWS(etcdgw_lease_ttl_response, 72);
AT(etcdgw_lease_ttl_response, header, 0);
AT(etcdgw_lease_ttl_response, id, 32);
AT(etcdgw_lease_ttl_response, ttl, 40);
AT(etcdgw_lease_ttl_response, granted_ttl, 48);
AT(etcdgw_lease_ttl_response, keys, 56);
AT(etcdgw_lease_ttl_response, keys_len, 64);

GROWS(etcdgw_lease_list_response, 48);
AT(etcdgw_lease_list_response, header, 0);
AT(etcdgw_lease_list_response, ids, 32);
AT(etcdgw_lease_list_response, ids_len, 40);

FROZEN(etcdgw_watch_event, 24);
AT(etcdgw_watch_event, type, 0);
AT(etcdgw_watch_event, reserved0, 4);
AT(etcdgw_watch_event, kv, 8);
AT(etcdgw_watch_event, prev_kv, 16);

GROWS(etcdgw_watch_response, 80);
AT(etcdgw_watch_response, kind, 0);
AT(etcdgw_watch_response, reserved0, 4);
AT(etcdgw_watch_response, header, 8);
AT(etcdgw_watch_response, events, 40);
AT(etcdgw_watch_response, events_len, 48);
AT(etcdgw_watch_response, resume_revision, 56);
AT(etcdgw_watch_response, compact_revision, 64);
AT(etcdgw_watch_response, error, 72);

GROWS(etcdgw_watch_options, 88);
AT(etcdgw_watch_options, struct_size, 0);
AT(etcdgw_watch_options, timeout_ms, 8);
AT(etcdgw_watch_options, cancel, 16);
AT(etcdgw_watch_options, range_end, 24);
AT(etcdgw_watch_options, start_revision, 40);
AT(etcdgw_watch_options, queue, 48);
AT(etcdgw_watch_options, prefix, 56);
AT(etcdgw_watch_options, progress_notify, 60);
AT(etcdgw_watch_options, no_put, 64);
AT(etcdgw_watch_options, no_delete, 68);
AT(etcdgw_watch_options, prev_kv, 72);
AT(etcdgw_watch_options, report_connection, 76);
AT(etcdgw_watch_options, no_require_leader, 80);
AT(etcdgw_watch_options, no_wait_created, 84);

GROWS(etcdgw_keepalive_event, 24);
AT(etcdgw_keepalive_event, lease, 0);
AT(etcdgw_keepalive_event, ttl_s, 8);
AT(etcdgw_keepalive_event, lost, 16);

GROWS(etcdgw_event, 48);
AT(etcdgw_event, source, 0);
AT(etcdgw_event, reserved0, 4);
AT(etcdgw_event, user_data, 8);
AT(etcdgw_event, watch, 16);
AT(etcdgw_event, keepalive, 24);
AT(etcdgw_event, election, 32);
AT(etcdgw_event, mirror, 40);

GROWS(etcdgw_member_list_options, 32);
AT(etcdgw_member_list_options, struct_size, 0);
AT(etcdgw_member_list_options, timeout_ms, 8);
AT(etcdgw_member_list_options, cancel, 16);
AT(etcdgw_member_list_options, linearizable, 24);
AT(etcdgw_member_list_options, reserved0, 28);

GROWS(etcdgw_member, 56);
AT(etcdgw_member, id, 0);
AT(etcdgw_member, name, 8);
AT(etcdgw_member, peer_urls, 16);
AT(etcdgw_member, peer_urls_len, 24);
AT(etcdgw_member, client_urls, 32);
AT(etcdgw_member, client_urls_len, 40);
AT(etcdgw_member, is_learner, 48);
AT(etcdgw_member, reserved0, 52);

GROWS(etcdgw_member_list_response, 48);
AT(etcdgw_member_list_response, header, 0);
AT(etcdgw_member_list_response, members, 32);
AT(etcdgw_member_list_response, members_len, 40);

GROWS(etcdgw_maintenance_status_response, 136);
AT(etcdgw_maintenance_status_response, header, 0);
AT(etcdgw_maintenance_status_response, version, 32);
AT(etcdgw_maintenance_status_response, db_size, 40);
AT(etcdgw_maintenance_status_response, db_size_in_use, 48);
AT(etcdgw_maintenance_status_response, db_size_quota, 56);
AT(etcdgw_maintenance_status_response, leader, 64);
AT(etcdgw_maintenance_status_response, raft_index, 72);
AT(etcdgw_maintenance_status_response, raft_term, 80);
AT(etcdgw_maintenance_status_response, raft_applied_index, 88);
AT(etcdgw_maintenance_status_response, errors, 96);
AT(etcdgw_maintenance_status_response, errors_len, 104);
AT(etcdgw_maintenance_status_response, storage_version, 112);
AT(etcdgw_maintenance_status_response, downgrade_target_version, 120);
AT(etcdgw_maintenance_status_response, downgrade_enabled, 128);
AT(etcdgw_maintenance_status_response, is_learner, 132);

GROWS(etcdgw_member_add_response, 56);
AT(etcdgw_member_add_response, header, 0);
AT(etcdgw_member_add_response, member, 32);
AT(etcdgw_member_add_response, members, 40);
AT(etcdgw_member_add_response, members_len, 48);

GROWS(etcdgw_maintenance_hash_response, 40);
AT(etcdgw_maintenance_hash_response, header, 0);
AT(etcdgw_maintenance_hash_response, hash, 32);
AT(etcdgw_maintenance_hash_response, reserved0, 36);

GROWS(etcdgw_maintenance_hash_kv_response, 56);
AT(etcdgw_maintenance_hash_kv_response, header, 0);
AT(etcdgw_maintenance_hash_kv_response, compact_revision, 32);
AT(etcdgw_maintenance_hash_kv_response, hash_revision, 40);
AT(etcdgw_maintenance_hash_kv_response, hash, 48);
AT(etcdgw_maintenance_hash_kv_response, reserved0, 52);

GROWS(etcdgw_alarm, 16);
AT(etcdgw_alarm, member_id, 0);
AT(etcdgw_alarm, alarm, 8);
AT(etcdgw_alarm, reserved0, 12);

GROWS(etcdgw_maintenance_alarm_list_response, 48);
AT(etcdgw_maintenance_alarm_list_response, header, 0);
AT(etcdgw_maintenance_alarm_list_response, alarms, 32);
AT(etcdgw_maintenance_alarm_list_response, alarms_len, 40);

GROWS(etcdgw_maintenance_downgrade_response, 40);
AT(etcdgw_maintenance_downgrade_response, header, 0);
AT(etcdgw_maintenance_downgrade_response, version, 32);

GROWS(etcdgw_snapshot_progress, 16);
AT(etcdgw_snapshot_progress, received_bytes, 0);
AT(etcdgw_snapshot_progress, remaining_bytes, 8);

GROWS(etcdgw_snapshot_options, 48);
AT(etcdgw_snapshot_options, struct_size, 0);
AT(etcdgw_snapshot_options, timeout_ms, 8);
AT(etcdgw_snapshot_options, cancel, 16);
AT(etcdgw_snapshot_options, endpoint, 24);
AT(etcdgw_snapshot_options, progress, 32);
AT(etcdgw_snapshot_options, user_data, 40);

GROWS(etcdgw_snapshot_response, 24);
AT(etcdgw_snapshot_response, endpoint, 0);
AT(etcdgw_snapshot_response, version, 8);
AT(etcdgw_snapshot_response, size, 16);

GROWS(etcdgw_auth_status_response, 48);
AT(etcdgw_auth_status_response, header, 0);
AT(etcdgw_auth_status_response, auth_revision, 32);
AT(etcdgw_auth_status_response, enabled, 40);
AT(etcdgw_auth_status_response, reserved0, 44);

GROWS(etcdgw_user_get_response, 48);
AT(etcdgw_user_get_response, header, 0);
AT(etcdgw_user_get_response, roles, 32);
AT(etcdgw_user_get_response, roles_len, 40);

GROWS(etcdgw_user_list_response, 48);
AT(etcdgw_user_list_response, header, 0);
AT(etcdgw_user_list_response, users, 32);
AT(etcdgw_user_list_response, users_len, 40);

GROWS(etcdgw_permission, 40);
AT(etcdgw_permission, key, 0);
AT(etcdgw_permission, range_end, 16);
AT(etcdgw_permission, permission, 32);
AT(etcdgw_permission, reserved0, 36);

GROWS(etcdgw_role_get_response, 48);
AT(etcdgw_role_get_response, header, 0);
AT(etcdgw_role_get_response, permissions, 32);
AT(etcdgw_role_get_response, permissions_len, 40);

GROWS(etcdgw_role_list_response, 48);
AT(etcdgw_role_list_response, header, 0);
AT(etcdgw_role_list_response, roles, 32);
AT(etcdgw_role_list_response, roles_len, 40);

GROWS(etcdgw_role_permission_options, 48);
AT(etcdgw_role_permission_options, struct_size, 0);
AT(etcdgw_role_permission_options, timeout_ms, 8);
AT(etcdgw_role_permission_options, cancel, 16);
AT(etcdgw_role_permission_options, range_end, 24);
AT(etcdgw_role_permission_options, prefix, 40);
AT(etcdgw_role_permission_options, reserved0, 44);

GROWS(etcdgw_raw_response, 24);
AT(etcdgw_raw_response, http_status, 0);
AT(etcdgw_raw_response, reserved0, 4);
AT(etcdgw_raw_response, body, 8);

GROWS(etcdgw_keepalive_event, 24);
AT(etcdgw_keepalive_event, lease, 0);
AT(etcdgw_keepalive_event, ttl_s, 8);
AT(etcdgw_keepalive_event, lost, 16);

GROWS(etcdgw_keepalive_options, 32);
AT(etcdgw_keepalive_options, struct_size, 0);
AT(etcdgw_keepalive_options, timeout_ms, 8);
AT(etcdgw_keepalive_options, cancel, 16);
AT(etcdgw_keepalive_options, queue, 24);

GROWS(etcdgw_session_options, 48);
AT(etcdgw_session_options, struct_size, 0);
AT(etcdgw_session_options, timeout_ms, 8);
AT(etcdgw_session_options, cancel, 16);
AT(etcdgw_session_options, ttl, 24);
AT(etcdgw_session_options, lease, 32);
AT(etcdgw_session_options, queue, 40);

GROWS(etcdgw_leader_response, 40);
AT(etcdgw_leader_response, header, 0);
AT(etcdgw_leader_response, leader, 32);

GROWS(etcdgw_election_event, 48);
AT(etcdgw_election_event, header, 0);
AT(etcdgw_election_event, leader, 32);
AT(etcdgw_election_event, error, 40);

GROWS(etcdgw_election_observe_options, 32);
AT(etcdgw_election_observe_options, struct_size, 0);
AT(etcdgw_election_observe_options, timeout_ms, 8);
AT(etcdgw_election_observe_options, cancel, 16);
AT(etcdgw_election_observe_options, queue, 24);

GROWS(etcdgw_stm_options, 32);
AT(etcdgw_stm_options, struct_size, 0);
AT(etcdgw_stm_options, timeout_ms, 8);
AT(etcdgw_stm_options, cancel, 16);
AT(etcdgw_stm_options, isolation, 24);
AT(etcdgw_stm_options, max_attempts, 28);

GROWS(etcdgw_lock_options, 40);
AT(etcdgw_lock_options, struct_size, 0);
AT(etcdgw_lock_options, timeout_ms, 8);
AT(etcdgw_lock_options, cancel, 16);
AT(etcdgw_lock_options, ttl, 24);
AT(etcdgw_lock_options, uuid, 32);

/* What an initialiser sets: the size, and zero in every other byte. */
static int is_default(const void *options, size_t size) {
  const unsigned char *bytes = (const unsigned char *)options;
  size_t struct_size;
  size_t i;
  memcpy(&struct_size, bytes, sizeof struct_size);
  for (i = sizeof struct_size; i < size; i++) {
    if (bytes[i] != 0) return 0;
  }
  return struct_size == size;
}

static int failures = 0;

static void check(int holds, const char *what) {
  if (!holds) {
    fprintf(stderr, "layout: %s\n", what);
    failures++;
  }
}

#define CHECK_INIT(type, init)                                \
  do {                                                        \
    type options = init;                                      \
    check(is_default(&options, sizeof options), #init " is no default"); \
  } while (0)

GROWS(etcdgw_stats_response, 120);
AT(etcdgw_stats_response, requests, 0);
AT(etcdgw_stats_response, retries, 8);
AT(etcdgw_stats_response, connections_opened, 16);
AT(etcdgw_stats_response, connections_reused, 24);
AT(etcdgw_stats_response, connections_failed, 32);
AT(etcdgw_stats_response, bytes_sent, 40);
AT(etcdgw_stats_response, bytes_received, 48);
AT(etcdgw_stats_response, token_refreshes, 56);
AT(etcdgw_stats_response, watches_open, 64);
AT(etcdgw_stats_response, events_delivered, 72);
AT(etcdgw_stats_response, resumes, 80);
AT(etcdgw_stats_response, errors, 88);
AT(etcdgw_stats_response, errors_len, 96);
AT(etcdgw_stats_response, endpoints, 104);
AT(etcdgw_stats_response, endpoints_len, 112);

GROWS(etcdgw_status_count, 16);
AT(etcdgw_status_count, status, 0);
AT(etcdgw_status_count, reserved0, 4);
AT(etcdgw_status_count, count, 8);

GROWS(etcdgw_endpoint_stats, 56);
AT(etcdgw_endpoint_stats, url, 0);
AT(etcdgw_endpoint_stats, requests, 8);
AT(etcdgw_endpoint_stats, errors, 16);
AT(etcdgw_endpoint_stats, connections_opened, 24);
AT(etcdgw_endpoint_stats, connections_failed, 32);
AT(etcdgw_endpoint_stats, backed_off_ms, 40);
AT(etcdgw_endpoint_stats, is_current, 48);
AT(etcdgw_endpoint_stats, reserved0, 52);

int main(void) {
  CHECK_INIT(etcdgw_client_options, ETCDGW_CLIENT_OPTIONS_INIT);
  CHECK_INIT(etcdgw_call_options, ETCDGW_CALL_OPTIONS_INIT);
  CHECK_INIT(etcdgw_put_options, ETCDGW_PUT_OPTIONS_INIT);
  CHECK_INIT(etcdgw_get_options, ETCDGW_GET_OPTIONS_INIT);
  CHECK_INIT(etcdgw_delete_options, ETCDGW_DELETE_OPTIONS_INIT);
  CHECK_INIT(etcdgw_compact_options, ETCDGW_COMPACT_OPTIONS_INIT);
  CHECK_INIT(etcdgw_lease_grant_options, ETCDGW_LEASE_GRANT_OPTIONS_INIT);
  CHECK_INIT(etcdgw_lease_ttl_options, ETCDGW_LEASE_TTL_OPTIONS_INIT);
  CHECK_INIT(etcdgw_watch_options, ETCDGW_WATCH_OPTIONS_INIT);
  CHECK_INIT(etcdgw_keepalive_options, ETCDGW_KEEPALIVE_OPTIONS_INIT);
  CHECK_INIT(etcdgw_session_options, ETCDGW_SESSION_OPTIONS_INIT);
  CHECK_INIT(etcdgw_election_observe_options, ETCDGW_ELECTION_OBSERVE_OPTIONS_INIT);
  CHECK_INIT(etcdgw_lock_options, ETCDGW_LOCK_OPTIONS_INIT);
  CHECK_INIT(etcdgw_stm_options, ETCDGW_STM_OPTIONS_INIT);
  CHECK_INIT(etcdgw_member_list_options, ETCDGW_MEMBER_LIST_OPTIONS_INIT);
  CHECK_INIT(etcdgw_snapshot_options, ETCDGW_SNAPSHOT_OPTIONS_INIT);
  CHECK_INIT(etcdgw_role_permission_options, ETCDGW_ROLE_PERMISSION_OPTIONS_INIT);
  check(strcmp(etcdgw_version(), ETCDGW_VERSION) == 0, "etcdgw_version() is not ETCDGW_VERSION");
  check(etcdgw_version_number() == ETCDGW_VERSION_NUMBER, "etcdgw_version_number() is not ETCDGW_VERSION_NUMBER");
  return failures == 0 ? 0 : 1;
}
