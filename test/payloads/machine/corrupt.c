// SPDX-License-Identifier: Apache-2.0
// execve of files that are no programs, or damaged ones, made from this very program. What can be known before the
// point of no return is an errno and the caller goes on. With "segments": damage that Linux meets behind that point.
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "report.h"

enum { GOOD = 77 };

static char* original;
static size_t size;
static char* bytes;  // the copy to damage
static Elf64_Ehdr* header;

static void load_original(void) {
  struct stat st;
  const int fd = open("/proc/self/exe", O_RDONLY);
  must(fd >= 0 && fstat(fd, &st) == 0, "itself");
  size = (size_t)st.st_size;
  original = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
  bytes = malloc(size);
  must(original != MAP_FAILED && bytes != NULL, "memory");
  header = (Elf64_Ehdr*)bytes;
  close(fd);
}

static void restore(void) { memcpy(bytes, original, size); }

static Elf64_Phdr* segment(unsigned type, int index) {
  Elf64_Phdr* all = (Elf64_Phdr*)(bytes + ((Elf64_Ehdr*)original)->e_phoff);
  for (int i = 0; i < ((Elf64_Ehdr*)original)->e_phnum; i++)
    if (all[i].p_type == type && index-- == 0) return &all[i];
  return NULL;
}

static void write_file(const char* name, const void* content, size_t length, mode_t mode) {
  unlink(name);
  const int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  must(fd >= 0 && write(fd, content, length) == (ssize_t)length && fchmod(fd, mode) == 0 && close(fd) == 0, "a file");
}

/// Executes `name` in a child, which says what went wrong and goes on; prints how it ended.
static void attempt_with(const char* what, const char* name, char* const argv[], char* const envp[]) {
  fflush(stdout);
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    execve(name, argv, envp);
    const int error = errno;
    // It goes on: memory, descriptors and children are what they were.
    const pid_t next = fork();
    if (next == 0) _exit(5);
    int status = 0;
    const int whole = waitpid(next, &status, 0) == next && WEXITSTATUS(status) == 5 && memcmp(original, "\177ELF", 4) == 0;
    printf("%s: %s%s\n", what, strerrorname_np(error), whole ? "" : ", and then it did not go on");
    fflush(stdout);
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) show(what, "killed by %s", sigabbrev_np(WTERMSIG(status)));
  else if (WEXITSTATUS(status) == GOOD) show(what, "ran");
  else if (status != 0) show(what, "status %d", WEXITSTATUS(status));
}

static void attempt(const char* what, const char* name) {
  char* const argv[] = {"corrupt", "good", NULL};
  char* const envp[] = {NULL};
  attempt_with(what, name, argv, envp);
}

/// What `bytes` is now, cut to `length`.
static void damaged(const char* what, size_t length) {
  write_file("program", bytes, length, 0700);
  attempt(what, "./program");
  restore();
}

static void headers(void) {
  damaged("whole", size);
  damaged("empty", 0);
  damaged("one byte", 1);
  damaged("the four letters", 4);
  damaged("half a header", 40);
  damaged("a header and nothing else", sizeof(Elf64_Ehdr));
  damaged("half the program headers", sizeof(Elf64_Ehdr) + 60);
  header->e_ident[EI_MAG1] = 'F';
  damaged("other letters", size);
  header->e_machine = EM_AARCH64;
  damaged("another machine", size);
  header->e_machine = 65000;
  damaged("an unknown machine", size);
  header->e_type = ET_REL;
  damaged("an object file", size);
  header->e_type = ET_CORE;
  damaged("a core file", size);
  header->e_type = ET_NONE;
  damaged("no type", size);
  header->e_phentsize = 32;
  damaged("small program headers", size);
  header->e_phnum = 0;
  damaged("no program headers", size);
  header->e_phnum = 65535;
  damaged("65535 program headers", size);
  header->e_phoff = UINT64_MAX - 8;
  damaged("program headers at the end of numbers", size);
  header->e_phoff = size - 8;
  damaged("program headers at the end of the file", size);
  header->e_phoff = 1ull << 63;
  damaged("program headers at a negative offset", size);
}

static void segments(void) {
  segment(PT_LOAD, 1)->p_vaddr = segment(PT_LOAD, 0)->p_vaddr;
  damaged("a segment over another", size);
  segment(PT_LOAD, 0)->p_memsz = 1ull << 60;
  damaged("a segment of 2^60 bytes", size);
  segment(PT_LOAD, 0)->p_memsz = UINT64_MAX;
  damaged("a segment of 2^64 - 1 bytes", size);
  segment(PT_LOAD, 3)->p_memsz = UINT64_MAX - 0x1000;
  damaged("zeros to the end of numbers", size);
  segment(PT_LOAD, 0)->p_filesz = segment(PT_LOAD, 0)->p_memsz + 4096;
  damaged("more file than memory", size);
  segment(PT_LOAD, 0)->p_offset = UINT64_MAX - 4095;
  damaged("a segment from the end of numbers", size);
  segment(PT_LOAD, 0)->p_vaddr = 0xffff800000000000;
  damaged("a segment in the kernel", size);
  segment(PT_LOAD, 1)->p_vaddr = 0xfffffffffffff000;
  damaged("a segment that wraps", size);
  segment(PT_LOAD, 1)->p_offset += 8;
  damaged("a misaligned segment", size);
  header->e_entry = 0x10;
  damaged("an entry that is not there", size);
  damaged("half a file", size / 2);
  damaged("a page of it", 4096);
}

static void interpreters(void) {
  Elf64_Phdr* at = segment(PT_INTERP, 0);
  if (at == NULL) return;  // linked statically: the other flavour of this test has one
  char* path = bytes + at->p_offset;
  static const char kMissing[] = "/no/such/ld.so";
  strcpy(path, kMissing);
  damaged("a missing interpreter", size);
  memset(path, 'A', at->p_filesz);
  damaged("an interpreter path without an end", size);
  at->p_filesz = 1ull << 40;
  damaged("an interpreter path of a terabyte", size);
  at->p_filesz = UINT64_MAX;
  damaged("an interpreter path of 2^64 - 1 bytes", size);
  at->p_filesz = 1;
  damaged("an interpreter path of one byte", size);
  at->p_offset = UINT64_MAX - 4;
  damaged("an interpreter path at the end of numbers", size);
  at->p_offset = size + 4096;
  damaged("an interpreter path behind the file", size);
  static const struct { const char* what; const char* content; size_t length; mode_t mode; } kInterpreters[] = {
      {"an interpreter that is text", "just text, long enough to be read as a header, which it is not, is it", 70, 0700},
      {"an empty interpreter", "", 0, 0700},
      {"an interpreter that is a script", "#!/bin/sh\nexit 1\n", 17, 0700},
      {"an interpreter that may not be executed", "\177ELF", 4, 0600}};
  for (size_t i = 0; i < sizeof kInterpreters / sizeof kInterpreters[0]; i++) {
    write_file("ld", kInterpreters[i].content, kInterpreters[i].length, kInterpreters[i].mode);
    strcpy(bytes + segment(PT_INTERP, 0)->p_offset, "./ld");
    damaged(kInterpreters[i].what, size);
  }
  write_file("ld", original, 100, 0700);
  strcpy(bytes + segment(PT_INTERP, 0)->p_offset, "./ld");
  damaged("half an interpreter", size);
  strcpy(bytes + segment(PT_INTERP, 0)->p_offset, "/");
  damaged("an interpreter that is a folder", size);
}

static int kernel_is(int major, int minor) {
  struct utsname name;
  int is_major = 0, is_minor = 0;
  must(uname(&name) == 0 && sscanf(name.release, "%d.%d", &is_major, &is_minor) == 2, "uname");
  return is_major > major || (is_major == major && is_minor >= minor);
}

static void no_files(void) {
  must(mkdir("folder", 0700) == 0 && mkfifo("fifo", 0700) == 0 && symlink("loop", "loop") == 0, "files");
  attempt("a folder", "./folder");
  attempt("a fifo", "./fifo");
  attempt("a device", "/dev/null");
  attempt("a link to itself", "./loop");
  attempt("nothing", "./nothing");
  attempt("no name", "");
  attempt("below a file", "/proc/self/exe/x");
  static char longest[5000];
  memset(longest, 'x', sizeof longest - 1);
  attempt("a long path", longest);
  longest[300] = 0;
  attempt("a long name", longest);
  write_file("unreadable", original, size, 0600);
  attempt("not executable", "./unreadable");
  write_file("text", "just text\n", 10, 0700);
  attempt("text", "./text");
  write_file("busy", original, size, 0700);
  const int fd = open("busy", O_WRONLY);
  // Nobody but the kernel knows, and it tells km since 6.14 (AT_EXECVE_CHECK).
  if (kernel_is(6, 14)) attempt("open for writing", "./busy");
  close(fd);
  attempt("and closed", "./busy");
}

static void scripts(void) {
  static char line[6000];
  static const struct { const char* what; const char* text; } kScripts[] = {
      {"an empty first line", "#!\n"}, {"blanks", "#!   \t \n"}, {"two letters", "#!"},
      {"no interpreter", "#!/no/such/interpreter\n"}, {"an interpreter that is a folder", "#!/\n"},
      {"an interpreter that is text", "#!./text\n"}, {"itself", "#!./script\n"}, {"the next of a circle", "#!./circle\n"}};
  write_file("circle", "#!./script\n", 11, 0700);
  for (size_t i = 0; i < sizeof kScripts / sizeof kScripts[0]; i++) {
    write_file("script", kScripts[i].text, strlen(kScripts[i].text), 0700);
    attempt(kScripts[i].what, "./script");
  }
  // Deeper and deeper: Linux follows so many and no more.
  write_file("program", original, size, 0700);
  for (int depth = 1; depth <= 7; depth++) {
    char name[32], what[32];
    const int length = depth == 1 ? sprintf(line, "#!./program good\n") : sprintf(line, "#!./deep%d\n", depth - 1);
    sprintf(name, "./deep%d", depth);
    sprintf(what, "%d deep", depth);
    write_file(name, line, (size_t)length, 0700);
    attempt(what, name);
  }
  static const size_t kLengths[] = {100, 254, 255, 256, 257, 300, 5000};
  for (size_t i = 0; i < sizeof kLengths / sizeof kLengths[0]; i++) {
    // The name alone, then a short name with an argument of that length: cut, or refused.
    char what[64];
    memset(line, 'n', sizeof line);
    memcpy(line, "#!/", 3);
    line[kLengths[i] - 1] = '\n';
    write_file("script", line, kLengths[i], 0700);
    sprintf(what, "a name in a line of %zu", kLengths[i]);
    attempt(what, "./script");
    memset(line, 'a', kLengths[i] - 1);
    memcpy(line, "#!./program good", 16);
    write_file("script", line, kLengths[i], 0700);
    sprintf(what, "an argument in a line of %zu", kLengths[i]);
    attempt(what, "./script");
  }
}

/// Argument lists: one string too long, all of them too long, pointers that are none.
static void lists(void) {
  static char longest[200000];
  static char* many[60000];
  char* const none[] = {NULL};
  memset(longest, 'x', sizeof longest - 1);
  write_file("program", original, size, 0700);
  char* argv[] = {"corrupt", "good", longest, NULL};
  attempt_with("a string of 200000", "./program", argv, none);
  longest[131071] = 0;
  attempt_with("a string of 128 KiB with its end", "./program", argv, none);
  longest[131071] = 'x', longest[131072] = 0;
  attempt_with("one byte more", "./program", argv, none);
  longest[1000] = 0;
  for (size_t i = 0; i < 59999; i++) many[i] = i == 1 ? "good" : longest;
  attempt_with("sixty million bytes", "./program", many, none);
  attempt_with("as an environment", "./program", argv, many);
  attempt_with("a list from nowhere", "./program", (char* const*)hidden((void*)8), none);
  char* wild[] = {"corrupt", hidden((void*)16), NULL};
  attempt_with("a string from nowhere", "./program", wild, none);
}

static int leave(const char* folder) {
  char command[64];
  must(chdir("..") == 0, "chdir");
  snprintf(command, sizeof command, "rm -rf %s", folder);
  must(system(command) == 0, "rm");
  return finish();
}

int main(int argc, char** argv) {
  // What was executed: good, whatever else a script line has added.
  if (argc > 1 && strncmp(argv[1], "good", 4) == 0) return GOOD;
  char folder[] = "corrupt-XXXXXX";
  must(mkdtemp(folder) != NULL && chdir(folder) == 0, "mkdtemp");
  load_original();
  restore();
  if (argc > 1 && strcmp(argv[1], "segments") == 0) {
    segments();
    return leave(folder);
  }
  headers();
  interpreters();
  no_files();
  scripts();
  lists();
  return leave(folder);
}
