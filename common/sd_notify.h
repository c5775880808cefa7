/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify.h -- tells systemd that the service is ready or stopping (sd_notify(3)), without its
 * library */
#ifndef PW_SD_NOTIFY_H
#define PW_SD_NOTIFY_H

/* "READY=1\nSTATUS=..." or "STOPPING=1". Does nothing outside of systemd; errors do not matter. */
void pw_sd_notify(const char *state);

#endif
