//! What the API server checks of an `ImagePull` beyond bounds: that an image is named as registries name images, and that a
//! status only goes forward.

use serde_json::{Value, json};

use crate::rule::rule;

/// The grammar of image names (`distribution/reference`), with a tag or a digest: host and port or none, path, tag, digest.
pub(super) const IMAGE: &str = concat!(
    "^((([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*)|",
    "[[][0-9A-Fa-f:]+[]])(:[0-9]{1,5})?/)?",
    "[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*",
    "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$",
);

/// Of the name of an image.
pub(super) fn image() -> Value {
    json!([rule(
        format!("self.matches('{IMAGE}')"),
        "is not the name of an image with a tag or a digest, such as registry.example/app:v2 or registry.example/app@sha256:<64 digits>; no tag is taken for latest here"
    ),])
}

/// Of the whole status.
pub(super) fn status() -> Value {
    let counted = |field: &str, phase: &str| {
        rule(
            format!("self.{field} == self.images.filter(i, i.phase == '{phase}').size()"),
            &format!("{field} is the number of images in phase {phase}"),
        )
    };
    json!([
        rule(
            "self.wanted == self.images.size()",
            "wanted is the number of images"
        ),
        counted("pulling", "Pulling"),
        counted("succeeded", "Succeeded"),
        counted("failed", "Failed"),
    ])
}

/// Of the status of one image. The last two compare with the same image's status before.
pub(super) fn image_status() -> Value {
    const FINAL: &str = "['Succeeded', 'Failed']";
    json!([
        rule(
            format!("(self.phase in {FINAL}) == has(self.completedAt)"),
            "an image that was pulled or given up, and no other, says when (completedAt)"
        ),
        rule(
            "(self.phase == 'BackOff') == has(self.nextAttemptAt)",
            "an image in phase BackOff, and no other, says when the next attempt begins (nextAttemptAt)"
        ),
        rule(
            "!(self.phase in ['BackOff', 'Failed']) || has(self.reason) && has(self.message)",
            "an attempt that failed says why (reason, message)"
        ),
        rule(
            "self.phase != 'Pulling' || has(self.startedAt)",
            "a pull that is under way says since when (startedAt)"
        ),
        rule(
            format!(
                "oldSelf.request != self.request || !(oldSelf.phase in {FINAL}) || self.phase == oldSelf.phase"
            ),
            "what was pulled or given up stays so until the entry is changed"
        ),
        rule(
            "oldSelf.request != self.request || self.attempts >= oldSelf.attempts",
            "attempts only become more until the entry is changed"
        ),
    ])
}
