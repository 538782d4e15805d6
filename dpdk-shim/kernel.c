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
