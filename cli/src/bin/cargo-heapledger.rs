fn main() -> std::process::ExitCode {
    heapledger_cli::cargo_heapledger()
}
