//! The server's settings: what fits the machine and the purpose, written as a file that `postgresql.conf` includes.
//!
//! The file is written anew at every start; settings of one's own belong below the include in `postgresql.conf`.

use std::fmt::Write;
use std::path::Path;

use super::Purpose;

const MIB: u64 = 1024 * 1024;

/// Longest path of a Unix socket that every platform takes, in bytes, without the closing zero.
const SOCKET_PATH_BYTES: usize = 103;

/// What the settings depend on.
pub(super) struct Machine<'a> {
    /// Memory that the program may count on, in bytes.
    pub memory_bytes: u64,
    /// Major version of the server.
    pub major: u32,
    pub port: u16,
    /// Folder for the Unix socket.
    pub socket_dir: &'a Path,
    /// Libraries to load at start.
    pub preload: &'a [&'a str],
}

/// The text of the settings file.
pub(super) fn render(purpose: Purpose, machine: &Machine<'_>) -> String {
    let megabytes = |bytes: u64| format!("{}MB", bytes / MIB);
    let memory = machine.memory_bytes;
    let mut text = String::from("# Written by ragboard at every start: changes here are lost.\n");
    let mut set = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
    };

    set("listen_addresses", "127.0.0.1");
    set("port", &machine.port.to_string());
    set("unix_socket_directories", &socket_directories(machine.socket_dir, machine.port));
    set("max_connections", "200");
    set("timezone", "UTC");
    set("log_timezone", "UTC");
    set("lc_messages", "C");
    set("log_line_prefix", "%m [%p] %a ");
    set("shared_preload_libraries", &machine.preload.join(","));

    set("wal_level", "replica");
    if machine.major >= 17 {
        set("summarize_wal", "on");
    }
    set("random_page_cost", "1.1");
    set("jit", "off");
    set("effective_cache_size", &megabytes((memory / 2).max(256 * MIB)));
    set("work_mem", &megabytes((memory / 512).clamp(8 * MIB, 64 * MIB)));
    match purpose {
        Purpose::Durable => {
            set("shared_buffers", &megabytes((memory / 8).clamp(128 * MIB, 4096 * MIB)));
            set("maintenance_work_mem", &megabytes((memory / 16).clamp(64 * MIB, 1024 * MIB)));
            set("max_wal_size", "2GB");
            set("logging_collector", "on");
            set("log_directory", "log");
            set("log_filename", "postgresql-%Y%m%dT%H%M%S.log");
            set("log_rotation_size", "10MB");
            set("log_rotation_age", "1d");
        }
        Purpose::Throwaway => {
            set("shared_buffers", "128MB");
            set("maintenance_work_mem", "64MB");
            set("fsync", "off");
            set("full_page_writes", "off");
            set("synchronous_commit", "off");
            set("max_wal_size", "1GB");
            set("autovacuum_naptime", "10min");
            set("logging_collector", "off");
            set("log_checkpoints", "off");
        }
    }
    text
}

/// The port that a settings file written by [`render`] names.
pub(super) fn port_of(settings: &str) -> Option<u16> {
    settings.lines().find_map(|line| line.strip_prefix("port = '")?.strip_suffix('\'')?.parse().ok())
}

/// The list of one folder, quoted as the server wants it; empty (no socket) where the path would be too long.
fn socket_directories(folder: &Path, port: u16) -> String {
    let socket = folder.join(format!(".s.PGSQL.{port}"));
    match folder.to_str() {
        Some(name) if socket.as_os_str().len() <= SOCKET_PATH_BYTES && !name.contains(['\n', '\r', '\\']) => {
            format!("\"{}\"", name.replace('"', "\"\""))
        }
        _ => String::new(),
    }
}

/// Memory of the machine, or what a container is allowed of it, in bytes. 2 GiB where it cannot be found out.
pub(super) fn memory_bytes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let machine = total_of(&read("/proc/meminfo")).unwrap_or(2048 * MIB);
    // "max" and the huge number that stands for it both leave the machine's figure.
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| read(path).trim().parse().ok())
        .fold(machine, u64::min)
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(memory_bytes: u64, socket_dir: &Path) -> Machine<'_> {
        Machine { memory_bytes, major: 18, port: 5599, socket_dir, preload: &[] }
    }

    #[test]
    fn buffers_follow_the_memory_within_bounds() {
        let folder = Path::new("/run/x");
        let of = |gib: u64| render(Purpose::Durable, &machine(gib * 1024 * MIB, folder));
        assert!(of(8).contains("shared_buffers = '1024MB'"));
        assert!(of(1000).contains("shared_buffers = '4096MB'") && of(1000).contains("work_mem = '64MB'"));
        assert!(render(Purpose::Durable, &machine(64 * MIB, folder)).contains("shared_buffers = '128MB'"));
    }

    #[test]
    fn the_port_is_read_back_and_old_servers_get_no_unknown_setting() {
        let mut old = machine(1 << 30, Path::new("/run/x"));
        old.major = 16;
        let text = render(Purpose::Durable, &old);
        assert_eq!(port_of(&text), Some(5599));
        assert!(!text.contains("summarize_wal"));
    }

    #[test]
    fn sockets_are_quoted_and_left_out_where_the_path_is_too_long() {
        let quoted = render(Purpose::Durable, &machine(1 << 30, Path::new("/it's, \"here\"")));
        assert!(quoted.contains("unix_socket_directories = '\"/it''s, \"\"here\"\"\"'"), "{quoted}");
        let long = format!("/{}", "x".repeat(120));
        assert!(render(Purpose::Durable, &machine(1 << 30, Path::new(&long))).contains("unix_socket_directories = ''"));
    }

    #[test]
    fn reads_the_memory_of_the_machine() {
        assert_eq!(total_of("MemTotal:       24608348 kB\nMemFree: 1 kB\n"), Some(24_608_348 * 1024));
    }
}
