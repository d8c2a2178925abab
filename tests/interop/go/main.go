// Command interop does with Go's concurrency package what the tests do with the library, on the same names:
//
//	interop turns ENDPOINT NAME N       locks NAME n times and counts up NAME-counter in each turn, without a fence
//	interop hold ENDPOINT NAME          locks NAME, says "locked", and unlocks it when its input ends
//	interop read|write ENDPOINT NAME    locks the read-write lock, says "locked", and unlocks it when its input ends
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
		log.Fatal("usage: interop turns|hold|read|write|lead|observe ENDPOINT NAME [N|VALUE]")
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
		n, err := strconv.Atoi(os.Args[4])
		check(err)
		turns(ctx, client, concurrency.NewMutex(session, name), name+"-counter", n)
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

func waitForEnd() {
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
