/*
 * How a NIC spreads packets over its queues: its hash (key and types), its redirection table (RETA), and flow rules. See
 * shim.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shim.h"
#include "rss.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_version.h>

/* From 23.11 on one of several hash functions can be chosen, and a key has to be as long as the driver says. */
#define HAS_ALGORITHMS (RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0))

/* No key is longer: its length is a uint8_t. */
#define KEY_ROOM 256

#define IPV4_PORTS (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP)

/* --- The hash ----------------------------------------------------------------------------------------------- */

uint64_t ng_rss_types(uint64_t offered, bool ports)
{
	return offered & (RTE_ETH_RSS_IP | (ports ? RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP : 0));
}

static bool has_ports(uint64_t types)
{
	return (types & IPV4_PORTS) == IPV4_PORTS;
}

/* The bytes of the port's key. Drivers that do not say have 40, and as long as nobody checked, they got away with it. */
static uint8_t key_length(const struct rte_eth_dev_info *info)
{
	if (!HAS_ALGORITHMS && info->hash_key_size == 0)
		return 40;
	return info->hash_key_size;
}

int ng_rss_ability(uint16_t port, struct ng_rss *ability)
{
	struct rte_eth_dev_info info;
	int result = rte_eth_dev_info_get(port, &info);
	uint16_t *queues;

	if (result != 0)
		return result;
	ability->hashes_ports = has_ports(info.flow_type_rss_offloads);
	ability->table = 0;
	if (info.reta_size == 0)
		return 0;
	/* Some drivers name a size and have no table. */
	queues = calloc(info.reta_size, sizeof(*queues));
	if (queues == NULL)
		return -ENOMEM;
	if (ng_rss_get_table(port, queues, info.reta_size) == 0)
		ability->table = info.reta_size;
	free(queues);
	return 0;
}

int ng_rss_set_hash(uint16_t port, const uint8_t key[NG_KEY], bool ports)
{
	uint8_t whole[KEY_ROOM] = { 0 };
	struct rte_eth_rss_conf conf = { .rss_key = whole };
	struct rte_eth_dev_info info;
	int result = rte_eth_dev_info_get(port, &info);

	if (result != 0)
		return result;
	memcpy(whole, key, NG_KEY);
	conf.rss_key_len = key_length(&info);
	conf.rss_hf = ng_rss_types(info.flow_type_rss_offloads, ports);
#if HAS_ALGORITHMS
	/* Of a driver that has one function only, the default is Toeplitz. */
	if ((info.rss_algo_capa & RTE_ETH_HASH_ALGO_TO_CAPA(RTE_ETH_HASH_FUNCTION_TOEPLITZ)) != 0)
		conf.algorithm = RTE_ETH_HASH_FUNCTION_TOEPLITZ;
#endif
	return rte_eth_dev_rss_hash_update(port, &conf);
}

int ng_rss_get_hash(uint16_t port, uint8_t key[NG_KEY], bool *ports)
{
	/* Room for any key, whatever the driver makes of its length. */
	uint8_t whole[KEY_ROOM] = { 0 };
	struct rte_eth_rss_conf conf = { .rss_key = whole };
	struct rte_eth_dev_info info;
	int result = rte_eth_dev_info_get(port, &info);

	if (result != 0)
		return result;
	conf.rss_key_len = key_length(&info);
	result = rte_eth_dev_rss_hash_conf_get(port, &conf);
	if (result != 0)
		return result;
#if HAS_ALGORITHMS
	if (conf.algorithm != RTE_ETH_HASH_FUNCTION_DEFAULT && conf.algorithm != RTE_ETH_HASH_FUNCTION_TOEPLITZ)
		return -EPROTO;
#endif
	memcpy(key, whole, NG_KEY);
	*ports = has_ports(conf.rss_hf);
	return 0;
}

/* --- The table ---------------------------------------------------------------------------------------------- */

/* Room for a table of so many entries, all of which are meant; to be freed. */
static struct rte_eth_rss_reta_entry64 *table_of(uint16_t entries)
{
	struct rte_eth_rss_reta_entry64 *groups =
		calloc(entries / RTE_ETH_RETA_GROUP_SIZE + 1, sizeof(*groups));

	for (uint16_t i = 0; groups != NULL && i < entries; i++)
		groups[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << i % RTE_ETH_RETA_GROUP_SIZE;
	return groups;
}

int ng_rss_set_table(uint16_t port, const uint16_t *queues, uint16_t entries)
{
	struct rte_eth_rss_reta_entry64 *groups = table_of(entries);
	int result;

	if (groups == NULL)
		return -ENOMEM;
	for (uint16_t i = 0; i < entries; i++)
		groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = queues[i];
	result = rte_eth_dev_rss_reta_update(port, groups, entries);
	free(groups);
	return result;
}

int ng_rss_get_table(uint16_t port, uint16_t *queues, uint16_t entries)
{
	struct rte_eth_rss_reta_entry64 *groups = table_of(entries);
	int result;

	if (groups == NULL)
		return -ENOMEM;
	result = rte_eth_dev_rss_reta_query(port, groups, entries);
	for (uint16_t i = 0; result == 0 && i < entries; i++)
		queues[i] = groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	free(groups);
	return result;
}

/* --- Flow rules --------------------------------------------------------------------------------------------- */

/* Has the driver check a rule, or make it. */
static int flow_rule(uint16_t port, const struct ng_port_rule *rule, bool tcp, bool make, struct rte_flow_error *error)
{
	const struct rte_flow_attr attributes = { .ingress = 1 };
	const struct rte_flow_item_tcp tcp_spec = { .hdr.dst_port = rte_cpu_to_be_16(rule->port) };
	const struct rte_flow_item_tcp tcp_mask = { .hdr.dst_port = rte_cpu_to_be_16(rule->mask) };
	const struct rte_flow_item_udp udp_spec = { .hdr.dst_port = rte_cpu_to_be_16(rule->port) };
	const struct rte_flow_item_udp udp_mask = { .hdr.dst_port = rte_cpu_to_be_16(rule->mask) };
	const struct rte_flow_item pattern[] = {
		{ .type = RTE_FLOW_ITEM_TYPE_ETH },
		{ .type = RTE_FLOW_ITEM_TYPE_IPV4 },
		{
			.type = tcp ? RTE_FLOW_ITEM_TYPE_TCP : RTE_FLOW_ITEM_TYPE_UDP,
			.spec = tcp ? (const void *)&tcp_spec : &udp_spec,
			.mask = tcp ? (const void *)&tcp_mask : &udp_mask,
		},
		{ .type = RTE_FLOW_ITEM_TYPE_END },
	};
	const struct rte_flow_action_queue queue = { .index = rule->queue };
	const struct rte_flow_action actions[] = {
		{ .type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &queue },
		{ .type = RTE_FLOW_ACTION_TYPE_END },
	};

	if (!make)
		return rte_flow_validate(port, &attributes, pattern, actions, error);
	if (rte_flow_create(port, &attributes, pattern, actions, error) != NULL)
		return 0;
	return rte_errno != 0 ? -rte_errno : -EINVAL;
}

/* The same of all rules, for TCP and for UDP, up to the first failure. */
static int flow_rules(uint16_t port, const struct ng_port_rule *rules, uint16_t count, bool make,
		      struct rte_flow_error *error)
{
	int result = 0;

	for (uint32_t i = 0; result == 0 && i < 2 * (uint32_t)count; i++)
		result = flow_rule(port, &rules[i / 2], i % 2 == 0, make, error);
	return result;
}

int ng_flow_set(uint16_t port, const struct ng_port_rule *rules, uint16_t count, char *why, size_t room)
{
	struct rte_flow_error error = { .message = NULL };
	int result;

	result = flow_rules(port, rules, count, false, &error);
	if (result == 0) {
		/* Nobody else makes rules on this port, so that all of them are ours. */
		ng_flow_clear(port);
		result = flow_rules(port, rules, count, true, &error);
		if (result != 0)
			ng_flow_clear(port);
	}
	snprintf(why, room, "%s", result != 0 && error.message != NULL ? error.message : "");
	return result;
}

int ng_flow_clear(uint16_t port)
{
	struct rte_flow_error error;

	return rte_flow_flush(port, &error);
}
