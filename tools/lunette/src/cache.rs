//! The user's cache folder: verdicts that cost time to find, and payloads that `--dry-run` refers to.
//! All of it can be deleted at any time. Without a home there is no cache, and everything still works.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug)]
pub struct Cache(Option<PathBuf>);

impl Cache {
    /// `$XDG_CACHE_HOME/lunette`, or `~/.cache/lunette`.
    pub fn of_user() -> Self {
        let dir = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let base = dir("XDG_CACHE_HOME").or_else(|| Some(dir("HOME")?.join(".cache")));
        Self(base.map(|base| base.join("lunette")))
    }

    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self(Some(dir.into()))
    }

    pub fn none() -> Self {
        Self(None)
    }

    pub fn dir(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    /// The text under `name`, if it was put there for the same `key`.
    pub fn get(&self, name: &str, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.0.as_ref()?.join(name)).ok()?;
        let (found, value) = text.split_once('\n')?;
        (found == key.replace('\n', " ")).then(|| value.to_owned())
    }

    /// Remembers `value` under `name`, good for `key`. That it can't is no reason to complain.
    pub fn put(&self, name: &str, key: &str, value: &str) {
        let _ = self.file(name, format!("{}\n{value}", key.replace('\n', " ")).as_bytes());
    }

    /// Puts a file in place whole, or not at all.
    pub fn file(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let no_home = || io::Error::other("there is no cache folder: neither XDG_CACHE_HOME nor HOME is set");
        let path = self.0.as_ref().ok_or_else(no_home)?.join(name);
        let dir = path.parent().unwrap_or(&path);
        fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        io::Write::write_all(&mut file, bytes)?;
        file.persist(&path)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_good_for_its_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("new/folder"));
        assert_eq!(cache.get("kvm", "key"), None);
        cache.put("kvm", "key\n1", "yes\nbecause");
        assert_eq!(cache.get("kvm", "key\n1").as_deref(), Some("yes\nbecause"));
        assert_eq!(cache.get("kvm", "key 2"), None);
        Cache::none().put("kvm", "k", "v");
        assert_eq!(Cache::none().get("kvm", "k"), None);
        assert!(Cache::none().file("x", b"").is_err());
    }
}
