-- lunette run --host test.lua

local greeting = require "greeting"

assert(greeting.to("moon") == "Hello, moon!")
print("ok")
