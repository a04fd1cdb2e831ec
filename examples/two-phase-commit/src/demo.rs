pub(crate) async fn run() -> Result<(), crate::exit::Failure> { Ok(()) }
