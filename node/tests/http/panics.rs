//! Panics of tasks. They are on threads of the runtime, where nobody sees them.

use std::{
    panic,
    sync::{Mutex, Once, PoisonError},
    thread,
};

/// What a panic says that does not count.
pub(crate) const ON_PURPOSE: &str = "on purpose";

static WATCHED: Once = Once::new();
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on panics are remembered, in whatever thread that is not a test's own: a test fails by its own.
pub(crate) fn watch() {
    WATCHED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            #[expect(clippy::disallowed_methods, reason = "this is about threads, outside of any node")]
            let thread = thread::current();
            let of_a_test = |name: &str| name == "main" || name.contains("::");
            if !thread.name().is_some_and(of_a_test) {
                SAID.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(info.to_string());
            }
            before(info);
        }));
    });
}

/// A panic there was.
pub(crate) fn find(which: impl Fn(&str) -> bool) -> Option<String> {
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    said.iter().find(|said| which(said)).cloned()
}

#[test]
fn a_panic_of_a_task_is_seen_and_one_of_a_test_is_its_own() {
    super::within(async {
        let panicking = net::rt::spawn("panics", async { panic!("{ON_PURPOSE}, in a task") });
        let _: Result<(), _> = panicking.await;
    });
    assert!(find(|said| said.contains("on purpose, in a task")).is_some());
    let own = panic::catch_unwind(|| panic!("{ON_PURPOSE}, in a test"));
    assert!(own.is_err() && find(|said| said.contains("on purpose, in a test")).is_none());
}
