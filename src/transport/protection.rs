//! Cookies whose value is signed or encrypted, by tower-cookies.

#[cfg(any(feature = "signed", feature = "private"))]
pub(crate) use self::with_keys::{Protection, Sealing};
#[cfg(not(any(feature = "signed", feature = "private")))]
pub(crate) use self::without_keys::{Protection, Sealing};

/// What a cookie of this layer's carried, and whether an old key had written it.
pub(crate) struct Opened {
    pub(crate) value: String,
    pub(crate) outdated: bool,
}

#[cfg(any(feature = "signed", feature = "private"))]
mod with_keys {
    use std::fmt;

    use tower_cookies::Key;
    use tower_cookies::cookie::{Cookie, CookieJar};

    use super::Opened;
    use crate::error::ConfigError;
    use crate::keys::KeyRing;

    /// How the cookie is to be protected.
    #[derive(Clone, Debug)]
    pub(crate) enum Sealing {
        #[cfg(feature = "signed")]
        Signed(KeyRing),
        #[cfg(feature = "private")]
        Private(KeyRing),
    }

    impl Sealing {
        /// For the cookie of this name: a value that was written for another opens nothing.
        pub(crate) fn build(self, name: &str) -> Result<Protection, ConfigError> {
            let keys = |ring: &KeyRing, usage| {
                let keys = ring.derive::<64>(usage, name.as_bytes())?;
                Ok(keys.iter().map(|key| Key::from(key)).collect())
            };
            Ok(match &self {
                #[cfg(feature = "signed")]
                Self::Signed(ring) => Protection::Signed(keys(ring, "signed cookie")?),
                #[cfg(feature = "private")]
                Self::Private(ring) => Protection::Private(keys(ring, "private cookie")?),
            })
        }
    }

    /// The keys, newest first.
    #[derive(Clone)]
    pub(crate) enum Protection {
        #[cfg(feature = "signed")]
        Signed(Vec<Key>),
        #[cfg(feature = "private")]
        Private(Vec<Key>),
    }

    impl Protection {
        pub(crate) fn seal(&self, name: &str, value: String) -> String {
            let mut jar = CookieJar::new();
            let cookie = Cookie::new(name.to_owned(), value);
            match self {
                #[cfg(feature = "signed")]
                Self::Signed(keys) => jar.signed_mut(&keys[0]).add(cookie),
                #[cfg(feature = "private")]
                Self::Private(keys) => jar.private_mut(&keys[0]).add(cookie),
            }
            jar.get(name).map(|cookie| cookie.value().to_owned()).unwrap_or_default()
        }

        pub(crate) fn open(&self, name: &str, value: &[u8]) -> Option<Opened> {
            let value = std::str::from_utf8(value).ok()?;
            let jar = CookieJar::new();
            let cookie = Cookie::new(name.to_owned(), value.to_owned());
            let (place, cookie) = match self {
                #[cfg(feature = "signed")]
                Self::Signed(keys) => first(keys, |key| jar.signed(key).verify(cookie.clone()))?,
                #[cfg(feature = "private")]
                Self::Private(keys) => first(keys, |key| jar.private(key).decrypt(cookie.clone()))?,
            };
            Some(Opened { value: cookie.value().to_owned(), outdated: place > 0 })
        }

        /// The length of what protects a value of this length: nothing of another length is looked at.
        pub(crate) const fn length(&self, value: usize) -> usize {
            match self {
                // The HMAC-SHA-256 in base64, before the value.
                #[cfg(feature = "signed")]
                Self::Signed(_) => 44 + value,
                // Nonce, value and tag, in base64.
                #[cfg(feature = "private")]
                Self::Private(_) => (12 + value + 16).div_ceil(3) * 4,
            }
        }
    }

    fn first(keys: &[Key], open: impl Fn(&Key) -> Option<Cookie<'static>>) -> Option<(usize, Cookie<'static>)> {
        keys.iter().enumerate().find_map(|(place, key)| Some((place, open(key)?)))
    }

    impl fmt::Debug for Protection {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                #[cfg(feature = "signed")]
                Self::Signed(_) => "Signed",
                #[cfg(feature = "private")]
                Self::Private(_) => "Private",
            })
        }
    }
}

/// Without their features there is none of either.
#[cfg(not(any(feature = "signed", feature = "private")))]
mod without_keys {
    use super::Opened;
    use crate::error::ConfigError;

    #[derive(Clone, Debug)]
    pub(crate) enum Sealing {}

    impl Sealing {
        pub(crate) fn build(self, _: &str) -> Result<Protection, ConfigError> {
            match self {}
        }
    }

    #[derive(Clone, Debug)]
    pub(crate) enum Protection {}

    impl Protection {
        pub(crate) fn seal(&self, _: &str, _: String) -> String {
            match *self {}
        }

        pub(crate) fn open(&self, _: &str, _: &[u8]) -> Option<Opened> {
            match *self {}
        }

        pub(crate) const fn length(&self, _: usize) -> usize {
            match *self {}
        }
    }
}
