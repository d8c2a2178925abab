// The works of watches.c with etcd's own client for Go, over gRPC: what this library is measured by. It obeys the same
// lines, as far as they concern watches.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"
)

// The clock that the driver shares.
func nanotime() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		log.Fatal(err)
	}
	return now.Nano()
}

var (
	client *clientv3.Client

	mutex                     sync.Mutex
	changed                   = sync.NewCond(&mutex)
	events, wanted, reachedNs int64
	looksForLags              bool
	lags                      []int64

	held clientv3.WatchChan
)

func answer(number, second int64) { fmt.Println(number, second) }

func take(response clientv3.WatchResponse) {
	// One that was cancelled here says so last.
	if err := response.Err(); err != nil && err != context.Canceled {
		log.Fatal(err)
	}
	now := nanotime()
	mutex.Lock()
	defer mutex.Unlock()
	if looksForLags {
		for _, event := range response.Events {
			sent, _ := strconv.ParseInt(string(event.Kv.Value[:20]), 10, 64)
			lags = append(lags, now-sent)
		}
	}
	before := events
	events += int64(len(response.Events))
	if before < wanted && events >= wanted {
		reachedNs = now
		changed.Broadcast()
	}
}

func arm(goal int64, withLags bool) {
	mutex.Lock()
	events, reachedNs, wanted, lags, looksForLags = 0, 0, goal, lags[:0], withLags
	mutex.Unlock()
}

func waitForEvents() int64 {
	mutex.Lock()
	defer mutex.Unlock()
	for events < wanted {
		changed.Wait()
	}
	return reachedNs
}

// A goroutine for each watch takes its events, as Go programs do.
func watch(ctx context.Context, key string, options ...clientv3.OpOption) {
	ctx = clientv3.WithRequireLeader(ctx)
	options = append(options, clientv3.WithCreatedNotify())
	responses := client.Watch(ctx, key, options...)
	if created := <-responses; !created.Created {
		log.Fatal("not created: ", created.Err())
	}
	go func() {
		for response := range responses {
			take(response)
		}
	}()
}

func open(prefix string, count, threads int64, wait bool) {
	started := nanotime()
	var group, begun sync.WaitGroup
	for thread := int64(0); thread < threads; thread++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := thread; i < count; i += threads {
				key := fmt.Sprintf("%s%06d", prefix, i)
				if wait {
					watch(context.Background(), key)
					continue
				}
				begun.Add(1)
				go func() { begun.Done(); watch(context.Background(), key) }()
			}
		}()
	}
	group.Wait()
	begun.Wait()
	answer(nanotime()-started, 0)
}

func latency(count int64) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watch(ctx, "latency")
	times := make([]int64, count)
	value := strings.Repeat("v", 64)
	for i := range times {
		arm(1, false)
		started := nanotime()
		if _, err := client.Put(context.Background(), "latency", value); err != nil {
			log.Fatal(err)
		}
		times[i] = waitForEvents() - started
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	answer(times[count/2], 0)
}

func drain(count int64) {
	started := nanotime()
	for seen := int64(0); seen < count; {
		response := <-held
		if err := response.Err(); err != nil {
			log.Fatal(err)
		}
		seen += int64(len(response.Events))
	}
	answer(nanotime()-started, 0)
}

func answerLag() {
	mutex.Lock()
	defer mutex.Unlock()
	sort.Slice(lags, func(i, j int) bool { return lags[i] < lags[j] })
	if len(lags) == 0 {
		answer(0, 0)
		return
	}
	answer(lags[len(lags)-1], lags[len(lags)/2])
}

func answerCPU() {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	answer(usage.Utime.Nano()+usage.Stime.Nano(), 0)
}

func answerAllocated() {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	answer(int64(stats.HeapAlloc+stats.StackInuse), 0)
}

func obey(words []string) {
	number := func(at int) int64 {
		value, err := strconv.ParseInt(words[at], 10, 64)
		if err != nil {
			log.Fatal(err)
		}
		return value
	}
	switch words[0] {
	case "open":
		open(words[1], number(2), number(3), number(4) != 0)
	case "watch":
		watch(context.Background(), words[1], clientv3.WithPrefix(), clientv3.WithRev(number(2)))
		answer(0, 0)
	case "hold":
		held = client.Watch(context.Background(), words[1], clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		<-held
		answer(0, 0)
	case "drain":
		drain(number(1))
	case "arm", "time":
		arm(number(1), words[0] == "time")
		answer(nanotime(), 0)
	case "count":
		answer(waitForEvents(), events)
	case "lag":
		answerLag()
	case "latency":
		latency(number(1))
	case "cpu":
		answerCPU()
	case "allocated":
		answerAllocated()
	default:
		log.Fatal("not understood: ", words)
	}
}

func main() {
	log.SetFlags(0)
	var err error
	// The other arguments are settings of the library that is compared with this.
	client, err = clientv3.New(clientv3.Config{Endpoints: strings.Split(os.Args[1], ",")})
	if err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		obey(strings.Fields(lines.Text()))
	}
}
