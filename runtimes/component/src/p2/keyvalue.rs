//! `wasi:keyvalue`: one bucket in memory, the default one.
//!
//! Promises: it keeps at most [`MAX_BYTES`], keys and values together with what each costs; more is an error, and changes
//! nothing. Keys are listed in order, some at a time; a cursor counts keys, so one that is removed in between may have
//! another left out.
//!
//! Does not: outlive the VM, or watch.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wasmtime::component::{Resource, ResourceTableError};

use super::bindings::wasi::keyvalue::{
    atomics, batch,
    store::{Error, Host, HostBucket, KeyResponse},
};
use crate::State;

/// How much a store keeps.
const MAX_BYTES: usize = 16 << 20;

/// What an entry costs besides its bytes, about.
const ENTRY: usize = 96;

/// How many keys are listed at once.
const PAGE: usize = 1000;

/// Values by their keys. Clones are one store.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Mutex<Values>>);

#[derive(Default)]
struct Values {
    by_key: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

/// The right to use the store.
pub struct Bucket;

/// The guest hears about it, or it ends.
#[derive(Debug)]
pub enum Fault {
    Told(Error),
    Trap(wasmtime::Error),
}

type Result<T, E = Fault> = std::result::Result<T, E>;

impl From<ResourceTableError> for Fault {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

fn other<T>(words: &str) -> Result<T> {
    Err(Fault::Told(Error::Other(words.to_owned())))
}

impl Values {
    fn set(&mut self, key: String, value: Vec<u8>) -> Result<()> {
        let old = self.by_key.get(&key).map_or(0, |old| cost(&key, old));
        let bytes = self.bytes - old + cost(&key, &value);
        if bytes > MAX_BYTES {
            return other("the store is full");
        }
        self.bytes = bytes;
        self.by_key.insert(key, value);
        Ok(())
    }

    fn delete(&mut self, key: &str) {
        if let Some(old) = self.by_key.remove(key) {
            self.bytes -= cost(key, &old);
        }
    }
}

fn cost(key: &str, value: &[u8]) -> usize {
    ENTRY + key.len() + value.len()
}

impl State {
    fn values(&self, bucket: &Resource<Bucket>) -> Result<MutexGuard<'_, Values>> {
        self.table.get(bucket)?;
        // Nothing panics in between its changes.
        Ok(self.values.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Host for State {
    fn convert_error(&mut self, fault: Fault) -> wasmtime::Result<Error> {
        match fault {
            Fault::Told(error) => Ok(error),
            Fault::Trap(error) => Err(error),
        }
    }

    fn open(&mut self, identifier: String) -> Result<Resource<Bucket>> {
        match identifier.as_str() {
            "" | "default" => Ok(self.table.push(Bucket)?),
            _ => Err(Fault::Told(Error::NoSuchStore)),
        }
    }
}

impl HostBucket for State {
    fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Option<Vec<u8>>> {
        Ok(self.values(&bucket)?.by_key.get(&key).cloned())
    }

    fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Result<()> {
        self.values(&bucket)?.set(key, value)
    }

    fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<()> {
        self.values(&bucket)?.delete(&key);
        Ok(())
    }

    fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Result<bool> {
        Ok(self.values(&bucket)?.by_key.contains_key(&key))
    }

    fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Result<KeyResponse> {
        let values = self.values(&bucket)?;
        let from = usize::try_from(cursor.unwrap_or(0)).unwrap_or(usize::MAX);
        let keys: Vec<_> = values.by_key.keys().skip(from).take(PAGE).cloned().collect();
        let next = from.saturating_add(keys.len());
        let cursor = (next < values.by_key.len()).then_some(next as u64);
        Ok(KeyResponse { keys, cursor })
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for State {
    /// Numbers are kept as text, as in wasmtime.
    fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Result<u64> {
        let mut values = self.values(&bucket)?;
        let now = match values.by_key.get(&key) {
            None => Some(0),
            Some(value) => std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok()),
        };
        let Some(now) = now else { return other("the value is no number") };
        let Some(sum) = now.checked_add(delta) else { return other("the sum is too large") };
        values.set(key, sum.to_string().into_bytes())?;
        Ok(sum)
    }
}

impl batch::Host for State {
    /// At most as much as there is in the store, however often a key is named.
    fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>> {
        let values = self.values(&bucket)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for key in keys {
            let value = values.by_key.get(&key);
            bytes += value.map_or(0, Vec::len);
            if bytes > MAX_BYTES {
                return other("that is too much at once");
            }
            found.push(value.map(|value| (key, value.clone())));
        }
        Ok(found)
    }

    /// One after the other: those before an error stay set.
    fn set_many(&mut self, bucket: Resource<Bucket>, new: Vec<(String, Vec<u8>)>) -> Result<()> {
        let mut values = self.values(&bucket)?;
        new.into_iter().try_for_each(|(key, value)| values.set(key, value))
    }

    fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Result<()> {
        let mut values = self.values(&bucket)?;
        keys.iter().for_each(|key| values.delete(key));
        Ok(())
    }
}
