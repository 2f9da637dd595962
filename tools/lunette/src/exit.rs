//! Exit codes of `lunette run`, and why each.

use lunette_hostcalls::farewell::Farewell;

/// The time (`--timeout`) or the fuel (`--fuel`) was used up. As `timeout(1)`.
pub const TIMEOUT: u8 = 124;
/// Lunette itself failed, or refused what it was given. As docker.
pub const FAILURE: u8 = 125;
/// APP is there, but can't be opened or is a folder without a manifest. As docker.
pub const NOT_RUNNABLE: u8 = 126;
/// There is no APP. As docker.
pub const NOT_FOUND: u8 = 127;
/// Stopped by Ctrl-C. As a shell says for SIGINT.
pub const STOPPED: u8 = 130;
/// The app trapped. As wasmtime, and as a shell says for SIGABRT.
pub const TRAP: u8 = 134;
/// Out of memory, or killed by a second Ctrl-C. As a shell says for SIGKILL.
pub const KILLED: u8 = 137;
/// Stopped by SIGTERM or `lunette stop`. As a shell says for SIGTERM.
pub const TERMINATED: u8 = 143;
/// Nobody listens to its output any more. As a shell says for SIGPIPE.
pub const UNHEARD: u8 = 141;

/// For `--help` and the README.
pub const TABLE: &str = "\
Exit codes of `run`:
  0-255  the app's own (a larger one: its low 8 bits, as a shell does)
  124    stopped: the time (--timeout) or the fuel (--fuel) was used up
  125    Lunette failed or refused what it was given
  126    APP is there but can't be run: unreadable, or a folder without lunette.toml
  127    there is no APP
  130    stopped by Ctrl-C
  134    the app trapped
  137    the VM ran out of memory, or was killed: by one more Ctrl-C, by `rm -f`, by `stop -t 0`
  141    stopped, for nobody listens to its output any more (SIGPIPE)
  143    stopped by SIGTERM or `lunette stop`
An app that listens is asked to finish first; if it does, the code is its own.
With -d they are the VM's, kept for `lunette ps` and `lunette wait`; `run -d` itself ends with 0, or as above if
the app never ran.
The other commands end with 0, or with one of 125 to 127.";

/// The code for a run that ended with these last words.
pub fn of(farewell: &Farewell) -> u8 {
    match farewell {
        Farewell::Exit(code) => code.to_le_bytes()[0],
        Farewell::Trap => TRAP,
        Farewell::Timeout | Farewell::Fuel => TIMEOUT,
        Farewell::OutOfMemory => KILLED,
        Farewell::Stopped => STOPPED,
        Farewell::Refused(_) | Farewell::Panic(_) => FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apps_code_is_the_commands() {
        assert_eq!(of(&Farewell::Exit(0)), 0);
        assert_eq!(of(&Farewell::Exit(255)), 255);
        assert_eq!(of(&Farewell::Exit(256)), 0);
        assert_eq!(of(&Farewell::Exit(u32::MAX)), 255);
        assert_eq!(of(&Farewell::Trap), 134);
        assert_eq!(of(&Farewell::Fuel), 124);
        assert_eq!(of(&Farewell::OutOfMemory), 137);
        assert_eq!(of(&Farewell::Refused(String::new())), 125);
    }
}
