// SPDX-License-Identifier: Apache-2.0

// Go with a C library beside it: calls both ways, threads made by either side, C memory under Go's collector.
package main

/*
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern int goCallback(int);

static int twice(int x) { return 2 * x; }
static int through_c(int x) { return goCallback(x) + 1; }

static void* c_thread(void* arg) {
  int* value = arg;
  *value = goCallback(*value);
  return NULL;
}

static int call_from_c_thread(int x) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, c_thread, &x) != 0) return -1;
  pthread_join(thread, NULL);
  return x;
}

static uint64_t fill(size_t bytes) {
  unsigned char* memory = malloc(bytes);
  uint64_t sum = 0;
  memset(memory, 3, bytes);
  for (size_t i = 0; i < bytes; i += 4096) sum += memory[i];
  free(memory);
  return sum;
}
*/
import "C"

import (
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"sync"
)

//export goCallback
func goCallback(x C.int) C.int {
	garbage := make([]byte, 4096)
	garbage[0] = byte(x)
	return x*3 + C.int(garbage[0]) - x%256
}

func main() {
	n := 4
	if len(os.Args) > 1 {
		n, _ = strconv.Atoi(os.Args[1])
	}
	fmt.Println("twice", C.twice(21), "through", C.through_c(5), "thread", C.call_from_c_thread(7))
	var wg sync.WaitGroup
	sums := make([]uint64, 8)
	for w := range sums {
		wg.Add(1)
		go func(w int) {
			defer wg.Done()
			for i := 0; i < n; i++ {
				sums[w] += uint64(C.fill(C.size_t(1 << 20)))
				sums[w] += uint64(C.through_c(C.int(w)))
				if i%2 == 0 {
					sums[w] += uint64(C.call_from_c_thread(C.int(i)))
				}
			}
		}(w)
	}
	for i := 0; i < 3; i++ {
		runtime.GC()
	}
	wg.Wait()
	fmt.Println("sums", sums)
	who, err := user.Current() // getpwuid_r of the C library
	fmt.Println(who != nil && who.Uid == strconv.Itoa(os.Getuid()), err)
}
