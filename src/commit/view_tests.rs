//! A view compared with a plain map, after any sequence of changes.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::View;
use crate::error::ErrorKind;
use crate::record::{Data, Frame, Sink, filled};

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
                    let (frame, before) = (Frame::new(&key, &value), view.len());
                    model.insert(key.clone(), value);
                    let length = frames_of(&model).len();
                    // A frame that is one byte too long is refused and changes nothing.
                    let refused = view.put(frame.clone(), length - 1).expect_err("one byte too long");
                    prop_assert_eq!(refused.kind(), ErrorKind::TooLarge);
                    prop_assert_eq!(view.len(), before);
                    view.put(frame, length).expect("the exact length");
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
