"""libetcdgw with nothing but ctypes: the types and functions that the tests use."""

import ctypes
import os
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int32, c_int64, c_size_t, c_uint64, c_void_p

OK = 0
CANCELLED = 1
INVALID_ARGUMENT = 3
NOT_FOUND = 5
LEASE_EXPIRED = 106
REASON_LEASE_NOT_FOUND = 3
EVENT_DELETE = 1
EQUAL = 0
SORT_DESCEND = 2
WATCH_EVENTS = 1

_library = ctypes.CDLL(os.path.join(os.environ["ETCDGW_LIB_DIR"], "libetcdgw.so"))


class Bytes(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("len", c_size_t)]

    @classmethod
    def of(cls, data):
        """Lends Python bytes to a call, which copies them."""
        lent = cls(ctypes.cast(ctypes.c_char_p(data), c_void_p), len(data))
        lent.keep = data
        return lent

    def __bytes__(self):
        return ctypes.string_at(self.data, self.len) if self.len else b""


class Header(ctypes.Structure):
    _fields_ = [("cluster_id", c_uint64), ("member_id", c_uint64), ("revision", c_int64), ("raft_term", c_uint64)]


class KeyValue(ctypes.Structure):
    _fields_ = [
        ("key", Bytes), ("value", Bytes), ("create_revision", c_int64), ("mod_revision", c_int64),
        ("version", c_int64), ("lease", c_int64),
    ]


class Options(ctypes.Structure):
    """What every option struct begins with. A subclass has its size filled in, and the rest is the default."""

    def __init__(self, **fields):
        super().__init__(struct_size=ctypes.sizeof(self), **fields)


def _options(name, *fields):
    common = [("struct_size", c_size_t), ("timeout_ms", c_int64), ("cancel", c_void_p)]
    return type(name, (Options,), {"_fields_": common + list(fields)})


def _int32(*names):
    return [(name, c_int32) for name in names]


CallOptions = _options("CallOptions")
ClientOptions = _options(
    "ClientOptions",
    *[(name, c_char_p) for name in ("endpoints", "user", "password", "token", "ca_cert_file", "cert_file", "key_file")],
    *[(name, Bytes) for name in ("ca_cert_pem", "cert_pem", "key_pem")],
    ("tls_server_name", c_char_p), ("api_path", c_char_p), ("key_prefix", Bytes),
    *[(name, c_int64) for name in (
        "connect_timeout_ms", "auto_sync_ms", "watch_buffer_bytes", "watch_buffer_total_bytes", "watch_liveness_ms",
        "max_response_bytes")],
    *_int32("tls_insecure_skip_verify", "max_retries", "max_idle_connections", "websocket"),
    ("log", c_void_p), ("log_user_data", c_void_p), ("log_user_data_free", c_void_p),
    *_int32("log_level", "reserved0"),
)
PutOptions = _options("PutOptions", ("lease", c_int64), *_int32("prev_kv", "ignore_value", "ignore_lease", "reserved0"))
GetOptions = _options(
    "GetOptions", ("range_end", Bytes),
    *[(name, c_int64) for name in (
        "limit", "revision", "min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")],
    *_int32("prefix", "sort_order", "sort_target", "serializable", "keys_only", "count_only"),
)
DeleteOptions = _options("DeleteOptions", ("range_end", Bytes), *_int32("prefix", "prev_kv", "all", "reserved0"))
WatchOptions = _options(
    "WatchOptions", ("range_end", Bytes), ("start_revision", c_int64), ("queue", c_void_p),
    *_int32("prefix", "progress_notify", "no_put", "no_delete", "prev_kv", "report_connection", "no_require_leader",
            "no_wait_created"),
)


class PutResponse(ctypes.Structure):
    _fields_ = [("header", Header), ("prev_kv", POINTER(KeyValue))]


class GetResponse(ctypes.Structure):
    _fields_ = [
        ("header", Header), ("kvs", POINTER(KeyValue)), ("kvs_len", c_size_t), ("count", c_int64),
        *_int32("more", "reserved0"),
    ]


class DeleteResponse(ctypes.Structure):
    _fields_ = [
        ("header", Header), ("deleted", c_int64), ("prev_kvs", POINTER(KeyValue)), ("prev_kvs_len", c_size_t),
    ]


class TxnResult(ctypes.Structure):
    _fields_ = [
        *_int32("operation", "reserved0"), ("put", POINTER(PutResponse)), ("get", POINTER(GetResponse)),
        ("deleted", POINTER(DeleteResponse)), ("txn", c_void_p),
    ]


class TxnResponse(ctypes.Structure):
    _fields_ = [
        ("header", Header), *_int32("succeeded", "reserved0"), ("results", POINTER(POINTER(TxnResult))),
        ("results_len", c_size_t),
    ]


class WatchEvent(ctypes.Structure):
    _fields_ = [*_int32("type", "reserved0"), ("kv", POINTER(KeyValue)), ("prev_kv", POINTER(KeyValue))]


class WatchResponse(ctypes.Structure):
    _fields_ = [
        *_int32("kind", "reserved0"), ("header", Header), ("events", POINTER(WatchEvent)), ("events_len", c_size_t),
        ("resume_revision", c_int64), ("compact_revision", c_int64), ("error", c_void_p),
    ]


WatchCallback = CFUNCTYPE(None, POINTER(WatchResponse), c_void_p)
UserDataFree = CFUNCTYPE(None, c_void_p)
_OUT = POINTER(c_void_p)


def _function(name, result, *arguments):
    function = getattr(_library, name)
    function.restype, function.argtypes = result, arguments
    return function


def _fallible(name, *arguments):
    """A function with a status and an error as its last argument, which are made an exception here."""
    function = _function(name, c_int32, *arguments, _OUT)

    def call(*values):
        error = c_void_p()
        if function(*values, byref(error)) != OK:
            raise Error(error)

    return call


error_status = _function("etcdgw_error_status", c_int32, c_void_p)
error_message = _function("etcdgw_error_message", c_char_p, c_void_p)
error_reason = _function("etcdgw_error_reason", c_int32, c_void_p)
error_grpc_code = _function("etcdgw_error_grpc_code", c_int32, c_void_p)
error_http_status = _function("etcdgw_error_http_status", c_int32, c_void_p)
error_may_have_applied = _function("etcdgw_error_may_have_applied", c_int32, c_void_p)
error_free = _function("etcdgw_error_free", None, c_void_p)


class Error(Exception):
    """The parts of an etcdgw_error, copied."""

    def __init__(self, error):
        super().__init__(error_message(error).decode())
        self.status = error_status(error)
        self.reason = error_reason(error)
        self.grpc_code = error_grpc_code(error)
        self.http_status = error_http_status(error)
        self.may_have_applied = bool(error_may_have_applied(error))
        error_free(error)


client_new = _fallible("etcdgw_client_new", POINTER(ClientOptions), _OUT)
client_free = _function("etcdgw_client_free", None, c_void_p)
put = _fallible("etcdgw_put", c_void_p, Bytes, Bytes, POINTER(PutOptions), POINTER(POINTER(PutResponse)))
put_response_free = _function("etcdgw_put_response_free", None, POINTER(PutResponse))
get = _fallible("etcdgw_get", c_void_p, Bytes, POINTER(GetOptions), POINTER(POINTER(GetResponse)))
get_prefix = _fallible("etcdgw_get_prefix", c_void_p, Bytes, POINTER(GetOptions), POINTER(POINTER(GetResponse)))
get_response_free = _function("etcdgw_get_response_free", None, POINTER(GetResponse))
delete = _fallible("etcdgw_delete", c_void_p, Bytes, POINTER(DeleteOptions), POINTER(POINTER(DeleteResponse)))
delete_prefix = _fallible(
    "etcdgw_delete_prefix", c_void_p, Bytes, POINTER(DeleteOptions), POINTER(POINTER(DeleteResponse)))
delete_response_free = _function("etcdgw_delete_response_free", None, POINTER(DeleteResponse))
txn_new = _fallible("etcdgw_txn_new", c_void_p, _OUT)
txn_if_value = _fallible("etcdgw_txn_if_value", c_void_p, Bytes, Bytes, c_int32, Bytes)
txn_then_put = _fallible("etcdgw_txn_then_put", c_void_p, Bytes, Bytes, POINTER(PutOptions))
txn_else_get = _fallible("etcdgw_txn_else_get", c_void_p, Bytes, POINTER(GetOptions))
txn_commit = _fallible("etcdgw_txn_commit", c_void_p, POINTER(CallOptions), POINTER(POINTER(TxnResponse)))
txn_free = _function("etcdgw_txn_free", None, c_void_p)
txn_response_free = _function("etcdgw_txn_response_free", None, POINTER(TxnResponse))
lease_grant = _fallible("etcdgw_lease_grant", c_void_p, c_int64, c_void_p, POINTER(c_int64), POINTER(c_int64))
lease_refresh = _fallible("etcdgw_lease_refresh", c_void_p, c_int64, POINTER(CallOptions), POINTER(c_int64))
lease_revoke = _fallible("etcdgw_lease_revoke", c_void_p, c_int64, POINTER(CallOptions))
watch_prefix = _fallible(
    "etcdgw_watch_prefix", c_void_p, Bytes, POINTER(WatchOptions), WatchCallback, c_void_p, UserDataFree, _OUT)
watch_once = _fallible("etcdgw_watch_once", c_void_p, Bytes, POINTER(WatchOptions), POINTER(POINTER(WatchResponse)))
watch_response_free = _function("etcdgw_watch_response_free", None, POINTER(WatchResponse))
watch_join = _fallible("etcdgw_watch_join", c_void_p, c_int64)
watch_cancel = _function("etcdgw_watch_cancel", None, c_void_p)
watch_free = _function("etcdgw_watch_free", None, c_void_p)
cancel_new = _fallible("etcdgw_cancel_new", _OUT)
cancel_trigger = _function("etcdgw_cancel_trigger", None, c_void_p)
cancel_free = _function("etcdgw_cancel_free", None, c_void_p)
