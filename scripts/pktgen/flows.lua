-- Loads the flows into both ports and opens their sessions; what is sent then is up to whoever sits at Pktgen:
--
--   Pktgen:/> load scripts/pktgen/flows.lua
--   Pktgen:/> set all rate 10
--   Pktgen:/> start all
--   Pktgen:/> page stats
--   Pktgen:/> stop all
--
-- NATGATE_SESSIONS (64000) says how many; settings are in natgate.lua.

-- Where this script is: Pktgen may have been started anywhere.
local folder = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or os.getenv("NATGATE_SCRIPTS") or "scripts/pktgen"
package.path = folder .. "/?.lua;" .. package.path
local natgate = require("natgate")

natgate.prepare()
natgate.establish(natgate.flows(tonumber(os.getenv("NATGATE_SESSIONS")) or 64000))
pktgen.screen("on")
