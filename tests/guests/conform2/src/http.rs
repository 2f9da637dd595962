//! wasi:http/types, as far as nobody has to be asked.

use wasip2::http::types::{
    Fields, HeaderError, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, RequestOptions, Scheme,
};

pub(crate) fn fields() {
    let fields = Fields::new();
    assert!(fields.entries().is_empty() && !fields.has("x") && fields.get("x").is_empty());
    fields.append("X-One", b"1").expect("a field");
    fields.append("x-one", b"2").expect("a field");
    fields.append("x-two", b"").expect("a field without a value");
    assert_eq!(fields.get("X-ONE"), [b"1", b"2"]);
    assert!(fields.has("x-Two"));
    assert_eq!(fields.entries().len(), 3);
    fields.set("x-one", &[b"3".to_vec()]).expect("set");
    assert_eq!(fields.get("x-one"), [b"3"]);
    let copy = fields.clone();
    fields.delete("x-one").expect("deleted");
    fields.delete("x-none").expect("nothing to delete");
    assert!(!fields.has("x-one") && copy.has("x-one"));
    for name in ["", "a b", "a:b", "a\n", "\u{e9}"] {
        assert!(matches!(fields.append(name, b"x"), Err(HeaderError::InvalidSyntax)), "{name:?}");
        assert!(!fields.has(name) && fields.get(name).is_empty());
    }
    for value in [&b"a\r\nb: c"[..], b"a\nb", b"a\0b"] {
        assert!(matches!(fields.append("x", value), Err(HeaderError::InvalidSyntax)), "{value:?}");
    }
    for name in ["connection", "Keep-Alive", "transfer-encoding", "upgrade", "host"] {
        assert!(matches!(fields.append(name, b"x"), Err(HeaderError::Forbidden)), "{name}");
    }
    let list =
        [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec()), ("a".to_owned(), b"3".to_vec())];
    assert_eq!(Fields::from_list(&list).expect("fields").get("a"), [b"1", b"3"]);
    let wrong = [("a b".to_owned(), b"1".to_vec())];
    assert!(matches!(Fields::from_list(&wrong), Err(HeaderError::InvalidSyntax)));
    // Those of a message are its own.
    let response = OutgoingResponse::new(copy);
    let headers = response.headers();
    assert!(matches!(headers.append("x", b"y"), Err(HeaderError::Immutable)));
    assert!(matches!(headers.delete("x-one"), Err(HeaderError::Immutable)));
    headers.clone().append("x", b"y").expect("a copy is nobody's");
}

pub(crate) fn requests() {
    let request = OutgoingRequest::new(Fields::new());
    assert!(matches!(request.method(), Method::Get));
    assert!(
        request.path_with_query().is_none() && request.scheme().is_none() && request.authority().is_none()
    );
    request.set_method(&Method::Other("PROPFIND".into())).expect("a method");
    request.set_method(&Method::Other("a b".into())).expect_err("no method");
    assert!(matches!(request.method(), Method::Other(method) if method == "PROPFIND"));
    request.set_scheme(Some(&Scheme::Https)).expect("a scheme");
    assert!(matches!(request.scheme(), Some(Scheme::Https)));
    request.set_authority(Some("example.org:8080")).expect("an authority");
    for wrong in ["a b", "a:b:c", "a/b"] {
        request.set_authority(Some(wrong)).expect_err(wrong);
    }
    assert_eq!(request.authority().as_deref(), Some("example.org:8080"));
    request.set_path_with_query(Some("/a?b=c")).expect("a path");
    for wrong in ["/a b", "/\n"] {
        request.set_path_with_query(Some(wrong)).expect_err(wrong);
    }
    assert_eq!(request.path_with_query().as_deref(), Some("/a?b=c"));
    let body = request.body().expect("a body");
    request.body().map(drop).expect_err("a second body");
    let stream = body.write().expect("a stream");
    body.write().map(drop).expect_err("a second stream");
    drop(stream);
    OutgoingBody::finish(body, None).expect("an end");
    let response = OutgoingResponse::new(Fields::new());
    assert_eq!(response.status_code(), 200);
    for status in [100, 204, 404, 599] {
        response.set_status_code(status).expect("a status");
        assert_eq!(response.status_code(), status);
    }
    for status in [0, 99, 1000] {
        response.set_status_code(status).expect_err("no status");
    }
}

pub(crate) fn options() {
    let options = RequestOptions::new();
    assert!(options.connect_timeout().is_none());
    options.set_connect_timeout(Some(1)).expect("set");
    options.set_first_byte_timeout(Some(2_000_000_000)).expect("set");
    options.set_between_bytes_timeout(Some(u64::MAX)).expect("set");
    assert_eq!(options.connect_timeout(), Some(1));
    assert_eq!(options.first_byte_timeout(), Some(2_000_000_000));
    assert_eq!(options.between_bytes_timeout(), Some(u64::MAX));
    options.set_connect_timeout(None).expect("set");
    assert!(options.connect_timeout().is_none());
}
