-- Which suites there are: of modules in `vendor`, and in `fetched` where that exists. Each has a name, the folder that it lies
-- in, where its modules are, and either specs for busted or a script and what its output says at its end. `lua51`: it asks for
-- globals that Lua 5.1 had.

local function summary(word)
    return function(output, failed)
        return output:find(word, 1, true) and not failed
    end
end

return {
    { name = "say", path = "src", specs = { "spec/say_spec.lua" } },
    { name = "mediator", path = "src", specs = { "spec/mediator_spec.lua" } },
    {
        name = "luassert",
        specs = {
            "spec/assertions_spec.lua",
            "spec/formatters_spec.lua",
            "spec/matchers_spec.lua",
            "spec/mocks_spec.lua",
            "spec/output_spec.lua",
            "spec/spies_spec.lua",
            "spec/state_spec.lua",
            "spec/stub_spec.lua",
        },
    },
    { name = "inspect", specs = { "spec/inspect_spec.lua" } },
    { name = "binaryheap", path = "src", specs = { "spec/binaryheap_spec.lua", "spec/dijkstras_algorithm_spec.lua" } },
    {
        name = "dkjson",
        script = "jsontest.lua",
        -- It prints what is wrong, and some things for information.
        passed = function(output, failed)
            local wrong = false
            for line in output:gmatch "[^\n]+" do
                local known = line:find "^sparse array" or line:find "^mixed table" or line:find " is converted to:"
                wrong = wrong or not (known or line:find "^test could not switch to locale")
            end
            return not wrong and not failed
        end,
    },
    {
        name = "argparse",
        path = "src",
        specs = {
            "spec/actions_spec.lua",
            "spec/arguments_spec.lua",
            "spec/commands_spec.lua",
            "spec/convert_spec.lua",
            "spec/default_spec.lua",
            "spec/help_spec.lua",
            "spec/invalid_property_spec.lua",
            "spec/mutex_spec.lua",
            "spec/options_spec.lua",
            "spec/pparse_spec.lua",
            "spec/tip_spec.lua",
            "spec/usage_spec.lua",
        },
    },
    {
        name = "cjson",
        path = "lua",
        script = "tests/test.lua",
        cwd = "tests",
        lua51 = true,
        args = { "example1.json", "example2.json", "example3.json", "example4.json", "example5.json", "numbers.json" },
        -- A file of its data is made by Perl; it was written for Lua 5.1, where an error did not tell the function's name (in
        -- PUC's 5.4, nine of its tests fail for that).
        count = function(output)
            local passed, failed, lines = 0, 0, {}
            for test in (output .. "\n==>"):gmatch "==> Test %[%d+%] (.-)\n%f[=]" do
                local name, verdict = test:match "^([^\n]*): (%u+)\n"
                local known = test:find("%[Expected:error%] { \"bad argument #%d to '%?'") or test:find "Failed to load utf8.dat"
                if verdict == "PASS" then
                    passed = passed + 1
                elseif not known then
                    failed = failed + 1
                    lines[#lines + 1] = "    " .. test:sub(1, 1000)
                end
            end
            return passed, failed, table.concat(lines, "\n")
        end,
    },

    -- Fetched.
    { name = "lpeg", script = "test.lua", passed = summary "OK" },
    {
        name = "luaunit",
        script = "run_unit_tests.lua",
        count = function(output)
            local ran, passed = output:match "Ran (%d+) tests in [%d.]+ seconds, (%d+) success"
            return tonumber(passed) or 0, ran and tonumber(ran) - tonumber(passed) or 1, output
        end,
    },
    {
        name = "moses",
        specs = {
            "spec/array_spec.lua",
            "spec/chaining_spec.lua",
            "spec/func_spec.lua",
            "spec/import_spec.lua",
            "spec/object_spec.lua",
            "spec/op_spec.lua",
            "spec/table_spec.lua",
        },
    },
    { name = "fifo", specs = { "spec/fifo_spec.lua" } },
    -- Without the spec that looks for busted's own command line.
    { name = "penlight", path = "lua", all = "spec", except = "app_spec.lua" },
}
