// SPDX-License-Identifier: Apache-2.0
// /proc tells a program about itself, not about the monitor it runs in.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "report.h"

static long read_file(const char* path, char* buffer, size_t size) {
  const int fd = open(path, O_RDONLY);
  if (fd < 0) return -1;
  long total = 0, n;
  while (total < (long)size - 1 && (n = read(fd, buffer + total, size - 1 - (size_t)total)) > 0) total += n;
  close(fd);
  buffer[total] = 0;
  return total;
}

static void executable(void) {
  char link[4096] = "", own[4096];
  const long n = readlink("/proc/self/exe", link, sizeof link - 1);
  must(n > 0, "readlink");
  must(realpath(program_invocation_name, own) != NULL, "realpath");
  show("exe", "%s, ours %d", basename(strdupa(link)), strcmp(link, own) == 0);
  struct stat through, direct;
  check(stat("/proc/self/exe", &through) == 0 && stat(own, &direct) == 0 && through.st_ino == direct.st_ino, "stat of exe is the program's");
  const int fd = open("/proc/self/exe", O_RDONLY);
  check(fd >= 0 && fstat(fd, &through) == 0 && through.st_ino == direct.st_ino, "open of exe opens the program");
  close(fd);
  char by_pid[64], other[4096] = "";
  snprintf(by_pid, sizeof by_pid, "/proc/%d/exe", getpid());
  check(readlink(by_pid, other, sizeof other - 1) == n && strcmp(other, link) == 0, "/proc/PID/exe is the same");
  result("readlink, short buffer", readlink("/proc/self/exe", other, 4));
  result("readlinkat", readlinkat(AT_FDCWD, "/proc/thread-self/exe", other, sizeof other) == n ? 0 : -1);
}

static void command_line(int argc, char** argv) {
  char text[65536];
  const long n = read_file("/proc/self/cmdline", text, sizeof text);
  long at = 0;
  int same = 1;
  for (int i = 0; i < argc; i++) {
    same &= at < n && strcmp(text + at, argv[i]) == 0;
    at += (long)strlen(argv[i]) + 1;
  }
  check(same && at == n, "cmdline is argv");
  read_file("/proc/self/comm", text, sizeof text);
  printf("comm: %s", text);
  prctl(PR_SET_NAME, "renamed");
  read_file("/proc/self/comm", text, sizeof text);
  printf("comm after PR_SET_NAME: %s", text);
  const long env = read_file("/proc/self/environ", text, sizeof text);
  extern char** environ;
  check(env > 0 && strcmp(text, environ[0]) == 0, "environ begins as ours does");
}

static int data_object = 1;

struct Need {
  const char* what;
  const void* address;
  const char* rights;
  const char* name;
  int found;
};

static void maps(void) {
  static char text[1 << 20];
  char own[4096];
  must(realpath(program_invocation_name, own) != NULL, "realpath");
  int local = 0;
  void* heap = malloc(64);
  void* closed = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void* shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const int fd = open(own, O_RDONLY);
  void* file = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  struct Need needs[] = {{"text", (void*)maps, "r-xp", own, 0},   {"data", &data_object, "rw-p", own, 0}, {"stack", &local, "rw-p", "[stack]", 0},
                         {"heap", heap, "rw-p", "[heap]", 0},     {"closed", closed, "---p", "", 0},      {"shared", shared, "rw-s", "", 0},
                         {"mapped file", file, "r--p", own, 0}};
  const long n = read_file("/proc/self/maps", text, sizeof text);
  must(n > 0, "maps");
  unsigned long last_end = 0;
  int ordered = 1, monitor = 0;
  for (char* line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    unsigned long start, end;
    char rights[8], name[4096] = "";
    if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %4095[^\n]", &start, &end, rights, name) < 3) {
      printf("unreadable line: %s\n", line);
      report_failures++;
      continue;
    }
    ordered &= start >= last_end && end > start;
    last_end = end;
    const size_t length = strlen(name);
    monitor += (length >= 3 && strcmp(name + length - 3, "/km") == 0) || strstr(name, "kvm") != NULL;
    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) {
      const unsigned long address = (unsigned long)needs[i].address;
      if (address < start || address >= end) continue;
      needs[i].found = strcmp(rights, needs[i].rights) == 0 && (strcmp(name, needs[i].name) == 0 || (needs[i].name[0] == 0 && strncmp(name, "/dev/zero", 9) == 0));
      if (!needs[i].found) printf("%s: %s '%s'\n", needs[i].what, rights, name[0] == '/' ? basename(name) : name);
    }
  }
  for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) check(needs[i].found, needs[i].what);
  check(ordered, "lines are in order");
  show("lines of the monitor", "%d", monitor);
  free(heap);
}

static void status_line(const char* text, const char* key) {
  const char* line = strstr(text, key);
  if (!line) {
    show(key, "missing");
    return;
  }
  printf("%.*s\n", (int)strcspn(line, "\n"), line);
}

static void* wait_for_main(void* arg) {
  pthread_barrier_wait(arg);
  pthread_barrier_wait(arg);
  return NULL;
}

static void status(void) {
  static char text[16384];
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, 4);
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) must(pthread_create(&threads[i], NULL, wait_for_main, &barrier) == 0, "pthread_create");
  pthread_barrier_wait(&barrier);
  must(read_file("/proc/self/status", text, sizeof text) > 0, "status");
  static const char* const kLines[] = {"Name:", "Uid:", "Gid:", "Threads:"};
  for (size_t i = 0; i < sizeof kLines / sizeof kLines[0]; i++) status_line(text, kLines[i]);
  char expected[64];
  snprintf(expected, sizeof expected, "Pid:\t%d\n", getpid());
  check(strstr(text, expected) != NULL, "Pid is getpid()");
  snprintf(expected, sizeof expected, "PPid:\t%d\n", getppid());
  check(strstr(text, expected) != NULL, "PPid is getppid()");
  int tasks = 0, own = 0;
  DIR* directory = opendir("/proc/self/task");
  for (struct dirent* entry; directory && (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    tasks++;
    own += atoi(entry->d_name) == gettid();
  }
  if (directory) closedir(directory);
  show("tasks", "%d, main among them %d", tasks, own);
  must(read_file("/proc/self/stat", text, sizeof text) > 0, "stat");
  check(atoi(text) == getpid(), "stat begins with the pid");
  show("name in stat", "%.*s", (int)(strchr(text, ')') - strchr(text, '(') + 1), strchr(text, '('));
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

static void descriptors(void) {
  const int extra = open("/dev/null", O_RDONLY);
  int listed[1024] = {0}, count = 0;
  DIR* directory = opendir("/proc/self/fd");
  must(directory != NULL, "opendir");
  for (struct dirent* entry; (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    const int fd = atoi(entry->d_name);
    if (fd == dirfd(directory)) continue;
    count++;
    if (fd < 1024) listed[fd] = 1;
  }
  closedir(directory);
  show("open descriptors", "%d, standard %d%d%d, extra %d", count, listed[0], listed[1], listed[2], listed[extra]);
  char link[4096] = "", name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", extra);
  must(readlink(name, link, sizeof link - 1) > 0, "readlink");
  show("link of a descriptor", "%s", link);
  const int again = open(name, O_RDONLY);
  succeeds("open through it", again);
  close(again);
  close(extra);
  result("readlink of a closed one", readlink(name, link, sizeof link));
  int open_ones = 0;
  for (int fd = 0; fd < 1024; fd++) open_ones += fcntl(fd, F_GETFD) >= 0;
  show("descriptors that answer", "%d", open_ones);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  int hidden_ones = 0;
  for (int fd = (int)limit.rlim_cur - 500; fd < (int)limit.rlim_cur + 100; fd++) hidden_ones += fcntl(fd, F_GETFD) >= 0;
  show("near the limit", "%d", hidden_ones);
}

int main(int argc, char** argv) {
  executable();
  command_line(argc, argv);
  maps();
  status();
  descriptors();
  char text[4096];
  check(read_file("/proc/self/limits", text, sizeof text) > 0, "limits");
  check(read_file("/proc/self/mountinfo", text, sizeof text) > 0, "mountinfo");
  check(read_file("/proc/cpuinfo", text, sizeof text) > 0, "cpuinfo");
  check(read_file("/proc/meminfo", text, sizeof text) > 0, "meminfo");
  check(read_file("/proc/self/no_such_file", text, sizeof text) == -1 && errno == ENOENT, "what is not there");
  return finish();
}
