//! Handles and lists that no honest program would use.

use wasip2::{
    clocks::monotonic_clock::subscribe_duration,
    http::types::{Fields, IncomingRequest, OutgoingResponse, ResponseOutparam},
    io::streams::InputStream,
};

use crate::body::say;

/// All of them at once.
pub(crate) fn many(of: &str, count: u64, out: ResponseOutparam) {
    match of {
        "pollables" => keep(count, || subscribe_duration(1 << 60), out),
        "streams" => keep(count, wasip2::cli::stderr::get_stderr, out),
        _ => keep(count, Fields::new, out),
    }
}

fn keep<T>(count: u64, make: impl Fn() -> T, out: ResponseOutparam) {
    let mut kept = Vec::new();
    for _ in 0..count {
        kept.push(make());
    }
    say(out, 200, &format!("kept {}\n", kept.len()));
    // All of them are dropped here, and that must be survived as well.
}

pub(crate) fn drops(what: &str, out: ResponseOutparam) {
    match what {
        // Each of them has a child that is alive.
        "parent" => {
            let response = OutgoingResponse::new(Fields::new());
            let headers = response.headers();
            let body = response.body().expect("a body");
            let stream = body.write().expect("a stream");
            drop(response);
            drop(body);
            let _ = stream.blocking_write_and_flush(b"into nothing");
            drop(headers.entries());
            say(out, 200, "dropped\n");
        }
        "twice" => {
            let handle = Fields::new().take_handle();
            for _ in 0..2 {
                // SAFETY: none of ours; the second drop is of a handle that is no more, which the host must notice.
                drop(unsafe { Fields::from_handle(handle) });
            }
            say(out, 200, "dropped\n");
        }
        "guess" => {
            // SAFETY: as above; nobody ever made this one.
            let fields = unsafe { Fields::from_handle(12345) };
            say(out, 200, &format!("{:?}\n", fields.entries()));
        }
        // Of the answer itself as well.
        _ => {
            std::mem::forget((Fields::new(), subscribe_duration(1), OutgoingResponse::new(Fields::new())));
            std::mem::forget(out);
        }
    }
}

#[link(wasm_import_module = "wasi:io/streams@0.2.12")]
unsafe extern "C" {
    #[link_name = "[method]output-stream.blocking-write-and-flush"]
    fn write(stream: u32, from: *const u8, length: u32, result: *mut u8);
}

#[link(wasm_import_module = "wasi:http/types@0.2.12")]
unsafe extern "C" {
    #[link_name = "[static]fields.from-list"]
    fn from_list(from: *const u8, length: u32, result: *mut u8);
}

/// Lists that are longer than memory is.
pub(crate) fn huge(what: &str, request: IncomingRequest, out: ResponseOutparam) {
    const LENGTH: u64 = 1 << 32;
    let mut result = [0u64; 4];
    match what {
        "random" => {
            let bytes = wasip2::random::random::get_random_bytes(LENGTH);
            say(out, 200, &format!("{} bytes\n", bytes.len()));
        }
        "read" => {
            let body = request.consume().expect("a body");
            let stream: InputStream = body.stream().expect("a stream");
            let read = stream.blocking_read(u64::MAX).map(|bytes| bytes.len());
            say(out, 200, &format!("{read:?}\n"));
        }
        "zeroes" => {
            let stream = wasip2::cli::stderr::get_stderr();
            let written = stream.write_zeroes(LENGTH);
            say(out, 200, &format!("{written:?}\n"));
        }
        "write" => {
            let stream = wasip2::cli::stderr::get_stderr();
            // SAFETY: the list ends far beyond memory, which the host must notice.
            unsafe { write(stream.handle(), std::ptr::null(), u32::MAX, result.as_mut_ptr().cast()) };
            say(out, 200, "written\n");
        }
        _ => {
            // SAFETY: as above. Its entries are of 16 bytes, so the list's bytes are beyond 32 bits as well.
            unsafe { from_list(std::ptr::null(), u32::MAX, result.as_mut_ptr().cast()) };
            say(out, 200, "made\n");
        }
    }
}
