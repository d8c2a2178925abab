// Package consumer uses libetcdgw as a Go program would: a thin binding of what its test needs.
//
// The library copies its inputs, so a pointer to Go memory is fine as an argument. What lies inside an option struct
// must be pinned for the call, and callbacks get a pinned cgo.Handle.
package consumer

/*
#cgo LDFLAGS: -letcdgw
#include <etcdgw.h>
#include <stdlib.h>
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// Error is the story of a failed call.
type Error struct {
	Status          int32
	Reason          int32
	GRPCCode        int32
	MayHaveApplied  bool
	Message, Origin string
}

func (e *Error) Error() string { return e.Origin + ": " + e.Message }

// Statuses and reasons that the test looks at.
const (
	Cancelled           = C.ETCDGW_CANCELLED
	InvalidArgument     = C.ETCDGW_INVALID_ARGUMENT
	NotFound            = C.ETCDGW_NOT_FOUND
	ConnectionFailed    = C.ETCDGW_CONNECTION_FAILED
	LeaseExpired        = C.ETCDGW_LEASE_EXPIRED
	ReasonLeaseNotFound = C.ETCDGW_REASON_LEASE_NOT_FOUND
)

// call runs a function of the library and makes a Go error of its last argument.
func call(origin string, run func(err **C.etcdgw_error) C.etcdgw_status) error {
	var failure *C.etcdgw_error
	if run(&failure) == C.ETCDGW_OK {
		return nil
	}
	defer C.etcdgw_error_free(failure)
	return &Error{
		Status:         int32(C.etcdgw_error_status(failure)),
		Reason:         int32(C.etcdgw_error_reason(failure)),
		GRPCCode:       int32(C.etcdgw_error_grpc_code(failure)),
		MayHaveApplied: C.etcdgw_error_may_have_applied(failure) != 0,
		Message:        C.GoString(C.etcdgw_error_message(failure)),
		Origin:         origin,
	}
}

// view lends Go bytes to one call of the library.
func view(pinner *runtime.Pinner, data []byte) C.etcdgw_bytes {
	if len(data) == 0 {
		return C.etcdgw_bytes{}
	}
	pinner.Pin(&data[0])
	return C.etcdgw_bytes{data: (*C.uint8_t)(unsafe.Pointer(&data[0])), len: C.size_t(len(data))}
}

func copied(bytes C.etcdgw_bytes) []byte {
	return append([]byte{}, unsafe.Slice((*byte)(bytes.data), int(bytes.len))...)
}

// KeyValue is a key with its value.
type KeyValue struct {
	Key, Value     []byte
	CreateRevision int64
	ModRevision    int64
	Lease          int64
}

func keyValue(kv *C.etcdgw_kv) KeyValue {
	return KeyValue{copied(kv.key), copied(kv.value), int64(kv.create_revision), int64(kv.mod_revision), int64(kv.lease)}
}

func keyValues(kvs *C.etcdgw_kv, length C.size_t) []KeyValue {
	all := make([]KeyValue, 0, int(length))
	for i := range unsafe.Slice(kvs, int(length)) {
		all = append(all, keyValue(&unsafe.Slice(kvs, int(length))[i]))
	}
	return all
}

// Client is a client of one cluster.
type Client struct{ handle *C.etcdgw_client }

// NewClient connects on first use.
func NewClient(endpoints string) (*Client, error) {
	text := C.CString(endpoints)
	defer C.free(unsafe.Pointer(text))
	// The struct is Go memory, and points to memory of C only: nothing to pin.
	options := C.etcdgw_client_options{struct_size: C.sizeof_etcdgw_client_options, endpoints: text}
	client := &Client{}
	err := call("client_new", func(err **C.etcdgw_error) C.etcdgw_status {
		return C.etcdgw_client_new(&options, &client.handle, err)
	})
	return client, err
}

// Close frees the client.
func (c *Client) Close() { C.etcdgw_client_free(c.handle) }

// Put writes a key and returns the revision that did.
func (c *Client) Put(key, value []byte, lease int64) (int64, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := C.etcdgw_put_options{struct_size: C.sizeof_etcdgw_put_options, lease: C.int64_t(lease)}
	var response *C.etcdgw_put_response
	err := call("put", func(err **C.etcdgw_error) C.etcdgw_status {
		return C.etcdgw_put(c.handle, view(&pinner, key), view(&pinner, value), &options, &response, err)
	})
	if err != nil {
		return 0, err
	}
	defer C.etcdgw_put_response_free(response)
	return int64(response.header.revision), nil
}

// Get reads a key.
func (c *Client) Get(key []byte) ([]KeyValue, error) { return c.Range(key, nil, 0) }

// Range reads the keys from key up to rangeEnd, or the one key where there is no end; limit 0 is none.
func (c *Client) Range(key, rangeEnd []byte, limit int64) ([]KeyValue, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	// range_end makes the struct one that points to Go memory: hence the pin in view.
	options := C.etcdgw_get_options{struct_size: C.sizeof_etcdgw_get_options, limit: C.int64_t(limit)}
	options.range_end = view(&pinner, rangeEnd)
	var response *C.etcdgw_get_response
	err := call("get", func(err **C.etcdgw_error) C.etcdgw_status {
		return C.etcdgw_get(c.handle, view(&pinner, key), &options, &response, err)
	})
	if err != nil {
		return nil, err
	}
	defer C.etcdgw_get_response_free(response)
	return keyValues(response.kvs, response.kvs_len), nil
}

// DeletePrefix deletes all keys with a prefix and returns how many there were.
func (c *Client) DeletePrefix(prefix []byte) (int64, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	var response *C.etcdgw_delete_response
	err := call("delete_prefix", func(err **C.etcdgw_error) C.etcdgw_status {
		return C.etcdgw_delete_prefix(c.handle, view(&pinner, prefix), nil, &response, err)
	})
	if err != nil {
		return 0, err
	}
	defer C.etcdgw_delete_response_free(response)
	return int64(response.deleted), nil
}

// PutIfAbsent writes a key in a transaction that finds it absent, and otherwise returns what is there.
func (c *Client) PutIfAbsent(key, value []byte) (bool, []KeyValue, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	k := view(&pinner, key)
	var txn *C.etcdgw_txn
	var response *C.etcdgw_txn_response
	defer func() { C.etcdgw_txn_free(txn); C.etcdgw_txn_response_free(response) }()
	steps := []func(err **C.etcdgw_error) C.etcdgw_status{
		func(err **C.etcdgw_error) C.etcdgw_status { return C.etcdgw_txn_new(c.handle, &txn, err) },
		func(err **C.etcdgw_error) C.etcdgw_status {
			return C.etcdgw_txn_if_version(txn, k, C.etcdgw_bytes{}, C.ETCDGW_EQUAL, 0, err)
		},
		func(err **C.etcdgw_error) C.etcdgw_status {
			return C.etcdgw_txn_then_put(txn, k, view(&pinner, value), nil, err)
		},
		func(err **C.etcdgw_error) C.etcdgw_status { return C.etcdgw_txn_else_get(txn, k, nil, err) },
		func(err **C.etcdgw_error) C.etcdgw_status { return C.etcdgw_txn_commit(txn, nil, &response, err) },
	}
	for _, step := range steps {
		if err := call("txn", step); err != nil {
			return false, nil, err
		}
	}
	if response.succeeded != 0 {
		return true, nil, nil
	}
	got := unsafe.Slice(response.results, int(response.results_len))[0].get
	return false, keyValues(got.kvs, got.kvs_len), nil
}

// Grant makes a lease.
func (c *Client) Grant(seconds int64) (int64, error) {
	var id C.int64_t
	err := call("lease_grant", func(err **C.etcdgw_error) C.etcdgw_status {
		return C.etcdgw_lease_grant(c.handle, C.int64_t(seconds), nil, &id, nil, err)
	})
	return int64(id), err
}

// Refresh starts a lease's time anew and returns it.
func (c *Client) Refresh(lease int64) (int64, error) {
	var seconds C.int64_t
	err := call("lease_refresh", func(err **C.etcdgw_error) C.etcdgw_status {
		return C.etcdgw_lease_refresh(c.handle, C.int64_t(lease), nil, &seconds, err)
	})
	return int64(seconds), err
}

// Revoke ends a lease, and with it its keys.
func (c *Client) Revoke(lease int64) error {
	return call("lease_revoke", func(err **C.etcdgw_error) C.etcdgw_status {
		return C.etcdgw_lease_revoke(c.handle, C.int64_t(lease), nil, err)
	})
}
