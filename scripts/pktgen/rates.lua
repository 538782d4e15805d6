-- What comes out against what goes in: a set-up phase, then rates in steps up to the whole line.
--
--   NATGATE_MAC_INSIDE=… NATGATE_MAC_OUTSIDE=… pktgen … -f scripts/pktgen/rates.lua
--
-- NATGATE_SESSIONS (64000) says with how many sessions, NATGATE_STEP (10) in what steps; settings are in natgate.lua.

-- Where this script is: Pktgen may have been started anywhere.
local folder = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or os.getenv("NATGATE_SCRIPTS") or "scripts/pktgen"
package.path = folder .. "/?.lua;" .. package.path
local natgate = require("natgate")

natgate.prepare()
natgate.establish(natgate.flows(tonumber(os.getenv("NATGATE_SESSIONS")) or 64000))
local percent, step = 0, natgate.settings.step
while percent < 100 do
    percent = math.min(100, percent + step)
    natgate.show(natgate.trial(percent))
end
