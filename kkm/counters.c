// SPDX-License-Identifier: GPL-2.0-only
/* Counters: per CPU, summed when read, one sysfs file each. */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/sysfs.h>

#include "kkm.h"

DEFINE_PER_CPU(struct kkm_stats, kkm_stats);

static ssize_t show_counter(char *buf, enum kkm_counter which)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu(kkm_stats, cpu).n[which]);
	return sprintf(buf, "%llu\n", sum);
}

#define X(name, what)								\
static ssize_t name##_show(struct device *dev, struct device_attribute *attr,	\
			   char *buf)						\
{										\
	return show_counter(buf, KKM_COUNT_##name);				\
}										\
static DEVICE_ATTR_RO(name);
KKM_COUNTERS(X)
#undef X

static struct attribute *counter_attrs[] = {
#define X(name, what) &dev_attr_##name.attr,
	KKM_COUNTERS(X)
#undef X
	NULL
};

static const struct attribute_group counter_group = {
	.name = "counters",
	.attrs = counter_attrs,
};

const struct attribute_group *kkm_counter_groups[] = { &counter_group, NULL };
