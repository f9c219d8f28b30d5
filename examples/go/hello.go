// SPDX-License-Identifier: Apache-2.0
// go build -o hello hello.go && km ./hello
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
)

func main() {
	var wait sync.WaitGroup
	sums := make([]int, 8)
	for i := range sums {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			for n := 0; n <= 1000*i; n++ {
				sums[i] += n
			}
		}(i)
	}
	wait.Wait()
	fmt.Println("Hello from", runtime.Version(), "with", len(os.Args)-1, "arguments;", "sums:", sums)
}
