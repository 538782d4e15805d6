-- Throughput against sessions: for each number of sessions a set-up phase, then the highest rate that passes.
--
--   NATGATE_MAC_INSIDE=… NATGATE_MAC_OUTSIDE=… pktgen … -f scripts/pktgen/sessions.lua
--
-- NATGATE_SESSIONS (1,1000,64000,1000000) says which; settings are in natgate.lua.

-- Where this script is: Pktgen may have been started anywhere.
local folder = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or os.getenv("NATGATE_SCRIPTS") or "scripts/pktgen"
package.path = folder .. "/?.lua;" .. package.path
local natgate = require("natgate")

local rows = {}
natgate.prepare()
for text in (os.getenv("NATGATE_SESSIONS") or "1,1000,64000,1000000"):gmatch("%d+") do
    local clients, ports = natgate.flows(tonumber(text))
    natgate.establish(clients, ports)
    rows[#rows + 1] = { sessions = clients * ports, best = natgate.search() }
end

natgate.say("\n  sessions   M packets/s   %% of the line   (frames of %d, direction %s)", natgate.settings.size,
    natgate.settings.direction)
for _, row in ipairs(rows) do
    if row.best then
        natgate.say("%10d   %11.3f   %13.2f", row.sessions, row.best.per_second / 1e6, row.best.percent)
    else
        natgate.say("%10d   no rate passed", row.sessions)
    end
end
