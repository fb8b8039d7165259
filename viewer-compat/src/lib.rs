//! Opens heapledger files in the real programs that read them.
