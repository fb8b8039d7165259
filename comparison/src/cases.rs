//! What is run, and under what.

/// A workload with its parameter.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) workload: &'static str,
    pub(crate) parameter: usize,
    pub(crate) label: &'static str,
    pub(crate) kind: Kind,
}

/// What a case is measured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Time and memory as multiples of the unprofiled program's.
    Program,
    /// As `Program`; and how the CPU time of an operation depends on threads.
    Threads,
    /// Time of one operation.
    Pairs,
    /// The end of the run.
    Sites,
}

const fn case(workload: &'static str, parameter: usize, label: &'static str, kind: Kind) -> Case {
    Case {
        workload,
        parameter,
        label,
        kind,
    }
}

pub(crate) const CASES: [Case; 16] = [
    case("json", 20, "JSON, 20 MB", Kind::Program),
    case("words", 20, "words, 20 MB", Kind::Program),
    case("btree", 10, "sort and BTreeMap", Kind::Program),
    case("syn", 0, "syn", Kind::Program),
    case("channels", 1, "channels, 1 thread", Kind::Threads),
    case("channels", 2, "channels, 2 threads", Kind::Threads),
    case("channels", 4, "channels, 4 threads", Kind::Threads),
    case("channels", 8, "channels, 8 threads", Kind::Threads),
    case("mixed", 1, "mixed, 1 thread", Kind::Threads),
    case("mixed", 4, "mixed, 4 threads", Kind::Threads),
    case("service", 4, "service, 4 connections", Kind::Threads),
    case("pairs", 10, "depth 10", Kind::Pairs),
    case("pairs", 30, "depth 30", Kind::Pairs),
    case("pairs", 100, "depth 100", Kind::Pairs),
    case("sites", 10_000, "10,000 stacks", Kind::Sites),
    case("sites", 224_000, "224,000 stacks", Kind::Sites),
];

/// heapledger as by default, and without the estimate of bytes written.
pub(crate) const HEAPLEDGER: &str = "heapledger";
pub(crate) const NO_TOUCH: &str = "no-touch";
pub(crate) const HEAPSCOPE: &str = "heapscope";

/// A peer, and how it is used.
#[derive(Debug)]
pub(crate) struct PeerUse {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
    /// Built with frame pointers.
    pub(crate) frame_pointers: bool,
    /// Built with live blocks in lock-striped tables.
    pub(crate) striped_tables: bool,
    /// Given to the child.
    pub(crate) option: Option<&'static str>,
    pub(crate) is_slow: bool,
    /// Only measured if asked for by name.
    pub(crate) on_request: bool,
}

const fn peer(name: &'static str, program: &'static str) -> PeerUse {
    PeerUse {
        name,
        program,
        frame_pointers: false,
        striped_tables: false,
        option: None,
        is_slow: false,
        on_request: false,
    }
}

pub(crate) const PEERS: [PeerUse; 13] = [
    peer("none", "peer-none"),
    PeerUse {
        option: Some("idle"),
        ..peer("idle", "peer-heapledger")
    },
    peer(HEAPLEDGER, "peer-heapledger"),
    PeerUse {
        option: Some("sampled"),
        on_request: true,
        ..peer("sampled", "peer-heapledger")
    },
    PeerUse {
        frame_pointers: true,
        ..peer(HEAPSCOPE, "peer-heapscope")
    },
    PeerUse {
        is_slow: true,
        ..peer("dhat-rs", "peer-dhat-rs")
    },
    PeerUse {
        frame_pointers: true,
        on_request: true,
        ..peer("none-fp", "peer-none")
    },
    PeerUse {
        option: Some("counts"),
        on_request: true,
        ..peer("counts", "peer-heapledger-scope")
    },
    PeerUse {
        on_request: true,
        ..peer("scope", "peer-heapledger-scope")
    },
    PeerUse {
        on_request: true,
        ..peer("allocation-counter", "peer-allocation-counter")
    },
    PeerUse {
        is_slow: true,
        on_request: true,
        ..peer("dhat-rs-testing", "peer-dhat-rs-testing")
    },
    PeerUse {
        option: Some("no-touch"),
        on_request: true,
        ..peer(NO_TOUCH, "peer-heapledger")
    },
    PeerUse {
        striped_tables: true,
        option: Some("no-touch"),
        on_request: true,
        ..peer("striped", "peer-heapledger")
    },
];
