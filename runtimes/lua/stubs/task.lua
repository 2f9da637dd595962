---@meta task

--- Tasks: what runs beside each other in one script. A call that waits suspends its task and nothing else.
local task = {}

---@class task.Task
local Task = {}

--- Waits until it has ended, and gives what its function returned; or `nil` and why there is none: its error, `"cancelled"`,
--- `"timeout"`.
---@async
---@param timeout? number seconds
---@return true|nil ok
---@return any ... results, or the error
function Task:join(timeout) end

--- Ends it where it waits, and closes what it has open.
function Task:cancel() end

---@return "running"|"done"|"failed"
function Task:status() end

---@class task.Timer
local Timer = {}

--- It does not run again.
function Timer:cancel() end

--- What tasks hand to each other, in order.
---@class task.Channel
local Channel = {}

--- Waits until there is room.
---@async
---@param value any not `nil`
---@param timeout? number seconds
---@return true|nil ok
---@return "timeout"|"closed"|nil err
function Channel:send(value, timeout) end

--- Waits until there is a value.
---@async
---@param timeout? number seconds
---@return any value
---@return "timeout"|"closed"|nil err
function Channel:recv(timeout) end

--- Nothing more is sent; what is in it can still be received.
function Channel:close() end

--- Runs a function as a task of its own. Sockets among its arguments become the new task's.
---@param f function
---@param ... any
---@return task.Task
function task.spawn(f, ...) end

--- The task that runs.
---@return task.Task
function task.self() end

---@async
---@param seconds number
function task.sleep(seconds) end

--- Lets the other tasks run.
---@async
function task.yield() end

--- Calls a function later.
---@param seconds number
---@param f function
---@param ... any
---@return task.Timer
function task.after(seconds, f, ...) end

--- Calls a function again and again.
---@param seconds number
---@param f function
---@param ... any
---@return task.Timer
function task.every(seconds, f, ...) end

---@param room? integer values that may wait in it; 0 unless told otherwise: who sends waits for who receives
---@return task.Channel
function task.channel(room) end

--- Calls a function, but for no longer than that.
---@async
---@param seconds number
---@param f function
---@param ... any
---@return any ... its results, or `nil, "timeout"`
function task.timeout(seconds, f, ...) end

--- Runs all of them at once, and waits for all.
---@async
---@param functions function[]
---@return any ...
function task.all(functions) end

--- Runs all of them at once; the first that ends wins, the others are cancelled.
---@async
---@param functions function[]
---@return any ...
function task.race(functions) end

return task
