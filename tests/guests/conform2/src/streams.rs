//! wasi:io/streams, over standard streams and files.

use wasip2::{
    cli::{stderr::get_stderr, stdin::get_stdin, stdout::get_stdout},
    io::streams::StreamError,
};

use crate::files::Folder;

pub(crate) fn output() {
    let stdout = get_stdout();
    stdout.subscribe().block();
    let room = stdout.check_write().expect("room");
    assert!(room > 0);
    stdout.write(b"this is ").expect("written");
    stdout.flush().expect("on its way");
    stdout.subscribe().block();
    assert!(stdout.check_write().expect("room") > 0);
    stdout.write(b"one ").expect("written");
    stdout.blocking_flush().expect("written");
    stdout.blocking_write_and_flush(b"line\n").expect("written");
    stdout.blocking_write_and_flush(b"").expect("nothing is written");
    // As many of them as one likes, of the same.
    let many: Vec<_> = (0..10).map(|_| get_stderr()).collect();
    for stream in &many {
        stream.blocking_write_and_flush(b"").expect("nothing is written");
    }
}

pub(crate) fn input() {
    let stdin = get_stdin();
    stdin.subscribe().block();
    // There is nothing, and it is told as an end, each time.
    for _ in 0..2 {
        match stdin.blocking_read(100) {
            Err(StreamError::Closed) => {}
            other => panic!("standard input is to be empty: {other:?}"),
        }
    }
}

pub(crate) fn splice() {
    let dir = Folder::new("splice");
    let long: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    let (from, to) = (dir.create("from", &long), dir.create("to", b""));
    let (input, output) =
        (from.read_via_stream(0).expect("a stream"), to.write_via_stream(0).expect("a stream"));
    let mut moved = 0;
    loop {
        match output.blocking_splice(&input, 1 << 16) {
            Ok(n) => moved += n,
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => panic!("{}", error.to_debug_string()),
        }
    }
    output.blocking_flush().expect("written");
    assert_eq!(moved, 100_000);
    assert!(dir.bytes("to") == long, "what was spliced differs");
    drop((input, output));
    // Leaving out is reading as well.
    let input = from.read_via_stream(0).expect("a stream");
    let mut left_out = 0;
    while left_out < 1000 {
        left_out += input.blocking_skip(1000 - left_out).expect("left out");
    }
    let next = input.blocking_read(1).expect("a byte");
    assert_eq!(next, [(1000u32 % 251) as u8]);
    let output = to.write_via_stream(10).expect("a stream");
    output.blocking_write_zeroes_and_flush(20).expect("zeroes");
    drop(output);
    let bytes = dir.bytes("to");
    assert_eq!((bytes[9], &bytes[10..30], bytes[30]), (9, &[0; 20][..], 30));
    drop((from, to));
    dir.remove(&["from", "to"]);
}
