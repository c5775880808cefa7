/* SPDX-License-Identifier: Apache-2.0 */
/* reg_fault.h -- let the Nth allocation of one task fail: fail-nth of the kernel's fault injection
 *
 * Needs a kernel with CONFIG_FAULT_INJECTION (kernel/build --debug).
 */
#ifndef PW_TEST_REG_FAULT_H
#define PW_TEST_REG_FAULT_H

#include <stdbool.h>

/**
 * fault_open() - Get hold of a task of this process.
 * @tid: the task; 0: the calling one
 *
 * Return: a file for fault_arm(). Ends the process when there is none.
 */
int fault_open(long tid);

/**
 * fault_arm() - From now on, the @n th allocation of the task fails.
 * @fd: by fault_open()
 * @n: from 1 on
 */
void fault_arm(int fd, unsigned int n);

/**
 * fault_hit() - Disarm.
 * @fd: by fault_open()
 *
 * Return: whether an allocation failed.
 */
bool fault_hit(int fd);

#endif /* PW_TEST_REG_FAULT_H */
