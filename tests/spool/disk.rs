//! A disk in memory that does everything a real one may do.
//!
//! What was not synced is lost at a crash, wholly or in part. A write may be short and may fail
//! half-way. A sync that fails makes nothing durable, and neither does any later one of that file:
//! the kernel has forgotten the pages. There may be no room.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex};

use engine::store::spool::disk::Disk;

#[derive(Clone, Default)]
struct File {
    data: Vec<u8>,
    durable: Vec<u8>,
    reserved: u64,
    /// A sync has failed: what was written until now never becomes durable.
    forgotten: bool,
}

/// The operation that fails, and whether all after it do too.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub at: u64,
    pub for_ever: bool,
}

#[derive(Default)]
struct State {
    files: HashMap<u64, File>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next_file: u64,
    operations: u64,
    fault: Option<Fault>,
    room: Option<u64>,
    short_writes: bool,
}

/// A handle: clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    pub fn operations(&self) -> u64 {
        self.0.lock().unwrap().operations
    }

    /// Counts operations from here on and lets one fail.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.0.lock().unwrap();
        state.operations = 0;
        state.fault = fault;
    }

    /// Bytes that all files may have together, what is set aside included.
    pub fn set_room(&self, room: Option<u64>) {
        self.0.lock().unwrap().room = room;
    }

    pub fn set_short_writes(&self, short: bool) {
        self.0.lock().unwrap().short_writes = short;
    }

    /// Loses what is not durable. Of bytes added to a file, so many thirds reach the disk anyway.
    pub fn crash(&self, thirds: usize) {
        let mut state = self.0.lock().unwrap();
        state.names = state.durable_names.clone();
        let kept: Vec<u64> = state.names.values().copied().collect();
        state.files.retain(|file, _| kept.contains(file));
        for file in state.files.values_mut() {
            let added = file.data.len().saturating_sub(file.durable.len());
            let survives = file.durable.len() + added * thirds.min(3) / 3;
            let mut bytes = std::mem::take(&mut file.data);
            bytes.truncate(survives);
            let durable = file.durable.len().min(bytes.len());
            bytes[..durable].copy_from_slice(&file.durable[..durable]);
            if bytes.len() < file.durable.len() {
                bytes = file.durable.clone();
            }
            *file = File { durable: bytes.clone(), data: bytes, ..File::default() };
        }
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        state.files[&state.names[name]].data.clone()
    }

    /// Changes a file behind everybody's back.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.0.lock().unwrap();
        let file = state.names[name];
        let file = state.files.get_mut(&file).unwrap();
        file.durable = bytes.clone();
        file.data = bytes;
    }

    /// Names with this ending, in order.
    pub fn names(&self, ending: &str) -> Vec<String> {
        let state = self.0.lock().unwrap();
        state.names.keys().filter(|name| name.ends_with(ending)).cloned().collect()
    }

    /// A disk with the same content and a life of its own.
    pub fn copy(&self) -> MemoryDisk {
        let state = self.0.lock().unwrap();
        MemoryDisk(Arc::new(Mutex::new(State {
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            next_file: state.next_file,
            ..State::default()
        })))
    }

    /// Counts an operation, and fails where it is its turn.
    fn operate<T>(
        &self,
        work: impl FnOnce(&mut State, io::Result<()>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        let number = state.operations;
        state.operations += 1;
        let fails = state
            .fault
            .is_some_and(|fault| number == fault.at || (fault.for_ever && number > fault.at));
        let turn = if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) };
        work(&mut state, turn)
    }
}

impl State {
    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        let file = self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.files.get_mut(file).unwrap())
    }

    /// Bytes that may be added.
    fn left(&self) -> u64 {
        let used: u64 = self.files.values().map(|f| f.reserved.max(f.data.len() as u64)).sum();
        self.room.map_or(u64::MAX, |room| room.saturating_sub(used))
    }

    fn forget_nameless(&mut self) {
        let (names, durable) = (&self.names, &self.durable_names);
        self.files
            .retain(|file, _| names.values().chain(durable.values()).any(|named| named == file));
    }
}

impl Disk for MemoryDisk {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        self.operate(|state, turn| {
            turn?;
            let size = |file: &u64| state.files[file].data.len() as u64;
            Ok(state.names.iter().map(|(name, file)| (name.clone(), size(file))).collect())
        })
    }

    fn read(&mut self, name: &str, at: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        self.operate(|state, turn| {
            turn?;
            let data = &state.file(name)?.data;
            let start = (at as usize).min(data.len());
            let end = start.saturating_add(bytes_max).min(data.len());
            Ok(data[start..end].to_vec())
        })
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.operate(|state, turn| {
            turn?;
            let file = state.next_file;
            state.next_file += 1;
            state.files.insert(file, File::default());
            state.names.insert(name.to_owned(), file);
            state.forget_nameless();
            Ok(())
        })
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize> {
        self.operate(|state, turn| {
            let left = state.left() as usize;
            let half = turn.is_err() || (state.short_writes && bytes.len() > 1);
            let file = state.file(name)?;
            let size = file.data.len().max(file.reserved as usize);
            let start = at as usize;
            assert!(start <= file.data.len(), "a write leaves a hole");
            let room = size.saturating_add(left).saturating_sub(start);
            let wanted = if half { bytes.len() / 2 } else { bytes.len() };
            let written = wanted.min(room);
            let end = start + written;
            file.data.resize(file.data.len().max(end), 0);
            file.data[start..end].copy_from_slice(&bytes[..written]);
            turn?;
            if written == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(written)
        })
    }

    fn reserve(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        self.operate(|state, turn| {
            turn?;
            let left = state.left();
            let file = state.file(name)?;
            let has = file.reserved.max(file.data.len() as u64);
            if bytes.saturating_sub(has) > left {
                return Err(io::ErrorKind::StorageFull.into());
            }
            file.reserved = file.reserved.max(bytes);
            Ok(())
        })
    }

    fn cut(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        self.operate(|state, turn| {
            turn?;
            let file = state.file(name)?;
            file.data.truncate(bytes as usize);
            file.reserved = 0;
            Ok(())
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.operate(|state, turn| {
            let file = state.file(name)?;
            file.forgotten |= turn.is_err();
            if !file.forgotten {
                file.durable = file.data.clone();
            }
            turn
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.operate(|state, turn| {
            turn?;
            let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), file);
            state.forget_nameless();
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.operate(|state, turn| {
            turn?;
            state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            state.forget_nameless();
            Ok(())
        })
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.operate(|state, turn| {
            turn?;
            state.durable_names = state.names.clone();
            state.forget_nameless();
            Ok(())
        })
    }
}
