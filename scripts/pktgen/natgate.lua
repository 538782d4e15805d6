-- What the scripts for Pktgen-DPDK share: settings, flows, phases, trials. docs/pktgen.md says how to use them.
--
-- Port 0 of Pktgen is wired to natgate's inside and plays the clients, port 1 to its outside and plays one server. A flow
-- is a client and its port. Pktgen steps through addresses and ports at the same time, packet by packet, so that a power of
-- two of clients and an odd number of ports meet in every combination before the first one comes again. The pool of
-- natgate's config gives each client an external address of its own with the client's port numbers, so that Pktgen, which can
-- not learn what a client became, knows where answers have to go.

local M = {}

local function setting(name, default)
    local text = os.getenv("NATGATE_" .. name)
    if text == nil or text == "" then
        return default
    end
    return tonumber(text) or text
end

M.settings = {
    -- natgate's Ethernet addresses: `natgate show interfaces` on the gateway. There is no default.
    mac_inside = setting("MAC_INSIDE"),
    mac_outside = setting("MAC_OUTSIDE"),
    -- Pktgen's ports.
    inside = tostring(setting("PORT_INSIDE", 0)),
    outside = tostring(setting("PORT_OUTSIDE", 1)),
    -- Bytes of a frame with its check sequence.
    size = setting("FRAME_SIZE", 64),
    -- Seconds that one try sends: RFC 2544 wants 60.
    seconds = setting("SECONDS", 10),
    -- Which way: "both", "out" or "back".
    direction = setting("DIRECTION", "both"),
    -- Of the line, in percent: how fast sessions are set up, and in what steps rates are swept and searched.
    setup_rate = setting("SETUP_RATE", 2),
    step = setting("STEP", 10),
    resolution = setting("RESOLUTION", 0.5),
    -- Packets of a million that may be lost: RFC 2544 allows none.
    tolerance = setting("TOLERANCE_PPM", 0),
}

-- The addresses of docs/pktgen.md.
local CLIENTS, EXTERNAL = { 10, 1, 0, 0 }, { 100, 64, 0, 0 }
local SERVER, SERVER_PORT = "198.18.0.1", 9
local OWN = { inside = "10.0.0.2/24", outside = "203.0.113.1/24" }
local MOST_CLIENTS, FIRST_PORT, MOST_PORTS = 256, 1025, 64511
-- Milliseconds until everything that is on its way has arrived.
local SETTLE = 500

function M.say(...)
    io.write(string.format(...), "\n")
    io.flush()
end

local function fail(...)
    error("natgate: " .. string.format(...), 0)
end

-- Clients and ports of each, whose product is the number of sessions or little more.
function M.flows(sessions)
    if sessions <= 1 then
        return 1, 1
    end
    local clients = 1
    while clients < MOST_CLIENTS and sessions / clients > 1000 do
        clients = clients * 2
    end
    local ports = math.ceil(sessions / clients)
    if clients > 1 and ports % 2 == 0 then
        ports = ports + 1
    end
    if ports > MOST_PORTS then
        fail("%d sessions are too many: at most %d", sessions, MOST_CLIENTS * MOST_PORTS)
    end
    return clients, math.floor(ports)
end

local function address(base, host)
    return string.format("%d.%d.%d.%d", base[1], base[2], base[3], base[4] + host)
end

local function ip_range(set, port, first, last)
    set(port, "start", first)
    set(port, "min", first)
    set(port, "max", last)
    set(port, "inc", first == last and "0.0.0.0" or "0.0.0.1")
end

local function number_range(set, port, first, last)
    set(port, "start", first)
    set(port, "min", first)
    set(port, "max", last)
    set(port, "inc", first == last and 0 or 1)
end

local function mac_range(set, port, mac)
    set(port, "start", mac)
    set(port, "inc", "00:00:00:00:00:00")
end

-- Both ports send these flows from now on: the clients to the server, and the server back to what the clients became.
function M.load(clients, ports)
    local s, range = M.settings, pktgen.range
    local last_port = FIRST_PORT + ports - 1
    mac_range(range.dst_mac, s.inside, s.mac_inside)
    ip_range(range.src_ip, s.inside, address(CLIENTS, 0), address(CLIENTS, clients - 1))
    number_range(range.src_port, s.inside, FIRST_PORT, last_port)
    ip_range(range.dst_ip, s.inside, SERVER, SERVER)
    number_range(range.dst_port, s.inside, SERVER_PORT, SERVER_PORT)
    mac_range(range.dst_mac, s.outside, s.mac_outside)
    ip_range(range.src_ip, s.outside, SERVER, SERVER)
    number_range(range.src_port, s.outside, SERVER_PORT, SERVER_PORT)
    ip_range(range.dst_ip, s.outside, address(EXTERNAL, 0), address(EXTERNAL, clients - 1))
    number_range(range.dst_port, s.outside, FIRST_PORT, last_port)
    for _, port in ipairs({ s.inside, s.outside }) do
        range.ip_proto(port, "udp")
        number_range(range.pkt_size, port, s.size, s.size)
        pktgen.set_range(port, "on")
    end
end

-- Addresses of the ports, so that Pktgen answers natgate's ARP.
function M.prepare()
    local s = M.settings
    if not s.mac_inside or not s.mac_outside then
        fail("set NATGATE_MAC_INSIDE and NATGATE_MAC_OUTSIDE to what `natgate show interfaces` says")
    end
    pktgen.screen("off")
    pktgen.stop("all")
    for side, port in pairs({ inside = s.inside, outside = s.outside }) do
        pktgen.set_ipaddr(port, "src", OWN[side])
        pktgen.set_ipaddr(port, "dst", SERVER)
        pktgen.set_type(port, "ipv4")
        pktgen.set_proto(port, "udp")
        pktgen.set(port, "size", s.size)
        pktgen.process(port, "on")
    end
end

-- What a port has received and sent so far. Pktgen 24 and older wants a second argument, newer ones none.
local function counters(port)
    local ok, all = pcall(pktgen.portStats, port, "port")
    if not ok then
        all = pktgen.portStats(port)
    end
    local of = all[tonumber(port)]
    of = of.curr or of
    return { received = of.ipackets, sent = of.opackets }
end

-- The rate that was set: old versions take whole percents only.
local function set_rate(port, percent)
    if not pcall(pktgen.set, port, "rate", percent) then
        percent = math.max(1, math.floor(percent + 0.5))
        pktgen.set(port, "rate", percent)
    end
    return percent
end

-- Sends each flow once from one port; how many arrived at the other one.
local function once(from, to, packets)
    local s = M.settings
    set_rate(from, s.setup_rate)
    pktgen.set(from, "count", packets)
    local before_from, before_to = counters(from), counters(to)
    pktgen.start(from)
    local sent, now = -1, 0
    repeat
        sent = now
        pktgen.delay(SETTLE)
        now = counters(from).sent - before_from.sent
    until now == sent
    pktgen.stop(from)
    pktgen.set(from, "count", 0)
    return counters(to).received - before_to.received
end

-- The set-up phase: every session is opened by its client, then answered by the server. Fails if not all packets arrive.
function M.establish(clients, ports)
    local s, packets = M.settings, clients * ports
    M.load(clients, ports)
    -- natgate asks for the Ethernet address of the next hop when the first packet comes.
    once(s.inside, s.outside, 1)
    once(s.outside, s.inside, 1)
    local out = once(s.inside, s.outside, packets)
    if out < packets then
        fail("set-up: %d of %d sessions were opened; lower NATGATE_SETUP_RATE, or see natgate show drops", out, packets)
    end
    local back = once(s.outside, s.inside, packets)
    if back < packets then
        fail("set-up: %d of %d answers arrived; see natgate show drops", back, packets)
    end
    M.say("set-up: %d sessions opened and answered", packets)
end

local function senders()
    local s = M.settings
    local of = { out = { s.inside }, back = { s.outside }, both = { s.inside, s.outside } }
    return of[s.direction] or fail("NATGATE_DIRECTION is both, out or back")
end

-- The steady phase at so many percent of the line.
function M.trial(percent)
    local s, ports = M.settings, senders()
    local all = { s.inside, s.outside }
    for _, port in ipairs(ports) do
        percent = set_rate(port, percent)
        pktgen.set(port, "count", 0)
    end
    local before = { counters(all[1]), counters(all[2]) }
    for _, port in ipairs(ports) do
        pktgen.start(port)
    end
    pktgen.delay(s.seconds * 1000)
    for _, port in ipairs(ports) do
        pktgen.stop(port)
    end
    pktgen.delay(SETTLE)
    local sent, received = 0, 0
    for at, port in ipairs(all) do
        local now = counters(port)
        sent = sent + now.sent - before[at].sent
        received = received + now.received - before[at].received
    end
    -- natgate's ARP is received too: a few packets more than were sent are no gain.
    local lost = math.max(0, sent - received)
    return {
        percent = percent,
        sent = sent,
        lost = lost,
        per_second = received / s.seconds,
        passed = sent > 0 and lost * 1e6 <= sent * s.tolerance,
    }
end

function M.show(trial)
    M.say("%6.2f %% of the line: %7.3f M packets/s, %d of %d lost: %s", trial.percent, trial.per_second / 1e6, trial.lost,
        trial.sent, trial.passed and "passed" or "failed")
end

-- The highest rate that passes (RFC 2544 section 26.1), or nil.
function M.search()
    local best, low, high = nil, 0, 100
    local percent = high
    while true do
        local trial = M.trial(percent)
        M.show(trial)
        if trial.passed then
            best, low = trial, percent
        else
            high = percent
        end
        if low == 100 or high - low <= M.settings.resolution then
            return best
        end
        percent = (low + high) / 2
    end
end

return M
