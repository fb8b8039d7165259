//! Stands for the callbacks where there are none.

use super::shared::{Content, Limits, SiteSum};

pub(crate) unsafe fn reset(_with_histograms: bool) -> bool {
    false
}

pub(crate) fn rest() {}

#[inline(always)]
pub(crate) fn attach() {}

#[inline(always)]
pub(crate) fn detach() {}

#[inline(always)]
pub(crate) fn after_fork() {}

#[inline(always)]
pub(crate) unsafe fn allocated(_address: usize, _bytes: usize, _site: u32, _content: Content) {}

#[inline(always)]
pub(crate) unsafe fn freed(_address: usize, _bytes: usize) {}

#[inline(always)]
pub(crate) unsafe fn moving(
    _address: usize,
    _bytes: (usize, usize),
    reallocate: impl FnOnce() -> *mut u8,
) -> *mut u8 {
    reallocate()
}

pub(crate) fn scan_live() {}

pub(crate) fn sum_of(_site: u32) -> SiteSum {
    SiteSum::default()
}

pub(crate) fn histogram_of(_site: u32) -> Option<Box<[u16]>> {
    None
}

pub(crate) fn limits() -> Limits {
    Limits::default()
}

pub(crate) fn listen_to_copies(_listener: Option<unsafe extern "C" fn(usize)>) {}
