//! The `flockmq` program: everything is in the library, `cli` reads the command line.

/// Memory that is freed goes back to the system after a storm of connections, which the system's allocator does
/// not do. Debug builds keep the system's, which tools for memory errors know.
#[cfg(all(not(debug_assertions), not(target_env = "msvc")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    flockmq::cli::run()
}
