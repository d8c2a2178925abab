package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const patience = 30 * time.Second

var prefix = fmt.Sprintf("test/go/%d/", os.Getpid())

func ownKey(name string) []byte { return []byte(prefix + name) }

func connect(t *testing.T) *Client {
	t.Helper()
	endpoints := os.Getenv("ETCDGW_ENDPOINTS")
	if endpoints == "" {
		t.Fatal("ETCDGW_ENDPOINTS says where etcd is")
	}
	client, err := NewClient(endpoints)
	must(t, err)
	t.Cleanup(func() {
		_, err := client.DeletePrefix([]byte(prefix))
		client.Close()
		must(t, err)
	})
	return client
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, client *Client, key []byte, value string) int64 {
	t.Helper()
	revision, err := client.Put(key, []byte(value), 0)
	must(t, err)
	return revision
}

func get(t *testing.T, client *Client, key []byte) []KeyValue {
	t.Helper()
	got, err := client.Get(key)
	must(t, err)
	return got
}

func fails(t *testing.T, err error, status int32) *Error {
	t.Helper()
	var failure *Error
	if !errors.As(err, &failure) || failure.Status != status {
		t.Fatalf("got %v, expected an error of status %d", err, status)
	}
	return failure
}

func TestKeysAndValuesAreAnyBytes(t *testing.T) {
	client := connect(t)
	for _, value := range []string{"text", "", "\x00\xff\x80\n\"", strings.Repeat("\xfe\x00", 1<<19)} {
		key := ownKey("value\x00\xff\x80")
		revision := put(t, client, key, value)
		got := get(t, client, key)
		if len(got) != 1 || !bytes.Equal(got[0].Key, key) || string(got[0].Value) != value {
			t.Fatalf("a value of %d bytes does not come back", len(value))
		}
		if got[0].ModRevision != revision {
			t.Fatalf("revision %d, expected %d", got[0].ModRevision, revision)
		}
	}
}

func TestARangeLeavesOutItsEnd(t *testing.T) {
	client := connect(t)
	for _, name := range []string{"range/a", "range/b", "range/c"} {
		put(t, client, ownKey(name), name)
	}
	got, err := client.Range(ownKey("range/a"), ownKey("range/c"), 0)
	must(t, err)
	if len(got) != 2 || string(got[1].Value) != "range/b" {
		t.Fatalf("got %v", got)
	}
	got, err = client.Range(ownKey("range/a"), ownKey("range/z"), 1)
	must(t, err)
	if len(got) != 1 {
		t.Fatalf("a limit of 1 gives %d", len(got))
	}
	deleted, err := client.DeletePrefix(ownKey("range/"))
	must(t, err)
	if deleted != 3 {
		t.Fatalf("%d deleted", deleted)
	}
}

func TestATransactionTakesOneBranch(t *testing.T) {
	client := connect(t)
	succeeded, _, err := client.PutIfAbsent(ownKey("txn"), []byte("first"))
	must(t, err)
	if !succeeded {
		t.Fatal("an absent key was found")
	}
	succeeded, existing, err := client.PutIfAbsent(ownKey("txn"), []byte("second"))
	must(t, err)
	if succeeded || len(existing) != 1 || string(existing[0].Value) != "first" {
		t.Fatalf("succeeded %v, found %v", succeeded, existing)
	}
}

func TestAKeyGoesWithItsLease(t *testing.T) {
	client := connect(t)
	lease, err := client.Grant(60)
	must(t, err)
	_, err = client.Put(ownKey("leased"), []byte("x"), lease)
	must(t, err)
	seconds, err := client.Refresh(lease)
	must(t, err)
	if got := get(t, client, ownKey("leased")); seconds != 60 || got[0].Lease != lease {
		t.Fatalf("%d s, %v", seconds, got)
	}
	must(t, client.Revoke(lease))
	if got := get(t, client, ownKey("leased")); len(got) != 0 {
		t.Fatalf("left: %v", got)
	}
	_, err = client.Refresh(lease)
	fails(t, err, LeaseExpired)
}

func TestAWatchReportsUntilItIsClosed(t *testing.T) {
	client := connect(t)
	events := make(chan Event, 100)
	watch, err := client.WatchPrefix(ownKey("watched/"), func(reported []Event) {
		for _, event := range reported {
			events <- event
		}
	})
	must(t, err)
	put(t, client, ownKey("watched/key"), "1")
	put(t, client, ownKey("watched/key"), "2")
	_, err = client.DeletePrefix(ownKey("watched/"))
	must(t, err)
	for i, expected := range []string{"1", "2", ""} {
		select {
		case event := <-events:
			if string(event.Value) != expected || event.Deleted != (i == 2) {
				t.Fatalf("event %d is %v", i, event)
			}
		case <-time.After(patience):
			t.Fatalf("event %d does not come", i)
		}
	}
	watch.Close()
	put(t, client, ownKey("watched/key"), "after")
	if len(events) != 0 {
		t.Fatal("an event after the end")
	}
}

func TestARefusedWatchLeavesNothingBehind(t *testing.T) {
	client, err := NewClient("http://127.0.0.1:1")
	must(t, err)
	defer client.Close()
	watch, err := client.WatchPrefix([]byte("x"), func([]Event) { t.Error("reported") })
	fails(t, err, ConnectionFailed)
	<-watch.freed
}

func TestAContextEndsABlockedCall(t *testing.T) {
	client := connect(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := client.WaitFor(ctx, ownKey("never"))
	fails(t, err, Cancelled)
}

func TestAnErrorTellsWhatHappened(t *testing.T) {
	client := connect(t)
	_, err := client.Put(ownKey("refused"), []byte("x"), 0x7123456789abcdef)
	failure := fails(t, err, NotFound)
	if failure.Reason != ReasonLeaseNotFound || failure.GRPCCode != 5 || failure.MayHaveApplied {
		t.Fatalf("%+v", failure)
	}
	if !strings.Contains(failure.Message, "requested lease not found") {
		t.Fatal(failure.Message)
	}
	_, err = client.DeletePrefix(nil)
	fails(t, err, InvalidArgument)
}
