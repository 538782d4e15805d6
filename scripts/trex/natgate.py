"""A TRex stateless profile for natgate: clients on even ports, a server on odd ones. docs/pktgen.md says how to use it.

A flow is a client and its port. The pool of natgate's config gives each client an external address of its own with the client's
port numbers, so that the server's side knows where answers have to go: TRex can not learn it.

    trex> start -f scripts/trex/natgate.py -p 0 -m 1mpps -d 2 -t --sessions 64000    the clients open their sessions
    trex> start -f scripts/trex/natgate.py -m 50% -d 60 -t --sessions 64000          both directions
"""

import argparse

from trex_stl_lib.api import (  # pylint: disable=import-error
    IP, UDP, Ether, STLFlowLatencyStats, STLPktBuilder, STLStream, STLTXCont, STLVmFixIpv4, STLVmTupleGen, STLVmWrFlowVar,
    STLScVmRaw)

# The addresses of docs/pktgen.md: a client's external address is as far into its network as its own.
CLIENTS = "10.1.0.{}"
EXTERNAL = "100.64.0.{}"
SERVER, SERVER_PORT = "198.18.0.1", 9
FIRST_PORT, MOST_PORTS, MOST_CLIENTS = 1025, 64511, 256
# Frames without their check sequence (4 bytes), and how many of twelve are so long: the simple IMIX.
IMIX = [(60, 7), (590, 4), (1514, 1)]
LATENCY_PACKETS_PER_SECOND = 1000


def flows(sessions):
    """Clients and ports of each, as scripts/pktgen/natgate.lua has them."""
    clients = 1
    while clients < MOST_CLIENTS and sessions / clients > 1000:
        clients *= 2
    ports = -(-sessions // clients)
    if clients > 1 and ports % 2 == 0:
        ports += 1
    if not 1 <= ports <= MOST_PORTS:
        raise ValueError(f"{sessions} sessions: 1 to {MOST_CLIENTS * MOST_PORTS} are possible")
    return clients, ports


def packet(outward, clients, ports, size):
    """A frame of `size` bytes without its check sequence, and what changes from one to the next: the client's end."""
    hosts, end = (CLIENTS, "src") if outward else (EXTERNAL, "dst")
    fixed = "dst" if outward else "src"
    base = (Ether() / IP(**{end: hosts.format(0), fixed: SERVER})
            / UDP(**{end[0] + "port": FIRST_PORT, fixed[0] + "port": SERVER_PORT}, chksum=0))
    changes = [
        STLVmTupleGen(name="client", ip_min=hosts.format(0), ip_max=hosts.format(clients - 1), port_min=FIRST_PORT,
                      port_max=FIRST_PORT + ports - 1, limit_flows=clients * ports),
        STLVmWrFlowVar(fv_name="client.ip", pkt_offset=f"IP.{end}"),
        STLVmWrFlowVar(fv_name="client.port", pkt_offset=f"UDP.{end[0]}port"),
        STLVmFixIpv4(offset="IP"),
    ]
    return STLPktBuilder(pkt=base / (b"\0" * max(0, size - len(base))), vm=STLScVmRaw(changes))


class Natgate:
    """Made by `register` for TRex, which asks for the streams of each port."""

    def get_streams(self, direction, tunables, **kwargs):
        """The streams of a port: `direction` is 0 for clients and 1 for the server."""
        parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        parser.add_argument("--sessions", type=int, default=64_000, help="how many sessions")
        parser.add_argument("--size", default="64", help="bytes of a frame with its check sequence, or imix")
        parser.add_argument("--latency", action="store_true", help="measure latency with 1000 further packets a second")
        args = parser.parse_args(tunables)
        clients, ports = flows(args.sessions)
        outward = direction == 0
        sizes = IMIX if args.size == "imix" else [(int(args.size) - 4, 1)]
        streams = [STLStream(packet=packet(outward, clients, ports, size), mode=STLTXCont(pps=share))
                   for size, share in sizes]
        if args.latency:
            # One flow of the others', so that its session is there.
            streams.append(STLStream(
                packet=packet(outward, 1, 1, 60), mode=STLTXCont(pps=LATENCY_PACKETS_PER_SECOND),
                flow_stats=STLFlowLatencyStats(pg_id=1 + kwargs.get("port_id", direction))))
        return streams


def register():
    """What TRex calls."""
    return Natgate()
