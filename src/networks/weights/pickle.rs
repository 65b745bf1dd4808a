//! A pickle → the table that it describes. Never: calls anything, imports anything, or keeps a name that it does not
//! know.
//!
//! A pickle is a program for a stack machine, which may name any function of Python and call it. This machine knows
//! the few names that rebuild a tensor ([`Global`]) and does for each what it stands for; every other name, and every
//! instruction that a checkpoint does without, ends the reading with an error that says which it was.
//! Source: Python's `pickletools` for the instructions, PyTorch's `torch/_utils.py` for the arguments.

use super::globals::{Global, refused};
use super::heap::{Claim, Heap, Id, Value};

/// The longest published checkpoints have pickles of 1 MB; with an optimiser's state of 3.
pub(super) const MAX_PICKLE_BYTES: u64 = 16 << 20;

/// Runs a pickle to its end: the value that it leaves, and what that refers to.
///
/// # Errors
/// One line that names the instruction or the name that has no place in a checkpoint, and where it stands.
pub(super) fn run(bytes: &[u8]) -> Result<(Id, Heap), String> {
    let mut machine = Machine { bytes, at: 0, heap: Heap::default() };
    loop {
        let began = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(result)) => return Ok((result, machine.heap)),
            Err(what) => return Err(format!("pickle, byte {began}: {what}")),
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    heap: Heap,
}

impl Machine<'_> {
    /// One instruction; the result, if it was the last.
    fn step(&mut self) -> Result<Option<Id>, String> {
        let opcode = self.number(1)? as u8;
        match opcode {
            b'.' => return self.heap.pop().map(Some), // STOP
            0x80 => self.skip(1),                     // PROTO and its version
            0x95 => self.skip(8),                     // FRAME: a hint to readers of streams
            b'(' => self.heap.mark(),
            b'0' => self.heap.pop().map(|_| ()),
            b'1' => self.heap.pop_to_mark().map(|_| ()),
            b'2' => self.heap.top().and_then(|top| self.heap.push_id(top)), // DUP

            b'N' => self.heap.push(Value::None),
            0x88 | 0x89 => self.heap.push(Value::Bool),
            b'K' => self.unsigned(1), // BININT1
            b'M' => self.unsigned(2),
            b'J' => self.signed(4),
            0x8a => self.number(1).and_then(|count| self.signed(count)), // LONG1
            b'G' => self.other(8),                                       // BINFLOAT

            b'X' => self.text(4), // BINUNICODE
            0x8c => self.text(1),
            0x8d => self.text(8),
            b'C' => self.number(1).and_then(|count| self.other(count)), // SHORT_BINBYTES
            b'B' => self.number(4).and_then(|count| self.other(count)),
            0x8e => self.number(8).and_then(|count| self.other(count)),

            b')' => self.heap.tuple(0),
            0x85 => self.heap.tuple(1),
            0x86 => self.heap.tuple(2),
            0x87 => self.heap.tuple(3),
            b't' => self.heap.pop_to_mark().and_then(|items| self.heap.push(Value::Tuple(items))),
            b']' => self.heap.push(Value::List(vec![])),
            b'l' => self.heap.pop_to_mark().and_then(|items| self.heap.push(Value::List(items))),
            b'a' => self.heap.pop().and_then(|item| self.heap.append(vec![item])),
            b'e' => self.heap.pop_to_mark().and_then(|items| self.heap.append(items)),
            b'}' => self.heap.push(Value::Dict(vec![])),
            b'd' => self.heap.pop_to_mark().and_then(|items| {
                self.heap.push(Value::Dict(vec![]))?;
                self.heap.set(&items)
            }),
            b's' => {
                let (value, key) = (self.heap.pop()?, self.heap.pop()?);
                self.heap.set(&[key, value])
            }
            b'u' => self.heap.pop_to_mark().and_then(|items| self.heap.set(&items)),

            b'q' => self.number(1).and_then(|place| self.heap.remember(Some(place as u32))), // BINPUT
            b'r' => self.number(4).and_then(|place| self.heap.remember(Some(place as u32))),
            0x94 => self.heap.remember(None), // MEMOIZE
            b'h' => self.number(1).and_then(|place| self.heap.recall(place as u32)), // BINGET
            b'j' => self.number(4).and_then(|place| self.heap.recall(place as u32)),

            b'c' => self.global(),
            0x93 => self.stack_global(),
            b'Q' => self.heap.pop().and_then(|id| self.heap.push(Value::Persistent(id))), // BINPERSID
            b'R' => self.reduce(),
            b'b' => self.build(),
            other => Err(format!("expected what a checkpoint is written with, found {}", name_of(other))),
        }?;
        Ok(None)
    }

    // --- Bytes.

    fn slice(&mut self, count: u64) -> Result<&[u8], String> {
        let left = &self.bytes[self.at..];
        match left.get(..usize::try_from(count).unwrap_or(usize::MAX)) {
            Some(found) => {
                self.at += found.len();
                Ok(found)
            }
            None if left.is_empty() => Err(cut()),
            None => Err(format!("expected {count} bytes, found {}: the pickle is cut", left.len())),
        }
    }

    fn skip(&mut self, count: u64) -> Result<(), String> {
        self.slice(count).map(|_| ())
    }

    /// At most eight bytes, the least first.
    fn number(&mut self, count: u64) -> Result<u64, String> {
        Ok(self.slice(count)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn line(&mut self) -> Result<String, String> {
        let length = self.bytes[self.at..].iter().position(|byte| *byte == b'\n').ok_or_else(cut)?;
        let line = String::from_utf8_lossy(self.slice(length as u64)?).into_owned();
        self.skip(1)?;
        Ok(line)
    }

    // --- Values.

    fn unsigned(&mut self, count: u64) -> Result<(), String> {
        let number = self.number(count)?;
        self.heap.push(i64::try_from(number).map_or(Value::Other, Value::Int))
    }

    /// Two's complement of any length. Those above 64 bits (seeds of generators) say nothing about a tensor.
    fn signed(&mut self, count: u64) -> Result<(), String> {
        let bytes = self.slice(count)?;
        let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if is_negative { 0xff } else { 0 }; 8];
        let value = match wide.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(wide))
            }
            None => Value::Other,
        };
        self.heap.push(value)
    }

    fn text(&mut self, length_bytes: u64) -> Result<(), String> {
        let length = self.number(length_bytes)?;
        let text = String::from_utf8_lossy(self.slice(length)?).into_owned();
        self.heap.push(Value::Text(text))
    }

    fn other(&mut self, count: u64) -> Result<(), String> {
        self.skip(count)?;
        self.heap.push(Value::Other)
    }

    // --- Names and what they stand for.

    fn global(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        let global = Global::named(&module, &name).ok_or_else(|| refused(&module, &name))?;
        self.heap.push(Value::Global(global))
    }

    fn stack_global(&mut self) -> Result<(), String> {
        let (name, module) = (self.heap.pop()?, self.heap.pop()?);
        let (Value::Text(module), Value::Text(name)) = (self.heap.value(module), self.heap.value(name)) else {
            return Err("expected the name of a class or a function, found something else".to_owned());
        };
        let global = Global::named(module, name).ok_or_else(|| refused(module, name))?;
        self.heap.push(Value::Global(global))
    }

    /// `callable(*arguments)`, for the callables that are known.
    fn reduce(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.heap.pop()?, self.heap.pop()?);
        let (Value::Global(global), Value::Tuple(arguments)) = (self.heap.value(callable), self.heap.value(arguments))
        else {
            let found = self.heap.value(callable).kind();
            return Err(format!("expected a call that rebuilds a tensor, found one of {found}"));
        };
        let (mut global, mut arguments) = (*global, arguments);
        if let (Global::RebuildFromType, [function, _class, inner, _attributes]) = (global, arguments.as_slice())
            && let (Value::Global(function), Value::Tuple(inner)) =
                (self.heap.value(*function), self.heap.value(*inner))
        {
            (global, arguments) = (*function, inner);
        }
        match (global, arguments.as_slice()) {
            (Global::OrderedDict, []) => self.heap.push(Value::Dict(vec![])),
            (Global::RebuildTensor, &[storage, offset, shape, strides, _grad, _hooks, ..]) => {
                self.heap.push(Value::Tensor(Claim { storage, offset, shape, strides }))
            }
            // A parameter is its tensor, a size is its tuple.
            (Global::RebuildParameter | Global::Size, &[inner, ..]) => self.heap.push_id(inner),
            (Global::Device, _) => self.heap.push(Value::Other),
            (global, _) => Err(global.misused()),
        }
    }

    /// Attributes of the object on the stack. Those of a dictionary (`_metadata`, versions of modules) and of a tensor
    /// say nothing about numbers.
    fn build(&mut self) -> Result<(), String> {
        self.heap.pop()?;
        let object = self.heap.top()?;
        match self.heap.value(object) {
            Value::Dict(_) | Value::Tensor(_) => Ok(()),
            other => Err(format!("expected attributes of a dictionary or a tensor, found those of {}", other.kind())),
        }
    }
}

fn cut() -> String {
    "expected more, found the end: the pickle is cut".to_owned()
}

fn name_of(opcode: u8) -> String {
    let name = match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x82..=0x84 => "EXT",
        b'P' => "PERSID",
        b'g' | b'p' | b'I' | b'L' | b'V' | b'S' | b'F' => "an instruction of the text protocol",
        b'T' | b'U' => "a string of Python 2",
        0x8b => "LONG4",
        0x8f..=0x91 => "a set",
        0x96..=0x98 => "a buffer",
        _ => return format!("byte {opcode:#04x}, which is no instruction"),
    };
    format!("{name} ({opcode:#04x})")
}
