/* The header, alone and twice, compiled as C99, C11 and C++11 by tests/abi.rs; every macro is used once. */
#include "etcdgw.h"
#include "etcdgw.h"

#if ETCDGW_VERSION_NUMBER < 0x000100 || ETCDGW_VERSION_NUMBER >> 16 != ETCDGW_VERSION_MAJOR
#error "the preprocessor can't compare versions"
#endif

static const etcdgw_bytes static_key = ETCDGW_STR_INIT("static\0key");
static etcdgw_call_options static_options = ETCDGW_CALL_OPTIONS_INIT;

int main(void) {
  etcdgw_bytes key = ETCDGW_STR("key");
  etcdgw_bytes from = ETCDGW_FROM_KEY;
  etcdgw_call_options o = ETCDGW_CALL_OPTIONS_INIT;
  etcdgw_client_options client = ETCDGW_CLIENT_OPTIONS_INIT;
  etcdgw_put_options put = ETCDGW_PUT_OPTIONS_INIT;
  etcdgw_get_options get = ETCDGW_GET_OPTIONS_INIT;
  etcdgw_delete_options del = ETCDGW_DELETE_OPTIONS_INIT;
  etcdgw_compact_options compact = ETCDGW_COMPACT_OPTIONS_INIT;
  etcdgw_lease_grant_options grant = ETCDGW_LEASE_GRANT_OPTIONS_INIT;
  etcdgw_lease_ttl_options ttl = ETCDGW_LEASE_TTL_OPTIONS_INIT;
  etcdgw_watch_options watch = ETCDGW_WATCH_OPTIONS_INIT;
  etcdgw_member_list_options members = ETCDGW_MEMBER_LIST_OPTIONS_INIT;
  etcdgw_scan_options scan = ETCDGW_SCAN_OPTIONS_INIT;
  etcdgw_stm_options stm = ETCDGW_STM_OPTIONS_INIT;
  etcdgw_mirror_options mirror = ETCDGW_MIRROR_OPTIONS_INIT;
  etcdgw_keepalive_options keepalive = ETCDGW_KEEPALIVE_OPTIONS_INIT;
  etcdgw_session_options session = ETCDGW_SESSION_OPTIONS_INIT;
  etcdgw_election_observe_options observe = ETCDGW_ELECTION_OBSERVE_OPTIONS_INIT;
  etcdgw_lock_options lock = ETCDGW_LOCK_OPTIONS_INIT;
  etcdgw_snapshot_options snapshot = ETCDGW_SNAPSHOT_OPTIONS_INIT;
  etcdgw_role_permission_options permission = ETCDGW_ROLE_PERMISSION_OPTIONS_INIT;
#ifndef __cplusplus
  etcdgw_get_options some = {.struct_size = sizeof some, .limit = 3};
  get.limit = some.limit;
#endif
  return static_key.len == 10 && static_options.struct_size == sizeof static_options && key.len == 3 &&
                 from.len == 1 && from.data[0] == 0 && o.struct_size == sizeof o && client.struct_size == sizeof client &&
                 put.struct_size == sizeof put && get.struct_size == sizeof get && del.struct_size == sizeof del &&
                 compact.struct_size == sizeof compact && grant.struct_size == sizeof grant &&
                 ttl.struct_size == sizeof ttl && watch.struct_size == sizeof watch &&
                 members.struct_size == sizeof members && scan.struct_size == sizeof scan &&
                 stm.struct_size == sizeof stm && mirror.struct_size == sizeof mirror &&
                 keepalive.struct_size == sizeof keepalive && session.struct_size == sizeof session &&
                 observe.struct_size == sizeof observe && lock.struct_size == sizeof lock &&
                 snapshot.struct_size == sizeof snapshot && permission.struct_size == sizeof permission &&
                 put.lease == 0 && watch.queue == NULL
             ? 0
             : 1;
}
