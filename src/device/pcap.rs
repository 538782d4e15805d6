//! A device made of capture files: replays one as received frames and records what is sent into another.
//!
//! Reads pcap and pcapng, of Ethernet; writes pcap. Files are read and written through buffers as frames move, so
//! this device makes system calls and may allocate while it polls: it is for tests and for the reproduction of a
//! bug, not for traffic. An error while it polls ends the replay or the record and is reported by
//! [`PcapDevice::finish`].

use super::membuf::{MemBuf, MemPool};
use super::{Burst, Device};
use crate::packet::PacketBuf;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, PcapError};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest frame that is recorded, in bytes; what capture tools use.
const SNAPLEN: u32 = 262_144;
/// First bytes of a pcapng file, in either byte order.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// A capture file can not be used.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file can not be opened or made.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Its content is not a capture.
    #[error("{path}: not a readable pcap or pcapng file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is a capture of something else than Ethernet.
    #[error("{path}: the capture is of link type {link:?}; only Ethernet can be replayed")]
    LinkType {
        /// The file.
        path: PathBuf,
        /// What it is a capture of.
        link: DataLink,
    },
}

/// A capture file that is read from, one that is written to, or both.
pub struct PcapDevice {
    pool: MemPool,
    replay: Option<Replay>,
    record: Option<PcapWriter<BufWriter<File>>>,
    error: Option<io::Error>,
    replayed: u64,
    oversized: u64,
    recorded: u64,
}

impl PcapDevice {
    /// Opens the file to replay and makes the file to record into; frames come from `pool`.
    ///
    /// # Errors
    /// If a file can not be opened or made, or the one to replay does not begin as an Ethernet capture.
    pub fn open(
        replay: Option<&Path>,
        record: Option<&Path>,
        pool: MemPool,
    ) -> Result<PcapDevice, CaptureError> {
        let replay = replay.map(Replay::open).transpose()?.flatten();
        let record = record.map(start_record).transpose()?;
        Ok(PcapDevice { pool, replay, record, error: None, replayed: 0, oversized: 0, recorded: 0 })
    }

    /// Whether there is nothing (more) to replay.
    pub fn is_exhausted(&self) -> bool {
        self.replay.is_none()
    }

    /// How many frames were delivered.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    /// How many frames of the capture were passed over because the pool's frames are too small for them.
    pub fn oversized(&self) -> u64 {
        self.oversized
    }

    /// How many frames were recorded.
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Writes what is buffered and reports the first error of all that happened. Dropping the device writes too,
    /// but can not report.
    ///
    /// # Errors
    /// The first error of reading the replay or writing the record.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(writer) = self.record.take() {
            let flushed = writer.into_writer().flush();
            self.keep(flushed);
        }
        self.error.take().map_or(Ok(()), Err)
    }

    /// Keeps the first error.
    fn keep(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }
}

impl Device for PcapDevice {
    type Buf = MemBuf;

    fn rx_burst(&mut self, out: &mut Burst<MemBuf>) {
        while !out.is_full()
            && let Some(replay) = &mut self.replay
            // Before the file moves on, so that an empty pool delays a frame and does not lose it.
            && let Some(mut buf) = self.pool.alloc()
        {
            if buf.grow_back(replay.next.len()).is_ok() {
                buf.data_mut().copy_from_slice(&replay.next);
                self.replayed += 1;
                out.push(buf);
            } else {
                self.oversized += 1;
            }
            match replay.advance() {
                Ok(true) => {}
                Ok(false) => self.replay = None,
                Err(error) => {
                    self.replay = None;
                    self.keep(Err(io::Error::other(error)));
                }
            }
        }
    }

    fn tx_burst(&mut self, frames: &mut Burst<MemBuf>) {
        let Some(writer) = &mut self.record else {
            // Nobody wants to know: like a cable that ends in the air.
            return frames.clear();
        };
        for frame in frames.drain(..) {
            // A device has no clock: frames are stamped with their number, in microseconds.
            let stamp = Duration::from_micros(self.recorded);
            let len = u32::try_from(frame.data().len()).unwrap_or(u32::MAX);
            match writer.write_packet(&PcapPacket::new(stamp, len, frame.data())) {
                Ok(_) => self.recorded += 1,
                Err(error) => {
                    self.error.get_or_insert(into_io(error));
                }
            }
        }
    }

    fn alloc(&mut self) -> Option<MemBuf> {
        self.pool.alloc()
    }

    fn transmits(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for PcapDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PcapDevice({} replayed, {} recorded)", self.replayed, self.recorded)
    }
}

fn start_record(path: &Path) -> Result<PcapWriter<BufWriter<File>>, CaptureError> {
    let file = File::create(path).map_err(|source| CaptureError::File { path: path.to_owned(), source })?;
    let header = PcapHeader { snaplen: SNAPLEN, datalink: DataLink::ETHERNET, ..PcapHeader::default() };
    PcapWriter::with_header(BufWriter::new(file), header)
        .map_err(|error| CaptureError::File { path: path.to_owned(), source: into_io(error) })
}

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

enum Reader {
    Pcap(PcapReader<BufReader<File>>),
    PcapNg(PcapNgReader<BufReader<File>>),
}

/// A capture with its next frame already read, so that its end is known in time.
struct Replay {
    path: PathBuf,
    reader: Reader,
    next: Vec<u8>,
}

impl Replay {
    /// `None` if the capture holds no frame.
    fn open(path: &Path) -> Result<Option<Replay>, CaptureError> {
        let wrong = |error| format_error(path, error);
        let mut file =
            File::open(path).map_err(|source| CaptureError::File { path: path.to_owned(), source })?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic)
            .and_then(|()| file.rewind())
            .map_err(|error| wrong(PcapError::IoError(error)))?;
        let file = BufReader::new(file);
        let reader = if magic == PCAPNG_MAGIC {
            Reader::PcapNg(PcapNgReader::new(file).map_err(wrong)?)
        } else {
            let reader = PcapReader::new(file).map_err(wrong)?;
            require_ethernet(path, reader.header().datalink)?;
            Reader::Pcap(reader)
        };
        let mut replay = Replay { path: path.to_owned(), reader, next: Vec::new() };
        Ok(replay.advance()?.then_some(replay))
    }

    /// Reads the next frame into `next`; false at the end of the file.
    fn advance(&mut self) -> Result<bool, CaptureError> {
        let Replay { path, reader, next } = self;
        next.clear();
        match reader {
            // Raw, because captures often hold frames longer than the snap length that they announce.
            Reader::Pcap(reader) => match reader.next_raw_packet() {
                Some(Ok(packet)) => next.extend_from_slice(&packet.data),
                Some(Err(error)) => return Err(format_error(path, error)),
                None => return Ok(false),
            },
            Reader::PcapNg(reader) => loop {
                let interface = match reader.next_block() {
                    Some(Ok(Block::EnhancedPacket(packet))) => {
                        next.extend_from_slice(&packet.data);
                        packet.interface_id
                    }
                    Some(Ok(Block::Packet(packet))) => {
                        next.extend_from_slice(&packet.data);
                        u32::from(packet.interface_id)
                    }
                    Some(Ok(Block::SimplePacket(packet))) => {
                        next.extend_from_slice(&packet.data);
                        0
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Err(format_error(path, error)),
                    None => return Ok(false),
                };
                let described = usize::try_from(interface).ok().and_then(|id| reader.interfaces().get(id));
                let described =
                    described.ok_or_else(|| format_error(path, PcapError::InvalidInterfaceId(interface)))?;
                require_ethernet(path, described.linktype)?;
                break;
            },
        }
        Ok(true)
    }
}

fn require_ethernet(path: &Path, link: DataLink) -> Result<(), CaptureError> {
    match link {
        DataLink::ETHERNET => Ok(()),
        link => Err(CaptureError::LinkType { path: path.to_owned(), link }),
    }
}

fn format_error(path: &Path, error: PcapError) -> CaptureError {
    CaptureError::Format { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcapng::PcapNgWriter;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;

    fn frames() -> Vec<Vec<u8>> {
        (0..70u8).map(|n| vec![n; 20 + usize::from(n)]).collect()
    }

    fn record(path: &Path, frames: &[Vec<u8>]) {
        let pool = MemPool::new(64, 2048);
        let mut device = PcapDevice::open(None, Some(path), pool.clone()).unwrap();
        for chunk in frames.chunks(super::super::BURST) {
            let mut burst: Burst<MemBuf> =
                chunk.iter().map(|frame| MemBuf::from_bytes(&pool, frame).unwrap()).collect();
            device.tx_burst(&mut burst);
            assert!(burst.is_empty());
        }
        assert_eq!(device.recorded(), frames.len() as u64);
        device.finish().unwrap();
        assert_eq!(pool.in_use(), 0);
    }

    fn replay(path: &Path, pool: &MemPool) -> Vec<Vec<u8>> {
        let mut device = PcapDevice::open(Some(path), None, pool.clone()).unwrap();
        let mut seen = Vec::new();
        while !device.is_exhausted() {
            let mut burst = Burst::new();
            device.rx_burst(&mut burst);
            seen.extend(burst.iter().map(|frame| frame.data().to_vec()));
        }
        device.finish().unwrap();
        seen
    }

    #[test]
    fn what_was_recorded_is_replayed_and_a_small_pool_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frames.pcap");
        record(&path, &frames());
        assert_eq!(replay(&path, &MemPool::new(64, 2048)), frames());
        assert_eq!(replay(&path, &MemPool::new(3, 2048)), frames());
    }

    #[test]
    fn a_pcapng_capture_is_replayed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frames.pcapng");
        let mut writer = PcapNgWriter::new(File::create(&path).unwrap()).unwrap();
        writer.write_pcapng_block(InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0)).unwrap();
        for frame in frames() {
            let block = EnhancedPacketBlock {
                interface_id: 0,
                timestamp: Duration::ZERO,
                original_len: 0,
                data: frame.into(),
                options: Vec::new(),
            };
            writer.write_pcapng_block(block).unwrap();
        }
        drop(writer);
        assert_eq!(replay(&path, &MemPool::new(64, 2048)), frames());
    }

    #[test]
    fn a_capture_of_another_link_type_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("raw.pcap");
        let header = PcapHeader { datalink: DataLink::RAW, ..PcapHeader::default() };
        drop(PcapWriter::with_header(File::create(&path).unwrap(), header).unwrap());
        let error = PcapDevice::open(Some(&path), None, MemPool::new(1, 64)).unwrap_err().to_string();
        assert!(error.contains("RAW") && error.contains("only Ethernet"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_capture_or_not_there_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, "not a capture at all, but long enough").unwrap();
        for (path, said) in [(path, "not a readable pcap"), (folder.path().join("absent"), "No such file")] {
            let error = PcapDevice::open(Some(&path), None, MemPool::new(1, 64)).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn a_capture_that_breaks_off_is_reported_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.pcap");
        record(&path, &frames());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        let mut device = PcapDevice::open(Some(&path), None, MemPool::new(128, 2048)).unwrap();
        let mut kept = Vec::new();
        while !device.is_exhausted() {
            let mut burst = Burst::new();
            device.rx_burst(&mut burst);
            kept.extend(burst);
        }
        assert_eq!(kept.len(), frames().len() - 1);
        assert!(device.finish().is_err());
    }

    #[test]
    fn a_frame_too_large_for_the_pool_is_counted_and_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.pcap");
        record(&path, &[vec![1; 60], vec![2; 200], vec![3; 60]]);
        let mut device = PcapDevice::open(Some(&path), None, MemPool::new(8, 64)).unwrap();
        let mut burst = Burst::new();
        device.rx_burst(&mut burst);
        assert_eq!((device.replayed(), device.oversized(), device.is_exhausted()), (2, 1, true));
        assert_eq!(burst[1].data(), [3; 60]);
    }
}
