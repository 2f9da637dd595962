//! wasi:http/types, as far as nobody has to be asked.

use wasip3::{
    http::types::{
        Fields, HeaderError, Method, Request, RequestOptions, RequestOptionsError, Response, Scheme,
    },
    wit_future,
};

/// RFC 9110's `tchar`.
fn is_token(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter)
}

pub(crate) async fn fields() {
    let fields = Fields::new();
    assert!(fields.copy_all().is_empty() && !fields.has("x") && fields.get("x").is_empty());
    assert!(fields.get_and_delete("x").expect("none").is_empty());
    fields.append("x-one", b"1").expect("a field");
    fields.append("X-One", b"2").expect("the same field");
    assert_eq!(fields.get("X-ONE"), [b"1", b"2"]);
    assert_eq!(fields.get_and_delete("x-ONE").expect("both"), [b"1", b"2"]);
    assert!(!fields.has("x-one"));
    fields.set("x", &[b"1".to_vec(), b"2".to_vec()]).expect("set");
    let copy = fields.clone();
    fields.set("x", &[]).expect("none of it");
    assert!(!fields.has("x") && copy.has("x"));
    // All letters there are, one by one. Capital letters are told as small ones by some hosts; a quote some let pass.
    for letter in (0..0x300).filter_map(char::from_u32).filter(|letter| *letter != '"') {
        let name = letter.to_string();
        let done = [fields.append(&name, b"v"), fields.set(&name, &[b"v".to_vec()]), fields.delete(&name)];
        for done in done {
            match done {
                Ok(()) => assert!(is_token(letter), "{letter:?} was taken"),
                Err(HeaderError::InvalidSyntax) => assert!(!is_token(letter), "{letter:?} was not taken"),
                Err(error) => panic!("{letter:?}: {error:?}"),
            }
        }
    }
    for name in ["", "a b", " a", "a ", "a,b", "a/b", "na\u{ef}ve"] {
        assert!(matches!(fields.get_and_delete(name), Err(HeaderError::InvalidSyntax)), "{name:?}");
        assert!(!fields.has(name) && fields.get(name).is_empty());
    }
    for byte in 0..=255u8 {
        let good = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        assert_eq!(fields.append("v", &[byte]).is_ok(), good, "the byte {byte}");
    }
    fields.set("v", &[b" \t ".to_vec(), Vec::new()]).expect("spaces, and nothing");
    assert_eq!(fields.copy_all(), [("v".to_owned(), b" \t ".to_vec()), ("v".to_owned(), Vec::new())]);
    for name in ["connection", "Transfer-Encoding", "host", "upgrade"] {
        assert!(matches!(fields.append(name, b"x"), Err(HeaderError::Forbidden)), "{name}");
    }
}

pub(crate) async fn requests() {
    let headers = Fields::new();
    headers.append("x-first", b"1").expect("a field");
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(headers, None, trailers, None);
    assert!(matches!(request.get_method(), Method::Get));
    assert!(request.get_path_with_query().is_none() && request.get_scheme().is_none());
    assert!(request.get_authority().is_none() && request.get_options().is_none());
    assert!(matches!(request.get_headers().append("x", b"y"), Err(HeaderError::Immutable)));
    assert_eq!(request.get_headers().copy_all().len(), 1);

    // One that has a name of its own goes by it.
    request.set_method(&Method::Other("POST".into())).expect("a method");
    assert!(matches!(request.get_method(), Method::Post));
    request.set_method(&Method::Other("PROPFIND".into())).expect("a method");
    for wrong in ["", "a b", "\u{e9}"] {
        request.set_method(&Method::Other(wrong.into())).expect_err(wrong);
    }
    assert!(matches!(request.get_method(), Method::Other(method) if method == "PROPFIND"));
    request.set_scheme(Some(&Scheme::Other("https".into()))).expect("a scheme");
    assert!(matches!(request.get_scheme(), Some(Scheme::Https)));
    request.set_scheme(Some(&Scheme::Other("gopher".into()))).expect("a scheme");
    for wrong in ["a b", ":", "\u{e9}"] {
        request.set_scheme(Some(&Scheme::Other(wrong.into()))).expect_err(wrong);
    }
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_method(&Method::Get).expect("a method");
    for path in ["/", "/a/b", "/a/../b", "/a?b=c", "/%41", "/\u{e9}"] {
        request.set_path_with_query(Some(path)).expect(path);
        assert_eq!(request.get_path_with_query().as_deref(), Some(path));
    }
    request.set_path_with_query(Some("")).expect("no path is the root's");
    assert_eq!(request.get_path_with_query().as_deref(), Some("/"));
    for wrong in ["/a b", "/\n", "/\0"] {
        request.set_path_with_query(Some(wrong)).expect_err(wrong);
    }
    for authority in ["192.0.2.1", "example.org:80", "user:word@localhost:8080"] {
        request.set_authority(Some(authority)).expect(authority);
        assert_eq!(request.get_authority().as_deref(), Some(authority));
    }
    for wrong in ["", "a b", "a:b:c", "host:port", "a/b", "a?b"] {
        request.set_authority(Some(wrong)).expect_err(wrong);
    }
}

pub(crate) async fn responses() {
    let headers = Fields::new();
    headers.append("content-type", b"not a type").expect("nobody reads it");
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, None, trailers);
    assert_eq!(response.get_status_code(), 200);
    for status in [100, 204, 304, 418, 599] {
        response.set_status_code(status).expect("a status");
        assert_eq!(response.get_status_code(), status);
    }
    for wrong in [0, 99, 600, 1000, u16::MAX] {
        response.set_status_code(wrong).expect_err("no status");
    }
    assert_eq!(response.get_status_code(), 599);
    assert!(matches!(response.get_headers().delete("content-type"), Err(HeaderError::Immutable)));
}

pub(crate) async fn options() {
    let options = RequestOptions::new();
    assert!(options.get_connect_timeout().is_none());
    for time in [Some(1), None, Some(60_000_000_000)] {
        options.set_connect_timeout(time).expect("set");
        options.set_first_byte_timeout(time).expect("set");
        options.set_between_bytes_timeout(time).expect("set");
        let got = (
            options.get_connect_timeout(),
            options.get_first_byte_timeout(),
            options.get_between_bytes_timeout(),
        );
        assert_eq!(got, (time, time, time));
    }
    let copy = options.clone();
    copy.set_connect_timeout(Some(5)).expect("set");
    assert_eq!(options.get_connect_timeout(), Some(60_000_000_000));
    // Those of a request are what they were.
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, Some(options));
    let options = request.get_options().expect("its options");
    assert_eq!(options.get_first_byte_timeout(), Some(60_000_000_000));
    assert!(matches!(options.set_first_byte_timeout(None), Err(RequestOptionsError::Immutable)));
}
