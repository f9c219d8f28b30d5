// SPDX-License-Identifier: Apache-2.0
/* Many vCPUs: up to the limit, made while others run, under a storm of kicks. */
#define _GNU_SOURCE
#include "machine.h"

#include <sys/resource.h>

#define COUNTER 0x500000ul

/* Counts once per system call; rdi, in and out of xmm3, must stay this vCPU's own. */
GUEST(g_work,
      "1: lock incq 0x500000; movq %rdi, %xmm3; mov %rdi, %rax; syscall;"
      "movq %xmm3, %rax; cmp %rdi, %rax; je 1b; ud2");
GUEST(g_spin, "1: lock incq 0x500000; jmp 1b");

struct worker {
  struct vcpu cpu;
  pthread_t thread;
  int rounds, errors, interrupted;
};

static struct machine machine;
static struct worker workers[KKM_MAX_VCPUS];

static volatile uint64_t *counter(void) { return (uint64_t *)(machine.mem + (COUNTER - GUEST_BASE)); }

static void *work(void *arg) {
  struct worker *w = arg;
  uint64_t id = 1000 + (w - workers);

  vcpu_start(&w->cpu, GUEST_BASE);
  w->cpu.regs.rdi = id;
  vcpu_set(&w->cpu);
  for (int i = 0; i < w->rounds;) {
    int r = vcpu_run(&w->cpu);

    if (r == -EINTR) {
      w->interrupted++;
      continue;
    }
    i++;
    if (r || !is_syscall(&w->cpu, id)) {
      w->errors++;
      printf("vCPU %lu round %d: r %d reason %x vector %u\n", id - 1000, i, r, w->cpu.run->exit_reason,
             vcpu_exception(&w->cpu)->vector);
      break;
    }
  }
  return NULL;
}

static int join(int from, int to) {
  int errors = 0;

  for (int i = from; i < to; i++) {
    pthread_join(workers[i].thread, NULL);
    errors += workers[i].errors;
  }
  return errors;
}

static void launch(int from, int to, int rounds) {
  for (int i = from; i < to; i++) {
    workers[i].rounds = rounds;
    workers[i].errors = 0;
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
      die("pthread_create");
  }
}

static void test_while_running(void) {
  int errors;

  for (int i = 0; i < 4; i++)
    vcpu_make(&workers[i].cpu, &machine, i);
  *counter() = 0;
  launch(0, 4, 500);
  usleep(20000);
  vcpu_make(&workers[4].cpu, &machine, 4);
  launch(4, 5, 500);
  errors = join(0, 5);
  CHECK(errors == 0 && *counter() == 2500, "5 vCPUs, one made while others run: count %lu", *counter());
}

static void on_kick(int sig) { (void)sig; }

static void test_kicks(void) {
  int interrupted = 0, errors;

  *counter() = 0;
  launch(0, 4, 300);
  for (int n = 0; n < 2000; n++) {
    pthread_kill(workers[n & 3].thread, SIGUSR1);
    if (n % 50 == 0)
      usleep(1000);
  }
  errors = join(0, 4);
  for (int i = 0; i < 4; i++)
    interrupted += workers[i].interrupted;
  CHECK(errors == 0 && *counter() == 1200, "storm of kicks: count %lu, %d interrupted", *counter(), interrupted);
}

/* Spinning guests on fewer CPUs than there are: everyone gets on. */
static void *spin(void *arg) {
  struct worker *w = arg;

  vcpu_start(&w->cpu, GUEST_BASE);
  w->errors = vcpu_run(&w->cpu) != -EINTR;
  return NULL;
}

static void test_spinners(void) {
  uint64_t before;

  vcpu_code(&workers[0].cpu, GUEST_BASE, g_spin, g_spin_end);
  before = *counter();
  for (int i = 0; i < 5; i++)
    pthread_create(&workers[i].thread, NULL, spin, &workers[i]);
  usleep(500000);
  CHECK(*counter() > before + 1000, "spinners count");
  for (int i = 0; i < 5; i++) {
    for (int n = 0; n < 3; n++) {
      pthread_kill(workers[i].thread, SIGUSR1);
      usleep(1000);
    }
  }
  CHECK(join(0, 5) == 0, "and all stop at a signal");
  before = *counter();
  usleep(50000);
  CHECK(*counter() == before, "nobody runs on");
  vcpu_code(&workers[0].cpu, GUEST_BASE, g_work, g_work_end);
}

static void test_limit(void) {
  int errors;

  for (int i = 5; i < KKM_MAX_VCPUS; i++)
    vcpu_make(&workers[i].cpu, &machine, i);
  CHECK(ioctl(machine.vm, KVM_CREATE_VCPU, KKM_MAX_VCPUS) < 0 && errno == EINVAL, "one more is refused");
  CHECK(ioctl(machine.vm, KVM_CREATE_VCPU, 7) < 0 && errno == EEXIST, "an id twice is refused");
  *counter() = 0;
  launch(0, KKM_MAX_VCPUS, 20);
  errors = join(0, KKM_MAX_VCPUS);
  CHECK(errors == 0 && *counter() == 20ul * KKM_MAX_VCPUS, "%d vCPUs: count %lu", KKM_MAX_VCPUS, *counter());
}

static double load(void) {
  double one_minute = -1;
  FILE *f = fopen("/proc/loadavg", "r");

  if (f && fscanf(f, "%lf", &one_minute) != 1)
    one_minute = -1;
  if (f)
    fclose(f);
  return one_minute;
}

/*
 * Parked guests are no load. Linux looks every five seconds and forgets over a
 * minute: two looks at 288 threads that count would add more than forty.
 */
static void test_idle_load(void) {
  double before = load(), after;

  sleep(11);
  after = load();
  CHECK(before >= 0 && after < before + 10, "load average with %d idle vCPUs: %.1f, before %.1f", KKM_MAX_VCPUS, after,
        before);
}

/* One vCPU run by many threads in turn: state goes with the vCPU. */
static void *take_turn(void *arg) {
  struct worker *w = arg;

  for (int i = 0; i < 50; i++) {
    if (ioctl(w->cpu.fd, KVM_RUN, 0))
      w->errors++;
  }
  return NULL;
}

static void test_shared(void) {
  pthread_t t[4];

  *counter() = 0;
  workers[0].errors = 0;
  vcpu_start(&workers[0].cpu, GUEST_BASE);
  for (int i = 0; i < 4; i++)
    pthread_create(&t[i], NULL, take_turn, &workers[0]);
  for (int i = 0; i < 4; i++)
    pthread_join(t[i], NULL);
  CHECK(workers[0].errors == 0 && *counter() == 200, "one vCPU, four threads: count %lu", *counter());
}

static void set_pinning(const char *value) {
  int fd = open("/sys/module/kkm/parameters/pin", O_WRONLY);

  CHECK(fd >= 0 && write(fd, value, 1) == 1, "pin=%s", value);
  close(fd);
}

int main(void) {
  struct rlimit files = {4096, 4096};

  setvbuf(stdout, NULL, _IONBF, 0);
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGUSR1, on_kick);
  machine_make(&machine);
  memcpy(machine.mem, g_work, g_work_end - g_work);
  test_while_running();
  test_kicks();
  set_pinning("N");
  test_kicks();
  set_pinning("Y");
  test_spinners();
  test_shared();
  test_limit();
  test_idle_load();
  for (int i = 0; i < KKM_MAX_VCPUS; i++)
    vcpu_end(&workers[i].cpu);
  machine_end(&machine);
  return report();
}
