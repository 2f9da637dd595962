//! `metrics`: the text that Prometheus reads.

use crate::world::{Stage, prints};

#[test]
fn the_text_is_prometheus_own() {
    let out = prints(
        r#"
        local m = require "metrics"
        local c = m.counter("requests_total", "Requests\nso \\far", { "method", "path" })
        c:inc { method = "GET", path = "/" } c:inc(2, { method = "GET", path = "/" }) c:inc { method = "PUT", path = 'a"b\\c\nd' }
        local g = m.gauge("temp", "Now") g:set(2.5) g:inc() g:dec(4)
        m.counter("idle_total", "Never")
        local h = m.histogram("time_seconds", "Took", { "code" }, { 0.1, 1 })
        for _, t in ipairs { 0.1, 0.05, 0.5, 7 } do h:observe(t, { code = 200 }) end
        m.gauge("odd", "x"):set(1/0)
        assert(m.counter("idle_total", "Never"))
        print(m.text())
        "#,
    );
    let expected = "# HELP requests_total Requests\\nso \\\\far\n# TYPE requests_total counter\n\
         requests_total{method=\"GET\",path=\"/\"} 3\n\
         requests_total{method=\"PUT\",path=\"a\\\"b\\\\c\\nd\"} 1\n\
         # HELP temp Now\n# TYPE temp gauge\ntemp -0.5\n\
         # HELP idle_total Never\n# TYPE idle_total counter\nidle_total 0\n\
         # HELP time_seconds Took\n# TYPE time_seconds histogram\n\
         time_seconds_bucket{code=\"200\",le=\"0.1\"} 2\n\
         time_seconds_bucket{code=\"200\",le=\"1\"} 3\n\
         time_seconds_bucket{code=\"200\",le=\"+Inf\"} 4\n\
         time_seconds_sum{code=\"200\"} 7.65\n\
         time_seconds_count{code=\"200\"} 4\n\
         # HELP odd x\n# TYPE odd gauge\nodd +Inf\n\n";
    assert_eq!(out, expected);
}

#[test]
fn there_is_an_end_to_the_series() {
    let out = prints(
        r#"
        local m = require "metrics"
        local c = m.counter("c", "x", { "id" })
        for i = 1, 10005 do c:inc { id = i } end
        c:inc { id = 1 }
        local text = m.text()
        print(select(2, text:gsub('\nc{', '')), text:find('c{id="1"} 2', 1, true) ~= nil, text:match "lunette_metrics_dropped_total %d+\n")
        print(#m.text())
        m.gauge("g", "x", { "v" }):set(1, { v = ("y"):rep(100000) })
        print(#m.text() < 300000)
        "#,
    );
    assert!(out.starts_with("10000\ttrue\tlunette_metrics_dropped_total 5\n"), "{out}");
    assert!(out.ends_with("true\n"), "{out}");
}

#[test]
fn misuse_is_raised() {
    for (call, words) in [
        ("m.counter('9x', '')", "\"9x\" is no name"),
        ("m.counter('a-b', '')", "\"a-b\" is no name"),
        ("m.counter('a', '', { 'b-c' })", "can't be a label's name"),
        ("m.counter('a', '', { '__b' })", "can't be a label's name"),
        ("m.histogram('a', '', { 'le' })", "can't be a label's name"),
        ("m.counter('a', '', { 'b', 'b' })", "the label b is there twice"),
        ("m.histogram('a', '', {}, { 2, 1 })", "buckets have to be numbers, each more than the one before"),
        ("m.counter('a', '') m.gauge('a', '')", "a is there already"),
        ("m.histogram('a', '') m.counter('a_sum', '')", "a_sum is a part of a histogram"),
        ("m.counter('a', ''):inc(-1)", "the counter a only grows"),
        ("m.counter('a', ''):dec()", "the counter a only grows"),
        ("m.counter('a', ''):set(1)", "a is a counter: only gauges are set"),
        ("m.counter('a', '', { 'b' }):inc()", "there is no value for b; a has the labels b"),
        ("m.counter('a', '', { 'b' }):inc { b = 1, c = 2 }", "there is no label c; a has the labels b"),
        ("m.counter('a', ''):observe(1)", "a is a counter, no histogram"),
        ("m.histogram('a', ''):inc()", "a is a histogram: it has :observe"),
    ] {
        let ran = Stage::new().run(&format!("m = require 'metrics' {call}"));
        assert!(ran.err.contains(words), "{call}: {}", ran.err);
    }
}
