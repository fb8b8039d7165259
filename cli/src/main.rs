fn main() -> std::process::ExitCode {
    heapledger_cli::heapledger()
}
