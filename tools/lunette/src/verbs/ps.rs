//! `lunette ps`: the VMs in the background; and one of them, for `lunette inspect`.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::{
    background::store::{Entry, State, Store},
    cli::Ps,
    exit,
    hypervisor::Backend,
    network::publish::{Published, protocol},
    problem::{Problem, printable},
    run::Us,
};

/// Lists them. What can't be read is warned about, and makes the code 125.
pub fn ps(args: &Ps, us: &Us) -> Result<u8, Problem> {
    let all = Store::of_user()?.all()?;
    let shown: Vec<_> = all.iter().flatten().filter(|entry| args.all || entry.lives()).collect();
    if args.format.json() {
        super::print_json(&Value::Array(shown.iter().map(|entry| brief(entry)).collect()))?;
    } else if us.voice.quiet {
        super::print(&shown.iter().map(|entry| format!("{}\n", entry.spec.id)).collect::<String>())?;
    } else {
        super::print(&table(&shown, SystemTime::now()))?;
    }
    let mut code = 0;
    for unreadable in all.iter().filter_map(|entry| entry.as_ref().err()) {
        us.voice.error(&unreadable.problem);
        code = exit::FAILURE;
    }
    Ok(code)
}

fn table(entries: &[&Entry], now: SystemTime) -> String {
    let heads = ["ID", "NAME", "APP", "STATUS", "PORTS"].map(str::to_owned);
    let row = |entry: &&Entry| {
        let app = entry.spec.app.rsplit_once('/').map_or(&*entry.spec.app, |(_, file)| file);
        let app = if app.is_empty() { &*entry.spec.app } else { app };
        let ports = entry.spec.published.iter().filter(|_| entry.lives()).map(Published::to_string);
        let ports = ports.collect::<Vec<_>>().join(", ");
        [entry.spec.id.clone(), entry.spec.name.clone(), printable(app), status(entry, now), ports]
    };
    let rows: Vec<_> = std::iter::once(heads).chain(entries.iter().map(row)).collect();
    let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:<width$}   ");
        }
        line += &row[4];
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// In words: `up 3 minutes`, `exited (0) 2 hours ago`.
fn status(entry: &Entry, now: SystemTime) -> String {
    let ago = |then: SystemTime| words(now.duration_since(then).unwrap_or_default());
    match (entry.ended(), &entry.state) {
        (Some(ended), _) => {
            let ago = ended.until.map(|until| format!(" {} ago", ago(until))).unwrap_or_default();
            format!("{} ({}){ago}", ended.how, ended.code)
        }
        (None, State::Running { since, .. }) => format!("up {}", ago(*since)),
        (None, _) => "starting".to_owned(),
    }
}

/// In its largest unit.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let (size, unit) = units.into_iter().find(|(size, _)| seconds >= *size).unwrap_or((1, "second"));
    let count = seconds / size;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// What a program may want to know of it.
pub fn brief(entry: &Entry) -> Value {
    let spec = &entry.spec;
    let time = |time: SystemTime| humantime::format_rfc3339_millis(time).to_string();
    let ended = entry.ended();
    let (status, since) = match (&ended, &entry.state) {
        (Some(ended), _) => ("ended", ended.since),
        (None, State::Running { since, .. }) => ("running", Some(*since)),
        (None, _) => ("starting", None),
    };
    let ports = spec.published.iter().map(|published| {
        json!({
            "host": published.host.ip().to_string(),
            "port": published.host.port(),
            "guest": published.guest,
            "protocol": protocol::name(published.protocol),
        })
    });
    json!({
        "id": spec.id,
        "name": spec.name,
        "app": spec.app,
        "status": status,
        "created": time(spec.created),
        "started": since.map(time),
        "ended": ended.as_ref().and_then(|ended| ended.until).map(time),
        "code": ended.as_ref().map(|ended| ended.code),
        "how": ended.as_ref().map(|ended| &ended.how),
        "published": ports.collect::<Vec<_>>(),
    })
}

/// All of it: [`brief`], and what it was started with.
pub fn whole(entry: &Entry) -> Value {
    let spec = &entry.spec;
    let ended = entry.ended();
    let problem = ended.as_ref().and_then(|ended| ended.problem.as_ref());
    let network = spec.network.as_ref().map(|nic| {
        let (mode, forwards) = match &nic.backend {
            Backend::User(_) => ("user", json!(null)),
            Backend::Tap(name) => ("tap", json!(name)),
            Backend::Unix { local, remote } => ("unix", json!([local, remote])),
        };
        json!({ "mode": mode, "at": forwards, "mac": nic.mac, "pcap": nic.capture })
    });
    let mut value = brief(entry);
    if let Value::Object(map) = &mut value {
        let more = json!({
            "supervisor": entry.owner().map(|owner| owner.pid),
            "problem": problem.map(|p| json!({ "what": p.what, "where": p.place, "help": p.help })),
            "machine": spec.machine,
            "accel": spec.accel,
            "memory": spec.memory,
            "image": spec.image,
            "qemu": spec.qemu,
            "words": spec.words,
            "network": network,
            "timeout-ns": spec.timeout.map(|t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)),
            "folder": entry.folder,
        });
        map.extend(more.as_object().cloned().unwrap_or_default());
    }
    value
}

/// [`whole`], for people.
pub fn text(entry: &Entry) -> String {
    let spec = &entry.spec;
    let mut out = format!("{} ({}): a VM\n", spec.name, spec.id);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<10} {}", printable(value));
    };
    line("status", &status(entry, SystemTime::now()));
    if let Some(problem) = entry.ended().and_then(|ended| ended.problem) {
        line("problem", &problem.to_string());
        line("help", &problem.help);
    }
    line("app", &spec.app);
    line("machine", &format!("{} on {}, {} MiB", spec.machine, spec.accel, spec.memory >> 20));
    line("image", &spec.image.display().to_string());
    line("qemu", &format!("{} ({})", spec.qemu_version, spec.qemu.display()));
    if let Some(nic) = &spec.network {
        let at = match &nic.backend {
            Backend::User(_) => "user".to_owned(),
            Backend::Tap(name) => format!("tap {name}"),
            Backend::Unix { local, remote } => format!("unix {},{}", local.display(), remote.display()),
        };
        line("network", &at);
    }
    spec.published.iter().for_each(|published| line("published", &published.to_string()));
    if let Some(owner) = entry.owner() {
        line("supervisor", &format!("process {}", owner.pid));
    }
    line("folder", &entry.folder.display().to_string());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        background::store::{Ended, tests::spec},
        identity::Identity,
    };

    fn entry(state: State) -> Entry {
        Entry { folder: "/state/vms/1".into(), spec: spec("1a2b".into(), "web".into()), state }
    }

    #[test]
    fn a_table_for_people() {
        let now = SystemTime::now();
        let up = entry(State::Running { owner: Identity::of_us(), since: now - Duration::from_secs(190) });
        let ended = Ended { code: 143, how: "stopped".into(), problem: None, since: None, until: Some(now) };
        let stopped = entry(State::Ended(ended));
        assert_eq!(
            table(&[&up, &stopped], now),
            "ID     NAME   APP          STATUS                        PORTS\n\
             1a2b   web    hello.wasm   up 3 minutes                  0.0.0.0:8080->80/tcp\n\
             1a2b   web    hello.wasm   stopped (143) 0 seconds ago\n"
        );
        assert_eq!(table(&[], now), "ID   NAME   APP   STATUS   PORTS\n");
        assert_eq!(words(Duration::from_secs(86_400)), "1 day");
    }

    #[test]
    fn values_for_programs() {
        let value = whole(&entry(State::Running { owner: Identity::of_us(), since: SystemTime::now() }));
        assert_eq!(
            value["published"][0],
            json!({"host": "0.0.0.0", "port": 8080, "guest": 80, "protocol": "tcp"})
        );
        assert_eq!((&value["status"], &value["code"]), (&json!("running"), &json!(null)));
        assert_eq!(value["supervisor"], std::process::id());
        assert!(value["created"].as_str().unwrap().ends_with('Z'));
        let gone = Identity { start: 1, ..Identity::of_us() };
        let value = whole(&entry(State::Starting { owner: gone }));
        assert_eq!(
            (&value["status"], &value["how"], &value["code"]),
            (&json!("ended"), &json!("lost"), &json!(137))
        );
    }
}
