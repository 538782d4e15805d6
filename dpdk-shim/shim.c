/*
 * The static inlines and the version differences of DPDK behind plain functions. See shim.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shim.h"
#include "rss.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_version.h>

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0)
#error "natgate needs DPDK 22.11 or newer"
#endif

#define SAME(member, theirs) \
	_Static_assert(offsetof(struct ng_mbuf, member) == offsetof(struct rte_mbuf, theirs) && \
		sizeof(((struct ng_mbuf *)0)->member) == sizeof(((struct rte_mbuf *)0)->theirs), \
		"struct ng_mbuf does not mirror struct rte_mbuf: " #member)
SAME(buf_addr, buf_addr);
SAME(data_off, data_off);
SAME(refcnt, refcnt);
SAME(nb_segs, nb_segs);
SAME(port, port);
SAME(ol_flags, ol_flags);
SAME(packet_type, packet_type);
SAME(pkt_len, pkt_len);
SAME(data_len, data_len);
SAME(vlan_tci, vlan_tci);
SAME(owner, vlan_tci_outer);
SAME(buf_len, buf_len);
SAME(pool, pool);

static struct rte_mempool *mempool(struct ng_pool *pool)
{
	return (struct rte_mempool *)pool;
}

/* --- EAL ---------------------------------------------------------------------------------------------------- */

typedef void (*log_sink)(uint32_t level, const char *text, size_t length);

static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	((log_sink)cookie)((uint32_t)rte_log_cur_msg_loglevel(), text, length);
	return (ssize_t)length;
}

static log_sink bpf_sink;

/* `level` as in enum libbpf_print_level: 0 is a warning, 1 information, 2 for debugging. */
static int bpf_print(int level, const char *format, va_list arguments)
{
	char line[512];
	int length = vsnprintf(line, sizeof(line), format, arguments);

	if (length > 0 && level < 2)
		bpf_sink(level == 0 ? RTE_LOG_WARNING : RTE_LOG_INFO, line,
			RTE_MIN((size_t)length, sizeof(line) - 1));
	return length;
}

/* The af_xdp driver's libraries write to standard error unless told otherwise; they are there if it is loaded. */
static void redirect_bpf_log(const char *library, const char *setter)
{
	void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
	void (*set)(int (*)(int, const char *, va_list));

	if (handle == NULL)
		return;
	*(void **)&set = dlsym(handle, setter);
	if (set != NULL)
		set(bpf_print);
	dlclose(handle);
}

int ng_log_to(log_sink sink)
{
	cookie_io_functions_t functions = { .write = log_write };
	FILE *stream = fopencookie((void *)sink, "w", functions);

	bpf_sink = sink;
	if (stream == NULL)
		return -ENOMEM;
	/* DPDK flushes after each message, so that each arrives in one piece. */
	setvbuf(stream, NULL, _IOFBF, 4096);
	return rte_openlog_stream(stream);
}

/* EAL prints two pages of usage when it meets an option that it does not know: nobody wants them here. */
static int mute_stdout(void)
{
	int saved = dup(STDOUT_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	fflush(stdout);
	if (saved >= 0 && null >= 0)
		dup2(null, STDOUT_FILENO);
	if (null >= 0)
		close(null);
	return saved;
}

static void unmute_stdout(int saved)
{
	fflush(stdout);
	if (saved >= 0) {
		dup2(saved, STDOUT_FILENO);
		close(saved);
	}
}

int ng_eal_init(int argc, char **argv)
{
	cpu_set_t before;
	bool known = pthread_getaffinity_np(pthread_self(), sizeof(before), &before) == 0;
	int saved = mute_stdout();
	int result, error;

	opterr = 0;
	result = rte_eal_init(argc, argv);
	error = rte_errno;
	unmute_stdout(saved);
	if (known)
		pthread_setaffinity_np(pthread_self(), sizeof(before), &before);
	if (result >= 0) {
		if (bpf_sink != NULL) {
			redirect_bpf_log("libbpf.so.0", "libbpf_set_print");
			redirect_bpf_log("libbpf.so.1", "libbpf_set_print");
			redirect_bpf_log("libxdp.so.1", "libxdp_set_print");
		}
		return 0;
	}
	return error != 0 ? -error : -EINVAL;
}

int ng_eal_cleanup(void)
{
	return rte_eal_cleanup();
}

const char *ng_eal_runtime_dir(void)
{
	return rte_eal_get_runtime_dir();
}

const char *ng_version(void)
{
	return rte_version();
}

uint64_t ng_tsc_hz(void)
{
	return rte_get_tsc_hz();
}

const char *ng_strerror(int errnum)
{
	return rte_strerror(errnum);
}

int ng_thread_register(void)
{
	if (rte_thread_register() == 0)
		return 0;
	return rte_errno != 0 ? -rte_errno : -EINVAL;
}

void ng_thread_unregister(void)
{
	rte_thread_unregister();
}

/* --- Frames ------------------------------------------------------------------------------------------------- */

uint64_t ng_pool_bytes(uint32_t frames, uint16_t data_room, uint32_t page)
{
	struct rte_mempool_objsz size;
	uint64_t buffers;

	rte_mempool_calc_obj_size(sizeof(struct rte_mbuf) + data_room, 0, &size);
	/* No buffer crosses the border of a page, unless it is larger than one. */
	if (page == 0) {
		buffers = (uint64_t)frames * size.total_size;
	} else if (size.total_size <= page) {
		uint32_t together = page / size.total_size;

		buffers = ((uint64_t)frames + together - 1) / together * page;
	} else {
		buffers = (uint64_t)frames * RTE_ALIGN_CEIL(size.total_size, page);
	}
	/* The ring of pointers is a power of two of at least frames + 1. */
	return buffers +
		(uint64_t)rte_align32pow2(frames + 1) * sizeof(void *) + sizeof(struct rte_mempool) +
		(uint64_t)RTE_MAX_LCORE * sizeof(struct rte_mempool_cache);
}

/* As rte_pktmbuf_pool_create(), which has no parameter for the flag. */
static struct rte_mempool *packed_pool(const char *name, uint32_t frames, uint32_t cache, uint16_t data_room)
{
	struct rte_pktmbuf_pool_private layout = { .mbuf_data_room_size = data_room };
	struct rte_mempool *pool;
	int result;

	pool = rte_mempool_create_empty(name, frames, sizeof(struct rte_mbuf) + data_room, cache, sizeof(layout),
					SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	if (pool == NULL)
		return NULL;
	result = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (result == 0) {
		rte_pktmbuf_pool_init(pool, &layout);
		result = rte_mempool_populate_default(pool);
	}
	if (result >= 0 && pool->nb_mem_chunks != 1)
		result = -ENOMEM;
	if (result < 0) {
		rte_mempool_free(pool);
		rte_errno = -result;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

struct ng_pool *ng_pool_create(const char *name, uint32_t frames, uint32_t cache, uint16_t data_room, bool packed,
			       int *error)
{
	struct rte_mempool *pool;

	if (packed)
		pool = packed_pool(name, frames, cache, data_room);
	else
		pool = rte_pktmbuf_pool_create(name, frames, cache, 0, data_room, SOCKET_ID_ANY);
	if (pool == NULL)
		*error = rte_errno;
	return (struct ng_pool *)pool;
}

void ng_pool_free(struct ng_pool *pool)
{
	rte_mempool_free(mempool(pool));
}

uint32_t ng_pool_in_use(const struct ng_pool *pool)
{
	return rte_mempool_in_use_count((const struct rte_mempool *)pool);
}

uint16_t ng_headroom(void)
{
	return RTE_PKTMBUF_HEADROOM;
}

/* The mark is read while a thread that is about to end may still be giving its last frame back: hence atomic. */
static void mark(struct rte_mbuf *frame, uint16_t owner)
{
	__atomic_store_n(&frame->vlan_tci_outer, owner, __ATOMIC_RELAXED);
}

static void count_ours(struct rte_mempool *pool, void *count, void *object, unsigned index)
{
	(void)pool;
	(void)index;
	if (__atomic_load_n(&((struct rte_mbuf *)object)->vlan_tci_outer, __ATOMIC_RELAXED) == NG_OURS)
		*(uint32_t *)count += 1;
}

uint32_t ng_pool_ours(struct ng_pool *pool)
{
	uint32_t count = 0;

	rte_mempool_obj_iter(mempool(pool), count_ours, &count);
	return count;
}

struct ng_mbuf *ng_alloc(struct ng_pool *pool)
{
	struct rte_mbuf *frame = rte_pktmbuf_alloc(mempool(pool));

	if (likely(frame != NULL))
		mark(frame, NG_OURS);
	return (struct ng_mbuf *)frame;
}

void ng_free(struct ng_mbuf *frame)
{
	mark((struct rte_mbuf *)frame, 0);
	rte_pktmbuf_free((struct rte_mbuf *)frame);
}

/* The rare frame of several segments; true if it is one now. */
static __rte_noinline bool one_segment(struct rte_mbuf *frame)
{
	if (rte_pktmbuf_linearize(frame) == 0)
		return true;
	rte_pktmbuf_free(frame);
	return false;
}

uint16_t ng_rx_burst(uint16_t port, uint16_t queue, struct ng_mbuf **frames, uint16_t room, uint64_t *unusable)
{
	struct rte_mbuf **received = (struct rte_mbuf **)frames;
	uint16_t count = rte_eth_rx_burst(port, queue, received, room);
	uint16_t kept = 0;

	for (uint16_t i = 0; i < count; i++) {
		if (unlikely(received[i]->nb_segs != 1) && !one_segment(received[i])) {
			*unusable += 1;
			continue;
		}
		mark(received[i], NG_OURS);
		received[kept++] = received[i];
	}
	return kept;
}

uint16_t ng_tx_burst(uint16_t port, uint16_t queue, struct ng_mbuf **frames, uint16_t count)
{
	struct rte_mbuf **theirs = (struct rte_mbuf **)frames;
	uint16_t sent;

	for (uint16_t i = 0; i < count; i++)
		mark(theirs[i], 0);
	sent = rte_eth_tx_burst(port, queue, theirs, count);
	for (uint16_t i = sent; i < count; i++)
		mark(theirs[i], NG_OURS);
	return sent;
}

/* --- Ports -------------------------------------------------------------------------------------------------- */

int ng_port_probe(const char *devargs, uint16_t *port)
{
	char name[64];
	struct rte_dev_iterator iterator;
	uint16_t id;
	int result;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(devargs, ","), devargs);
	if (rte_eth_dev_get_port_by_name(name, port) == 0)
		return 0;
	result = rte_dev_probe(devargs);
	/* -EEXIST: EAL attached it when it started, under names that the driver chose. */
	if (result < 0 && result != -EEXIST)
		return result;
	if (rte_eth_dev_get_port_by_name(name, port) == 0)
		return 0;
	/* A driver may name its ports differently from the device: take the device's first. */
	RTE_ETH_FOREACH_MATCHING_DEV(id, name, &iterator) {
		*port = id;
		rte_eth_iterator_cleanup(&iterator);
		return 0;
	}
	return -ENODEV;
}

int ng_port_info(uint16_t port, struct ng_port_info *info)
{
	struct rte_eth_dev_info theirs;
	struct rte_ether_addr mac;
	int result = rte_eth_dev_info_get(port, &theirs);

	if (result == 0)
		result = rte_eth_macaddr_get(port, &mac);
	if (result != 0)
		return result;
	memset(info, 0, sizeof(*info));
	snprintf(info->driver, sizeof(info->driver), "%s", theirs.driver_name);
	memcpy(info->mac, mac.addr_bytes, sizeof(info->mac));
	info->min_mtu = theirs.min_mtu;
	info->max_mtu = theirs.max_mtu;
	info->max_rx_queues = theirs.max_rx_queues;
	info->max_tx_queues = theirs.max_tx_queues;
	info->max_frame = theirs.max_rx_pktlen;
	return 0;
}

int ng_port_configure(uint16_t port, const struct ng_port_config *config, struct ng_pool *pool, const char **step)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf conf;
	uint16_t rx_descriptors = config->rx_descriptors, tx_descriptors = config->tx_descriptors;
	int socket = rte_eth_dev_socket_id(port);
	int result;

	*step = "its properties";
	result = rte_eth_dev_info_get(port, &info);
	if (result != 0)
		return result;

	*step = "its queues";
	memset(&conf, 0, sizeof(conf));
	conf.rxmode.mtu = config->mtu;
	if (config->rx_queues > 1) {
		/* Some drivers hash later only if they are told to here. */
		conf.rx_adv_conf.rss_conf.rss_hf = ng_rss_types(info.flow_type_rss_offloads, true);
		if (conf.rx_adv_conf.rss_conf.rss_hf != 0)
			conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	}
	/*
	 * All frames come from one pool and have one owner. Checksum offloads stay off: the pipeline updates
	 * checksums incrementally, so that a wrong one stays wrong.
	 */
	conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	result = rte_eth_dev_configure(port, config->rx_queues, config->tx_queues, &conf);
	if (result != 0)
		return result;

	*step = "its descriptors";
	result = rte_eth_dev_adjust_nb_rx_tx_desc(port, &rx_descriptors, &tx_descriptors);
	if (result != 0)
		return result;

	*step = "a receive queue";
	for (uint16_t queue = 0; queue < config->rx_queues; queue++) {
		result = rte_eth_rx_queue_setup(port, queue, rx_descriptors, socket, NULL, mempool(pool));
		if (result != 0)
			return result;
	}
	*step = "a transmit queue";
	for (uint16_t queue = 0; queue < config->tx_queues; queue++) {
		struct rte_eth_txconf txconf = info.default_txconf;

		txconf.offloads = conf.txmode.offloads;
		result = rte_eth_tx_queue_setup(port, queue, tx_descriptors, socket, &txconf);
		if (result != 0)
			return result;
	}

	/* Some drivers (tap) act on this call alone. */
	*step = "its MTU";
	if (config->mtu > RTE_ETHER_MTU) {
		result = rte_eth_dev_set_mtu(port, config->mtu);
		if (result != 0 && result != -ENOTSUP)
			return result;
	}
	return 0;
}

int ng_port_start(uint16_t port)
{
	return rte_eth_dev_start(port);
}

int ng_port_stop(uint16_t port)
{
	return rte_eth_dev_stop(port);
}

int ng_port_close(uint16_t port)
{
	return rte_eth_dev_close(port);
}

int ng_port_set_mac(uint16_t port, const uint8_t mac[6])
{
	struct rte_ether_addr address;

	memcpy(address.addr_bytes, mac, sizeof(address.addr_bytes));
	return rte_eth_dev_default_mac_addr_set(port, &address);
}

int ng_port_promiscuous(uint16_t port, bool on)
{
	return on ? rte_eth_promiscuous_enable(port) : rte_eth_promiscuous_disable(port);
}

int ng_port_stats(uint16_t port, struct ng_port_stats *stats)
{
	struct rte_eth_stats theirs;
	int result = rte_eth_stats_get(port, &theirs);

	if (result != 0)
		return result;
	*stats = (struct ng_port_stats){
		.rx_packets = theirs.ipackets,
		.rx_bytes = theirs.ibytes,
		.rx_missed = theirs.imissed,
		.rx_errors = theirs.ierrors,
		.rx_no_buffer = theirs.rx_nombuf,
		.tx_packets = theirs.opackets,
		.tx_bytes = theirs.obytes,
		.tx_errors = theirs.oerrors,
	};
	return 0;
}

int ng_port_link(uint16_t port, struct ng_link *link)
{
	struct rte_eth_link theirs;
	int result = rte_eth_link_get_nowait(port, &theirs);

	if (result != 0)
		return result;
	link->up = theirs.link_status == RTE_ETH_LINK_UP;
	link->mbps = theirs.link_speed;
	return 0;
}
