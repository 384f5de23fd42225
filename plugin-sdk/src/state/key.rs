//! Keys as bytes that sort as the keys do.
//!
//! Texts and bytes end with `00 01`, and a zero byte in them is written `00 FF`: so a text sorts
//! before all that begin with it, and no text runs into what follows it. Numbers are big-endian, the
//! sign of signed ones turned over. A tuple is its parts in a row.

/// What ends a text, and what stands for a zero byte in one.
const END: [u8; 2] = [0x00, 0x01];
const ZERO: [u8; 2] = [0x00, 0xFF];

/// What can be looked up as a `K` without being one, as `&str` for `String`.
pub trait AsKey<K> {
    /// Appends the key's bytes.
    fn write(&self, key: &mut Vec<u8>);
}

/// A key of a [`super::Map`]: text, bytes, integers, `bool`, and tuples of these.
///
/// Keys sort as their parts do, the first part first.
pub trait MapKey: AsKey<Self> + Sized {
    /// Takes the key's bytes off the front. `None`: they are no such key.
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

/// The first parts of a `K`, or all of them: what scans are bounded by.
pub trait Prefix<K> {
    /// Appends the bytes of these parts.
    fn write(&self, key: &mut Vec<u8>);
}

impl<K, T: AsKey<K> + ?Sized> AsKey<K> for &T {
    fn write(&self, key: &mut Vec<u8>) {
        (**self).write(key);
    }
}

impl AsKey<Vec<u8>> for [u8] {
    fn write(&self, key: &mut Vec<u8>) {
        for byte in self {
            match byte {
                0 => key.extend(ZERO),
                _ => key.push(*byte),
            }
        }
        key.extend(END);
    }
}

impl AsKey<Self> for Vec<u8> {
    fn write(&self, key: &mut Vec<u8>) {
        self.as_slice().write(key);
    }
}

impl AsKey<String> for str {
    fn write(&self, key: &mut Vec<u8>) {
        self.as_bytes().write(key);
    }
}

impl AsKey<Self> for String {
    fn write(&self, key: &mut Vec<u8>) {
        self.as_bytes().write(key);
    }
}

impl MapKey for Vec<u8> {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut text = Self::new();
        loop {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            if *byte != 0 {
                text.push(*byte);
                continue;
            }
            let (second, rest) = bytes.split_first()?;
            *bytes = rest;
            match [0, *second] {
                END => return Some(text),
                ZERO => text.push(0),
                _ => return None,
            }
        }
    }
}

impl MapKey for String {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Self::from_utf8(Vec::read(bytes)?).ok()
    }
}

macro_rules! numbers {
    ($($number:ty, $flip:expr);* $(;)?) => { $(
        impl AsKey<Self> for $number {
            fn write(&self, key: &mut Vec<u8>) {
                key.extend((self ^ $flip).to_be_bytes());
            }
        }

        impl MapKey for $number {
            fn read(bytes: &mut &[u8]) -> Option<Self> {
                let (number, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_be_bytes(*number) ^ $flip)
            }
        }
    )* };
}

numbers! {
    u8, 0; u16, 0; u32, 0; u64, 0; u128, 0;
    i8, i8::MIN; i16, i16::MIN; i32, i32::MIN; i64, i64::MIN; i128, i128::MIN;
}

impl AsKey<Self> for bool {
    fn write(&self, key: &mut Vec<u8>) {
        key.push(u8::from(*self));
    }
}

impl MapKey for bool {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        match u8::read(bytes)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl AsKey<Self> for () {
    fn write(&self, _: &mut Vec<u8>) {}
}

impl MapKey for () {
    fn read(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

macro_rules! tuples {
    ($($($key:ident $given:ident $part:tt),+);+ $(;)?) => { $(
        impl<$($key, $given: AsKey<$key>),+> AsKey<($($key,)+)> for ($($given,)+) {
            fn write(&self, key: &mut Vec<u8>) {
                $(self.$part.write(key);)+
            }
        }

        impl<$($key: MapKey),+> MapKey for ($($key,)+) {
            fn read(bytes: &mut &[u8]) -> Option<Self> {
                Some(($($key::read(bytes)?,)+))
            }
        }
    )+ };
}

tuples! {
    A GivenA 0;
    A GivenA 0, B GivenB 1;
    A GivenA 0, B GivenB 1, C GivenC 2;
    A GivenA 0, B GivenB 1, C GivenC 2, D GivenD 3;
    A GivenA 0, B GivenB 1, C GivenC 2, D GivenD 3, E GivenE 4;
}

macro_rules! prefixes {
    ($($($key:ident $given:ident),+ | $($rest:ident),*);+ $(;)?) => { $(
        impl<$($key, $given: AsKey<$key>,)+ $($rest),*> Prefix<($($key,)+ $($rest,)*)>
            for ($($given,)+)
        {
            fn write(&self, key: &mut Vec<u8>) {
                AsKey::<($($key,)+)>::write(self, key);
            }
        }
    )+ };
}

prefixes! {
    A GivenA |;
    A GivenA | B;
    A GivenA | B, C;
    A GivenA | B, C, D;
    A GivenA | B, C, D, E;
    A GivenA, B GivenB |;
    A GivenA, B GivenB | C;
    A GivenA, B GivenB | C, D;
    A GivenA, B GivenB | C, D, E;
    A GivenA, B GivenB, C GivenC |;
    A GivenA, B GivenB, C GivenC | D;
    A GivenA, B GivenB, C GivenC | D, E;
    A GivenA, B GivenB, C GivenC, D GivenD |;
    A GivenA, B GivenB, C GivenC, D GivenD | E;
    A GivenA, B GivenB, C GivenC, D GivenD, E GivenE |;
}

macro_rules! single_parts {
    ($($given:ty: $key:ty),* $(,)?) => { $(
        impl Prefix<$key> for $given {
            fn write(&self, key: &mut Vec<u8>) {
                AsKey::<$key>::write(self, key);
            }
        }
    )* };
}

single_parts! {
    &str: String, &String: String, String: String, &[u8]: Vec<u8>, Vec<u8>: Vec<u8>,
    u8: u8, u16: u16, u32: u32, u64: u64, u128: u128,
    i8: i8, i16: i16, i32: i32, i64: i64, i128: i128, bool: bool,
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;

    fn bytes<K: MapKey>(key: &K) -> Vec<u8> {
        let mut bytes = Vec::new();
        key.write(&mut bytes);
        bytes
    }

    fn check<K: MapKey + Ord + Debug>(one: &K, other: &K) {
        let (a, b) = (bytes(one), bytes(other));
        assert_eq!(a.cmp(&b), one.cmp(other), "{one:?} {other:?}");
        let mut rest = a.as_slice();
        assert_eq!(K::read(&mut rest).as_ref(), Some(one));
        assert_eq!(rest, [0_u8; 0]);
    }

    type Parts = (String, i64, Vec<u8>, u16, bool);

    /// Few letters, among them the ones that are written otherwise.
    fn text() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!['\0', '\u{1}', 'a', 'b', '\u{ff}']), 0..4)
            .prop_map(String::from_iter)
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let raw = prop::collection::vec(prop::sample::select(vec![0_u8, 1, 2, 254, 255]), 0..4);
        let number = prop_oneof![-2_i64..2, any::<i64>(), Just(i64::MIN), Just(i64::MAX)];
        (text(), number, raw, any::<u16>(), any::<bool>())
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_bytes_and_are_read_back(one in parts(), other in parts()) {
            check(&one, &other);
            check(&one.0, &other.0);
            check(&one.1, &other.1);
            check(&one.2, &other.2);
            check(&(one.0.clone(), other.0.clone()), &(other.0, one.0));
        }

        #[test]
        fn whatever_bytes_are_read_nothing_panics(raw in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = raw.as_slice();
            if let Some(read) = Parts::read(&mut bytes) {
                let mut written = self::bytes(&read);
                written.extend(bytes);
                prop_assert_eq!(written, raw, "what is read is read in one way");
            }
        }
    }

    #[test]
    fn what_is_borrowed_is_the_same_key() {
        let mut borrowed = Vec::new();
        AsKey::<(String, u64)>::write(&("caller", 7), &mut borrowed);
        assert_eq!(borrowed, bytes(&("caller".to_owned(), 7_u64)));
        let mut first = Vec::new();
        Prefix::<(String, u64)>::write(&("caller",), &mut first);
        assert!(borrowed.starts_with(&first));
    }
}
