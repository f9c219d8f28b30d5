// SPDX-License-Identifier: Apache-2.0
// A payload that does what no program should; argument 1 says what, argument 2 is an address in hex where one is needed.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t address;

static void jump(void) { ((void (*)(void))address)(); }
static void store(void) { *(volatile uint8_t*)address = 0x90; }
static void halt(void) { __asm__ volatile("hlt"); }
static void port_in(void) { __asm__ volatile("inb $0x60, %%al" ::: "rax"); }
static void old_call(void) { __asm__ volatile("int $0x80" : : "a"(1), "b"(0) : "memory"); }
static void selector(void) { __asm__ volatile("mov %0, %%ds" : : "r"((uint16_t)0x1234)); }
static void stack_selector(void) { __asm__ volatile("mov %0, %%ss" : : "r"((uint16_t)8)); }
static void far_return(void) { __asm__ volatile("push $0x8\n push $0\n lretq"); }
static void no_stack(void) { __asm__ volatile("mov %0, %%rsp\n push %%rax" : : "r"(address) : "memory"); }
static void table(void) {
  static char descriptor[10];
  __asm__ volatile("lidt %0" : : "m"(descriptor));
}

// Not a tail call: every level keeps its room.
static int overflow_more(int depth) {
  volatile char room[4096];
  room[0] = (char)depth;
  return (depth < 0 ? 0 : overflow_more(depth + 1)) + room[0];
}
static void overflow(void) { exit(overflow_more(0)); }

static const struct {
  const char* name;
  void (*act)(void);
} kActs[] = {{"jump", jump},         {"store", store},
             {"hlt", halt},          {"in", port_in},
             {"int80", old_call},    {"selector", selector},
             {"ss", stack_selector}, {"far-return", far_return},
             {"rsp", no_stack},      {"lidt", table},
             {"overflow", overflow}};

int main(int argc, char** argv) {
  if (argc < 2) return 99;
  if (argc > 2) address = strtoull(argv[2], NULL, 16);
  for (size_t i = 0; i < sizeof kActs / sizeof kActs[0]; i++) {
    if (strcmp(argv[1], kActs[i].name) != 0) continue;
    kActs[i].act();
    printf("went on\n");
    return 0;
  }
  return 98;
}
