//! Building blocks of forms.

use maud::{Markup, html};
use sessile::csrf::CsrfToken;
use sessile::user::LocalPath;

use crate::passwords;

/// Page with one form.
pub struct FormPage<'a> {
    pub title: &'a str,
    /// Text above the form.
    pub lead: Markup,
    /// Path that the form is posted to.
    pub action: &'a str,
    pub fields: Markup,
    pub button: &'a str,
    /// Text below the form: an alternative to filling it in.
    pub instead: Markup,
}

impl FormPage<'_> {
    /// Returns the page. An error stands once, before the form (WCAG 2.2 §3.3.1).
    pub fn show(&self, token: &CsrfToken, wrong: Option<&str>) -> Markup {
        html! {
            section .narrow {
                h1 { (self.title) }
                (self.lead)
                @if let Some(wrong) = wrong { p .problem role="alert" { strong { "Not yet. " } (wrong) } }
                form .stack method="post" action=(self.action) {
                    (csrf_field(token))
                    (self.fields)
                    button type="submit" { (self.button) }
                }
                (self.instead)
            }
        }
    }
}

/// Returns the hidden field with the CSRF token, which another site cannot know.
pub fn csrf_field(token: &CsrfToken) -> Markup {
    html! { input type="hidden" name="csrf_token" value=(token); }
}

/// Returns the hidden field with the page to redirect to afterwards.
pub fn next_field(next: &LocalPath) -> Markup {
    html! { input type="hidden" name="next" value=(next); }
}

pub fn name_field(value: &str) -> Markup {
    Text { name: "name", label: "Name", autocomplete: "username", value, hint: None, is_password: false }.show()
}

pub fn password_field() -> Markup {
    let (label, autocomplete) = ("Password", "current-password");
    Text { name: "password", label, autocomplete, value: "", hint: None, is_password: true }.show()
}

/// Returns the field for choosing a password.
pub fn new_password_field(label: &str) -> Markup {
    let (autocomplete, hint) = ("new-password", Some(passwords::HINT));
    Text { name: "password", label, autocomplete, value: "", hint, is_password: true }.show()
}

/// Text field with its label.
struct Text<'a> {
    name: &'a str,
    label: &'a str,
    /// Hint for browsers and password managers (WCAG 2.2 §1.3.5).
    autocomplete: &'a str,
    value: &'a str,
    hint: Option<&'a str>,
    is_password: bool,
}

impl Text<'_> {
    fn show(&self) -> Markup {
        let hint = format!("{}-hint", self.name);
        html! {
            div .field {
                label for=(self.name) { (self.label) }
                input #(self.name) name=(self.name) value=(self.value) autocomplete=(self.autocomplete) required
                    type=(if self.is_password { "password" } else { "text" })
                    aria-describedby=[self.hint.map(|_| &hint)]
                    autocapitalize="none" spellcheck="false";
                @if let Some(text) = self.hint { p .note #(hint) { (text) } }
            }
        }
    }
}
