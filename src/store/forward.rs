//! What a wrapper does not change.

/// Writes methods of a wrapper that hand on to `self.inner` what they are called with.
macro_rules! forward {
    ($($(#[$doc:meta])* fn $name:ident(&self $(, $argument:ident: $of:ty)*) -> $answer:ty;)*) => {
        $($(#[$doc])* fn $name(&self $(, $argument: $of)*) -> $answer {
            self.inner.$name($($argument),*)
        })*
    };
}

pub(super) use forward;
