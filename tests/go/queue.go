package consumer

/*
#include <etcdgw.h>

extern void goWatchFree(void *);
*/
import "C"

import (
	"os"
	"runtime"
	"runtime/cgo"
	"syscall"
	"unsafe"
)

// Queue reports what any number of watches see. It takes a goroutine, and no thread while there is nothing to report.
type Queue struct {
	handle *C.etcdgw_queue
	ready  *os.File
	ended  chan struct{}
}

// NewQueue starts to report what its watches see.
func NewQueue() (*Queue, error) {
	queue := &Queue{ended: make(chan struct{})}
	err := call("queue_new", func(err **C.etcdgw_error) C.etcdgw_status {
		return C.etcdgw_queue_new(&queue.handle, err)
	})
	if err != nil {
		return nil, err
	}
	// The library's descriptor is its own to close. Go's poller wants one that doesn't block, which it is.
	fd, err := syscall.Dup(int(C.etcdgw_queue_fd(queue.handle)))
	if err != nil {
		C.etcdgw_queue_free(queue.handle)
		return nil, err
	}
	queue.ready = os.NewFile(uintptr(fd), "etcdgw_queue")
	conn, err := queue.ready.SyscallConn()
	if err != nil {
		queue.ready.Close()
		C.etcdgw_queue_free(queue.handle)
		return nil, err
	}
	go func() {
		defer close(queue.ended)
		// Until the file is closed: the poller tells when the queue has something again.
		conn.Read(func(uintptr) bool { queue.report(); return false })
	}()
	return queue, nil
}

// report takes what there is.
func (q *Queue) report() {
	for {
		var event *C.etcdgw_event
		if C.etcdgw_queue_next(q.handle, 0, &event, nil) != C.ETCDGW_OK {
			return
		}
		w := (*(*cgo.Handle)(event.user_data)).Value().(*watcher)
		events := make([]Event, 0, int(event.watch.events_len))
		for _, event := range unsafe.Slice(event.watch.events, int(event.watch.events_len)) {
			events = append(events, Event{event._type == C.ETCDGW_EVENT_DELETE, keyValue(event.kv)})
		}
		w.report(events)
		C.etcdgw_event_free(event)
	}
}

// Close ends the queue's watches, and waits until the last report is over.
func (q *Queue) Close() {
	q.ready.Close()
	<-q.ended
	C.etcdgw_queue_free(q.handle)
}

// WatchInto lets the queue report the changes of a key, on its goroutine.
func (c *Client) WatchInto(queue *Queue, key []byte, report func([]Event)) (*Watch, error) {
	w := &watcher{report: report, freed: make(chan struct{})}
	w.handle = cgo.NewHandle(w)
	w.pinner.Pin(&w.handle)
	var pinner runtime.Pinner
	defer pinner.Unpin()
	options := C.etcdgw_watch_options{struct_size: C.sizeof_etcdgw_watch_options, queue: queue.handle}
	watch := &Watch{freed: w.freed}
	err := call("watch", func(err **C.etcdgw_error) C.etcdgw_status {
		return C.etcdgw_watch(c.handle, view(&pinner, key), &options, nil, unsafe.Pointer(&w.handle),
			(*[0]byte)(C.goWatchFree), &watch.handle, err)
	})
	return watch, err
}
