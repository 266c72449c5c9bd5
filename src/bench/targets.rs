//! The targets of a bench: the wide farm as a process of its own.
//!
//! Owns: the process. It is this same binary with a hidden command; it ends when its standard input
//! does, so it never outlives the bench. Its CPU time is read from outside.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::bench::usage;
use crate::farm::wide::Places;

/// The hidden command that serves.
pub const COMMAND: &str = "bench-farm";

/// A running farm. It ends when this is dropped.
pub struct Targets {
    child: Child,
    orders: Option<ChildStdin>,
    /// Where the plays are.
    pub places: Places,
}

impl Targets {
    /// Starts `program` as a farm, on `cpu` where one is given.
    ///
    /// # Errors
    ///
    /// It cannot be started, or says nothing that is understood.
    pub fn start(program: &Path, cpu: Option<usize>) -> io::Result<Targets> {
        let mut command = Command::new(program);
        command.arg(COMMAND);
        if let Some(cpu) = cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (orders, said) = (child.stdin.take(), child.stdout.take());
        let mut line = String::new();
        if let Some(said) = said {
            BufReader::new(said).read_line(&mut line)?;
        }
        let places = serde_json::from_str(&line).map_err(io::Error::other);
        match places {
            Ok(places) => Ok(Targets { child, orders, places }),
            Err(error) => {
                drop(orders);
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Begins or ends an outage of the targets that know one.
    ///
    /// # Errors
    ///
    /// The farm is gone.
    pub fn outage(&mut self, begins: bool) -> io::Result<()> {
        match &mut self.orders {
            Some(orders) => orders.write_all(if begins { b"s" } else { b"r" }),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// CPU time that it took so far, in microseconds, to 10 ms.
    pub fn cpu_us(&self) -> u64 {
        usage::process_cpu_us(self.child.id())
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        // The end of its input is its end; it cannot be waited for in vain.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}
