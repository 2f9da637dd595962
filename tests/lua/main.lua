-- Runs test suites of well-known Lua modules, as they were released: `main.lua [NAME ...]`, all there are without names.
-- Prints a line for each, and `N passed, M failed` at last.

local here = arg and arg[0] and arg[0]:match "^(.*/)" or ""
local suites = dofile(here .. "suites.lua")

local function exists(path)
    local file = io.open(path)
    return file and (file:close() or true)
end

--- The folder of a suite, if it is here.
local function folder(suite)
    for _, place in ipairs { "vendor/", "fetched/" } do
        local path = here .. place .. suite.name .. "/"
        if exists(path .. (suite.script or suite.specs and suite.specs[1] or suite.all .. "/.suite")) then return path end
    end
end

--- busted as a library: what its runner does without a command line and a terminal.
local function busted(suite, dir, tell)
    local busted = require "busted.core"()
    require "busted"(busted)
    local count = { success = 0, pending = 0, failure = 0, error = 0 }
    busted.subscribe({ "test", "end" }, function(_, _, status)
        count[status] = count[status] + 1
        return nil, true
    end)
    local function name(element, parent)
        local names = { element.name or element.descriptor }
        while parent and parent.descriptor ~= "file" and parent.name do
            table.insert(names, 1, parent.name)
            parent = busted.context.parent(parent)
        end
        return table.concat(names, " ")
    end
    for _, kind in ipairs { "failure", "error" } do
        busted.subscribe({ kind }, function(element, parent, message)
            tell(("    %s: %s: %s"):format(kind, name(element, parent), tostring(message)))
            if element.descriptor ~= "it" then count.error = count.error + 1 end
            return nil, true
        end)
    end
    local loader = require "busted.modules.files.lua"
    local specs = suite.specs
    if suite.all then
        specs = {}
        for line in io.lines(dir .. suite.all .. "/.suite") do
            if line ~= suite.except then specs[#specs + 1] = suite.all .. "/" .. line end
        end
    end
    for _, spec in ipairs(specs) do
        local load, trace = loader.load(busted, dir .. spec)
        if load then busted.executors.file(dir .. spec, setmetatable({ getTrace = trace }, { __call = load })) end
    end
    require "busted.execute"(busted)(1, {})
    return count.success, count.failure + count.error
end

--- A script that tests by itself.
local function script(suite, dir, tell)
    local output = {}
    local print_, write, exit, arg_ = print, io.write, os.exit, arg
    print = function(...)
        local words = table.pack(...)
        for i = 1, words.n do words[i] = tostring(words[i]) end
        output[#output + 1] = table.concat(words, "\t") .. "\n"
    end
    io.write = function(...) output[#output + 1] = table.concat { ... } return io.stdout end
    local code
    os.exit = function(given) code = given; error "the script exits" end
    arg = { [0] = dir .. suite.script, table.unpack(suite.args or {}) }
    local ok, problem = xpcall(function() return assert(loadfile(dir .. suite.script))(table.unpack(suite.args or {})) end, debug.traceback)
    print, io.write, os.exit, arg = print_, write, exit, arg_
    local failed = not ok
    if code ~= nil then failed = not (code == 0 or code == true) end
    output = table.concat(output)
    if suite.count and (ok or code) then
        local passed, failed, lines = suite.count(output)
        if failed > 0 then tell(lines) end
        return passed, failed
    end
    local passed = suite.passed(output, failed)
    if not passed then
        tell(output)
        if failed and code == nil then tell(problem) end
    end
    return passed and 1 or 0, passed and 0 or 1
end

local function run(suite, dir)
    local path, open, loaded, globals = package.path, io.open, {}, {}
    for name in pairs(package.loaded) do loaded[name] = true end
    for name, value in pairs(_G) do globals[name] = value end
    local cwd = dir .. (suite.cwd and suite.cwd .. "/" or "")
    io.open = function(name, ...)
        local file, problem, code = open(name, ...)
        if not file and name:sub(1, 1) ~= "/" then
            -- What is read lies with the suite; what is written has a place of its own.
            local place = tostring((...)):find "[wa+]" and "/tmp/" or cwd
            file, problem, code = open(place .. name, ...)
        end
        return file, problem, code
    end
    local modules = {}
    for _, place in ipairs { dir, dir .. (suite.path or "") .. "/", dir .. "spec/" } do
        modules[#modules + 1] = place .. "?.lua;" .. place .. "?/init.lua"
    end
    for _, tool in ipairs { "busted", "luassert", "say/src", "mediator/src", "penlight/lua" } do
        local place = here .. "vendor/" .. tool .. "/"
        modules[#modules + 1] = place .. "?.lua;" .. place .. "?/init.lua"
    end
    package.path = table.concat(modules, ";") .. ";" .. here .. "?.lua;" .. path
    if suite.lua51 then unpack, loadstring = table.unpack, load end
    local lines = {}
    local function tell(line) lines[#lines + 1] = line end
    local ok, passed, failed = xpcall(suite.script and script or busted, debug.traceback, suite, dir, tell)
    package.path, io.open = path, open
    for name in pairs(package.loaded) do
        if not loaded[name] then package.loaded[name] = nil end
    end
    for name in pairs(_G) do
        if globals[name] == nil then _G[name] = nil end
    end
    for name, value in pairs(globals) do _G[name] = value end
    if not ok then
        tell(passed)
        passed, failed = 0, 1
    end
    print(("%s: %d passed, %d failed"):format(suite.name, passed, failed))
    for _, line in ipairs(lines) do print(line) end
    return passed, failed
end

-- What measures coverage need not be here.
package.preload.luacov = function() return {} end

local wanted = {}
for _, name in ipairs(arg or {}) do wanted[name] = true end
local passed, failed = 0, 0
for _, suite in ipairs(suites) do
    local dir = (next(wanted) == nil or wanted[suite.name]) and folder(suite)
    if dir then
        local p, f = run(suite, dir)
        passed, failed = passed + p, failed + f
    end
end
print(("%d passed, %d failed"):format(passed, failed))
if failed > 0 then os.exit(1) end
