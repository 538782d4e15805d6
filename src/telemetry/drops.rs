//! Every reason for which natgate drops a packet, declared once: the variant, the name in metrics and
//! output, and the help text that `natgate show drops` prints.

macro_rules! drop_reasons {
    ($($variant:ident, $name:literal, $help:literal;)+) => {
        /// Why a packet was dropped. A packet is dropped for exactly one reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $help] $variant,)+
        }

        impl DropReason {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant),+];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in metrics and output.
            pub fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name),+ }
            }

            /// What happened and what to do about it, in a sentence.
            pub fn help(self) -> &'static str {
                match self { $(DropReason::$variant => $help),+ }
            }

            /// The reason with this name.
            pub fn from_name(name: &str) -> Option<DropReason> {
                match name { $($name => Some(DropReason::$variant),)+ _ => None }
            }
        }
    };
}

drop_reasons! {
    Truncated, "truncated", "The frame ends before the headers that it announces.";
    NotForUs, "not_for_us", "The frame is addressed to another Ethernet address.";
    UnknownVlan, "unknown_vlan", "No interface of the config has this VLAN on this device.";
    EthertypeUnsupported, "ethertype_unsupported", "Neither IPv4 nor ARP (IPv6 and others are not forwarded yet).";
    ArpInvalid, "arp_invalid", "An ARP message with a wrong format or an impossible sender.";
    Ipv4HeaderInvalid, "ipv4_header_invalid", "IPv4 version, header length or total length is impossible (RFC 1812 5.2.2).";
    Ipv4ChecksumWrong, "ipv4_checksum_wrong", "The IPv4 header checksum is wrong (RFC 1812 5.2.2).";
    SourceRouted, "source_routed", "The packet, or the one that it quotes, carries a source-route option, which is refused (RFC 7126 4.3).";
    L4HeaderInvalid, "l4_header_invalid", "The transport header is truncated or contradicts itself.";
    FragmentInvalid, "fragment_invalid", "A fragment that is too small for its transport header, or ends past 65535 bytes (RFC 1858, 3128).";
    FragmentTableFull, "fragment_table_full", "More datagrams are in fragments at once than the fragment table holds.";
    FragmentTimeout, "fragment_timeout", "The first fragment of the datagram did not come in time.";
    FragmentOrphan, "fragment_orphan", "A later fragment of a datagram whose first fragment was dropped, so that there is no session.";
    FragmentToGateway, "fragment_to_gateway", "A fragmented datagram for the gateway itself, which does not reassemble.";
    MartianSource, "martian_source", "The source can not be a host on any network (RFC 1812 5.3.7).";
    MartianDestination, "martian_destination", "The destination can not be forwarded to (RFC 1812 5.3.7): loopback, multicast, broadcast, reserved.";
    SpoofedSource, "spoofed_source", "The source belongs on the other side: the route back to it leads into the other realm, or there is none (RFC 2827).";
    TtlExpired, "ttl_expired", "The time to live ran out here; the sender was told by ICMP within the rate limit.";
    NoRoute, "no_route", "No route leads to the destination; the sender was told by ICMP within the rate limit.";
    NoSession, "no_session", "From outside to a translated address, but no session or forwarding rule matches.";
    Filtered, "filtered", "From outside to a port that somebody inside uses, from an address (or port) that the filtering of the pool keeps out.";
    NoRule, "no_rule", "A new flow that no translation rule covers. An internal source is never sent out untranslated.";
    SourceBanned, "source_banned", "A new flow from a source that the config bans (`[[ban]]`).";
    ForwardDrained, "forward_drained", "A new flow to a forward that is being drained, or all of whose backends are: `drain = true`, so only their sessions go on.";
    BackendsDown, "backends_down", "A new flow to a forward of which no backend answers its health checks: `natgate show backends` says since when, and why.";
    StaticPortForwarded, "static_port_forwarded", "A new flow from a host with a `[[static]]` address, from a port of that address that a `[[dnat]]` forwards to another host; the sender was told by ICMP within the rate limit.";
    NotrackDropped, "notrack_dropped", "A packet of a notrack class with `action = \"drop\"`.";
    NotrackNotListed, "notrack_not_listed", "Between the service of a notrack class with `policy = \"allow-listed\"` and an address that is not in its `from`.";
    NotrackOpening, "notrack_opening", "A SYN from the service of a notrack class, whose connections only clients may open (`opened_by = \"clients\"`).";
    NotrackWrongWay, "notrack_wrong_way", "A packet of a notrack class whose route leads to an interface that is not on the class's other side.";
    NotrackUntranslated, "notrack_untranslated", "A packet of a notrack class that would leave by an external interface with an internal source: translate it (`translate_from`, `translate_to`), or say that the source is valid outside (`untranslated = true`).";
    ProtocolUnsupported, "protocol_unsupported", "The protocol can not be translated: IGMP stays on its link, and AH signs the addresses.";
    TcpNotSyn, "tcp_not_syn", "A TCP segment without a session that does not open a connection.";
    TcpInvalid, "tcp_invalid", "A TCP segment with an impossible combination of flags, or one that the state of the connection rules out.";
    TcpOutOfWindow, "tcp_out_of_window", "A TCP segment outside of the connection's window; conntrack.tcp_be_liberal lets such pass.";
    TcpRstInvalid, "tcp_rst_invalid", "A TCP RST that its receiver would ignore: outside of the window, or for a SYN that was never sent (RFC 5961 3.2).";
    TcpChecksumWrong, "tcp_checksum_wrong", "A segment of a handshake that the SYN proxy would answer has a wrong checksum.";
    SynCookieInvalid, "syn_cookie_invalid", "An ACK without a session to a forward with a SYN proxy that brings back no cookie of ours: forged, late, or of a connection that is over.";
    SynProxyFull, "syn_proxy_full", "Too many clients wait for backends that do not answer the SYN proxy.";
    AlgUnfit, "alg_unfit", "A segment of a control connection in which an address has to be replaced, and that is a fragment, does not fit its frame any more, or comes while too many before it are not acknowledged.";
    SctpNotInit, "sctp_not_init", "An SCTP packet without a session that does not open an association (INIT, HEARTBEAT).";
    SctpInvalid, "sctp_invalid", "An SCTP packet with impossible chunks, or a verification tag that is not its association's (RFC 9260 8.5).";
    SctpFragmented, "sctp_fragmented", "A fragment of an SCTP packet that opens an association, or whose port changes: its checksum covers the whole packet. Lower the path MTU of the hosts.";
    DccpNotRequest, "dccp_not_request", "A DCCP packet without a session that does not open a connection.";
    DccpInvalid, "dccp_invalid", "A DCCP packet of a type that can not come in this state of its connection.";
    IcmpInvalid, "icmp_invalid", "An ICMP message with a wrong checksum, or a quote that can not be read (RFC 5508 4).";
    IcmpUnsolicited, "icmp_unsolicited", "An ICMP error that quotes no known session, or a reply that nobody asked for.";
    IcmpTypeUnsupported, "icmp_type_unsupported", "An ICMP type that is not translated.";
    SessionTableFull, "session_table_full", "The worker's share of conntrack.max_sessions is used up and nobody may be evicted: raise it, or shorten timeouts.";
    HalfOpenFull, "half_open_full", "A TCP SYN while connections before the end of their handshake fill their share of the table, and nobody may be evicted.";
    SourceSessionsLimit, "source_sessions_limit", "The source address has as many sessions as the limit per source allows.";
    SourceRateLimit, "source_rate_limit", "The source address opens sessions faster than the limit per source allows.";
    SubscriberPortsLimit, "subscriber_ports_limit", "The subscriber holds as many ports of the pool as it may: `ports_per_subscriber`, or all of its blocks (`port_blocks`) or of its share (`deterministic`).";
    PortsExhausted, "ports_exhausted", "No free external port for this subscriber's address on this worker; add addresses to the pool.";
    PortBlockUnlogged, "port_block_unlogged", "No further block of ports was given, as nobody would have logged it: the management core does not keep up.";
    TupleCollision, "tuple_collision", "A session with the same reply tuple exists already.";
    FragmentationNeeded, "fragmentation_needed", "Larger than the next link's MTU, and DF forbids to cut it: the sender was told by ICMP within the rate limit. Without DF: it would be more than 18 fragments.";
    NeighborUnresolved, "neighbor_unresolved", "The next hop did not answer ARP; the sender was told by ICMP within the rate limit.";
    NeighborQueueFull, "neighbor_queue_full", "Too many packets wait for the next hop's Ethernet address, or for too many next hops.";
    GatewayUnsupported, "gateway_unsupported", "To the gateway itself, but not something that it answers.";
    HandoffFull, "handoff_full", "The ring to the worker that owns the packet is full: that worker is overloaded.";
    TxFull, "tx_full", "The transmit queue of the device did not take the frame.";
    NoBuffer, "no_buffer", "No free frame for the fragments of a packet that is larger than the next link's MTU; raise runtime.frames.";
    NoHeadroom, "no_headroom", "The frame has no room in front for a VLAN tag.";
    Shutdown, "shutdown", "Was still held (fragments, neighbour queue, rings) when the gateway stopped.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_its_own_name_and_a_help_text() {
        let names: HashSet<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(reason.help().ends_with('.'), "{}", reason.name());
            assert_eq!(DropReason::from_name(reason.name()), Some(*reason));
        }
    }
}
