-- memory: 32MiB
-- timeout: 600s
-- ends: 0
-- vm: 20
-- prints: flat
-- Rounds of what requests do, with the memory that they leave behind.
local json, kv, task, url = require "json", require "kv", require "task", require "url"
local hits = kv.open "hits"

local function request(n)
    local body = json.encode { n = n, list = { 1, 2, 3 }, text = ("x"):rep(n % 1000) }
    local read = assert(json.decode(body))
    hits:incr("n" .. n % 100, 1, 0)
    local args = assert(url.decode_args("a=1&b=" .. n))
    return #body + read.n + tonumber(args.b)
end

local function round()
    local tasks = {}
    for n = 1, 200 do
        tasks[n] = task.spawn(function()
            task.sleep(n % 7 / 1000)
            return request(n)
        end)
    end
    for _, t in ipairs(tasks) do assert(t:join()) end
    tasks = nil
    collectgarbage()
    collectgarbage()
    return collectgarbage "count"
end

for _ = 1, arg[1] and 5 or 20 do round() end
local first = round()
local last
for _ = 1, tonumber(arg[1]) or 100 do last = round() end
print(last < first * 1.05 + 64 and "flat" or ("it grew: %d KiB, then %d KiB"):format(first, last))
