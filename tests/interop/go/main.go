// Command interop does with Go's concurrency package what the tests do with the library, on the same names:
//
//	interop turns ENDPOINT NAME N       locks NAME n times and counts up NAME-counter in each turn, without a fence
//	interop hold ENDPOINT NAME          locks NAME, says "locked", and unlocks it when its input ends
//	interop read|write ENDPOINT NAME    locks the read-write lock, says "locked", and unlocks it when its input ends
//	interop wait ENDPOINT NAME          waits for the barrier and says "passed"
//	interop release ENDPOINT NAME       holds the barrier, says "held", and releases it when its input ends
//	interop rounds ENDPOINT NAME N      enters the double barrier for three n times, says "entered", leaves it, and
//	                                    says "left"; the next time when it is given a line
//	interop enqueue ENDPOINT NAME N     puts n items into the queue: go-0, go-1...
//	interop dequeue ENDPOINT NAME N     takes n items out of it and prints them
//	interop count ENDPOINT NAME N       counts NAME-counter up n times, each time in an STM transaction
//	interop lead ENDPOINT NAME VALUE    campaigns, says "leads", resigns at the end of its input, and says "resigned"
//	interop observe ENDPOINT NAME       prints the value of each leader
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"
	"go.uber.org/zap"
)

// ttl is short, so that the end of a process that was killed is soon noticed.
const ttl = 2

func main() {
	if len(os.Args) < 4 {
		log.Fatal("usage: interop turns|hold|read|write|wait|release|rounds|enqueue|dequeue|count|lead|observe ENDPOINT NAME [N|VALUE]")
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{os.Args[2]}, Logger: zap.NewNop()})
	check(err)
	defer client.Close()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(ttl))
	check(err)
	defer session.Close()
	ctx, name := context.Background(), os.Args[3]
	switch os.Args[1] {
	case "turns":
		turns(ctx, client, concurrency.NewMutex(session, name), name+"-counter", count())
	case "hold":
		mutex := concurrency.NewMutex(session, name)
		check(mutex.Lock(ctx))
		fmt.Println("locked")
		waitForEnd()
		check(mutex.Unlock(ctx))
	case "read":
		rwMutex := recipe.NewRWMutex(session, name)
		check(rwMutex.RLock())
		fmt.Println("locked")
		waitForEnd()
		check(rwMutex.RUnlock())
	case "write":
		rwMutex := recipe.NewRWMutex(session, name)
		check(rwMutex.Lock())
		fmt.Println("locked")
		waitForEnd()
		check(rwMutex.Unlock())
	case "wait":
		check(recipe.NewBarrier(client, name).Wait())
		fmt.Println("passed")
	case "release":
		barrier := recipe.NewBarrier(client, name)
		check(barrier.Hold())
		fmt.Println("held")
		waitForEnd()
		check(barrier.Release())
	case "rounds":
		barrier := recipe.NewDoubleBarrier(session, name, 3)
		for i, n := 0, count(); i < n; i++ {
			check(barrier.Enter())
			fmt.Println("entered")
			check(barrier.Leave())
			fmt.Println("left")
			waitForLine()
		}
	case "enqueue":
		for i, n := 0, count(); i < n; i++ {
			check(recipe.NewQueue(client, name).Enqueue(fmt.Sprintf("go-%d", i)))
		}
	case "dequeue":
		for i, n := 0, count(); i < n; i++ {
			item, err := recipe.NewQueue(client, name).Dequeue()
			check(err)
			fmt.Println(item)
		}
	case "count":
		for i, n := 0, count(); i < n; i++ {
			_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
				value, _ := strconv.Atoi(stm.Get(name + "-counter"))
				stm.Put(name+"-counter", strconv.Itoa(value+1))
				return nil
			})
			check(err)
		}
	case "lead":
		election := concurrency.NewElection(session, name)
		check(election.Campaign(ctx, os.Args[4]))
		fmt.Println("leads")
		waitForEnd()
		check(election.Resign(ctx))
		fmt.Println("resigned")
	case "observe":
		for seen := range concurrency.NewElection(session, name).Observe(ctx) {
			fmt.Println(string(seen.Kvs[0].Value))
		}
	}
}

func turns(ctx context.Context, client *clientv3.Client, mutex *concurrency.Mutex, counter string, n int) {
	for i := 0; i < n; i++ {
		check(mutex.Lock(ctx))
		got, err := client.Get(ctx, counter)
		check(err)
		value := 0
		if len(got.Kvs) > 0 {
			value, err = strconv.Atoi(string(got.Kvs[0].Value))
			check(err)
		}
		_, err = client.Put(ctx, counter, strconv.Itoa(value+1))
		check(err)
		check(mutex.Unlock(ctx))
	}
}

func count() int {
	n, err := strconv.Atoi(os.Args[4])
	check(err)
	return n
}

func waitForLine() {
	_, _ = fmt.Scanln()
}

func waitForEnd() {
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
