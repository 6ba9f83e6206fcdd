//! Well-formed cookie values that no server has issued.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::candidate::Candidate;

/// Returns a well-formed value for `candidate`: it would refuse a malformed one without a look-up.
pub(crate) fn value(candidate: Candidate) -> String {
    let random = Uuid::new_v4();
    match candidate {
        Candidate::TowerSessions => URL_SAFE_NO_PAD.encode(random.as_bytes()),
        Candidate::Sessile => URL_SAFE_NO_PAD.encode([*Uuid::now_v7().as_bytes(), *random.as_bytes()].concat()),
        Candidate::AxumSession | Candidate::Noop | Candidate::Minimal => random.to_string(),
    }
}
