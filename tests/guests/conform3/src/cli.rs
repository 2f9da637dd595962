//! wasi:cli: what a program is given, and its standard streams.

use wasip3::{
    cli::{environment, stderr, stdin, stdout as standard, terminal_stdin, terminal_stdout},
    wit_stream,
};

pub(crate) async fn arguments() {
    let arguments = environment::get_arguments();
    assert!(!arguments.is_empty(), "the program's own name comes first");
    assert_eq!(arguments, environment::get_arguments());
}

pub(crate) async fn environment() {
    let variables = environment::get_environment();
    assert!(variables.iter().any(|(name, value)| name == "CONFORM" && value == "3"), "{variables:?}");
}

/// A stream of several writes, and the result once it was dropped.
pub(crate) async fn stdout() {
    let (mut writer, reader) = wit_stream::new();
    let written = standard::write_via_stream(reader);
    for piece in ["this is ", "one ", "line\n"] {
        assert!(writer.write_all(piece.as_bytes().to_vec()).await.is_empty());
    }
    drop(writer);
    written.await.expect("written");
    // Nothing at all is a stream as well.
    let (writer, reader) = wit_stream::new();
    drop(writer);
    stderr::write_via_stream(reader).await.expect("written");
}

/// Standard input and output are files in a test, and asking does not fail.
pub(crate) async fn terminals() {
    let _ = (terminal_stdin::get_terminal_stdin(), terminal_stdout::get_terminal_stdout());
    let (input, ended) = stdin::read_via_stream();
    assert_eq!(input.collect().await, b"", "standard input is to be empty");
    ended.await.expect("read");
}
