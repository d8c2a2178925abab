"""Everything once, as a Python program would do it with ctypes, on the etcd at ETCDGW_ENDPOINTS."""

import os
import queue
import threading
import unittest
from ctypes import POINTER, byref, c_int64, c_void_p

import etcdgw
from etcdgw import Bytes

PATIENCE_S = 30
PREFIX = f"test/python/{os.getpid()}/".encode()
ONE_KEY = Bytes()


def own_key(name):
    return PREFIX + name


class Consumer(unittest.TestCase):
    def setUp(self):
        self.client = c_void_p()
        options = etcdgw.ClientOptions(endpoints=os.environ["ETCDGW_ENDPOINTS"].encode())
        etcdgw.client_new(options, byref(self.client))
        self.addCleanup(etcdgw.client_free, self.client)
        self.addCleanup(etcdgw.delete_prefix, self.client, Bytes.of(PREFIX), None, None)

    def put(self, key, value, **options):
        response = POINTER(etcdgw.PutResponse)()
        etcdgw.put(self.client, Bytes.of(key), Bytes.of(value), etcdgw.PutOptions(**options), byref(response))
        self.addCleanup(etcdgw.put_response_free, response)
        return response.contents.header.revision

    def get(self, key, function=etcdgw.get, **options):
        response = POINTER(etcdgw.GetResponse)()
        function(self.client, Bytes.of(key), etcdgw.GetOptions(**options), byref(response))
        self.addCleanup(etcdgw.get_response_free, response)
        got = response.contents
        return got, [(bytes(kv.key), bytes(kv.value)) for kv in got.kvs[:got.kvs_len]]

    def test_keys_and_values_are_any_bytes(self):
        key = own_key(b"value\0\xff\x80")
        for value in (b"text", b"", bytes(range(256)), b"\xfe\0" * (1 << 19)):
            revision = self.put(key, value)
            got, pairs = self.get(key)
            self.assertTrue(pairs == [(key, value)], f"a value of {len(value)} bytes does not come back")
            self.assertEqual(got.kvs[0].mod_revision, revision)

    def test_a_range_is_sorted_and_limited(self):
        for name in (b"a", b"b", b"c"):
            self.put(own_key(b"range/" + name), name)
        got, pairs = self.get(own_key(b"range/"), etcdgw.get_prefix, limit=2, sort_order=etcdgw.SORT_DESCEND)
        self.assertEqual([value for _, value in pairs], [b"c", b"b"])
        self.assertEqual((got.count, got.more), (3, 1))
        _, pairs = self.get(own_key(b"range/a"), range_end=Bytes.of(own_key(b"range/c")))
        self.assertEqual([value for _, value in pairs], [b"a", b"b"])

    def test_a_transaction_takes_one_branch(self):
        key = Bytes.of(own_key(b"txn"))
        self.put(own_key(b"txn"), b"before")
        txn = c_void_p()
        etcdgw.txn_new(self.client, byref(txn))
        self.addCleanup(etcdgw.txn_free, txn)
        etcdgw.txn_if_value(txn, key, ONE_KEY, etcdgw.EQUAL, Bytes.of(b"before"))
        etcdgw.txn_then_put(txn, key, Bytes.of(b"after"), None)
        etcdgw.txn_else_get(txn, key, None)
        for succeeded in (1, 0):
            response = POINTER(etcdgw.TxnResponse)()
            etcdgw.txn_commit(txn, None, byref(response))
            self.addCleanup(etcdgw.txn_response_free, response)
            self.assertEqual((response.contents.succeeded, response.contents.results_len), (succeeded, 1))
        result = response.contents.results[0].contents
        self.assertEqual(bytes(result.get.contents.kvs[0].value), b"after")
        self.assertFalse(result.put)

    def test_a_key_goes_with_its_lease(self):
        lease, granted, left = c_int64(), c_int64(), c_int64()
        etcdgw.lease_grant(self.client, 60, None, byref(lease), byref(granted))
        self.put(own_key(b"leased"), b"x", lease=lease.value)
        etcdgw.lease_refresh(self.client, lease, None, byref(left))
        self.assertEqual((granted.value, left.value), (60, 60))
        etcdgw.lease_revoke(self.client, lease, None)
        self.assertEqual(self.get(own_key(b"leased"))[1], [])
        with self.assertRaises(etcdgw.Error) as raised:
            etcdgw.lease_refresh(self.client, lease, None, byref(left))
        self.assertEqual((raised.exception.status, left.value), (etcdgw.LEASE_EXPIRED, -1))

    def test_a_watch_calls_back_until_it_is_cancelled(self):
        events, freed = queue.Queue(), []

        @etcdgw.WatchCallback
        def on_watch(response, user_data):
            response = response.contents
            for event in response.events[:response.events_len]:
                events.put((response.kind, event.type, bytes(event.kv.contents.value), user_data))

        # Both are referenced until the join has returned: the library holds the C side of them only.
        on_free = etcdgw.UserDataFree(freed.append)
        watch = c_void_p()
        etcdgw.watch_prefix(self.client, Bytes.of(own_key(b"watched/")), None, on_watch, 7, on_free, byref(watch))
        self.put(own_key(b"watched/key"), b"1")
        self.put(own_key(b"watched/key"), b"2")
        etcdgw.delete(self.client, Bytes.of(own_key(b"watched/key")), None, None)
        for expected in ((0, b"1"), (0, b"2"), (etcdgw.EVENT_DELETE, b"")):
            self.assertEqual(events.get(timeout=PATIENCE_S), (etcdgw.WATCH_EVENTS, *expected, 7))
        etcdgw.watch_cancel(watch)
        etcdgw.watch_join(watch, PATIENCE_S * 1000)
        self.assertEqual(freed, [7])
        self.put(own_key(b"watched/key"), b"after")
        etcdgw.watch_free(watch)
        self.assertTrue(events.empty())

    def test_a_token_ends_a_blocked_call(self):
        cancel = c_void_p()
        etcdgw.cancel_new(byref(cancel))
        self.addCleanup(etcdgw.cancel_free, cancel)
        timer = threading.Timer(0.05, etcdgw.cancel_trigger, (cancel,))
        timer.start()
        response = POINTER(etcdgw.WatchResponse)()
        options = etcdgw.WatchOptions(timeout_ms=-1, cancel=cancel)
        with self.assertRaises(etcdgw.Error) as raised:
            etcdgw.watch_once(self.client, Bytes.of(own_key(b"never")), options, byref(response))
        timer.join()
        self.assertEqual(raised.exception.status, etcdgw.CANCELLED)
        self.assertFalse(response)

    def test_an_error_tells_what_happened(self):
        with self.assertRaises(etcdgw.Error) as raised:
            self.put(own_key(b"refused"), b"x", lease=0x7123456789ABCDEF)
        error = raised.exception
        self.assertEqual((error.status, error.reason), (etcdgw.NOT_FOUND, etcdgw.REASON_LEASE_NOT_FOUND))
        self.assertEqual((error.grpc_code, error.http_status), (5, 404))
        self.assertIn("requested lease not found", str(error))
        self.assertFalse(error.may_have_applied)
        with self.assertRaises(etcdgw.Error) as raised:
            etcdgw.delete_prefix(self.client, Bytes(), None, None)
        self.assertEqual(raised.exception.status, etcdgw.INVALID_ARGUMENT)


if __name__ == "__main__":
    unittest.main()
