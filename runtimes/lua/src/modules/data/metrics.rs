//! `metrics`: counters, gauges and histograms, and their text as Prometheus reads it.
//!
//! `counter(name, help [, labels])`, `gauge(…)`, `histogram(name, help [, labels [, buckets]])`, where `labels` is a list of their
//! names; the same again gives the same metric. `:inc([n] [, values])`, `:dec` and `:set(n [, values])` of gauges, `:observe(n [,
//! values])` of histograms, where `values` is a table with a value for each label. `metrics.text()` is all of them, in the
//! text format 0.0.4.
//!
//! Promises: there are at most [`SERIES`] series, whatever values come from outside; what would be one more is not
//! counted, but that it was not is (`lunette_metrics_dropped_total`).

use std::{cell::RefCell, collections::BTreeMap, fmt::Write, rc::Rc};

use mlua::{Lua, Table, UserData, UserDataMethods, Value};

use crate::methods::Methods as _;
use crate::world::World;

/// How many series there can be in all.
const SERIES: usize = 10_000;
/// A label's value is cut at this many bytes.
const LONGEST: usize = 256;
/// Seconds, as Prometheus' own libraries have them.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

pub(super) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    let registry = world.kept.get::<Registry>();
    for (name, kind) in [("counter", Kind::Counter), ("gauge", Kind::Gauge), ("histogram", Kind::Histogram)] {
        let registry = registry.clone();
        let make = move |_: &Lua, (metric, help, labels, buckets): Wanted| {
            let buckets = match (kind, buckets) {
                (Kind::Histogram, Some(buckets)) => buckets,
                (Kind::Histogram, None) => BUCKETS.to_vec(),
                _ => Vec::new(),
            };
            let made = registry.family(kind, &metric, help, labels.unwrap_or_default(), buckets);
            made.map_err(|words| mlua::Error::runtime(format!("metrics.{name}: {words}")))
        };
        module.raw_set(name, lua.create_function(make)?)?;
    }
    module.raw_set("text", lua.create_function(move |_, ()| Ok(registry.text()))?)?;
    Ok(Value::Table(module))
}

/// What a metric is asked for by: its name, help, labels and buckets.
type Wanted = (String, String, Option<Vec<String>>, Option<Vec<f64>>);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

#[derive(Default)]
struct Registry {
    families: RefCell<Vec<Rc<Family>>>,
    /// How many series there are, and how often there was no room for one.
    series: RefCell<(usize, u64)>,
}

/// A metric with all its series.
struct Family {
    kind: Kind,
    name: String,
    help: String,
    labels: Vec<String>,
    buckets: Vec<f64>,
    series: RefCell<BTreeMap<Vec<String>, Series>>,
}

#[derive(Clone, Default)]
struct Series {
    /// The value; of a histogram, the sum.
    value: f64,
    count: u64,
    /// What fell into each bucket and not into the ones before.
    buckets: Vec<u64>,
}

impl Registry {
    fn family(
        self: &Rc<Self>,
        kind: Kind,
        name: &str,
        help: String,
        labels: Vec<String>,
        buckets: Vec<f64>,
    ) -> Result<Metric, String> {
        if !is_name(name, ":_") {
            return Err(format!("{name:?} is no name: letters, digits, _ and : are, not first a digit"));
        }
        for (index, label) in labels.iter().enumerate() {
            if !is_name(label, "_") || label.starts_with("__") || kind == Kind::Histogram && label == "le" {
                return Err(format!("{label:?} can't be a label's name"));
            }
            if labels[..index].contains(label) {
                return Err(format!("the label {label} is there twice"));
            }
        }
        if !buckets.iter().all(|bound| bound.is_finite()) || !buckets.is_sorted_by(|one, other| one < other) {
            return Err("buckets have to be numbers, each more than the one before".into());
        }
        let mut families = self.families.borrow_mut();
        if let Some(family) = families.iter().find(|family| family.name == name) {
            if (family.kind, &family.labels, &family.buckets) != (kind, &labels, &buckets) {
                let kind = family.kind.name();
                return Err(format!(
                    "{name} is there already: a {kind} with other labels or buckets, or of another kind"
                ));
            }
            return Ok(Metric { registry: self.clone(), family: family.clone() });
        }
        let taken = |suffix: &str| name.strip_suffix(suffix);
        let clash = families.iter().any(|family| {
            family.kind == Kind::Histogram
                && ["_bucket", "_sum", "_count"].iter().any(|suffix| taken(suffix) == Some(&family.name))
        });
        if clash {
            return Err(format!("{name} is a part of a histogram"));
        }
        if families.len() >= SERIES {
            return Err(format!("there are {SERIES} metrics already"));
        }
        let series = RefCell::default();
        let family = Rc::new(Family { kind, name: name.to_owned(), help, labels, buckets, series });
        families.push(family.clone());
        let metric = Metric { registry: self.clone(), family };
        // What has no labels is there from the start.
        if metric.family.labels.is_empty() {
            metric.change(Vec::new(), |_| {});
        }
        Ok(metric)
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for family in &*self.families.borrow() {
            family.text(&mut out);
        }
        let dropped = self.series.borrow().1;
        if dropped > 0 {
            out += "# HELP lunette_metrics_dropped_total Changes for which there was no room for one more series\n";
            out += "# TYPE lunette_metrics_dropped_total counter\n";
            out += &format!("lunette_metrics_dropped_total {dropped}\n");
        }
        out
    }
}

fn is_name(name: &str, also: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|char| char.is_ascii_alphanumeric() || also.contains(char))
}

impl Family {
    fn text(&self, out: &mut String) {
        let Self { name, .. } = self;
        let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
        let kind = self.kind.name();
        write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect("a string takes it");
        for (values, series) in &*self.series.borrow() {
            if self.kind != Kind::Histogram {
                self.line(out, "", values, None, series.value);
                continue;
            }
            let mut count = 0;
            for (bound, inside) in self.buckets.iter().zip(&series.buckets) {
                count += inside;
                self.line(out, "_bucket", values, Some(*bound), count as f64);
            }
            self.line(out, "_bucket", values, Some(f64::INFINITY), series.count as f64);
            self.line(out, "_sum", values, None, series.value);
            self.line(out, "_count", values, None, series.count as f64);
        }
    }

    fn line(&self, out: &mut String, suffix: &str, values: &[String], bound: Option<f64>, value: f64) {
        *out += &self.name;
        *out += suffix;
        let mut labels: Vec<_> = (self.labels.iter().zip(values))
            .map(|(label, value)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                format!("{label}=\"{value}\"")
            })
            .collect();
        labels.extend(bound.map(|bound| format!("le=\"{}\"", Shown(bound))));
        if !labels.is_empty() {
            write!(out, "{{{}}}", labels.join(",")).expect("a string takes it");
        }
        writeln!(out, " {}", Shown(value)).expect("a string takes it");
    }
}

/// A number as Go reads it.
struct Shown(f64);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number if number.abs() >= 1e21 => write!(f, "{number:e}"),
            number => write!(f, "{number}"),
        }
    }
}

/// A metric in a script's hands.
struct Metric {
    registry: Rc<Registry>,
    family: Rc<Family>,
}

impl Metric {
    /// Changes one of its series; makes it if there is room for one.
    fn change(&self, values: Vec<String>, change: impl FnOnce(&mut Series)) {
        let mut all = self.family.series.borrow_mut();
        if let Some(series) = all.get_mut(&values) {
            return change(series);
        }
        let (count, dropped) = &mut *self.registry.series.borrow_mut();
        if *count == SERIES {
            *dropped += 1;
            return;
        }
        *count += 1;
        let buckets = vec![0; self.family.buckets.len()];
        change(all.entry(values).or_insert(Series { buckets, ..Series::default() }));
    }

    /// The values of the labels, in their order.
    fn values(&self, call: &str, table: Option<&Table>) -> mlua::Result<Vec<String>> {
        let Family { name, labels, .. } = &*self.family;
        let known = || match labels.is_empty() {
            true => format!("{name} has no labels"),
            false => format!("{name} has the labels {}", labels.join(", ")),
        };
        let mut values = Vec::with_capacity(labels.len());
        for label in labels {
            let value = table.map_or(Ok(Value::Nil), |table| table.raw_get(label.as_str()))?;
            if value.is_nil() {
                return Err(mlua::Error::runtime(format!(
                    "{call}: there is no value for {label}; {}",
                    known()
                )));
            }
            let mut value = match &value {
                Value::String(text) => text.to_string_lossy(),
                other => other.to_string()?,
            };
            value.truncate(value.floor_char_boundary(LONGEST));
            values.push(value);
        }
        if let Some(table) = table {
            for pair in table.pairs::<Value, Value>() {
                let name = pair?.0.to_string()?;
                if !labels.contains(&name) {
                    return Err(mlua::Error::runtime(format!(
                        "{call}: there is no label {name}; {}",
                        known()
                    )));
                }
            }
        }
        Ok(values)
    }

    /// Adds to it, one if nothing is said: `inc()`, `inc(2)`, `inc(labels)`, `inc(2, labels)`.
    fn add(&self, call: &str, sign: f64, first: &Value, labels: Option<&Table>) -> mlua::Result<()> {
        let (amount, labels) = match first {
            Value::Nil => (1.0, labels),
            Value::Table(labels) => (1.0, Some(labels)),
            Value::Integer(amount) => (*amount as f64, labels),
            Value::Number(amount) => (*amount, labels),
            other => {
                let words = format!("{call}: the amount can't be a {}", other.type_name());
                return Err(mlua::Error::runtime(words));
            }
        };
        if self.family.kind == Kind::Histogram {
            return Err(mlua::Error::runtime(format!(
                "{call}: {} is a histogram: it has :observe",
                self.family.name
            )));
        }
        if self.family.kind == Kind::Counter && (sign < 0.0 || amount.is_nan() || amount < 0.0) {
            return Err(mlua::Error::runtime(format!("{call}: the counter {} only grows", self.family.name)));
        }
        self.change(self.values(call, labels)?, |series| series.value += sign * amount);
        Ok(())
    }
}

impl UserData for Metric {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.method("inc", |_, metric, (first, labels): (Value, Option<Table>)| {
            metric.add("inc", 1.0, &first, labels.as_ref())
        });
        methods.method("dec", |_, metric, (first, labels): (Value, Option<Table>)| {
            metric.add("dec", -1.0, &first, labels.as_ref())
        });
        methods.method("set", |_, metric, (value, labels): (f64, Option<Table>)| {
            if metric.family.kind != Kind::Gauge {
                let (name, kind) = (&metric.family.name, metric.family.kind.name());
                return Err(mlua::Error::runtime(format!("set: {name} is a {kind}: only gauges are set")));
            }
            metric.change(metric.values("set", labels.as_ref())?, |series| series.value = value);
            Ok(())
        });
        methods.method("observe", |_, metric, (value, labels): (f64, Option<Table>)| {
            let Family { kind, name, buckets, .. } = &*metric.family;
            if *kind != Kind::Histogram {
                let kind = kind.name();
                return Err(mlua::Error::runtime(format!("observe: {name} is a {kind}, no histogram")));
            }
            metric.change(metric.values("observe", labels.as_ref())?, |series| {
                series.value += value;
                series.count += 1;
                if let Some(bucket) = buckets.iter().position(|bound| value <= *bound) {
                    series.buckets[bucket] += 1;
                }
            });
            Ok(())
        });
    }
}
