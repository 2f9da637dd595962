-- What of the standard library is best said in Lua. Its functions are hidden from `debug`.
local wait, bytecode, memory = ...
local error, type, select, tostring, rawget, rawlen = error, type, select, tostring, rawget, rawlen
local integer, ult = math.type, math.ult
-- Scripts may replace what is in `string`: nothing here may be called by way of it.
local find, byte, sub, format = string.find, string.byte, string.sub, string.format

-- Makes a function of a Rust one: see `native.rs` for what that returns.
local function settle(ok, ...)
  if ok == true then return ... end
  if ok == nil then
    local again, what = ...
    if not again then error("the state is closed", 2) end
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

  -- Lua's parser leaves its errors, and those of the function that it reads from, to the handler of the task: what that
  -- made of them is words again, or is not to be caught.
  local puc_load, caught = _G.load, natives.caught
  local function settled(chunk, words)
    if chunk == nil and type(words) == "userdata" then
      local told = caught(words)
      if told == nil then error(words, 0) end
      words = told
    end
    return chunk, words
  end
  local function load(...)
    return settled(puc_load(...))
  end

  -- Bytecode is not checked by anybody: a chunk is text, whatever its mode says.
  local function text_only(chunk, name, mode, ...)
    if mode == nil then
      mode = "t"
    elseif type(mode) == "string" then
      if find(mode, "b", 1, true) then
        if find(mode, "t", 1, true) then
          mode = "t"
        elseif type(chunk) ~= "string" or byte(chunk) == 27 then
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
      error(format("error loading module '%s' from file '%s':\n\t%s", name, file, words), 0)
    end
    return chunk, file
  end

  local function native_module(name)
    local cpath = package.cpath
    if type(cpath) ~= "string" then error("'package.cpath' must be a string", 0) end
    local file, tried = natives.native(name), nil
    if not file and cpath ~= "" then file, tried = searchpath(name, cpath) end
    if file then return format("file '%s' is a native module, which can't be loaded", file) end
    return tried
  end

  local function built_in()
    local names = natives.built_in()
    return names ~= "" and "built in: " .. names or nil
  end

  package.searchers = { preloaded, in_files, native_module, built_in }

  ---------------------------------------------------------------- string
  local string = _G.string
  local match, gmatch, gsub, rep = string.match, string.gmatch, string.gsub, string.rep
  local find_any, match_any, gsub_any = natives.find, natives.match, natives.gsub
  local next_match, gmatch_any, arguments, reach = natives.next, natives.gmatch, natives.arguments, natives.reach
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

  function string.gmatch(s, p, init)
    if type(s) == "string" and (init == nil or integer(init) == "integer") then
      local most = all[p] or learn(p) and all[p]
      if most and #s <= most then return gmatch(s, p, init) end
    end
    return gmatch_any(s, p, init)
  end

  local function replaced(s, from, to, value, out)
    if not value then
      out[#out + 1] = sub(s, from, to - 1)
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
    local ok
    ok, s, p, max = arguments(s, p, repl, max)
    if not ok then error(s, 2) end
    local replace = kind == "function" and called or indexed
    local anchored = byte(p) == 94
    local out, n, at, last, changed = {}, 0, 1, nil, 0
    while n < max do
      local gap = #out + 1
      out[gap] = ""
      local to, change, from = replace(repl, s, out, next_match(s, p, at, last, true))
      if not to then break end
      n, changed = n + 1, changed + change
      out[gap] = sub(s, at, from - 1)
      at, last = to, to
      if anchored then break end
    end
    if changed == 0 then return s, n end
    out[#out + 1] = sub(s, at)
    return concat(out), n
  end

  -- As C takes a number where it wants an integer.
  local tonumber, tointeger = tonumber, math.tointeger
  local function whole(x)
    if x == nil or integer(x) == "integer" then return x end
    local number = tonumber(x)
    return number and tointeger(number) or x
  end

  local LARGEST <const> = 0x7fffffff

  -- PUC's copies one by one, also what is empty.
  function string.rep(s, n, sep)
    n = whole(n)
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

  -- PUC's would not know by which name they were called.
  local function check(t, name)
    local kind = type(t)
    if kind ~= "table" and kind ~= "userdata" then
      error(format("bad argument #1 to '%s' (table expected, got %s)", name, kind), 3)
    end
  end

  function table.concat(t, sep, i, j)
    if type(t) ~= "table" then check(t, "concat") end
    i, j = whole(i), whole(j)
    if type(t) == "table" and metatable(t) == nil or (type(i) == "number" or i == nil) and type(j) == "number"
      and j - (i or 1) < LONG or type(t) ~= "table" then
      return concat(t, sep, i, j)
    end
    i, j, sep = i or 1, j or #t, sep or ""
    local parts, n = {}, 0
    for at = i, j do
      local value = t[at]
      if type(value) ~= "string" and type(value) ~= "number" then
        error(format("invalid value (at index %d) in table for 'concat'", at), 2)
      end
      n = n + 1
      parts[n] = value
    end
    return concat(parts, sep)
  end

  function table.insert(t, ...)
    if type(t) ~= "table" then check(t, "insert") end
    local n = select("#", ...)
    if n == 1 then
      local e = #t
      if integer(e) ~= "integer" then return insert(t, ...) end
      t[e + 1] = ...
      return
    end
    if n == 2 and type(t) == "table" then
      local e, pos, value = #t, ...
      pos = whole(pos)
      if integer(pos) == "integer" and integer(e) == "integer" and ult(pos - 1, e + 1) and e - pos > LONG then
        for i = e + 1, pos + 1, -1 do t[i] = t[i - 1] end
        t[pos] = value
        return
      end
    end
    return insert(t, ...)
  end

  function table.remove(t, ...)
    if type(t) ~= "table" then check(t, "remove") end
    local pos = ...
    if pos == nil and select("#", ...) == 0 then
      local e = #t
      if integer(e) ~= "integer" then return remove(t) end
      local value = t[e]
      t[e] = nil
      return value
    end
    if pos ~= nil and type(t) == "table" then
      local e = #t
      pos = whole(pos)
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
    if type(a) ~= "table" then check(a, "move") end
    f, e, t = whole(f), whole(e), whole(t)
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
    if type(t) ~= "table" then check(t, "sort") end
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
  -- What is guarded is made when it is first called: see `debug.lua`.
  local debug = { traceback = puc.traceback, setcstacklimit = puc.setcstacklimit, upvalueid = puc.upvalueid }
  local dump, yield, io, ipairs, pcall = string.dump, coroutine.yield, _G.io, ipairs, pcall
  local guards

  local function make()
    return natives.guards(puc, text_only, dump, error, type, integer, ipairs, pcall, tostring, sub, yield, io)
  end

  local function guard(table, name)
    table[name] = function(...)
      if not guards then guards = make() end
      return guards[name](...)
    end
  end

  for name in pairs(puc) do
    if not debug[name] then guard(debug, name) end
  end
  guard(string, "dump")
  _G.debug, loaded.debug = debug, debug
end

return native, rest
