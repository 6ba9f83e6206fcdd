//! Keys of values: a string, or a constant that fixes the type of its value.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// A key with the type of its value.
///
/// Declared once, it is written and read as that type everywhere, so that the compiler finds a wrong type.
///
/// ```
/// use sessile::{Error, Field, Session};
///
/// const CART: Field<Vec<String>> = Field::new("cart");
///
/// async fn add(session: Session, item: String) -> Result<(), Error> {
///     session.update(CART, move |cart| cart.push(item))
/// }
/// ```
pub struct Field<T: ?Sized> {
    name: &'static str,
    value: PhantomData<fn() -> Box<T>>,
}

impl<T: ?Sized> Field<T> {
    /// Creates the field of this key.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, value: PhantomData }
    }

    /// Returns the key under which the value is stored.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T: ?Sized> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Field<T> {}

impl<T: ?Sized> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.name).finish()
    }
}

/// A key of any value: a `&str` or a [`Field`].
#[diagnostic::on_unimplemented(message = "`{Self}` is not a key", note = "a key is a `&str`, or a `Field`")]
pub trait KeyName: sealed::Sealed {
    #[doc(hidden)]
    fn name(&self) -> &str;

    #[doc(hidden)]
    fn into_name(self) -> Cow<'static, str>;
}

/// A key of a value of type `T`: a `&str`, for every type, or a [`Field<T>`](Field).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key of a value of type `{T}`",
    note = "a key is a `&str`, or a `Field<{T}>`"
)]
pub trait Key<T: ?Sized>: KeyName {}

/// A key under which a value of type `T` can be inserted.
///
/// Every [`Key`] is one. A `Field<String>` also takes a `str`, and a `Field<Vec<T>>` a slice.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key of a value of type `{T}`",
    note = "a key is a `&str`, or a `Field<{T}>`"
)]
pub trait InsertKey<T: ?Sized>: KeyName {}

impl KeyName for &str {
    fn name(&self) -> &str {
        self
    }

    fn into_name(self) -> Cow<'static, str> {
        Cow::Owned(self.to_owned())
    }
}

impl KeyName for &String {
    fn name(&self) -> &str {
        self
    }

    fn into_name(self) -> Cow<'static, str> {
        Cow::Owned(self.clone())
    }
}

impl<T: ?Sized> KeyName for Field<T> {
    fn name(&self) -> &str {
        self.name
    }

    fn into_name(self) -> Cow<'static, str> {
        Cow::Borrowed(self.name)
    }
}

impl<T: ?Sized> Key<T> for &str {}
impl<T: ?Sized> Key<T> for &String {}
impl<T: ?Sized> Key<T> for Field<T> {}

impl<T: ?Sized> InsertKey<T> for &str {}
impl<T: ?Sized> InsertKey<T> for &String {}
impl<T: ?Sized> InsertKey<T> for Field<T> {}
impl InsertKey<str> for Field<String> {}
impl<T> InsertKey<[T]> for Field<Vec<T>> {}

mod sealed {
    #[expect(unnameable_types, reason = "a sealed trait cannot be named outside")]
    pub trait Sealed {}
    impl Sealed for &str {}
    impl Sealed for &String {}
    impl<T: ?Sized> Sealed for super::Field<T> {}
}
