// SPDX-License-Identifier: Apache-2.0
// Buffers as programs hand them over: across two maps, half there, in a thousand pieces, from a thread with hardly any
// stack; answers no wider than they are; maps that fail and leave nothing.
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "report.h"

enum { kPage = 4096, kPieces = 1024 };

/// Three pages: anonymous, a file's, read-only.
static char* three_maps(int file) {
  char* at = mmap(NULL, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(at != MAP_FAILED, "mmap");
  must(mmap(at + kPage, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == at + kPage, "file");
  must(mprotect(at + 2 * kPage, kPage, PROT_READ) == 0 && munmap(at + 3 * kPage, kPage) == 0, "mprotect");
  return at;
}

static void across_maps(void) {
  const int file = memfd_create("piece", 0), plain = memfd_create("plain", 0);
  int pipe_fds[2];
  must(ftruncate(file, kPage) == 0 && pipe(pipe_fds) == 0, "files");
  char* at = three_maps(file);
  static char text[3 * kPage];
  for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * 7 + 1);
  must(pwrite(plain, text, sizeof text, 0) == (long)sizeof text, "pwrite");
  result("read into two maps", pread(plain, at, 2 * kPage, 0));
  show("both have it", "%d", memcmp(at, text, 2 * kPage) == 0);
  result("write from three maps", pwrite(plain, at, 3 * kPage, 0));
  result("read that ends in a read-only one", pread(plain, at + kPage, 2 * kPage, 0));
  result("read that begins there", pread(plain, at + 2 * kPage, 16, 0));
  result("write that ends in nothing", pwrite(plain, at + 2 * kPage, 2 * kPage, 0));
  result("write into a pipe that ends in nothing", write(pipe_fds[1], at + 3 * kPage - 10, 20));
  must(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK) == 0, "fcntl");
  result("what is in the pipe", read(pipe_fds[0], text, sizeof text));
  must(write(pipe_fds[1], text, 40) == 40, "write");
  result("read from a pipe across the end", read(pipe_fds[0], at + 2 * kPage - 20, 40));
  result("a name across two maps", open(strcpy(at + kPage - 5, "/no/such/file"), O_RDONLY));
  char* const edge = at + 2 * kPage - 9;
  memcpy(edge, "/dev/null", 9);  // the zero behind it is the first byte of the next map
  succeeds("a name that ends with its map", open(edge, O_RDONLY));
  mprotect(at + 2 * kPage, kPage, PROT_NONE);
  result("a name without an end", open(edge, O_RDONLY));
  memcpy(edge, "/dev/nul", 9);
  result("a name that just fits", open(edge, O_RDONLY));
  result("getcwd into a map's end", syscall(SYS_getcwd, at + 2 * kPage - 1, 100));
  result("poll of a list across the end", poll((struct pollfd*)(at + 2 * kPage - 12), 3, 0));
  struct iovec parts[3] = {{at, 10}, {at + 2 * kPage, 10}, {at + 20, 10}};
  result("a closed piece in the middle", pwritev(plain, parts, 3, 0));
  munmap(at, 3 * kPage);
  close(file);
  close(plain);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

static char bytes[2][kPieces + 1];
static struct iovec pieces[kPieces + 1];

/// A thousand pieces are more than some would have room for on a thread's stack.
static void* a_thousand_pieces(void* unused) {
  int pair[2];
  must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0, "socketpair");
  const int file = memfd_create("pieces", 0);
  for (int i = 0; i <= kPieces; i++) bytes[0][i] = (char)(i % 251);
  for (int i = 0; i <= kPieces; i++) pieces[i] = (struct iovec){&bytes[0][i], 1};
  result("pwritev of 1024", pwritev(file, pieces, kPieces, 0));
  result("pwritev of 1025", pwritev(file, pieces, kPieces + 1, 0));
  result("pwritev of -1", syscall(SYS_pwritev, file, pieces, -1L, 0L, 0L));
  result("pwritev of none", pwritev(file, pieces, 0, 0));
  struct msghdr message = {.msg_iov = pieces, .msg_iovlen = kPieces};
  result("sendmsg of 1024", sendmsg(pair[0], &message, 0));
  message.msg_iovlen = kPieces + 1;
  result("sendmsg of 1025", sendmsg(pair[0], &message, 0));
  for (int i = 0; i <= kPieces; i++) pieces[i].iov_base = &bytes[1][i];
  result("preadv of 1024", preadv(file, pieces, kPieces, 0));
  show("the same", "%d", memcmp(bytes[0], bytes[1], kPieces) == 0);
  memset(bytes[1], 0, sizeof bytes[1]);
  message.msg_iovlen = kPieces;
  result("recvmsg of 1024", recvmsg(pair[1], &message, 0));
  show("the same", "%d", memcmp(bytes[0], bytes[1], kPieces) == 0);
  static struct mmsghdr many[kPieces];
  for (int i = 0; i < kPieces; i++) many[i].msg_hdr = (struct msghdr){.msg_iov = pieces, .msg_iovlen = 1};
  must(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0, "fcntl");
  // As many as the peer's queue takes (net.unix.max_dgram_qlen).
  const int sent = sendmmsg(pair[0], many, kPieces, 0);
  show("sendmmsg of 1024", "%d", sent > 1);
  result("recvmmsg of them", recvmmsg(pair[1], many, kPieces, MSG_DONTWAIT, NULL) == sent ? 0 : -1);
  pieces[0].iov_len = pieces[1].iov_len = SSIZE_MAX;
  result("lengths that overflow", pwritev(file, pieces, 2, 0));
  static struct pollfd list[1024];
  for (int i = 0; i < 1024; i++) list[i] = (struct pollfd){i % 2 ? -1 : file, POLLIN, 0};
  result("poll with every second descriptor negative", poll(list, 1024, 0));
  close(file);
  close(pair[0]);
  close(pair[1]);
  return unused;
}

static void on_a_small_stack(void) {
  pthread_attr_t attr;
  pthread_t thread;
  pthread_attr_init(&attr);
  must(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN) == 0 && pthread_create(&thread, &attr, a_thousand_pieces, NULL) == 0, "pthread_create");
  pthread_join(thread, NULL);
}

// Each answer between words that must stay as they are.
static void widths(void) {
  uint32_t words[5] = {0xaaaaaaaa, 1, 0xbbbbbbbb, 1, 0xcccccccc};
  result("getcpu", syscall(SYS_getcpu, &words[1], &words[3], NULL));
  show("its neighbours", "%x %x %x", words[0], words[2], words[4]);
  result("getcpu into nothing", syscall(SYS_getcpu, hidden((void*)8), NULL, NULL));
  result("getcpu without places", syscall(SYS_getcpu, NULL, NULL, NULL));
  result("uname into nothing", uname(hidden((void*)8)));
  cpu_set_t all, one;
  int wrong = 0;
  must(sched_getaffinity(0, sizeof all, &all) == 0, "sched_getaffinity");
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &all)) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    unsigned is = ~0u;
    wrong += sched_setaffinity(0, sizeof one, &one) != 0 || syscall(SYS_getcpu, &is, NULL, NULL) != 0 || (int)is != cpu;
  }
  sched_setaffinity(0, sizeof all, &all);
  show("processors asked for and not given", "%d", wrong);
}

static void failing_maps(void) {
  char* const place = mmap(NULL, 16 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(place != MAP_FAILED && munmap(place, 16 * kPage) == 0, "a free place");
  const int writer = open("/proc/self/comm", O_WRONLY), directory = open("/", O_RDONLY), path = open("/etc/passwd", O_PATH);
  const int reader = open("/etc/passwd", O_RDONLY);
  const struct {
    const char* what;
    int fd, prot, flags;
    long offset;
  } kTries[] = {{"of a write-only file", writer, PROT_READ, MAP_PRIVATE, 0},
                {"of a directory", directory, PROT_READ, MAP_PRIVATE, 0},
                {"of an O_PATH descriptor", path, PROT_READ, MAP_PRIVATE, 0},
                {"of a read-only file, shared and writable", reader, PROT_READ | PROT_WRITE, MAP_SHARED, 0},
                {"of a closed descriptor", 999, PROT_READ, MAP_PRIVATE, 0},
                {"at an odd offset", reader, PROT_READ, MAP_PRIVATE, 100},
                {"of no kind", reader, PROT_READ, 0, 0}};
  for (size_t i = 0; i < sizeof kTries / sizeof kTries[0]; i++) {
    char what[80];
    snprintf(what, sizeof what, "map %s", kTries[i].what);
    void* got = mmap(place, kPage, kTries[i].prot, kTries[i].flags | MAP_FIXED_NOREPLACE, kTries[i].fd, kTries[i].offset);
    succeeds(what, got == MAP_FAILED ? -1 : 0);
    got = mmap(place, 16 * kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    show("the place is free", "%d", got == place);
    if (got == place) munmap(place, 16 * kPage);
  }
  close(writer);
  close(directory);
  close(path);
  close(reader);
}

static volatile sig_atomic_t ticks;
static void on_tick(int signo) {
  (void)signo;
  ticks++;
}

/// Signals that arrive while a process is made belong to the parent; the child has no timer.
static void forks_under_signals(void) {
  struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  const struct itimerval fast = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &fast, NULL);
  int good = 0;
  for (int i = 0; i < 20; i++) {
    const pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
      const int before = ticks;
      struct itimerval left;
      getitimer(ITIMER_REAL, &left);
      for (volatile int spin = 0; spin < 2000000; spin++) {
      }
      _exit(ticks == before && left.it_value.tv_usec == 0 && left.it_interval.tv_usec == 0 ? 3 : 4);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    good += WIFEXITED(status) && WEXITSTATUS(status) == 3;
  }
  while (ticks == 0) sched_yield();
  setitimer(ITIMER_REAL, &off, NULL);
  show("children made under signals", "%d", good);
}

static void* read_clock(void* arg) {
  *(uint64_t*)arg = __builtin_ia32_rdtsc();
  return NULL;
}

/// Processors may be a little apart; a counter that began with the thread would be off by all the time before.
static void counters_of_threads(void) {
  const uint64_t kSlack = 1ul << 30;
  int wrong = 0;
  for (int i = 0; i < 8; i++) {
    uint64_t there = 0;
    pthread_t thread;
    const uint64_t before = __builtin_ia32_rdtsc();
    must(pthread_create(&thread, NULL, read_clock, &there) == 0, "pthread_create");
    pthread_join(thread, NULL);
    wrong += there + kSlack < before || there > __builtin_ia32_rdtsc() + kSlack;
  }
  show("time-stamp counters of threads that are off", "%d", wrong);
}

int main(void) {
  across_maps();
  on_a_small_stack();
  widths();
  failing_maps();
  forks_under_signals();
  counters_of_threads();
  return finish();
}
