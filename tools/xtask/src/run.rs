pub(crate) fn run(_: &[String]) -> crate::sh::Result<std::process::ExitCode> {
    Err("".into())
}
