//! YAML as far as the configuration file needs it: maps, lists and texts, each with its place.
//!
//! Owns: the bounds that keep a hostile file harmless: depth, bytes per monitor, bytes that aliases
//! add. Values have no type here, since every key knows its own: `no`, `012` and `1e3` stay the
//! text that was written. Only one monitor at a time is held as a tree.

use std::collections::HashMap;
use std::fmt;

use saphyr_parser::{Marker, Parser, ScalarStyle, StrInput};

use crate::limits::{CONFIG_ALIAS_BYTES_MAX, CONFIG_DEPTH_MAX};

/// A place in a file, both numbers from 1, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Place {
    /// The first character of a file.
    pub const START: Place = Place { line: 1, column: 1 };

    fn of(marker: &Marker) -> Place {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place { line: number(marker.line()), column: number(marker.col() + 1) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text is not the YAML that we read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) place: Place,
    pub(super) text: String,
}

fn refuse<T>(place: Place, text: &str) -> Result<T, SyntaxError> {
    Err(SyntaxError { place, text: text.to_owned() })
}

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) data: Data,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Null,
    Text(String),
    List(Vec<Node>),
    /// Keys in order, with their places; a key may be there twice.
    Map(Vec<(String, Place, Node)>),
}

/// What a node costs beside its text, in bytes.
const NODE_BYTES: usize = 64;

impl Node {
    fn bytes(&self) -> usize {
        NODE_BYTES
            + match &self.data {
                Data::Null => 0,
                Data::Text(text) => text.len(),
                Data::List(items) => items.iter().map(Node::bytes).sum(),
                Data::Map(entries) => {
                    entries.iter().map(|(key, _, value)| key.len() + value.bytes()).sum()
                }
            }
    }
}

/// The one document of a whole file, at most `bytes` large.
pub(super) fn whole(text: &str, bytes: usize) -> Result<Node, SyntaxError> {
    let mut events = Events::new(text);
    let Some((event, place)) = events.document()? else {
        return refuse(Place::START, "it is empty");
    };
    events.value(event, place, 0, &mut { bytes })
}

/// One step through the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Null,
    Text(String),
    ListStart,
    ListEnd,
    MapStart,
    MapEnd,
    Alias(usize),
}

/// The steps through a file, one at a time.
pub(super) struct Events<'a> {
    parser: Parser<'a, StrInput<'a>>,
    ahead: Option<(Event, Place)>,
    /// Number of the anchor of the event that came last, 0 for none.
    anchor: usize,
    anchors: HashMap<usize, Node>,
    /// Bytes that anchors and aliases may still add.
    alias_bytes: usize,
}

impl<'a> Events<'a> {
    pub(super) fn new(text: &'a str) -> Events<'a> {
        Events {
            parser: Parser::new_from_str(text),
            ahead: None,
            anchor: 0,
            anchors: HashMap::new(),
            alias_bytes: CONFIG_ALIAS_BYTES_MAX,
        }
    }

    /// The first event of the next document, `None` at the end of the file.
    pub(super) fn document(&mut self) -> Result<Option<(Event, Place)>, SyntaxError> {
        use saphyr_parser::Event as Raw;
        loop {
            let raw = self.parser.next_event().transpose();
            let (raw, span) = match raw {
                Ok(Some(raw)) => raw,
                Ok(None) => return Ok(None),
                Err(error) => return refuse(Place::of(error.marker()), error.info()),
            };
            match raw {
                Raw::StreamEnd => return Ok(None),
                Raw::StreamStart | Raw::DocumentStart(_) | Raw::DocumentEnd | Raw::Nothing => {}
                raw => return self.event(raw, Place::of(&span.start)).map(Some),
            }
        }
    }

    /// The next event of this document.
    pub(super) fn next(&mut self) -> Result<(Event, Place), SyntaxError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(ahead);
        }
        match self.parser.next_event() {
            Some(Ok((raw, span))) => self.event(raw, Place::of(&span.start)),
            Some(Err(error)) => refuse(Place::of(error.marker()), error.info()),
            None => refuse(Place::START, "the file ends too early"),
        }
    }

    fn event(
        &mut self,
        raw: saphyr_parser::Event<'a>,
        place: Place,
    ) -> Result<(Event, Place), SyntaxError> {
        use saphyr_parser::Event as Raw;
        self.anchor = 0;
        let event = match raw {
            Raw::Scalar(text, style, anchor, _) => {
                self.anchor = anchor;
                let plain = style == ScalarStyle::Plain;
                match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Event::Null,
                    _ => Event::Text(text.into_owned()),
                }
            }
            Raw::SequenceStart(anchor, _) => {
                self.anchor = anchor;
                Event::ListStart
            }
            Raw::MappingStart(anchor, _) => {
                self.anchor = anchor;
                Event::MapStart
            }
            Raw::SequenceEnd => Event::ListEnd,
            Raw::MappingEnd => Event::MapEnd,
            Raw::Alias(anchor) => Event::Alias(anchor),
            _ => return refuse(place, "the document ends too early"),
        };
        Ok((event, place))
    }

    /// True where the list is over; its end is taken then.
    pub(super) fn at_list_end(&mut self) -> Result<bool, SyntaxError> {
        let next = self.next()?;
        let over = next.0 == Event::ListEnd;
        if !over {
            self.ahead = Some(next);
        }
        Ok(over)
    }

    /// The next value as a whole, at most `bytes` large.
    pub(super) fn node(&mut self, bytes: usize) -> Result<Node, SyntaxError> {
        let mut left = bytes;
        let (event, place) = self.next()?;
        self.value(event, place, 0, &mut left)
    }

    fn value(
        &mut self,
        event: Event,
        place: Place,
        depth: usize,
        left: &mut usize,
    ) -> Result<Node, SyntaxError> {
        if depth > CONFIG_DEPTH_MAX {
            return refuse(place, "the value is nested too deeply; headers need three levels");
        }
        let anchor = std::mem::take(&mut self.anchor);
        spend(left, NODE_BYTES, place, TOO_LARGE)?;
        let data = match event {
            Event::Null => Data::Null,
            Event::Text(text) => {
                spend(left, text.len(), place, TOO_LARGE)?;
                Data::Text(text)
            }
            Event::ListStart => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::ListEnd, _) => break Data::List(items),
                        (event, place) => items.push(self.value(event, place, depth + 1, left)?),
                    }
                }
            }
            Event::MapStart => self.map(depth, left)?,
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return refuse(place, "the alias stands inside of what it names");
                };
                let bytes = node.bytes();
                spend(left, bytes, place, TOO_LARGE)?;
                spend(&mut self.alias_bytes, bytes, place, TOO_MANY_ALIASES)?;
                node.data.clone()
            }
            Event::ListEnd | Event::MapEnd => return refuse(place, "a value is missing"),
        };
        let node = Node { place, data };
        if anchor != 0 {
            spend(&mut self.alias_bytes, node.bytes(), place, TOO_MANY_ALIASES)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn map(&mut self, depth: usize, left: &mut usize) -> Result<Data, SyntaxError> {
        let mut entries = Vec::new();
        loop {
            let (key, at) = match self.next()? {
                (Event::MapEnd, _) => return Ok(Data::Map(entries)),
                (Event::Text(key), at) => (key, at),
                (_, at) => return refuse(at, "a key is not a text"),
            };
            spend(left, key.len(), at, TOO_LARGE)?;
            let (event, place) = self.next()?;
            entries.push((key, at, self.value(event, place, depth + 1, left)?));
        }
    }
}

const TOO_LARGE: &str = "the value is larger than 1 MiB";
const TOO_MANY_ALIASES: &str = "anchors and aliases add more than 64 MiB; use `defaults:` instead";

fn spend(left: &mut usize, bytes: usize, place: Place, text: &str) -> Result<(), SyntaxError> {
    match left.checked_sub(bytes) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => refuse(place, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Result<Node, SyntaxError> {
        let mut events = Events::new(text);
        let (event, place) = events.document()?.unwrap();
        events.value(event, place, 0, &mut 10_000)
    }

    #[test]
    fn values_keep_their_text_and_their_place() {
        let Data::Map(entries) = node("a: no\nb: [1, ~]\n").unwrap().data else { panic!("no map") };
        assert_eq!(entries[0].2.data, Data::Text("no".to_owned()));
        assert_eq!(entries[1].1, Place { line: 2, column: 1 });
        let Data::List(items) = &entries[1].2.data else { panic!("no list") };
        assert_eq!(items[0].data, Data::Text("1".to_owned()));
        assert_eq!((items[1].data.clone(), items[1].place.column), (Data::Null, 8));
    }

    #[test]
    fn an_alias_stands_for_its_anchor_but_never_for_itself() {
        let Data::Map(entries) = node("a: &x [1]\nb: *x").unwrap().data else { panic!("no map") };
        assert_eq!(entries[0].2.data, entries[1].2.data);
        assert!(node("a: &x [*x]").unwrap_err().text.contains("inside of what it names"));
    }

    #[test]
    fn an_alias_bomb_and_a_deep_nest_are_refused() {
        let mut bomb = String::from("a0: &a0 [xxxxxxxxxx]\n");
        for level in 1..30 {
            let before = level - 1;
            bomb += &format!("a{level}: &a{level} [*a{before}, *a{before}]\n");
        }
        assert_eq!(node(&bomb).unwrap_err().text, TOO_LARGE);
        let deep = node(&"[".repeat(100)).unwrap_err();
        assert!(deep.text.contains("nested too deeply"), "{deep:?}");
        assert!(node(&"[".repeat(100_000)).is_err());
        assert!(node(&"- ".repeat(100_000)).is_err());
    }
}
