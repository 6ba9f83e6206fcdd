//! A view compared with a plain map, after any sequence of changes.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::View;
use crate::config::Limits;
use crate::error::{Error, ErrorKind};
use crate::record::{Data, Frame, SCANNED, Sink, filled};

type Model = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Put(String, Vec<u8>),
    Remove(String),
    Clear,
}

/// Few enough keys that most steps meet earlier ones, and enough that edits are merged into the base.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), (0..90u8).prop_map(|n| format!("key {n}")), "\\PC{0,3}"]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..4), vec(any::<u8>(), 126..130)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => (key(), value()).prop_map(|(key, value)| Step::Put(key, value)),
        30 => key().prop_map(Step::Remove),
        1 => Just(Step::Clear),
    ]
}

fn frames_of(model: &Model) -> Vec<u8> {
    model.iter().flat_map(|(key, value)| Frame::new(key, value).as_bytes().to_vec()).collect()
}

fn model_of(data: &Data) -> Model {
    let keys = data.frames().map(|frame| frame.key());
    keys.map(|key| (key.clone(), data.get(&key).expect("a listed key").as_bytes().to_vec())).collect()
}

/// Compares the view with the model: its length, its keys, and the values of these keys and all others.
fn assert_same(view: &View, model: &Model, key: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(view.len(), frames_of(model).len());
    for key in model.keys().map(String::as_str).chain([key]) {
        let seen = view.get(key).map(|value| value.as_bytes().to_vec());
        prop_assert_eq!(seen.as_ref(), model.get(key), "{:?}", key);
    }
    let mut listed = view.keys();
    listed.sort();
    prop_assert_eq!(listed, model.keys().cloned().collect::<Vec<_>>());
    Ok(())
}

fn assert_refused(view: &mut View, frame: &Frame, limits: Limits) -> Result<(), TestCaseError> {
    let before = view.len();
    let refused = view.put(frame.clone(), limits).expect_err("a refusal");
    prop_assert_eq!(refused.kind(), ErrorKind::TooLarge);
    prop_assert_eq!(view.len(), before);
    Ok(())
}

/// Returns a view of this many keys of two bytes each, with values of one.
fn view_of(keys: u32) -> View {
    let frames: Vec<u8> = (0..keys).flat_map(|n| small_frame(n).as_bytes().to_vec()).collect();
    View::new(Data::new(frames.into(), 0))
}

fn small_frame(n: u32) -> Frame {
    Frame::new(&format!("{n:x}"), &[1])
}

/// Filling a view, far beyond its limit, and reading it scans few frames for each key.
#[test]
fn work_per_key_is_bounded_by_the_key_limit() {
    let limit = Limits::DEFAULT.keys;
    let before = SCANNED.get();
    let mut view = View::empty();
    let written = (0..40_000).take_while(|n| view.put(small_frame(*n), Limits::DEFAULT).is_ok()).count();
    assert_eq!(written, limit);
    let read = (0..2_000).filter(|n| view.get(&format!("{n:x}")).is_some()).count();
    assert_eq!(read, limit);
    // A write scans for the place and to count, a read once.
    let scans = 2 * (limit + 1) + 2_000;
    assert!(SCANNED.get() - before <= scans * (limit + 1), "{} frames", SCANNED.get() - before);
}

/// A record from before the limit is readable; its values can be replaced and removed, and no key added.
#[test]
fn a_view_beyond_the_key_limit_can_only_shrink() -> Result<(), Error> {
    let limits = Limits { keys: 100, ..Limits::DEFAULT };
    let mut view = view_of(300);
    for n in 0..300 {
        assert!(view.get(&format!("{n:x}")).is_some());
        view.put(small_frame(n), limits)?;
    }
    for n in 0..200 {
        let refused = view.put(small_frame(1_000), limits).expect_err("a key too many");
        assert!(refused.to_string().ends_with(&format!("{} keys, and the limit is 100", 301 - n)), "{refused}");
        view.remove(&format!("{n:x}"));
    }
    view.remove("c8");
    view.put(small_frame(1_000), limits)?;
    assert_eq!(view.keys().len(), 100);
    Ok(())
}

/// A view beyond its limit of bytes takes a smaller value in place of a larger one.
#[test]
fn a_view_beyond_the_size_limit_can_shrink() {
    let limits = Limits { bytes: 100, ..Limits::DEFAULT };
    let mut view = View::new(Data::new(Frame::new("k", &[0; 300]).as_bytes().into(), 0));
    assert!(view.put(Frame::new("k", &[0; 301]), limits).is_err());
    assert!(view.put(Frame::new("l", &[0; 1]), limits).is_err());
    assert!(view.put(Frame::new("k", &[0; 200]), limits).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// After every step the view reads as the map, and it writes what the map holds.
    #[test]
    fn a_view_equals_a_map_after_the_same_steps(
        base in btree_map(key(), value(), 0..20),
        header in vec(any::<u8>(), 0..10),
        steps in vec(step(), 0..250),
    ) {
        let state = [&header[..], &frames_of(&base)].concat();
        let (mut view, mut model) = (View::new(Data::new(state.into(), header.len())), base);
        assert_same(&view, &model, "")?;
        for step in steps {
            let key = match step {
                Step::Put(key, value) => {
                    let (frame, before, keys) = (Frame::new(&key, &value), view.len(), model.len());
                    model.insert(key.clone(), value);
                    let length = frames_of(&model).len();
                    let exact = Limits { bytes: length, keys: model.len() };
                    // A frame that is one byte too long, or one key too many, is refused and changes nothing.
                    if length > before {
                        assert_refused(&mut view, &frame, Limits { bytes: length - 1, ..exact })?;
                    }
                    if model.len() > keys {
                        assert_refused(&mut view, &frame, Limits { keys, ..exact })?;
                    }
                    view.put(frame, exact).expect("the exact length and number");
                    key
                }
                Step::Remove(key) => {
                    view.remove(&key);
                    model.remove(&key);
                    key
                }
                Step::Clear => {
                    (view, model) = (View::empty(), Model::new());
                    String::new()
                }
            };
            assert_same(&view, &model, &key)?;
        }
        let written = filled(header.len() + view.len(), |out| {
            out.write(&header);
            view.write_to(out);
        });
        prop_assert_eq!(&written[..header.len()], header.as_slice());
        Data::check(&written, header.len()).expect("whole frames");
        let data = Data::new(written, header.len());
        prop_assert_eq!(data.frames().count(), model.len());
        prop_assert_eq!(model_of(&data), model);
    }
}
