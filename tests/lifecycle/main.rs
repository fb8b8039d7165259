//! The life of a profiled program, from start to whatever end it comes to.

#[path = "../support/mod.rs"]
mod support;

mod ends;
mod abort;
mod output;
mod runs;
mod counts;
mod oracle;
mod threads;
mod stacks;
mod unloading;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod hostile;
mod fork;
mod readings;
mod scopes;
mod windows;
mod snapshots;
mod timeline;
mod sampling;
mod environment;
mod touch;
mod deaths;
mod scarce;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

fn main() {
    support::main(&[
        ends::SCENARIOS,
        abort::SCENARIOS,
        output::SCENARIOS,
        runs::SCENARIOS,
        counts::SCENARIOS,
        oracle::SCENARIOS,
        threads::SCENARIOS,
        stacks::SCENARIOS,
        unloading::SCENARIOS,
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        hostile::SCENARIOS,
        fork::SCENARIOS,
        readings::SCENARIOS,
        scopes::SCENARIOS,
        windows::SCENARIOS,
        snapshots::SCENARIOS,
        timeline::SCENARIOS,
        sampling::SCENARIOS,
        environment::SCENARIOS,
        touch::SCENARIOS,
        deaths::SCENARIOS,
        scarce::SCENARIOS,
    ]);
}
