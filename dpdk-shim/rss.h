/*
 * What rss.c has for shim.c alone: in terms of DPDK.
 */
#ifndef NATGATE_DPDK_RSS_H
#define NATGATE_DPDK_RSS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The types of packets to hash out of those that are `offered`: IP addresses always, and ports of TCP and UDP if `ports`.
 * Of no other protocol: who owns a packet has to be the same on every NIC.
 */
uint64_t ng_rss_types(uint64_t offered, bool ports);

#endif
