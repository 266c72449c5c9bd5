//! The bytes of a spooled batch: everything that a [`SampleBatch`] holds, and which run it is of.
//!
//! Owns: the layout of a payload. Numbers are little-endian, texts and lists have their length
//! before them. In order: the stamp (run, its start, time of writing), shard, number, changes of
//! verdict, samples (few as rows, many as a `store::blob`, whose durations come back within 0.8 %,
//! as the database keeps them too), words. Changes stand before the samples so that they are read
//! without unpacking. Reading takes nothing on trust: a wrong length is an error, never an
//! allocation.

use std::sync::Arc;

use probes::outcome::{CertFacts, CertInfo, Detail};
use probes::{Failure, Timings};

use super::RunKey;
use crate::ids::{MonitorId, ShardId};
use crate::limits::{MESSAGE_BYTES_MAX, SPOOL_RECORD_BYTES_MAX};
use crate::sample::{Code, Marks, Sample, SampleBatch, Transition, Verdict, Words};
use crate::store::{Gap, RunId, blob, clipped};

/// Samples follow as rows of 55 bytes.
const ROWS: u8 = 0;
/// Samples follow as a blob.
const BLOB: u8 = 1;
/// Samples up to which rows are smaller than a blob, whose 15 columns cost 30 bytes each.
const ROWS_MAX: usize = 8;
/// Marks of a change stand in the high half of the byte of its verdict.
const MARKS_SHIFT: u32 = 4;

/// The payload has a right checksum but makes no sense: a bug or another version's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed payload")]
pub struct Malformed;

/// What every payload begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Whose results these are.
    pub run: RunKey,
    /// When it was written, in milliseconds since the Unix epoch.
    pub written_ms: u64,
}

/// Packs a batch. One that would be larger than `SPOOL_RECORD_BYTES_MAX` keeps of its words only
/// the messages.
pub fn pack_batch(stamp: Stamp, batch: &SampleBatch) -> Vec<u8> {
    let mut out = Out(Vec::with_capacity(batch.samples.len() * 16 + 64));
    out.stamp(stamp);
    out.u16(batch.shard.0);
    out.u64(batch.seq);
    out.list(&batch.transitions, Out::transition);
    out.u32(batch.samples.len() as u32);
    if !batch.samples.is_empty() {
        out.samples(&batch.samples);
    }
    let words_at = out.0.len();
    out.list(&batch.words, Out::words);
    if out.0.len() > SPOOL_RECORD_BYTES_MAX {
        out.0.truncate(words_at);
        out.list(&batch.words, Out::message_only);
    }
    out.0
}

/// The inverse of [`pack_batch`].
///
/// # Errors
///
/// `Malformed`; never panics, and allocates no more than the payload justifies.
pub fn unpack_batch(payload: &[u8]) -> Result<(Stamp, SampleBatch), Malformed> {
    let mut from = In(payload);
    let stamp = from.stamp()?;
    let (shard, seq) = (ShardId(from.u16()?), from.u64()?);
    let transitions = from.list(In::transition)?;
    let count = from.u32()? as usize;
    let mut samples = Vec::new();
    while samples.len() < count {
        samples.extend(from.samples()?);
    }
    let words = from.list(In::words)?;
    if samples.len() != count || !from.0.is_empty() {
        return Err(Malformed);
    }
    Ok((stamp, SampleBatch { shard, seq, samples, words, transitions }))
}

/// The stamp and the changes of verdict of a packed batch, without unpacking the rest.
///
/// # Errors
///
/// `Malformed`.
pub fn peek_batch(payload: &[u8]) -> Result<(Stamp, Vec<Transition>), Malformed> {
    let mut from = In(payload);
    let stamp = from.stamp()?;
    from.u16()?;
    from.u64()?;
    Ok((stamp, from.list(In::transition)?))
}

/// Packs the mark of a clean stop: its time is the time of writing.
pub fn pack_stop(stamp: Stamp) -> Vec<u8> {
    let mut out = Out(Vec::new());
    out.stamp(stamp);
    out.0
}

/// Packs a gap.
pub fn pack_gap(stamp: Stamp, gap: &Gap) -> Vec<u8> {
    let mut out = Out(Vec::new());
    out.stamp(stamp);
    for number in [gap.number, gap.from_ms, gap.to_ms, gap.results] {
        out.u64(number);
    }
    out.0
}

/// The inverse of [`pack_gap`].
///
/// # Errors
///
/// `Malformed`.
pub fn unpack_gap(payload: &[u8]) -> Result<(Stamp, Gap), Malformed> {
    let mut from = In(payload);
    let stamp = from.stamp()?;
    let (number, from_ms) = (from.u64()?, from.u64()?);
    let (to_ms, results) = (from.u64()?, from.u64()?);
    Ok((stamp, Gap { number, from_ms, to_ms, results }))
}

/// The stamp of any payload.
///
/// # Errors
///
/// `Malformed`.
pub fn peek_stamp(payload: &[u8]) -> Result<Stamp, Malformed> {
    In(payload).stamp()
}

struct Out(Vec<u8>);

impl Out {
    fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    fn u16(&mut self, number: u16) {
        self.0.extend(number.to_le_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.u32(bytes.len() as u32);
        self.0.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn pair(&mut self, (name, value): &(String, String)) {
        self.text(name);
        self.text(value);
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Out, &T)) {
        self.u32(items.len() as u32);
        items.iter().for_each(|item| write(self, item));
    }

    fn option<T>(&mut self, item: Option<T>, write: impl FnOnce(&mut Out, T)) {
        self.u8(u8::from(item.is_some()));
        if let Some(item) = item {
            write(self, item);
        }
    }

    fn stamp(&mut self, stamp: Stamp) {
        self.u64(stamp.run.run.0);
        self.u64(stamp.run.started_ms);
        self.u64(stamp.written_ms);
    }

    fn transition(&mut self, change: &Transition) {
        self.u64(change.monitor.0);
        self.u64(change.at_ms);
        self.u8(change.from as u8);
        // Verdicts need three bits.
        self.u8(change.to as u8 | change.marks.number() << MARKS_SHIFT);
        self.u16(change.code.0);
    }

    /// Few samples as rows, more as a blob; what does not fit the range of one is halved.
    fn samples(&mut self, samples: &[Sample]) {
        if samples.len() <= ROWS_MAX {
            self.u8(ROWS);
            return self.list(samples, Out::sample);
        }
        let base = samples.iter().map(|sample| sample.monitor.0).min().unwrap_or(0);
        let t0_ms = samples.iter().map(|sample| sample.due_ms).min().unwrap_or(0);
        match blob::pack(base, t0_ms, samples) {
            Ok(blob) => {
                self.u8(BLOB);
                self.u64(base);
                self.u64(t0_ms);
                self.bytes(&blob);
            }
            Err(_) => {
                let (first, second) = samples.split_at(samples.len() / 2);
                self.samples(first);
                self.samples(second);
            }
        }
    }

    fn sample(&mut self, sample: &Sample) {
        self.u64(sample.monitor.0);
        self.u64(sample.due_ms);
        self.u32(sample.lag_us);
        sample.timings.raw().iter().for_each(|micros| self.u32(*micros));
        self.u32(sample.total_us);
        self.u32(sample.body_bytes);
        self.u16(sample.code.0);
        self.u16(sample.http_status);
        self.u8(sample.phase);
        self.u8(sample.attempts);
        self.u8(sample.verdict as u8);
    }

    fn words(&mut self, words: &Words) {
        self.u16(words.sample);
        self.text(&words.message);
        self.option(words.detail.as_deref(), Out::detail);
        self.option(words.cert.as_deref(), Out::cert);
        self.list(&words.attempts, |out, text| out.text(text));
    }

    fn message_only(&mut self, words: &Words) {
        self.u16(words.sample);
        self.text(clipped(&words.message, MESSAGE_BYTES_MAX));
        self.option(None, Out::detail);
        self.option(None, Out::cert);
        self.u32(0);
    }

    fn detail(&mut self, detail: &Detail) {
        self.text(&detail.text);
        self.list(&detail.missing, |out, text| out.text(text));
        self.text(&detail.reason);
        self.list(&detail.headers, Out::pair);
        self.text(&detail.url);
        self.text(&detail.excerpt);
    }

    fn cert(&mut self, cert: &CertFacts) {
        self.list(&cert.chain, Out::cert_info);
        self.option(cert.problem, |out, problem| out.u16(problem.code()));
        self.text(&cert.problem_text);
        self.text(&cert.tls_version);
        self.text(&cert.cipher);
    }

    fn cert_info(&mut self, cert: &CertInfo) {
        self.list(&cert.subject, Out::pair);
        self.list(&cert.issuer, Out::pair);
        self.list(&cert.names, |out, name| out.text(name));
        self.u32(cert.names_total);
        self.u64(cert.not_before.cast_unsigned());
        self.u64(cert.not_after.cast_unsigned());
        self.text(&cert.serial);
        self.text(&cert.sha256);
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    fn string(&mut self) -> Result<String, Malformed> {
        Ok(self.text()?.to_owned())
    }

    fn pair(&mut self) -> Result<(String, String), Malformed> {
        Ok((self.string()?, self.string()?))
    }

    /// Grows with what is really there, whatever the count says.
    fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.u32()?;
        (0..count).map(|_| read(self)).collect()
    }

    fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.u8()? == 0 { Ok(None) } else { Ok(Some(read(self)?)) }
    }

    fn stamp(&mut self) -> Result<Stamp, Malformed> {
        let run = RunKey { run: RunId(self.u64()?), started_ms: self.u64()? };
        Ok(Stamp { run, written_ms: self.u64()? })
    }

    fn transition(&mut self) -> Result<Transition, Malformed> {
        let (monitor, at_ms) = (MonitorId(self.u64()?), self.u64()?);
        let (from, to) = (Verdict::from_number(self.u8()?), self.u8()?);
        Ok(Transition {
            monitor,
            at_ms,
            from,
            to: Verdict::from_number(to & ((1 << MARKS_SHIFT) - 1)),
            code: Code(self.u16()?),
            marks: Marks::from_number(to >> MARKS_SHIFT),
        })
    }

    /// At least one.
    fn samples(&mut self) -> Result<Vec<Sample>, Malformed> {
        let samples = match self.u8()? {
            ROWS => self.list(In::sample)?,
            BLOB => {
                let (base, t0_ms) = (self.u64()?, self.u64()?);
                blob::unpack(base, t0_ms, self.bytes()?).map_err(|_| Malformed)?
            }
            _ => return Err(Malformed),
        };
        if samples.is_empty() { Err(Malformed) } else { Ok(samples) }
    }

    fn sample(&mut self) -> Result<Sample, Malformed> {
        Ok(Sample {
            monitor: MonitorId(self.u64()?),
            due_ms: self.u64()?,
            lag_us: self.u32()?,
            timings: Timings::from_raw([
                self.u32()?,
                self.u32()?,
                self.u32()?,
                self.u32()?,
                self.u32()?,
            ]),
            total_us: self.u32()?,
            body_bytes: self.u32()?,
            code: Code(self.u16()?),
            http_status: self.u16()?,
            phase: self.u8()?,
            attempts: self.u8()?,
            verdict: Verdict::from_number(self.u8()?),
        })
    }

    fn words(&mut self) -> Result<Words, Malformed> {
        Ok(Words {
            sample: self.u16()?,
            message: self.text()?.into(),
            detail: self.option(In::detail)?.map(Box::new),
            cert: self.option(In::cert)?.map(Arc::new),
            attempts: self.list(|from| Ok(from.text()?.into()))?,
        })
    }

    fn detail(&mut self) -> Result<Detail, Malformed> {
        Ok(Detail {
            text: self.string()?,
            missing: self.list(In::string)?,
            reason: self.string()?,
            headers: self.list(In::pair)?,
            url: self.string()?,
            excerpt: self.string()?,
        })
    }

    fn cert(&mut self) -> Result<CertFacts, Malformed> {
        Ok(CertFacts {
            chain: self.list(In::cert_info)?,
            // A problem that this version has no word for is still one.
            problem: self
                .option(In::u16)?
                .map(|code| Failure::from_code(code).unwrap_or(Failure::CertUntrusted)),
            problem_text: self.string()?,
            tls_version: self.string()?,
            cipher: self.string()?,
        })
    }

    fn cert_info(&mut self) -> Result<CertInfo, Malformed> {
        Ok(CertInfo {
            subject: self.list(In::pair)?,
            issuer: self.list(In::pair)?,
            names: self.list(In::string)?,
            names_total: self.u32()?,
            not_before: self.u64()?.cast_signed(),
            not_after: self.u64()?.cast_signed(),
            serial: self.string()?,
            sha256: self.string()?,
        })
    }
}

#[cfg(test)]
mod tests;
