//! Which guest a request goes to: the `[[route]]` tables.
//!
//! ```toml
//! [[route]]
//! path = "/api/..."
//! guest = "api"
//! ```
//!
//! Promises: of all routes that fit, the one that says most is taken: first by its host (a name, then names below one, the
//! longer first, then any), then by its path (this one, then those below one, the longer first). What no route fits goes to the app.
//! No two routes say the same. Does not: change the path that the guest sees, or look at the method.

use std::cmp::Reverse;

use lunette_hostcalls::grants::Name;

use crate::{Error, Manifest, tar};

/// One `[[route]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Compared without regard to case, without a port.
    pub host: Name,
    /// Compared to the letter with what comes before a `?`. One that ends in `/...` fits what is before that, and all below it.
    pub path: String,
    /// The name of a guest, or of the app.
    pub guest: String,
}

/// The end of a path that stands for all below.
const BELOW: &str = "/...";

impl Route {
    /// What is wrong with the path, if anything is.
    pub(crate) fn path_fault(path: &str) -> Option<&'static str> {
        let plain = path.strip_suffix(BELOW).unwrap_or(path);
        if !path.starts_with('/') {
            Some("does not begin with \"/\"")
        } else if plain.contains("...") {
            Some("has \"...\" elsewhere than after its last \"/\"")
        } else if plain.contains(['?', '#']) {
            Some("has more than a path: requests are not told apart by what comes after \"?\"")
        } else if path.contains(|c: char| c.is_control() || c == ' ' || !c.is_ascii()) {
            Some("has characters that are percent-encoded in requests")
        } else {
            None
        }
    }

    fn fits(&self, host: &str, path: &str) -> bool {
        let path_fits = match self.path.strip_suffix(BELOW) {
            Some(above) => {
                path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            None => path == self.path,
        };
        path_fits && self.host.matches(host)
    }

    /// Who says more comes first.
    fn order(&self) -> impl Ord + use<> {
        let host = match &self.host {
            Name::Exactly(_) => (0, Reverse(0)),
            Name::Below(name) => (1, Reverse(name.len())),
            Name::Any => (2, Reverse(0)),
        };
        (host, self.path.ends_with(BELOW), Reverse(self.path.len()))
    }
}

/// All of an app's routes, and whom each leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Vec<(Route, usize)>);

impl Routes {
    /// Of a manifest; every guest is there.
    pub(crate) fn new(manifest: &Manifest) -> Result<Self, Error> {
        let number = |route: &Route| {
            let mut names = std::iter::once(&manifest.app).chain(&manifest.guests).map(|guest| &guest.name);
            names.position(|name| *name == route.guest).ok_or_else(|| {
                let what = format!("there is no guest {:?}, which a [[route]] leads to", route.guest);
                Error::new(what, tar::MANIFEST, "name a [[guest]], or the app, by its `name`")
            })
        };
        let numbered = manifest.routes.iter().map(|route| Ok((route.clone(), number(route)?)));
        let mut routes = numbered.collect::<Result<Vec<_>, Error>>()?;
        routes.sort_by_cached_key(|(route, _)| route.order());
        Ok(Self(routes))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who answers a request for `path`, without what follows a `?`, at `host`, without the port: a number in
    /// [`Plan::all`](crate::Plan::all), which is 0 for the app.
    pub fn find(&self, host: &str, path: &str) -> usize {
        self.0.iter().find(|(route, _)| route.fits(host, path)).map_or(0, |(_, guest)| *guest)
    }

    /// Is this guest, by its number, one that requests are handed to?
    pub fn lead_to(&self, guest: usize) -> bool {
        self.0.iter().any(|(_, number)| *number == guest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(text: &str) -> Routes {
        let mut toml = String::from("[app]\nmain = \"app.wasm\"\n");
        for name in ["a", "b", "c", "d"] {
            toml += &format!("[[guest]]\nname = \"{name}\"\nmain = \"{name}.wasm\"\n");
        }
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (host, path, guest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            toml += &format!("[[route]]\nhost = \"{host}\"\npath = \"{path}\"\nguest = \"{guest}\"\n");
        }
        Routes::new(&Manifest::parse(&toml).unwrap()).unwrap()
    }

    #[test]
    fn a_path_fits_itself_or_all_below_it() {
        let routes = routes("* /api/... a\n* /status b\n* /api/v2/... c\n* /api/v2 d\n* /api/health app");
        for (path, guest) in [
            ("/", 0),
            ("/api", 1),
            ("/api/", 1),
            ("/api/x/y", 1),
            ("/apix", 0),
            ("/API", 0),
            ("/status", 2),
            ("/status/", 0),
            ("/api/v2", 4),
            ("/api/v2/", 3),
            ("/api/v22", 1),
            ("/api/health", 0),
            ("", 0),
        ] {
            assert_eq!(routes.find("example.org", path), guest, "{path}");
        }
        assert!(routes.lead_to(0) && routes.lead_to(4) && !routes.is_empty());
        assert!(!Routes::default().lead_to(0) && Routes::default().find("x", "/") == 0);
    }

    #[test]
    fn the_host_that_says_most_wins() {
        let routes =
            routes("* /... a\n*.example.org /... b\n*.eu.example.org /... c\nwww.eu.example.org /x d");
        for (host, path, guest) in [
            ("example.org", "/", 1),
            ("WWW.example.org", "/", 2),
            ("www.eu.example.org.", "/", 3),
            ("www.eu.example.org", "/x", 4),
            ("", "/", 1),
        ] {
            assert_eq!(routes.find(host, path), guest, "{host}{path}");
        }
    }
}
