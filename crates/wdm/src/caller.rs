//! Who asks: what the token of the current thread allows.

// UNSAFETY: looks at the security context of the current thread.
#![expect(unsafe_code, reason = "calls the security routines of the kernel")]

use wdk_sys::{
    SECURITY_IMPERSONATION_LEVEL, SECURITY_SUBJECT_CONTEXT,
    ntddk::{SeCaptureSubjectContext, SeReleaseSubjectContext, SeTokenIsAdmin},
};

/// `SecurityImpersonation`: below it, a server may know its client, but not act for him.
const SECURITY_IMPERSONATION: SECURITY_IMPERSONATION_LEVEL = 2;

/// Whether the current thread acts for an administrator: the one it impersonates if it does, else
/// its process. To be asked in the thread that made the request.
#[must_use]
pub fn is_administrator() -> bool {
    let mut context = SECURITY_SUBJECT_CONTEXT::default();
    // SAFETY: the context outlives the call, and is released below.
    unsafe { SeCaptureSubjectContext(&raw mut context) };
    let impersonates = !context.ClientToken.is_null();
    let token = if impersonates {
        context.ClientToken
    } else {
        context.PrimaryToken
    };
    let acts = !impersonates || context.ImpersonationLevel >= SECURITY_IMPERSONATION;
    // SAFETY: a captured token is referenced until the context is released.
    let administrator = acts && !token.is_null() && unsafe { SeTokenIsAdmin(token) } != 0;
    // SAFETY: captured above.
    unsafe { SeReleaseSubjectContext(&raw mut context) };
    administrator
}
