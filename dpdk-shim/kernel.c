/*
 * What natgate asks of the kernel about its interfaces, and the one thing that the af_packet driver has to be kept
 * from. No DPDK in here. See shim.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int interface_ioctl(unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result;

	if (fd < 0)
		return -errno;
	result = ioctl(fd, request, ifr) < 0 ? -errno : 0;
	close(fd);
	return result;
}

static struct ifreq interface_request(const char *name)
{
	struct ifreq ifr;

	memset(&ifr, 0, sizeof(ifr));
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return ifr;
}

int ng_interface_find(const char *name, struct ng_interface *interface)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	struct ifreq ifr = interface_request(name);
	int result = interface_ioctl(SIOCGIFINDEX, &ifr);

	if (result != 0)
		return result;
	interface->index = (uint32_t)ifr.ifr_ifindex;
	result = interface_ioctl(SIOCGIFFLAGS, &ifr);
	if (result != 0)
		return result;
	interface->up = (ifr.ifr_flags & IFF_UP) != 0;
	result = interface_ioctl(SIOCGIFMTU, &ifr);
	if (result != 0)
		return result;
	interface->mtu = (uint32_t)ifr.ifr_mtu;
	/* The af_xdp driver counts in the same way: an interface without combined channels has one queue. */
	ifr.ifr_data = (char *)&channels;
	interface->queues = 1;
	interface->rx_only = 0;
	interface->combined = false;
	if (interface_ioctl(SIOCETHTOOL, &ifr) == 0) {
		interface->combined = channels.max_combined > 0;
		interface->rx_only = channels.rx_count;
		if (interface->combined && channels.combined_count > 0)
			interface->queues = channels.combined_count;
	}
	return 0;
}

int ng_interface_up(const char *name)
{
	struct ifreq ifr = interface_request(name);
	int result = interface_ioctl(SIOCGIFFLAGS, &ifr);

	if (result != 0)
		return result;
	ifr.ifr_flags |= IFF_UP;
	return interface_ioctl(SIOCSIFFLAGS, &ifr);
}

int ng_interface_set_mtu(const char *name, uint32_t mtu)
{
	struct ifreq ifr = interface_request(name);

	ifr.ifr_mtu = (int)mtu;
	return interface_ioctl(SIOCSIFMTU, &ifr);
}

/* The names of the interface's features, one after another in ETH_GSTRING_LEN bytes each; to be freed. */
static struct ethtool_gstrings *feature_names(struct ifreq *ifr)
{
	struct {
		struct ethtool_sset_info info;
		uint32_t count;
	} sets = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES } };
	struct ethtool_gstrings *names;

	ifr->ifr_data = (char *)&sets;
	if (interface_ioctl(SIOCETHTOOL, ifr) != 0 || sets.info.sset_mask == 0)
		return NULL;
	names = calloc(1, sizeof(*names) + (size_t)sets.count * ETH_GSTRING_LEN);
	if (names == NULL)
		return NULL;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = sets.count;
	ifr->ifr_data = (char *)names;
	if (interface_ioctl(SIOCETHTOOL, ifr) == 0)
		return names;
	free(names);
	return NULL;
}

static bool merges(const char *feature)
{
	static const char *const all[] = { "rx-gro", "rx-gro-hw", "rx-gro-list", "rx-udp-gro-forwarding", "rx-lro" };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strncmp(feature, all[i], ETH_GSTRING_LEN) == 0)
			return true;
	return false;
}

/* How many of the wanted features are active, or a negative errno; `valid` names the wanted ones. */
static int active_features(struct ifreq *ifr, const struct ethtool_sfeatures *valid)
{
	struct ethtool_gfeatures *now = calloc(1, sizeof(*now) + valid->size * sizeof(now->features[0]));
	int result;

	if (now == NULL)
		return -ENOMEM;
	now->cmd = ETHTOOL_GFEATURES;
	now->size = valid->size;
	ifr->ifr_data = (char *)now;
	result = interface_ioctl(SIOCETHTOOL, ifr);
	for (uint32_t block = 0; result >= 0 && block < valid->size; block++)
		result += __builtin_popcount(now->features[block].active & valid->features[block].valid);
	free(now);
	return result;
}

int ng_interface_keep_frames(const char *name)
{
	struct ifreq ifr = interface_request(name);
	struct ethtool_gstrings *names = feature_names(&ifr);
	struct ethtool_sfeatures *off;
	uint32_t blocks;
	int result;

	if (names == NULL)
		return -EOPNOTSUPP;
	blocks = (names->len + 31) / 32;
	off = calloc(1, sizeof(*off) + blocks * sizeof(off->features[0]));
	if (off == NULL) {
		free(names);
		return -ENOMEM;
	}
	off->cmd = ETHTOOL_SFEATURES;
	off->size = blocks;
	for (uint32_t i = 0; i < names->len; i++)
		if (merges((const char *)names->data + (size_t)i * ETH_GSTRING_LEN))
			off->features[i / 32].valid |= 1U << (i % 32);
	free(names);

	result = active_features(&ifr, off);
	if (result > 0) {
		/* Some devices have some of them on for good: what counts is what is left. */
		ifr.ifr_data = (char *)off;
		result = interface_ioctl(SIOCETHTOOL, &ifr);
		if (result == 0)
			result = active_features(&ifr, off);
		result = result == 0 ? 1 : result > 0 ? -EOPNOTSUPP : result;
	}
	free(off);
	return result;
}

/*
 * The af_packet driver joins its sockets into a fan-out group with PACKET_FANOUT_FLAG_DEFRAG and has no switch for
 * it: the kernel then reassembles IP fragments before the driver sees them, into packets that fit no frame. A
 * router has to see fragments as they came. This definition takes precedence over libc's for the whole program
 * and its plug-ins, changes that one flag, and is the plain system call otherwise.
 */
int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	uint32_t fanout;

	if (level == SOL_PACKET && option == PACKET_FANOUT && length == sizeof(fanout)) {
		memcpy(&fanout, value, sizeof(fanout));
		fanout &= ~((uint32_t)PACKET_FANOUT_FLAG_DEFRAG << 16);
		return (int)syscall(SYS_setsockopt, fd, level, option, &fanout, length);
	}
	return (int)syscall(SYS_setsockopt, fd, level, option, value, length);
}

bool ng_fragments_stay(void)
{
	return dlsym(RTLD_DEFAULT, "setsockopt") == (void *)setsockopt;
}
