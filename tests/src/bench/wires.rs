//! Many connections on one thread, waited for together and woken at exact moments.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, bail};
use rustix::event::epoll;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use super::answer::Answer;

/// What stands for the timer among the connections.
const TIMER: u64 = u64::MAX;

const NANOSECONDS: u64 = 1_000_000_000;

/// Nanoseconds of the clock that all processes of the machine share and that never jumps.
#[must_use]
pub fn monotonic() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * NANOSECONDS + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// One connection.
pub(super) struct Wire {
    address: SocketAddr,
    stream: TcpStream,
    /// The answer under way.
    pub answer: Answer,
}

impl Wire {
    /// Writes a request, which has to fit into the empty connection at once.
    pub fn send(&mut self, request: &[u8]) -> Result<()> {
        self.answer.reset();
        let written = (&self.stream).write(request)?;
        if written < request.len() {
            bail!("a request did not fit into an idle connection");
        }
        Ok(())
    }

    /// Reads what has arrived; says whether the answer is whole. The end of the connection is an error.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match (&self.stream).read(buffer) {
            Ok(0) => bail!("the connection was closed"),
            Ok(count) => self.answer.take(buffer.get(..count).unwrap_or_default()),
            Err(fault) if fault.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(fault) => Err(fault.into()),
        }
    }
}

/// Connections to one address.
pub(super) struct Wires {
    poll: OwnedFd,
    timer: OwnedFd,
    /// The connections, by number.
    pub wires: Vec<Wire>,
}

impl Wires {
    /// Connects so many times.
    pub fn connect(address: SocketAddr, count: usize) -> Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        epoll::add(
            &poll,
            &timer,
            epoll::EventData::new_u64(TIMER),
            epoll::EventFlags::IN,
        )?;
        let mut wires = Self {
            poll,
            timer,
            wires: Vec::with_capacity(count),
        };
        for number in 0..count {
            let stream = wires.open(address, number)?;
            wires.wires.push(Wire {
                address,
                stream,
                answer: Answer::default(),
            });
        }
        Ok(wires)
    }

    fn open(&self, address: SocketAddr, number: usize) -> Result<TcpStream> {
        let stream = TcpStream::connect(address).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(
            &self.poll,
            &stream,
            epoll::EventData::new_u64(number as u64),
            epoll::EventFlags::IN,
        )?;
        Ok(stream)
    }

    /// Replaces a connection that has ended.
    pub fn connect_again(&mut self, number: usize) -> Result<()> {
        let address = self.wires.get(number).context("no such wire")?.address;
        let stream = self.open(address, number)?;
        if let Some(wire) = self.wires.get_mut(number) {
            // The old one leaves the poll as it is closed.
            wire.stream = stream;
            wire.answer.reset();
        }
        Ok(())
    }

    /// Waits for something to read, at most until a moment of [`monotonic`], and gives the numbers of the connections.
    pub fn wait(&self, until: u64, ready: &mut Vec<usize>) -> io::Result<()> {
        ready.clear();
        let left = until.saturating_sub(monotonic());
        let timeout = if left == 0 {
            Some(Timespec::default())
        } else {
            let value = Timespec {
                tv_sec: i64::try_from(left / NANOSECONDS).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(left % NANOSECONDS).unwrap_or_default(),
            };
            let once = Itimerspec {
                it_interval: Timespec::default(),
                it_value: value,
            };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
            None
        };
        let mut events = [const { MaybeUninit::uninit() }; 256];
        let (events, _) = epoll::wait(&self.poll, &mut events, timeout.as_ref())?;
        ready.extend(
            events
                .iter()
                .map(|event| event.data.u64())
                .filter(|number| *number != TIMER)
                .filter_map(|number| usize::try_from(number).ok()),
        );
        Ok(())
    }
}
