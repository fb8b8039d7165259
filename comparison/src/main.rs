//! Builds the peers, runs them in turn on the same work, and prints tables of
//! what each costs. `--help` tells the options.

mod builds;
mod cases;
mod runs;
mod tables;

use builds::Builds;
use cases::{CASES, Case, HEAPLEDGER, NO_TOUCH, PEERS, PeerUse};
use runs::{Measured, Runner};
use std::collections::BTreeMap;

const HELP: &str = "\
Usage: cargo run --release -p comparison -- [options]

  --rounds N         measure N times, peers in turn in each round (default 5)
  --slow-rounds N    rounds in which dhat-rs takes part (default 1)
  --workloads A,B    only these: json words btree syn channels mixed service pairs sites
  --peers A,B        only these: none idle heapledger sampled heapscope dhat-rs none-fp
                     no-touch striped
                     (none is always measured; sampled, every 512 KiB, none-fp, no-touch and
                     striped, as no-touch with live blocks in 256 hash tables under locks,
                     only if named), and,
                     only if named, how tests measure: counts scope (heapledger without
                     and with stacks) allocation-counter dhat-rs-testing
  --touch            what the estimate of bytes written costs: short for
                     --workloads json,words,btree --peers heapledger,no-touch
";

/// What was measured, by the indices of case and peer.
pub(crate) type Results = BTreeMap<(usize, usize), Vec<Measured>>;

struct Options {
    rounds: usize,
    slow_rounds: usize,
    workloads: Option<Vec<String>>,
    peers: Option<Vec<String>>,
}

impl Options {
    fn from_arguments() -> Result<Self, String> {
        let mut options = Self {
            rounds: 5,
            slow_rounds: 1,
            workloads: None,
            peers: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--rounds" => options.rounds = number(&value()?)?,
                "--slow-rounds" => options.slow_rounds = number(&value()?)?,
                "--workloads" => {
                    options.workloads = Some(names(&value()?, CASES.map(|case| case.workload))?);
                }
                "--touch" => {
                    let workloads = ["json", "words", "btree"].map(str::to_string);
                    options.workloads = Some(workloads.into());
                    options.peers = Some([HEAPLEDGER, NO_TOUCH].map(str::to_string).into());
                }
                "--peers" => options.peers = Some(names(&value()?, PEERS.map(|peer| peer.name))?),
                _ => return Err(HELP.into()),
            }
        }
        Ok(options)
    }

    fn wants_case(&self, case: &Case) -> bool {
        let listed = |names: &Vec<String>| names.iter().any(|name| name == case.workload);
        self.workloads.as_ref().is_none_or(listed)
    }

    fn wants_peer(&self, peer: &PeerUse) -> bool {
        let listed = |names: &Vec<String>| names.iter().any(|name| name == peer.name);
        peer.name == "none" || self.peers.as_ref().map_or(!peer.on_request, listed)
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn names<const N: usize>(text: &str, known: [&str; N]) -> Result<Vec<String>, String> {
    let names: Vec<String> = text.split(',').map(str::to_string).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(format!("{unknown} is unknown\n\n{HELP}")),
        None => Ok(names),
    }
}

fn main() {
    if let Err(message) = compare() {
        eprintln!("{message}");
        std::process::exit(2);
    }
}

fn compare() -> Result<(), String> {
    let options = Options::from_arguments()?;
    let peers: Vec<_> = (0..PEERS.len())
        .filter(|&peer| options.wants_peer(&PEERS[peer]))
        .collect();
    let builds = Builds::make(peers.iter().map(|&peer| &PEERS[peer]))?;
    let runner = Runner::new(&builds)?;
    let mut results = Results::new();
    for round in 0..options.rounds {
        for (case_index, case) in CASES.iter().enumerate() {
            if !options.wants_case(case) {
                continue;
            }
            for &peer_index in &peers {
                let peer = &PEERS[peer_index];
                if peer.is_slow && round >= options.slow_rounds {
                    continue;
                }
                eprintln!("round {}: {} under {}", round + 1, case.label, peer.name);
                let measured = runner.run(case, peer)?;
                let key = (case_index, peer_index);
                results.entry(key).or_default().push(measured);
            }
        }
    }
    println!(
        "Medians of {} rounds (dhat-rs: {}), with least and greatest.",
        options.rounds,
        options.slow_rounds.min(options.rounds)
    );
    print!("{}", tables::all(&results));
    Ok(())
}
