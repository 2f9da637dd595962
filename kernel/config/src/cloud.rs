//! What clouds put on a disk: cloud-init's NoCloud, and OpenStack's config drive. Of their meta-data only the host's name is used;
//! `vendor-data` is left alone.

use alloc::string::String;

use crate::{By, Settings, Source, network, volume::Files, yaml};

/// How one of them lays out its volume.
pub(crate) struct Layout {
    /// What the volume is called, in capitals or not.
    label: &'static str,
    pub(crate) source: fn(By) -> Source,
    meta: &'static str,
    /// The key of the host's name in it.
    hostname: &'static str,
    network: &'static str,
    user_data: &'static str,
}

static LAYOUTS: [Layout; 2] = [
    Layout {
        label: "cidata",
        source: Source::NoCloud,
        meta: "meta-data",
        hostname: "local-hostname",
        network: "network-config",
        user_data: "user-data",
    },
    Layout {
        label: "config-2",
        source: Source::ConfigDrive,
        meta: "openstack/latest/meta_data.json",
        hostname: "hostname",
        network: "openstack/latest/network_data.json",
        user_data: "openstack/latest/user_data",
    },
];

/// Whose volume it is by its label.
pub(crate) fn layout(label: &str) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| layout.label.eq_ignore_ascii_case(label))
}

impl Layout {
    pub(crate) fn read(&self, files: &mut Files<'_>, settings: &mut Settings) -> Result<(), String> {
        if let Some(meta) = document(files, self.meta)?
            && let Some(name) = meta.text(self.hostname)
        {
            settings.offer(files.source, "hostname", name.as_bytes())?;
        }
        if let Some(network) = document(files, self.network)? {
            // No pointer in the table: a loader, which reads nothing of this, would have the code of both.
            let read_network = match files.source {
                Source::ConfigDrive(_) => network::openstack,
                _ => network::cloud_init,
            };
            read_network(&network, files.source, settings).map_err(|why| files.wrong(self.network, &why))?;
        }
        match files.get(self.user_data)? {
            Some(data) if !data.is_empty() => settings.offer(files.source, "user-data", &data),
            _ => Ok(()),
        }
    }

    /// Reads the same files in the same order, and does nothing with them.
    pub(crate) fn visit(&self, files: &mut Files<'_>) {
        for path in [self.meta, self.network, self.user_data] {
            // What is wrong with one is told by whoever reads in earnest.
            let _ = files.get(path);
        }
    }
}

fn document(files: &mut Files<'_>, path: &str) -> Result<Option<yaml::Node>, String> {
    let Some(bytes) = files.get(path)? else { return Ok(None) };
    let read = match core::str::from_utf8(&bytes) {
        Ok(text) => yaml::parse(text),
        Err(_) => Err("it is no UTF-8".into()),
    };
    read.map(Some).map_err(|why| files.wrong(path, &why))
}
