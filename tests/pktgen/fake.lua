-- Pktgen-DPDK as far as the scripts of scripts/pktgen use it, with a NAT between its two ports that can pass CAPACITY (million
-- packets a second) of a 10 gigabit line. Takes its arguments as strictly as Pktgen does; time is what `delay` makes of it.
--
--   lua fake.lua SCRIPT

local CAPACITY = tonumber(os.getenv("FAKE_CAPACITY") or "6") * 1e6
-- As Pktgen up to version 24, or as later ones.
local OLD = os.getenv("FAKE_OLD") ~= nil
local LINE = 1e10 / ((64 + 20) * 8)

local function number(address)
    local a, b, c, d = address:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
    return ((a * 256 + b) * 256 + c) * 256 + d
end

local function new_port()
    local field = function() return {} end
    return { received = 0, sent = 0, rate = 100, count = 0, range = {
        src_ip = field(), dst_ip = field(), src_port = field(), dst_port = field(), dst_mac = field(), pkt_size = field() } }
end

local ports = { ["0"] = new_port(), ["1"] = new_port() }
local sessions, opened = {}, 0

local function port_of(name)
    assert(type(name) == "string" and ports[name], "no port " .. tostring(name))
    return ports[name]
end

-- The next value of each field at once, as Pktgen's ranges step.
local function step(port)
    for _, of in pairs(port.range) do
        if of.now == nil then
            of.now = of.start
        elseif of.inc and of.inc ~= 0 then
            of.now = of.now + of.inc
            if of.now > of.max then of.now = of.min end
        end
    end
end

-- One packet through the NAT; whether it gets through.
local function forward(name)
    local port, range = ports[name], ports[name].range
    step(port)
    assert(range.dst_mac.now and port.ranged and port.proto == "udp" and port.process)
    if name == "0" then
        local flow = range.src_ip.now .. ":" .. math.floor(range.src_port.now)
        if not sessions[flow] then sessions[flow], opened = true, opened + 1 end
        return true
    end
    local client = range.dst_ip.now - number("100.64.0.0") + number("10.1.0.0")
    return sessions[client .. ":" .. math.floor(range.dst_port.now)] == true
end

local function send(name, packets)
    local port, peer = ports[name], ports[name == "0" and "1" or "0"]
    port.sent = port.sent + packets
    return peer
end

pktgen = { range = {} }
for field in pairs(ports["0"].range) do
    pktgen.range[field] = function(name, what, value)
        local of = port_of(name).range[field]
        assert(what == "start" or what == "min" or what == "max" or what == "inc", what)
        if field:find("_ip$") then value = number(value) end
        if field:find("_mac$") then assert(value:match("^%x%x:%x%x:%x%x:%x%x:%x%x:%x%x$"), value) end
        if field:find("_port$") then assert(math.type(value) == "integer" and value < 65536 and (value > 0 or what == "inc"), value) end
        of[what] = value
        of.now = nil
        if field == "dst_mac" then of.inc = 0 end
    end
end
function pktgen.range.ip_proto(name, proto) port_of(name).proto = proto end
function pktgen.screen(state) assert(state == "on" or state == "off") end
function pktgen.stop(name) if name ~= "all" then port_of(name).running = false end end
function pktgen.set_ipaddr(name, which, address)
    port_of(name)
    assert(which == "src" and address:match("/%d+$") or which == "dst" and number(address))
end
function pktgen.set_type(name, kind) assert(port_of(name) and kind == "ipv4") end
function pktgen.set_proto(name, kind) assert(port_of(name) and kind == "udp") end
function pktgen.process(name, state) port_of(name).process = state == "on" end
function pktgen.set_range(name, state) port_of(name).ranged = state == "on" end
function pktgen.set(name, what, value)
    local port = port_of(name)
    if what == "rate" and OLD then assert(math.type(value) == "integer", "number has no integer representation") end
    assert(what == "rate" or what == "count" or what == "size", what)
    port[what] = value
end
function pktgen.start(name)
    local port = port_of(name)
    if port.count == 0 then
        port.running = true
        return
    end
    local peer = send(name, port.count)
    for _ = 1, port.count do
        if forward(name) then peer.received = peer.received + 1 end
    end
end
function pktgen.delay(milliseconds)
    local offered = 0
    for _, port in pairs(ports) do offered = offered + (port.running and LINE * port.rate / 100 or 0) end
    local share = math.min(1, CAPACITY / math.max(offered, 1))
    for name, port in pairs(ports) do
        if port.running then
            local packets = math.floor(LINE * port.rate / 100 * milliseconds / 1000)
            local peer = send(name, packets)
            peer.received = peer.received + math.floor(packets * share)
        end
    end
end
function pktgen.portStats(name, kind)
    if OLD ~= (kind ~= nil) then error("portStats, wrong number of arguments") end
    local port = port_of(name)
    local counts = { ipackets = port.received, opackets = port.sent }
    return { [tonumber(name)] = OLD and counts or { curr = counts }, n = 1 }
end

dofile(arg[1])
print("opened " .. opened)
