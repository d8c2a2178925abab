"""What the tests do with etcd3gw on the library's locks:

turns.py turns HOST PORT NAME N   takes the lock n times, and counts up NAME-counter in each turn, without a fence
turns.py hold HOST PORT NAME      takes the lock, says "locked" and its UUID, and releases it when its input ends
turns.py look HOST PORT NAME      says whether the lock can be taken, and by the way how many leases there are
"""

import sys
import time

import etcd3gw


def acquire(lock):
    while not lock.acquire():
        # Its failed attempts leave a lease each.
        lock.lease.revoke()
        time.sleep(0.002)


def turns(client, name, count):
    lock = client.lock(name, ttl=30)
    for _ in range(count):
        acquire(lock)
        values = client.get(name + "-counter")
        client.put(name + "-counter", str(int(values[0]) + 1 if values else 1))
        lease = lock.lease
        assert lock.release()
        lease.revoke()


def hold(client, name):
    lock = client.lock(name, ttl=2)
    acquire(lock)
    print("locked", flush=True)
    print(lock.uuid, flush=True)
    sys.stdin.read()
    print("released" if lock.release() else "lost", flush=True)
    lock.lease.revoke()


def look(client, name):
    lock = client.lock(name, ttl=2)
    print("free" if lock.acquire() else "taken", flush=True)
    lock.release()
    lock.lease.revoke()


def main():
    command, host, port, name = sys.argv[1:5]
    client = etcd3gw.client(host=host, port=int(port), api_path="/v3/")
    if command == "turns":
        turns(client, name, int(sys.argv[5]))
    elif command == "hold":
        hold(client, name)
    else:
        look(client, name)


main()
