-- A DNS server that is the authority for one zone, over UDP (RFC 1035).
local log = require "log"
local message = require "message"
local net = require "net"
local zone = require "zone"

local records = assert(zone.read(assert(arg[1], "give it a zone file")))

-- The answer to a packet, or nil for one that deserves none.
local function answer(packet)
  local query, err = message.parse(packet)
  if not query then
    log.debug("not a query", { why = err })
    return nil
  end
  if query.opcode ~= 0 then return message.reply(query, { code = "NOTIMP" }) end
  if not query.name then return message.reply(query, { code = "FORMERR" }) end
  if query.class ~= 1 or not records:covers(query.name) then return message.reply(query, { code = "REFUSED" }) end
  return message.reply(query, records:find(query.name, query.type))
end

local socket = assert(net.listen("udp", ":53"))
print("udp-dns: " .. records.origin .. " with " .. records.count .. " records: ready")
while true do
  local packet, ip, port = socket:receivefrom()
  if not packet then break end
  local ok, reply = pcall(answer, packet)
  if not ok then
    -- One packet never ends the service.
    log.error("a query could not be answered", { from = ip, error = reply })
  elseif reply then
    socket:sendto(reply, ip, port)
  end
end
