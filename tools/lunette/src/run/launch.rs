//! What one run adds to an app.

use lunette_bundle::{Http, HttpLimits, Launch, MountSpec, Payload};

use crate::{app::Packed, cli::Run, problem::Problem};

/// `-e` flags as they stand: a name without a value has ours, or is left out if there is none.
pub fn environment(flags: &[(String, Option<String>)]) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    for (name, value) in flags {
        if let Some(value) = value.clone().or_else(|| std::env::var(name).ok()) {
            env.retain(|(known, _)| known != name);
            env.push((name.clone(), value));
        }
    }
    env
}

/// The launch for these flags. `rest`: the app's arguments.
pub(super) fn launch(args: &Run, rest: &[String], packed: &Packed) -> Result<Launch, Problem> {
    let plan = Payload::parse(&packed.bytes)?.plan()?;
    let granted: Vec<_> = plan.all().map(|guest| &guest.grants).collect();
    let tmpfs = args.tmpfs.iter().map(|(path, size)| MountSpec {
        path: path.clone(),
        from: None,
        writable: true,
        size: *size,
    });
    Ok(Launch {
        args: (!rest.is_empty()).then(|| rest.to_vec()),
        engine: args.engine,
        env: environment(&args.env),
        // A VM's is the VM's.
        memory: args.memory.filter(|_| args.host),
        timeout: args.timeout,
        fuel: args.fuel,
        mounts: packed.mounts.iter().cloned().chain(tmpfs).collect(),
        grants: args.network.grants(&granted),
        http: Http {
            tls: packed.tls.clone(),
            max_requests: args.http.max_requests,
            reuse: args.http.reuse,
            limits: HttpLimits::default(),
        },
        bytecode: args.allow_bytecode,
        watch: args.watch,
        repl: args.repl,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_each_variable_counts() {
        let flag = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        let env = environment(&[
            flag("A", Some("1")),
            flag("B", Some("2")),
            flag("A", Some("3")),
            flag("LUNETTE_TEST_UNSET", None),
            flag("PATH", None),
        ]);
        assert_eq!(env[..2], [("B".into(), "2".into()), ("A".into(), "3".into())]);
        assert_eq!(env[2].1, std::env::var("PATH").unwrap());
        assert_eq!(env.len(), 3);
    }
}
