-- DNS messages (RFC 1035, 4.1), as far as a server of one zone needs them.
local message = {}

local CODES = { NOERROR = 0, FORMERR = 1, SERVFAIL = 2, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5 }
local QR, AA, TC, RD = 0x8000, 0x0400, 0x0200, 0x0100
-- What fits into a datagram without EDNS.
local ROOM = 512

-- A query: its head, and its question if there is just one that can be read. nil for what is none.
function message.parse(packet)
  if #packet < 12 then return nil, "shorter than a head" end
  local id, flags, questions = string.unpack(">I2I2I2", packet)
  if flags & QR ~= 0 then return nil, "an answer" end
  local query = { id = id, opcode = flags >> 11 & 15, flags = flags & (RD | 0x7800) }
  if questions ~= 1 then return query end
  local labels, at = {}, 13
  while true do
    local length = packet:byte(at)
    -- A question's name is never compressed, and what is cut off is no question.
    if not length or length > 63 or at + length > #packet or at > 12 + 255 then return query end
    if length == 0 then break end
    labels[#labels + 1] = packet:sub(at + 1, at + length)
    at = at + 1 + length
  end
  if at + 4 > #packet then return query end
  query.type, query.class = string.unpack(">I2I2", packet, at + 1)
  query.question = packet:sub(13, at + 4)
  query.name = table.concat(labels, "."):lower()
  return query
end

local function record(r)
  return r.name .. string.pack(">I2I2I4s2", r.type, 1, r.ttl, r.data)
end

-- The bytes of a reply. What does not fit is left out, and said to be (TC): the client would ask by TCP.
function message.reply(query, result)
  local parts, size = { query.question or "" }, 12 + #(query.question or "")
  local counts, truncated = { 0, 0 }, 0
  for section, list in ipairs { result.answers or {}, result.authority or {} } do
    for _, r in ipairs(list) do
      local bytes = record(r)
      if size + #bytes > ROOM then
        truncated = TC
        break
      end
      parts[#parts + 1], size, counts[section] = bytes, size + #bytes, counts[section] + 1
    end
  end
  local flags = query.flags | QR | truncated | CODES[result.code]
  if result.answers then flags = flags | AA end
  local head = string.pack(">I2I2I2I2I2I2", query.id, flags, query.question and 1 or 0, counts[1], counts[2], 0)
  return head .. table.concat(parts)
end

return message
