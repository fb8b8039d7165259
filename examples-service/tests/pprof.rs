//! The service's profile, fetched by the real pprof.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Service {
    process: Child,
    /// `127.0.0.1:PORT`
    address: String,
}

impl Service {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_examples-service"))
            .env("LISTEN", "127.0.0.1:0")
            .env("SAMPLE_BYTES", "4096")
            .env_remove("HEAPLEDGER")
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.expect("the address").to_owned();
        Self { process, address }
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u32, String) {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        let host = &self.address;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .expect("asks");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answers");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.expect("a status"), answer)
    }

    fn pprof(&self, figure: &str) -> String {
        let folder = std::env::temp_dir().join(format!("pprof-{}", std::process::id()));
        let output = Command::new("go")
            .args([
                "tool",
                "pprof",
                "-top",
                "-cum",
                &format!("-sample_index={figure}"),
            ])
            .arg(format!("http://{}/debug/pprof/heap", self.address))
            .env("PPROF_TMPDIR", &folder)
            .output()
            .expect("Go is installed: scripts/setup.sh");
        let _ = std::fs::remove_dir_all(&folder);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{errors}");
        text
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The figure in the row of a function, in bytes.
fn bytes_of(table: &str, function: &str) -> f64 {
    let row = table.lines().find(|line| line.contains(function));
    let row = row.unwrap_or_else(|| panic!("no {function} in\n{table}"));
    let cumulative = row.split_whitespace().nth(3).expect("a figure");
    let digits = cumulative.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &cumulative[digits.len()..] {
        "B" => 1.0,
        "kB" => 1024.0,
        "MB" => 1024.0 * 1024.0,
        unit => panic!("{unit} in {row}"),
    };
    digits.parse::<f64>().expect("a number") * factor
}

#[test]
fn pprof_fetches_what_the_service_holds() {
    let service = Service::start();
    for _ in 0..20 {
        assert_eq!(service.get("/orders?count=500").0, 200);
    }
    let live = service.pprof("inuse_space");
    // 10,000 orders: each a customer, a vector of five strings, and the strings.
    let held = bytes_of(&live, "orders::remember");
    assert!((2e6..8e6).contains(&held), "{held}\n{live}");
    assert!(
        !live.contains("orders::make_order"),
        "freed when it was sent:\n{live}"
    );

    // Asked again at once, which a busy machine may not manage each time, and
    // then after a while.
    assert!((0..20).any(|_| service.get("/debug/pprof/heap").0 == 429));
    let start = Instant::now();
    while service.get("/debug/pprof/heap").0 != 200 {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "refused for ever"
        );
        std::thread::sleep(Duration::from_millis(100));
    }

    let (status, metrics) = service.get("/metrics");
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("heap_live_bytes "));
    let value: f64 = value.and_then(|value| value.parse().ok()).expect(&metrics);
    assert!(status == 200 && value > held / 2.0, "{metrics}");
}

#[test]
fn it_is_for_this_machine_alone() {
    let service = Service::start();
    let port = service.address.rsplit(':').next().expect("a port");
    // Another address of this machine: nobody listens there.
    assert!(TcpStream::connect(format!("127.0.0.2:{port}")).is_err());
    assert!(service.address.starts_with("127.0.0.1:"));
}
