//! Laying out subscriptions and reading events.

use lunette_hostcalls::Errno;

use super::{Guest, RESULT};

pub const IN: u32 = 0x2000;
pub const OUT: u32 = 0x3000;

#[derive(Clone, Copy)]
pub enum Subscribe {
    Clock { id: u32, timeout: u64, flags: u16 },
    Read(u32),
    Write(u32),
    Raw(u8),
}

/// (userdata, errno, type, bytes, flags)
pub type Event = (u64, u16, u8, u64, u8);

impl Guest {
    /// Lays out subscriptions with the user data 100, 101 and so on: the arguments of the call.
    pub fn subscribe(&mut self, subscriptions: &[Subscribe]) -> [u64; 4] {
        self.subscribe_at(IN, OUT, subscriptions)
    }

    pub fn subscribe_at(&mut self, at: u32, events: u32, subscriptions: &[Subscribe]) -> [u64; 4] {
        for (n, subscription) in subscriptions.iter().enumerate() {
            let mut record = [0; 48];
            record[0..8].copy_from_slice(&(100 + n as u64).to_le_bytes());
            let (tag, first) = match *subscription {
                Subscribe::Clock { id, timeout, flags } => {
                    record[24..32].copy_from_slice(&timeout.to_le_bytes());
                    record[40..42].copy_from_slice(&flags.to_le_bytes());
                    (0, id)
                }
                Subscribe::Read(fd) => (1, fd),
                Subscribe::Write(fd) => (2, fd),
                Subscribe::Raw(tag) => (tag, 0),
            };
            record[8] = tag;
            record[16..20].copy_from_slice(&first.to_le_bytes());
            self.put(at + 48 * n as u32, &record);
        }
        [at.into(), events.into(), subscriptions.len() as u64, RESULT.into()]
    }

    /// A poll that has something to report.
    #[track_caller]
    pub fn poll(&mut self, subscriptions: &[Subscribe]) -> Vec<Event> {
        let call = self.subscribe(subscriptions);
        assert_eq!(self.tell("poll_oneoff", &call), Ok::<(), Errno>(()));
        self.events()
    }

    pub fn events(&self) -> Vec<Event> {
        self.events_at(OUT)
    }

    pub fn events_at(&self, at: u32) -> Vec<Event> {
        let event = |n| {
            let at = at + 32 * n;
            let errno = u16::from_le_bytes(self.bytes(at + 8, 2).try_into().unwrap());
            let (kind, flags) = (self.memory[at as usize + 10], self.memory[at as usize + 24]);
            (self.u64(at), errno, kind, self.u64(at + 16), flags)
        };
        (0..self.u32(RESULT)).map(event).collect()
    }
}
