-- The guard of `debug`: made of PUC's functions, hidden from them, when one of these is first called. It is handed what it
-- uses, for a script may have put something else under those names.
local puc, load, dump, error, type, integer, ipairs, pcall, tostring, sub, yield, io = ...
local metatable = puc.getmetatable

local debug = {}
local getinfo = puc.getinfo

-- May nothing of it be looked into or changed? C functions have upvalues of the host's, these here have PUC's unbounded
-- functions, and those of mlua have what it polls.
local function hidden(source, what)
  return what == "C" or source == "=[lua]" or sub(source, 1, 7) == "=__mlua"
end

local function closed(f)
  if type(f) ~= "function" then return false end
  local info = getinfo(f, "S")
  return hidden(info.source, info.what)
end

-- The function at a level is told, but not given, if it is C: it could be one that is replaced here.
function debug.getinfo(thread, ...)
  local info
  if type(thread) == "thread" then
    local level, what = ...
    info = getinfo(thread, level, what)
  else
    if integer(thread) == "integer" and thread >= 0 then thread = thread + 1 end
    info = getinfo(thread, ...)
  end
  if info and info.func and type(thread) ~= "function" and type((...)) ~= "function"
    and info.func ~= yield and closed(info.func) then
    info.func = nil
  end
  return info
end

-- Locals of a frame, unless it is hidden.
local function frame(f, thread, level, ...)
  if type(thread) == "thread" then
    if integer(level) == "integer" then
      local info = getinfo(thread, level, "S")
      if info and hidden(info.source, info.what) then return nil end
    end
    return f(thread, level, ...)
  end
  if type(thread) == "function" then return f(thread, level, ...) end
  if integer(thread) == "integer" and thread >= 0 then
    thread = thread + 2
    local info = getinfo(thread, "S")
    if info and hidden(info.source, info.what) then return nil end
  end
  return f(thread, level, ...)
end

local getlocal, setlocal = puc.getlocal, puc.setlocal
function debug.getlocal(...) local name, value = frame(getlocal, ...) return name, value end
function debug.setlocal(...) local name = frame(setlocal, ...) return name end

for _, name in ipairs { "getupvalue", "setupvalue" } do
  local original = puc[name]
  debug[name] = function(f, ...)
    if closed(f) then return nil end
    return original(f, ...)
  end
end

function debug.upvaluejoin(f, n, g, m)
  if closed(f) or closed(g) then error("bad argument #1 to 'upvaluejoin' (Lua function expected)", 2) end
  return puc.upvaluejoin(f, n, g, m)
end

-- A userdata is known by its metatable: nobody may have it, or change it.
function debug.getmetatable(value)
  if type(value) == "userdata" then return nil end
  return metatable(value)
end
function debug.setmetatable(value, meta)
  if type(value) == "userdata" then error("the metatable of a userdata can't be changed", 2) end
  return puc.setmetatable(value, meta)
end

-- Hooks are how limits hold.
function debug.gethook() return nil end
function debug.sethook(thread, hook)
  if type(thread) ~= "thread" then hook = thread end
  if hook ~= nil then error("debug.sethook: hooks are not for scripts", 2) end
end

-- The registry and the values of userdata are the host's.
function debug.getregistry() return {} end
function debug.getuservalue() return nil, false end
function debug.setuservalue() error("the values of a userdata can't be changed", 2) end

-- That of `string`.
function debug.dump(f, strip)
  if closed(f) then error("unable to dump given function", 2) end
  return dump(f, strip)
end

function debug.debug()
  while true do
    io.stderr:write("lua_debug> ")
    local line = io.stdin:read()
    if line == nil or line == "cont" then return end
    local chunk, words = load(line, "=(debug command)")
    local ok = chunk ~= nil
    if ok then ok, words = pcall(chunk) end
    if not ok then io.stderr:write(tostring(words), "\n") end
  end
end

return debug
