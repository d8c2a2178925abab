package consumer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// threads counts those of the process, the library's own excepted.
func threads(t *testing.T) int {
	t.Helper()
	names, err := filepath.Glob("/proc/self/task/*/comm")
	must(t, err)
	count := 0
	for _, name := range names {
		if comm, err := os.ReadFile(name); err == nil && !strings.HasPrefix(string(comm), "etcdgw-") {
			count++
		}
	}
	return count
}

func TestAThousandWatchesOnAQueueTakeFewThreads(t *testing.T) {
	const watches = 1000
	client := connect(t)
	queue, err := NewQueue()
	must(t, err)
	type report struct {
		watch int
		event Event
	}
	reports := make(chan report, 2*watches)
	all := make([]*Watch, watches)
	for i := range all {
		i := i
		all[i], err = client.WatchInto(queue, ownKey(fmt.Sprintf("queue/%d", i)), func(events []Event) {
			for _, event := range events {
				reports <- report{i, event}
			}
		})
		must(t, err)
	}
	for i := range all {
		put(t, client, ownKey(fmt.Sprintf("queue/%d", i)), fmt.Sprint(i))
	}
	seen := make(map[int]string)
	for len(seen) < watches {
		select {
		case report := <-reports:
			seen[report.watch] += string(report.event.Value) + ";"
		case <-time.After(patience):
			t.Fatalf("only %d watches have reported", len(seen))
		}
	}
	for i := range all {
		if seen[i] != fmt.Sprintf("%d;", i) {
			t.Fatalf("watch %d has seen %q", i, seen[i])
		}
	}
	if count := threads(t); count > 50 {
		t.Fatalf("%d threads", count)
	}
	for i := 0; i < watches/2; i++ {
		all[i].Close()
	}
	// The others end with their queue.
	queue.Close()
	for _, watch := range all[watches/2:] {
		<-watch.freed
		watch.Close()
	}
}
