//! The `ragboard` program. Everything it does is in the library; this file only starts it.

/// Answers are made of many small pieces; this allocator costs a third less for them than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    ragboard::ops::main()
}
