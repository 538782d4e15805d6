/*
 * What natgate needs of DPDK, in terms that do not change with DPDK's version.
 *
 * Rust's bindings are of this file. Functions that can fail return 0 or a positive value, or a negative errno.
 * None of them is thread-safe on the same port and queue but where it says so.
 */
#ifndef NATGATE_DPDK_SHIM_H
#define NATGATE_DPDK_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A frame: the first cache line of struct rte_mbuf, checked against it in shim.c. Only shim.c makes and frees one. */
struct ng_mbuf {
	void *buf_addr;      /* start of the buffer, headroom included */
	uint64_t iova;
	uint16_t data_off;   /* of the frame from buf_addr */
	uint16_t refcnt;
	uint16_t nb_segs;    /* 1 for every frame that ng_rx_burst hands out */
	uint16_t port;
	uint64_t ol_flags;
	uint32_t packet_type;
	uint32_t pkt_len;    /* always data_len in a single segment */
	uint16_t data_len;
	uint16_t vlan_tci;
	uint32_t hash[2];
	uint16_t owner;      /* vlan_tci_outer, which is unused: NG_OURS while natgate has the frame, else 0 */
	uint16_t buf_len;    /* of the buffer, headroom included */
	struct ng_pool *pool;
};

/* The mark of frames that natgate has, by which those that got lost are told from those that a driver keeps. */
#define NG_OURS 0x6e67

/* A struct rte_mempool. */
struct ng_pool;

/* What a port can do. */
struct ng_port_info {
	char driver[64];
	uint8_t mac[6];
	uint16_t min_mtu;
	uint16_t max_mtu;
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint32_t max_frame;      /* bytes of the longest frame */
};

/* How to configure a port. */
struct ng_port_config {
	uint16_t rx_queues;
	uint16_t tx_queues;
	uint16_t rx_descriptors; /* rounded to what the device can do */
	uint16_t tx_descriptors;
	uint16_t mtu;
};

struct ng_port_stats {
	uint64_t rx_packets, rx_bytes, rx_missed, rx_errors, rx_no_buffer;
	uint64_t tx_packets, tx_bytes, tx_errors;
};

/* Bytes of the key that IPv4 needs: the first ones of a NIC's. */
#define NG_KEY 16

/* How a port can spread packets over its queues. */
struct ng_rss {
	uint16_t table;          /* entries of the redirection table; 0: it has none, or none that can be read */
	bool hashes_ports;       /* those of TCP and of UDP over IPv4 */
};

/* TCP and UDP packets over IPv4 whose destination port is `port` under `mask` go to `queue`. */
struct ng_port_rule {
	uint16_t port;
	uint16_t mask;
	uint16_t queue;
};

struct ng_link {
	bool up;
	uint32_t mbps;           /* UINT32_MAX when unknown */
};

/* A kernel interface of this network namespace. */
struct ng_interface {
	uint32_t index;
	uint32_t mtu;
	uint32_t queues;         /* that the af_xdp driver can open: combined channels, at least 1 */
	uint32_t rx_only;        /* channels that only receive */
	bool combined;           /* whether it has combined channels */
	bool up;
};

/* --- EAL ---------------------------------------------------------------------------------------------------- */

/* Runs rte_eal_init and gives the calling thread its CPU affinity back. Once a process. */
int ng_eal_init(int argc, char **argv);
int ng_eal_cleanup(void);
/* The directory that EAL made for this process; valid until ng_eal_cleanup. */
const char *ng_eal_runtime_dir(void);
const char *ng_version(void);
/* Frequency of the time stamp counter, in hertz; 0 before ng_eal_init. */
uint64_t ng_tsc_hz(void);
const char *ng_strerror(int errnum);
/*
 * Sends DPDK's log lines to `sink` (level as in RTE_LOG_*, text not terminated) from now on. `sink` may be called
 * by any thread. Before ng_eal_init, so that the libraries of drivers get it too.
 */
int ng_log_to(void (*sink)(uint32_t level, const char *text, size_t length));

/* Gives the calling thread an lcore id and with it a cache in each pool. */
int ng_thread_register(void);
void ng_thread_unregister(void);

/* --- Frames ------------------------------------------------------------------------------------------------- */

/* The bytes of memory that a pool of `frames` takes at most, on pages of `page` bytes; 0: without regard to pages. */
uint64_t ng_pool_bytes(uint32_t frames, uint16_t data_room, uint32_t page);
/* NULL on failure with the errno in *error. `data_room` has the headroom in it. */
/*
 * `packed`: one buffer right after the other in one piece of memory, also across the borders of pages. AF_XDP's driver
 * shares with the kernel as many bytes as that takes and no more, so that buffers beyond would be lost to it. Not for
 * devices that need the physical address of a buffer.
 */
struct ng_pool *ng_pool_create(const char *name, uint32_t frames, uint32_t cache, uint16_t data_room, bool packed,
			       int *error);
void ng_pool_free(struct ng_pool *pool);
/* Frames that are not in the pool. Exact when no other thread uses the pool. */
uint32_t ng_pool_in_use(const struct ng_pool *pool);
uint16_t ng_headroom(void);

/* Frames that natgate has: received or allocated, and neither sent nor freed. No other thread uses the pool. */
uint32_t ng_pool_ours(struct ng_pool *pool);

/* An empty frame with headroom, or NULL. Any thread. */
struct ng_mbuf *ng_alloc(struct ng_pool *pool);
/* Any thread. */
void ng_free(struct ng_mbuf *frame);
/*
 * At most `room` frames of one segment each. One in several segments is made one if it fits; if not it is freed
 * and counted in *unusable, which is added to.
 */
uint16_t ng_rx_burst(uint16_t port, uint16_t queue, struct ng_mbuf **frames, uint16_t room, uint64_t *unusable);
/* How many of the first frames the device took; they are its own then. */
uint16_t ng_tx_burst(uint16_t port, uint16_t queue, struct ng_mbuf **frames, uint16_t count);

/* --- Ports -------------------------------------------------------------------------------------------------- */

/* Attaches the device unless it is there already; *port becomes its number. */
int ng_port_probe(const char *devargs, uint16_t *port);
int ng_port_info(uint16_t port, struct ng_port_info *info);
/* Queues, RSS if there is more than one, MTU, descriptors. *step names the call that failed. */
int ng_port_configure(uint16_t port, const struct ng_port_config *config, struct ng_pool *pool, const char **step);
int ng_port_start(uint16_t port);
int ng_port_stop(uint16_t port);
int ng_port_close(uint16_t port);
int ng_port_set_mac(uint16_t port, const uint8_t mac[6]);
int ng_port_promiscuous(uint16_t port, bool on);
/* Any thread. */
int ng_port_stats(uint16_t port, struct ng_port_stats *stats);
int ng_port_link(uint16_t port, struct ng_link *link);

/* --- Spreading packets over queues: of a started port with several, while queues may be polled ------------------ */

int ng_rss_ability(uint16_t port, struct ng_rss *ability);
/*
 * Hashes the addresses of every IP packet and, if `ports`, the ports of TCP and UDP, by Toeplitz with this key; what a
 * NIC's key has beyond becomes 0.
 */
int ng_rss_set_hash(uint16_t port, const uint8_t key[NG_KEY], bool ports);
/* `ports`: whether those of TCP and of UDP over IPv4 are hashed. -EPROTO if the hash is not Toeplitz. */
int ng_rss_get_hash(uint16_t port, uint8_t key[NG_KEY], bool *ports);
/* The queue of each entry: all of the NIC's table, no fewer. */
int ng_rss_set_table(uint16_t port, const uint16_t *queues, uint16_t entries);
int ng_rss_get_table(uint16_t port, uint16_t *queues, uint16_t entries);
/*
 * Makes these the port's only flow rules: all or none. On failure `why` has the driver's words, or is empty. -ENOSYS if the
 * driver knows no rules at all.
 */
int ng_flow_set(uint16_t port, const struct ng_port_rule *rules, uint16_t count, char *why, size_t room);
/* Takes the port's flow rules away. */
int ng_flow_clear(uint16_t port);

/* --- Kernel interfaces -------------------------------------------------------------------------------------- */

int ng_interface_find(const char *name, struct ng_interface *interface);
int ng_interface_up(const char *name);
int ng_interface_set_mtu(const char *name, uint32_t mtu);
/*
 * Turns off everything that makes larger packets of several received ones (GRO, LRO). 1 if something was on and is
 * off now, 0 if nothing was, -EPERM or another errno if something stays on.
 */
int ng_interface_keep_frames(const char *name);
/* Whether the af_packet driver will leave IP fragments alone: see setsockopt in kernel.c. */
bool ng_fragments_stay(void);

#endif
