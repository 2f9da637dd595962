---@meta metrics

--- Counters, gauges and histograms, and their text as Prometheus reads it.
local metrics = {}

---@alias metrics.Values table<string, string|number>

---@class metrics.Counter
local Counter = {}

---@param n? number 1 unless told otherwise
---@param values? metrics.Values one for each label
function Counter:inc(n, values) end

---@class metrics.Gauge
local Gauge = {}

---@param n? number
---@param values? metrics.Values
function Gauge:inc(n, values) end

---@param n? number
---@param values? metrics.Values
function Gauge:dec(n, values) end

---@param n number
---@param values? metrics.Values
function Gauge:set(n, values) end

---@class metrics.Histogram
local Histogram = {}

---@param n number
---@param values? metrics.Values
function Histogram:observe(n, values) end

--- The same again gives the same metric.
---@param name string
---@param help string
---@param labels? string[]
---@return metrics.Counter
function metrics.counter(name, help, labels) end

---@param name string
---@param help string
---@param labels? string[]
---@return metrics.Gauge
function metrics.gauge(name, help, labels) end

---@param name string
---@param help string
---@param labels? string[]
---@param buckets? number[] upper bounds; seconds unless told otherwise
---@return metrics.Histogram
function metrics.histogram(name, help, labels, buckets) end

--- All of them, in the text format 0.0.4.
---@return string
function metrics.text() end

return metrics
