// SPDX-License-Identifier: Apache-2.0

// Goroutines, channels, select, timers, panics and a garbage collector kept busy; no C library.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"
)

type node struct {
	left, right *node
	payload     [64]byte
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{left: tree(depth - 1), right: tree(depth - 1)}
}

func (n *node) count() int {
	if n == nil {
		return 0
	}
	return 1 + n.left.count() + n.right.count()
}

func scale() int {
	if len(os.Args) > 1 {
		if n, err := strconv.Atoi(os.Args[1]); err == nil {
			return n
		}
	}
	return 4
}

// Several allocating goroutines while another asks for collections.
func collector(workers, rounds int) {
	kept := tree(10)
	before := kept.count()
	var wg sync.WaitGroup
	totals := make([]int, workers)
	for w := 0; w < workers; w++ {
		wg.Add(1)
		go func(w int) {
			defer wg.Done()
			for i := 0; i < rounds; i++ {
				totals[w] += tree(9).count()
				if i%3 == 0 {
					runtime.Gosched()
				}
			}
		}(w)
	}
	for i := 0; i < 3; i++ {
		runtime.GC()
	}
	wg.Wait()
	sum := 0
	for _, t := range totals {
		sum += t
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("trees", sum, "kept", kept.count() == before, "collected", stats.NumGC >= 3)
}

func pipeline(stages, items int) {
	source := make(chan int)
	in := source
	for s := 0; s < stages; s++ {
		out := make(chan int, s%3)
		go func(in, out chan int) {
			for v := range in {
				out <- v + 1
			}
			close(out)
		}(in, out)
		in = out
	}
	go func() {
		for i := 0; i < items; i++ {
			source <- i
		}
		close(source)
	}()
	sum := 0
	for v := range in {
		sum += v
	}
	fmt.Println("pipeline", sum)
}

func timers() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	select {
	case <-ctx.Done():
		fmt.Println("timer", ctx.Err())
	case <-time.After(30 * time.Second):
		fmt.Println("timer lost")
	}
	tick := time.NewTicker(time.Millisecond)
	for i := 0; i < 5; i++ {
		<-tick.C
	}
	tick.Stop()
	fmt.Println("ticked")
}

// Faults become panics through the runtime's own signal handlers.
func faults() {
	debug.SetPanicOnFault(true)
	for _, f := range []func(){
		func() { var p *node; p.payload[3] = 1 },
		func() { a := []int{1}; i := len(os.Args) + 5; a[i] = 2 },
		func() { z := 0; fmt.Println(1 / z) },
	} {
		func() {
			defer func() { fmt.Println("recovered:", recover()) }()
			f()
		}()
	}
}

func signals() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGUSR1)
	syscall.Kill(syscall.Getpid(), syscall.SIGUSR1)
	fmt.Println("signal", <-ch)
}

// A goroutine that never calls anything must still be preempted (SIGURG).
func preemption() {
	stop := make(chan bool)
	old := runtime.GOMAXPROCS(1)
	go func() {
		time.Sleep(5 * time.Millisecond)
		close(stop)
	}()
	spins := 0
	for done := false; !done; spins++ {
		select {
		case <-stop:
			done = true
		default:
			for i := 0; i < 1000; i++ {
				spins += i & 1
			}
		}
	}
	runtime.GOMAXPROCS(old)
	fmt.Println("preempted", spins > 0)
}

func main() {
	n := scale()
	collector(n, 20*n)
	pipeline(10*n, 50*n)
	timers()
	faults()
	signals()
	preemption()
	words := []string{"pear", "apple", "fig"}
	sort.Strings(words)
	fmt.Printf("%v %x\n", words, sha256.Sum256([]byte("go")))
	dir, err := os.MkdirTemp("", "km-go")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(dir+"/f", []byte("text"), 0o600); err != nil {
		fmt.Println(err)
	}
	data, err := os.ReadFile(dir + "/f")
	fmt.Println(string(data), err)
	_, err = os.ReadFile(dir + "/missing")
	fmt.Println(os.IsNotExist(err))
}
