//! Which server, and the request as it gets it.

use wasip2::http::types::{Fields, Headers, IncomingRequest, Method, OutgoingRequest, Scheme};

/// They are about one connection, not about what is said over it.
const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// The same request, to the server that `UPSTREAM` names: `http://HOST[:PORT]`, or `https`, and a path before all paths.
pub(crate) fn request(from: &IncomingRequest) -> Result<OutgoingRequest, String> {
    let upstream = std::env::var("UPSTREAM").map_err(|_| "UPSTREAM is not set")?;
    let (scheme, rest) = match upstream.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        _ => return Err(format!("UPSTREAM={upstream}: expected http://HOST or https://HOST")),
    };
    let (authority, before) = match rest.find('/') {
        Some(slash) => (&rest[..slash], rest[slash..].trim_end_matches('/')),
        None => (rest, ""),
    };
    let target = format!("{before}{}", from.path_with_query().unwrap_or_else(|| "/".into()));
    let request = OutgoingRequest::new(forwarded(&from.headers())?);
    let set = request
        .set_method(&from.method())
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(&target)));
    set.map_err(|()| format!("no request to {authority} for {target}"))?;
    Ok(request)
}

/// Does anything follow the headers? A host does not show how a body was framed, so all but plain reading may have one.
pub(crate) fn has_body(request: &IncomingRequest) -> bool {
    !matches!(request.method(), Method::Get | Method::Head) || request.headers().has("content-length")
}

/// All headers but those that are about the connection they came over, among them those that `connection` names.
pub(crate) fn forwarded(headers: &Headers) -> Result<Headers, String> {
    let named = headers.get("connection").join(&b',').to_ascii_lowercase();
    let named: Vec<&[u8]> = named.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
    let mut kept = headers.entries();
    kept.retain(|(name, value)| {
        let name = name.to_lowercase();
        // Trailers go all the way; whatever else `te` may say is for the next host only.
        if name == "te" && !value.eq_ignore_ascii_case(b"trailers") {
            return false;
        }
        !OF_THE_CONNECTION.contains(&name.as_str()) && !named.contains(&name.as_bytes())
    });
    kept.push(("via".into(), b"1.1 component-proxy".to_vec()));
    Fields::from_list(&kept).map_err(|error| format!("headers that can't be passed on: {error}"))
}
