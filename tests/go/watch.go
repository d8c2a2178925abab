package consumer

/*
#include <etcdgw.h>

// Written in Go, below. The library's types have const, cgo's have not; hence the cast where it is handed over.
extern void goWatchCallback(etcdgw_watch_response *, void *);
extern void goWatchFree(void *);
*/
import "C"

import (
	"context"
	"runtime"
	"runtime/cgo"
	"unsafe"
)

// Event is one change of one key.
type Event struct {
	Deleted bool
	KeyValue
}

// watcher is what the library's user_data leads to.
type watcher struct {
	handle cgo.Handle
	pinner runtime.Pinner
	report func([]Event)
	freed  chan struct{}
}

//export goWatchCallback
func goWatchCallback(response *C.etcdgw_watch_response, userData unsafe.Pointer) {
	w := (*(*cgo.Handle)(userData)).Value().(*watcher)
	events := make([]Event, 0, int(response.events_len))
	for _, event := range unsafe.Slice(response.events, int(response.events_len)) {
		events = append(events, Event{event._type == C.ETCDGW_EVENT_DELETE, keyValue(event.kv)})
	}
	w.report(events)
}

//export goWatchFree
func goWatchFree(userData unsafe.Pointer) {
	handle := *(*cgo.Handle)(userData)
	w := handle.Value().(*watcher)
	handle.Delete()
	w.pinner.Unpin()
	close(w.freed)
}

// Watch reports the changes of a prefix until it is cancelled.
type Watch struct {
	handle *C.etcdgw_watch_handle
	freed  chan struct{}
}

// WatchPrefix returns once the server has confirmed the watch. report runs on a thread of the library.
func (c *Client) WatchPrefix(prefix []byte, report func([]Event)) (*Watch, error) {
	w := &watcher{report: report, freed: make(chan struct{})}
	w.handle = cgo.NewHandle(w)
	w.pinner.Pin(&w.handle)
	var pinner runtime.Pinner
	defer pinner.Unpin()
	watch := &Watch{freed: w.freed}
	err := call("watch_prefix", func(err **C.etcdgw_error) C.etcdgw_status {
		return C.etcdgw_watch_prefix(c.handle, view(&pinner, prefix), nil,
			(C.etcdgw_watch_callback)(unsafe.Pointer(C.goWatchCallback)), unsafe.Pointer(&w.handle),
			(*[0]byte)(C.goWatchFree), &watch.handle, err)
	})
	return watch, err
}

// Close cancels the watch and waits until the last report is over.
func (w *Watch) Close() {
	C.etcdgw_watch_free(w.handle)
	<-w.freed
}

// WaitFor returns the first change of a key; a cancelled context ends the wait.
func (c *Client) WaitFor(ctx context.Context, key []byte) ([]Event, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	var cancel *C.etcdgw_cancel
	err := call("cancel_new", func(err **C.etcdgw_error) C.etcdgw_status { return C.etcdgw_cancel_new(&cancel, err) })
	if err != nil {
		return nil, err
	}
	finished, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			C.etcdgw_cancel_trigger(cancel)
		case <-finished:
		}
		close(stopped)
	}()
	defer func() { close(finished); <-stopped; C.etcdgw_cancel_free(cancel) }()

	options := C.etcdgw_watch_options{struct_size: C.sizeof_etcdgw_watch_options, timeout_ms: -1, cancel: cancel}
	var response *C.etcdgw_watch_response
	err = call("watch_once", func(err **C.etcdgw_error) C.etcdgw_status {
		return C.etcdgw_watch_once(c.handle, view(&pinner, key), &options, &response, err)
	})
	if err != nil {
		return nil, err
	}
	defer C.etcdgw_watch_response_free(response)
	var events []Event
	for _, event := range unsafe.Slice(response.events, int(response.events_len)) {
		events = append(events, Event{event._type == C.ETCDGW_EVENT_DELETE, keyValue(event.kv)})
	}
	return events, nil
}
