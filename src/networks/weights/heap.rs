//! What a pickle's machine holds: its values, its stack, its memo.
//!
//! Values are numbers into one list: what a pickle shares stays shared, nothing is copied, nothing nests on our own
//! stack. What is held is bounded by the length of the pickle and by [`MAX_VALUES`], whatever the pickle says.

use std::collections::HashMap;

use super::globals::Global;

/// A tensor takes about 20 values: room for 50,000 of them.
const MAX_VALUES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u32);

#[derive(Debug)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Pairs in the order in which they were set; a key that is set twice stands there twice.
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// What a persistent id names: in a checkpoint always the bytes behind tensors.
    Persistent(Id),
    Tensor(Claim),
    /// A float, bytes, a device: nothing that a tensor is made of.
    Other,
}

/// The arguments of `_rebuild_tensor_v2` that say where the numbers are, not looked at yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) storage: Id,
    pub(super) offset: Id,
    pub(super) shape: Id,
    pub(super) strides: Id,
}

#[derive(Debug, Default)]
pub(super) struct Heap {
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at which a mark lies.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Heap {
    pub(super) fn value(&self, id: Id) -> &Value {
        &self.values[id.0 as usize]
    }

    pub(super) fn push(&mut self, value: Value) -> Result<(), String> {
        check_room(self.values.len(), "values")?;
        let id = Id(self.values.len() as u32);
        self.values.push(value);
        self.push_id(id)
    }

    pub(super) fn push_id(&mut self, id: Id) -> Result<(), String> {
        check_room(self.stack.len(), "values on the stack")?;
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn mark(&mut self) -> Result<(), String> {
        check_room(self.marks.len(), "marks on the stack")?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Never a value below the last mark.
    pub(super) fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    pub(super) fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.get(floor..).and_then(<[Id]>::last);
        top.copied().ok_or_else(|| "expected a value on the stack, found none".to_owned())
    }

    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("expected a mark on the stack, found none")?;
        Ok(self.stack.split_off(mark))
    }

    /// A tuple of the `count` values on top.
    pub(super) fn tuple(&mut self, count: usize) -> Result<(), String> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Value::Tuple(items))
    }

    /// Puts what is on top into the memo: at `place`, or at the next.
    pub(super) fn remember(&mut self, place: Option<u32>) -> Result<(), String> {
        check_room(self.memo.len(), "values in the memo")?;
        let top = self.top()?;
        self.memo.insert(place.unwrap_or(self.memo.len() as u32), top);
        Ok(())
    }

    pub(super) fn recall(&mut self, place: u32) -> Result<(), String> {
        let id = *self.memo.get(&place).ok_or_else(|| format!("expected a value in memo {place}, found none"))?;
        self.push_id(id)
    }

    /// To the list on top.
    pub(super) fn append(&mut self, mut items: Vec<Id>) -> Result<(), String> {
        let list = self.top()?;
        match &mut self.values[list.0 as usize] {
            Value::List(list) => list.append(&mut items),
            other => return Err(format!("expected a list to append to, found {}", other.kind())),
        }
        Ok(())
    }

    /// In the dictionary on top: keys and values in turn.
    pub(super) fn set(&mut self, items: &[Id]) -> Result<(), String> {
        let (pairs, rest) = items.as_chunks::<2>();
        let dict = self.top()?;
        match &mut self.values[dict.0 as usize] {
            Value::Dict(dict) if rest.is_empty() => dict.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            Value::Dict(_) => return Err("expected a value for each key, found a key alone".to_owned()),
            other => return Err(format!("expected a dictionary to set items of, found {}", other.kind())),
        }
        Ok(())
    }
}

fn check_room(count: usize, of: &str) -> Result<(), String> {
    if count < MAX_VALUES { Ok(()) } else { Err(format!("expected at most {MAX_VALUES} {of}, found more")) }
}

impl Value {
    /// For messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool => "a truth value",
            Self::Int(_) => "a whole number",
            Self::Text(_) => "a text",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Global(_) => "a class or a function",
            Self::Persistent(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Other => "a value of another kind",
        }
    }
}
