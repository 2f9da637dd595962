pub(crate) fn bench() -> crate::sh::Result<()> {
    Ok(())
}
