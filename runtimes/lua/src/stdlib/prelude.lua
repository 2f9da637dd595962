-- What of the standard library is best said in Lua. Its functions are hidden from `debug`.
local wait, bytecode, memory = ...
local error, type, select, tostring, rawget, rawlen = error, type, select, tostring, rawget, rawlen
local integer, ult = math.type, math.ult

-- Makes a function of a Rust one: see `native.rs` for what that returns.
local function settle(ok, ...)
  if ok == true then return ... end
  if ok == nil then
    local again, what = ...
    wait(what)
    return settle(again())
  elseif ok then
    for _ = 1, ok do end
    return ...
  end
  local words, cost = ...
  for _ = 1, cost or 0 do end
  error(words, 2)
end

local function native(f)
  return function(...) return settle(f(...)) end
end

local function rest(_G, natives)
  local puc = natives.debug

  ---------------------------------------------------------------- print, load
  local put, concat = natives.put, table.concat
  function _G.print(...)
    local n = select("#", ...)
    if n == 1 then return put(tostring((...)) .. "\n") end
    local words = { ... }
    for i = 1, n do words[i] = tostring(words[i]) end
    return put(concat(words, "\t", 1, n) .. "\n")
  end

  -- Bytecode is not checked by anybody: a chunk is text, whatever its mode says.
  local load = _G.load
  local function text_only(chunk, name, mode, ...)
    if mode == nil then
      mode = "t"
    elseif type(mode) == "string" then
      if mode:find("b", 1, true) then
        if mode:find("t", 1, true) then
          mode = "t"
        elseif type(chunk) ~= "string" or chunk:byte() == 27 then
          return nil, "attempt to load a binary chunk (mode is 't')"
        end
      end
    end
    if type(chunk) ~= "string" and type(chunk) ~= "function" then
      error("bad argument #1 to 'load' (function expected, got " .. type(chunk) .. ")", 2)
    end
    return load(chunk, name, mode, ...)
  end
  if bytecode then text_only = load end
  _G.load = text_only

  local source = natives.source
  local function loadfile(file, mode, ...)
    local text, name = source(file)
    if not text then return nil, name end
    return text_only(text, name, mode, ...)
  end
  _G.loadfile = loadfile

  function _G.dofile(file)
    local chunk, words = loadfile(file)
    if not chunk then error(words, 0) end
    return chunk()
  end

  ---------------------------------------------------------------- package
  local package = _G.package
  local loaded, preload, searchpath = package.loaded, package.preload, package.searchpath

  local function preloaded(name)
    local loader = preload[name]
    if loader ~= nil then return loader, ":preload:" end
    return "no field package.preload['" .. name .. "']"
  end

  local function in_files(name)
    local path = package.path
    if type(path) ~= "string" then error("'package.path' must be a string", 0) end
    local file, tried = searchpath(name, path)
    if not file then return tried end
    local chunk, words = loadfile(file)
    if not chunk then
      error(("error loading module '%s' from file '%s':\n\t%s"):format(name, file, words), 0)
    end
    return chunk, file
  end

  local function native_module(name)
    local cpath = package.cpath
    if type(cpath) ~= "string" then error("'package.cpath' must be a string", 0) end
    local file, tried = natives.native(name), nil
    if not file and cpath ~= "" then file, tried = searchpath(name, cpath) end
    if file then return ("file '%s' is a native module, which can't be loaded"):format(file) end
    return tried
  end

  local function built_in()
    local names = natives.built_in()
    return names ~= "" and "built in: " .. names or nil
  end

  package.searchers = { preloaded, in_files, native_module, built_in }

  -- Unlike PUC's, what a module does when it is loaded may wait.
  function _G.require(name)
    if type(name) ~= "string" then
      if type(name) ~= "number" then
        error("bad argument #1 to 'require' (string expected, got " .. type(name) .. ")", 2)
      end
      name = tostring(name)
    end
    local module = loaded[name]
    if module then return module end
    local searchers = package.searchers
    if type(searchers) ~= "table" then error("'package.searchers' must be a table", 2) end
    local tried = ""
    for i = 1, math.maxinteger do
      local searcher = rawget(searchers, i)
      if searcher == nil then error(("module '%s' not found:%s"):format(name, tried), 2) end
      local loader, extra = searcher(name)
      if type(loader) == "function" then
        local made = loader(name, extra)
        if made ~= nil then
          loaded[name] = made
        elseif loaded[name] == nil then
          loaded[name] = true
        end
        return loaded[name], extra
      elseif type(loader) == "string" then
        tried = tried .. "\n\t" .. loader
      end
    end
  end

  ---------------------------------------------------------------- string
  local string = _G.string
  local find, match, gmatch, gsub, rep = string.find, string.match, string.gmatch, string.gsub, string.rep
  local find_any, match_any, gsub_any = natives.find, natives.match, natives.gsub
  local next_match, reach = natives.next, natives.reach
  -- How long a subject may be for PUC's matcher, by pattern: for one match, for all.
  local once, all, known = {}, {}, 0

  local function learn(p)
    if type(p) ~= "string" or #p > 200 then return end
    if known == 1000 then once, all, known = {}, {}, 0 end
    known = known + 1
    once[p], all[p] = reach(p)
    return true
  end

  function string.find(s, p, init, plain)
    if type(s) == "string" and (init == nil or integer(init) == "integer") then
      if plain then
        if type(p) == "string" and #s <= 1000 then return find(s, p, init, true) end
      else
        local most = once[p] or learn(p) and once[p]
        if most and #s <= most then return find(s, p, init) end
      end
    end
    return find_any(s, p, init, plain)
  end

  function string.match(s, p, init)
    if type(s) == "string" and (init == nil or integer(init) == "integer") then
      local most = once[p] or learn(p) and once[p]
      if most and #s <= most then return match(s, p, init) end
    end
    return match_any(s, p, init)
  end

  local function each(s, p, at, from, to, ...)
    at[1], at[2] = to or #s + 2, to
    return ...
  end

  function string.gmatch(s, p, init)
    if type(s) == "string" and (init == nil or integer(init) == "integer") then
      local most = all[p] or learn(p) and all[p]
      if most and #s <= most then return gmatch(s, p, init) end
    end
    -- Checks the arguments, and no more.
    find_any(s, p, init, true)
    s, p = tostring(s), tostring(p)
    local from = init and init // 1 | 0 or 1
    if from < 0 then from = #s + from + 1 end
    if from < 1 then from = 1 end
    local at = { from, nil }
    return function()
      if at[1] > #s + 1 then return nil end
      return each(s, p, at, next_match(s, p, at[1], at[2]))
    end
  end

  local function replaced(s, from, to, value, out)
    if not value then
      out[#out + 1] = s:sub(from, to - 1)
      return 0
    end
    local kind = type(value)
    if kind ~= "string" and kind ~= "number" then
      error("invalid replacement value (a " .. kind .. ")", 4)
    end
    out[#out + 1] = value
    return 1
  end

  local function called(repl, s, out, from, to, ...)
    if not from then return end
    return to, replaced(s, from, to, repl(...), out), from
  end

  local function indexed(repl, s, out, from, to, key)
    if not from then return end
    return to, replaced(s, from, to, repl[key], out), from
  end

  function string.gsub(s, p, repl, max)
    local kind = type(repl)
    if type(s) == "string" and (max == nil or integer(max) == "integer") then
      local most = all[p] or learn(p) and all[p]
      if most and #s <= most and (kind == "string" or kind == "function" or kind == "table") then
        return gsub(s, p, repl, max)
      end
    end
    if kind == "string" or kind == "number" then return gsub_any(s, p, repl, max) end
    if kind ~= "function" and kind ~= "table" then
      error("bad argument #3 to 'gsub' (string/function/table expected, got " .. kind .. ")", 2)
    end
    gsub_any(s, "", "", max and 0)
    gsub_any("", p, "", 0)
    s, p = tostring(s), tostring(p)
    if max ~= nil then gsub_any("", "", "", max) end
    max = max and max // 1 | 0 or #s + 1
    local replace = kind == "function" and called or indexed
    local anchored = p:byte() == 94
    local out, n, at, last, changed = {}, 0, 1, nil, 0
    while n < max do
      local gap = #out + 1
      out[gap] = ""
      local to, change, from = replace(repl, s, out, next_match(s, p, at, last, true))
      if not to then break end
      n, changed = n + 1, changed + change
      out[gap] = s:sub(at, from - 1)
      at, last = to, to
      if anchored then break end
    end
    if changed == 0 then return s, n end
    out[#out + 1] = s:sub(at)
    return concat(out), n
  end

  local LARGEST <const> = 0x7fffffff

  -- PUC's copies one by one, also what is empty.
  function string.rep(s, n, sep)
    if integer(n) == "integer" and n > 1000 and type(s) == "string" and (sep == nil or type(sep) == "string") then
      sep = sep or ""
      local one = #s + #sep
      if one == 0 then return "" end
      if one > LARGEST // n then error("resulting string too large", 2) end
      if one * n > memory then error("not enough memory", 0) end
      if one < 100 then
        -- In pieces, so that few are copied.
        local many = 1000
        local piece = rep(s, many, sep)
        local whole, left = rep(piece, n // many, sep), n % many
        if left == 0 then return whole end
        return whole .. sep .. rep(s, left, sep)
      end
    end
    if type(s) ~= "string" and type(s) ~= "number" then
      error("bad argument #1 to 'rep' (string expected, got " .. type(s) .. ")", 2)
    end
    return rep(s, n, sep)
  end

  ---------------------------------------------------------------- table
  -- PUC's loops ask nobody: what is long, or has a length of its own making, is looped over here.
  local table = _G.table
  local insert, remove, move, sort = table.insert, table.remove, table.move, table.sort
  local metatable = puc.getmetatable
  local LONG = 50000

  function table.concat(t, sep, i, j)
    if type(t) == "table" and metatable(t) == nil or (type(i) == "number" or i == nil) and type(j) == "number"
      and j - (i or 1) < LONG or type(t) ~= "table" then
      return concat(t, sep, i, j)
    end
    i, j, sep = i or 1, j or #t, sep or ""
    local parts, n = {}, 0
    for at = i, j do
      local value = t[at]
      if type(value) ~= "string" and type(value) ~= "number" then
        error(("invalid value (at index %d) in table for 'concat'"):format(at), 2)
      end
      n = n + 1
      parts[n] = value
    end
    return concat(parts, sep)
  end

  function table.insert(t, ...)
    local n = select("#", ...)
    if n == 2 and type(t) == "table" then
      local e, pos, value = #t, ...
      if integer(pos) == "integer" and integer(e) == "integer" and ult(pos - 1, e + 1) and e - pos > LONG then
        for i = e + 1, pos + 1, -1 do t[i] = t[i - 1] end
        t[pos] = value
        return
      end
    end
    return insert(t, ...)
  end

  function table.remove(t, ...)
    local pos = ...
    if pos ~= nil and type(t) == "table" then
      local e = #t
      if integer(pos) == "integer" and integer(e) == "integer" and pos > 0 and e - pos > LONG then
        local value = t[pos]
        for i = pos, e - 1 do t[i] = t[i + 1] end
        t[e] = nil
        return value
      end
    end
    return remove(t, ...)
  end

  function table.move(a, f, e, t, b)
    if integer(f) == "integer" and integer(e) == "integer" and integer(t) == "integer" and e >= f
      and (f <= 0 or e - f > LONG) and (f > 0 or e < math.maxinteger + f) and t <= math.maxinteger - (e - f)
      and e - f > LONG and type(a) == "table" and (b == nil or type(b) == "table") then
      local to = b or a
      if t > e or t <= f or b ~= nil and a ~= b then
        for i = 0, e - f do to[t + i] = a[f + i] end
      else
        for i = e - f, 0, -1 do to[t + i] = a[f + i] end
      end
      return to
    end
    return move(a, f, e, t, b)
  end

  local function less(a, b) return a < b end

  function table.sort(t, before)
    if type(t) == "table" and (before == nil or type(before) == "function") then
      local n = #t
      if integer(n) == "integer" and n > LONG then
        if before == nil then
          before = less
        elseif puc.getinfo(before, "S").what == "C" then
          local c = before
          before = function(a, b) return c(a, b) end
        end
      end
    end
    return sort(t, before)
  end

  ---------------------------------------------------------------- debug
  local debug = {}
  local getinfo, sub, yield = puc.getinfo, string.sub, coroutine.yield

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

  debug.traceback, debug.setcstacklimit, debug.upvalueid = puc.traceback, puc.setcstacklimit, puc.upvalueid

  local dump = string.dump
  function string.dump(f, strip)
    if closed(f) then error("unable to dump given function", 2) end
    return dump(f, strip)
  end

  local io, pcall = _G.io, pcall
  function debug.debug()
    while true do
      io.stderr:write("lua_debug> ")
      local line = io.stdin:read()
      if line == nil or line == "cont" then return end
      local chunk, words = text_only(line, "=(debug command)")
      local ok = chunk ~= nil
      if ok then ok, words = pcall(chunk) end
      if not ok then io.stderr:write(tostring(words), "\n") end
    end
  end

  _G.debug, loaded.debug = debug, debug
end

return native, rest
