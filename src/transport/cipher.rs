//! Signed and encrypted cookie values, by tower-cookies.

#[cfg(any(feature = "signed", feature = "private"))]
pub(crate) use self::with_keys::{CookieCipher, CookieKeys};
#[cfg(not(any(feature = "signed", feature = "private")))]
pub(crate) use self::without_keys::{CookieCipher, CookieKeys};

/// The decoded value of a cookie.
pub(crate) struct Decoded {
    pub(crate) value: String,
    /// An old key has written the cookie.
    pub(crate) is_outdated: bool,
}

#[cfg(any(feature = "signed", feature = "private"))]
mod with_keys {
    use std::fmt;

    use tower_cookies::Key;
    use tower_cookies::cookie::{Cookie, CookieJar};

    use super::Decoded;
    use crate::error::ConfigError;
    use crate::keys::KeyRing;

    /// Keys of the cookie, and whether they sign or encrypt it.
    #[derive(Clone, Debug)]
    pub(crate) enum CookieKeys {
        #[cfg(feature = "signed")]
        Signed(KeyRing),
        #[cfg(feature = "private")]
        Private(KeyRing),
    }

    impl CookieKeys {
        /// Derives the keys for the cookie of this name: they reject the value of another cookie.
        pub(crate) fn build(self, name: &str) -> Result<CookieCipher, ConfigError> {
            let keys = |ring: &KeyRing, usage| {
                let keys = ring.derive::<64>(usage, name.as_bytes())?;
                Ok(keys.iter().map(|key| Key::from(key)).collect())
            };
            Ok(match &self {
                #[cfg(feature = "signed")]
                Self::Signed(ring) => CookieCipher::Signed(keys(ring, "signed cookie")?),
                #[cfg(feature = "private")]
                Self::Private(ring) => CookieCipher::Private(keys(ring, "private cookie")?),
            })
        }
    }

    /// Signs or encrypts the cookie. The keys are newest first.
    #[derive(Clone)]
    pub(crate) enum CookieCipher {
        #[cfg(feature = "signed")]
        Signed(Vec<Key>),
        #[cfg(feature = "private")]
        Private(Vec<Key>),
    }

    impl CookieCipher {
        pub(crate) fn encode(&self, name: &str, value: String) -> String {
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

        pub(crate) fn decode(&self, name: &str, value: &[u8]) -> Option<Decoded> {
            let value = std::str::from_utf8(value).ok()?;
            let jar = CookieJar::new();
            let cookie = Cookie::new(name.to_owned(), value.to_owned());
            let (place, cookie) = match self {
                #[cfg(feature = "signed")]
                Self::Signed(keys) => first(keys, |key| jar.signed(key).verify(cookie.clone()))?,
                #[cfg(feature = "private")]
                Self::Private(keys) => first(keys, |key| jar.private(key).decrypt(cookie.clone()))?,
            };
            Some(Decoded { value: cookie.value().to_owned(), is_outdated: place > 0 })
        }

        /// Returns the encoded length of a value of this length.
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

    impl fmt::Debug for CookieCipher {
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

/// Uninhabited types, without the features.
#[cfg(not(any(feature = "signed", feature = "private")))]
mod without_keys {
    use super::Decoded;
    use crate::error::ConfigError;

    #[derive(Clone, Debug)]
    pub(crate) enum CookieKeys {}

    impl CookieKeys {
        pub(crate) fn build(self, _: &str) -> Result<CookieCipher, ConfigError> {
            match self {}
        }
    }

    #[derive(Clone, Debug)]
    pub(crate) enum CookieCipher {}

    impl CookieCipher {
        pub(crate) fn encode(&self, _: &str, _: String) -> String {
            match *self {}
        }

        pub(crate) fn decode(&self, _: &str, _: &[u8]) -> Option<Decoded> {
            match *self {}
        }

        pub(crate) const fn length(&self, _: usize) -> usize {
            match *self {}
        }
    }
}

#[cfg(all(test, feature = "signed", feature = "private"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use super::CookieKeys;
    use crate::keys::KeyRing;

    /// Cookies that were written under a known key stay readable, each by its own protection.
    #[test]
    fn a_cookie_under_a_known_key_is_read() {
        let ring = || KeyRing::new([1; 32]).unwrap();
        let signed = CookieKeys::Signed(ring()).build("__Host-id").unwrap();
        let private = CookieKeys::Private(ring()).build("__Host-id").unwrap();
        let cookies = [
            (&signed, "4UiE6Rd4BvfMYw+bEfAlW1crmd5rLVay08TvsfNJRdQ=token"),
            (&private, "75XK1NQJEuYAvyuS1QEqDUds2JXIiZY4ltEWGZj7Kvhg"),
        ];
        for (cipher, cookie) in cookies {
            assert_eq!(cipher.decode("__Host-id", cookie.as_bytes()).unwrap().value, "token", "{cipher:?}");
        }
    }
}
