//! A guest's directories: the bundle's files where they lie, and what begins empty. Each guest has a file system of its own.

use std::sync::Arc;

use lunette_bundle::{Bundle, Entry, GuestPlan, HELP, Kind, MANIFEST};
use lunette_hostcalls::{
    Errno, Preopen, RamFs,
    ramfs::{BuildError, MountId},
};

use crate::{Refusal, Services};

/// The guest's directories, in one file system in memory.
pub(crate) fn preopens(
    bundle: Option<&Bundle<'static>>,
    plan: &GuestPlan,
    services: &Services,
) -> Result<Vec<Preopen>, Refusal> {
    let alone = alone(bundle, plan);
    let files = Arc::new(RamFs::new());
    let mut preopens = Vec::with_capacity(plan.mounts.len());
    for mount in &plan.mounts {
        let limit = mount.writable.then(|| mount.limit.unwrap_or(services.mount_size));
        let place = mount.path.starts_with('/').then(|| normal(&mount.path));
        let refused = |errno: Errno| {
            let help = "give it a path of its own, absolute and without `.` or `..`";
            Refusal(format!("the directory {:?} can't be mounted: {errno}{HELP}{help}", mount.path))
        };
        let (id, root) = files.add_mount(place.as_deref(), mount.writable, limit).map_err(refused)?;
        if let (Some(bundle), Some(from)) = (bundle, mount.from.as_deref()) {
            fill(&files, id, bundle, from).map_err(|error| {
                Refusal(format!("the bundle's {error}{HELP}make it again with `lunette build`"))
            })?;
        }
        if alone && !mount.writable {
            files.set_empty_handed(id);
        }
        preopens.push(Preopen { name: mount.path.clone(), files: files.clone(), root });
    }
    Ok(preopens)
}

/// Did the module come without files, and was it given no directory? Then what it looks for at `/` is not missing
/// but was never granted: so says every other host to a program without directories.
fn alone(bundle: Option<&Bundle<'_>>, plan: &GuestPlan) -> bool {
    let brought = |entry: &Entry<'_>| entry.path != plan.main && entry.path != MANIFEST;
    let files = bundle.is_some_and(|bundle| bundle.visible().any(brought));
    let given = plan.mounts.iter().any(|mount| {
        mount.from.as_deref().is_some_and(|from| !from.is_empty()) || !["/", "/tmp"].contains(&&*mount.path)
    });
    !files && !given
}

/// `/data/` and `/data` are one place.
fn normal(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

/// Puts a folder of the bundle (`""`: all that a guest may see) into a mount. File data stays in the bundle.
fn fill(files: &RamFs, mount: MountId, bundle: &Bundle<'static>, from: &str) -> Result<(), BuildError> {
    let insert = |path: &str, entry: &Entry<'static>| {
        let modified = entry.modified.saturating_mul(1_000_000_000);
        match entry.kind {
            Kind::File(data) => files.insert_file(mount, path, data, modified),
            Kind::Directory => files.insert_dir(mount, path, modified),
            Kind::Symlink(target) => files.insert_symlink(mount, path, target, modified),
        }
        .map(|_| ())
    };
    if from.is_empty() {
        bundle.visible().try_for_each(|entry| insert(entry.path, entry))
    } else {
        bundle.under(from).try_for_each(|(path, entry)| insert(path, entry))
    }
}

#[cfg(test)]
mod tests {
    use lunette_bundle::{Launch, Manifest, MountSpec, Plan};

    use super::*;

    #[test]
    fn a_module_is_alone_until_it_is_given_a_directory() {
        let plan = |paths: &[&str]| {
            let mounts = paths.iter().map(|path| MountSpec { path: (*path).into(), ..MountSpec::default() });
            let launch = Launch { mounts: mounts.collect(), ..Launch::default() };
            Plan::new(None, &Manifest::bare("a.wasm"), &launch).unwrap().app
        };
        assert!(alone(None, &plan(&[])));
        assert!(!alone(None, &plan(&["data"])));
        assert!(!alone(None, &plan(&["/data"])));
        let mut shown = plan(&[]);
        shown.mounts[0].from = Some(".lunette/mounts/0".into());
        assert!(!alone(None, &shown), "`--dir HOST::/:ro`");
    }
}
