//! A view against a plain map: whatever is put and removed, in any order and number.

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

/// Few keys, so that most steps meet earlier ones; and enough that a view with many edits is worked in.
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

fn length_of(key: &str, value: &[u8]) -> usize {
    Frame::new(key, value).as_bytes().len()
}

fn frames_of(model: &Model) -> Vec<u8> {
    model.iter().flat_map(|(key, value)| Frame::new(key, value).as_bytes().to_vec()).collect()
}

fn model_of(data: &Data) -> Model {
    let keys = data.frames().map(|frame| frame.key());
    keys.map(|key| (key.clone(), data.get(&key).expect("it is listed").as_bytes().to_vec())).collect()
}

fn assert_same(view: &View, model: &Model, keys: &[String]) -> Result<(), TestCaseError> {
    prop_assert_eq!(view.len(), frames_of(model).len());
    for key in keys.iter().chain(model.keys()) {
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

    #[test]
    fn a_view_is_a_map_whatever_is_done_to_it(
        base in btree_map(key(), value(), 0..20),
        header in vec(any::<u8>(), 0..10),
        steps in vec(step(), 0..250),
    ) {
        let mut state = header.clone();
        state.extend_from_slice(&frames_of(&base));
        let mut view = View::new(Data::new(state.into(), header.len()));
        let mut model = base;
        let mut length = view.len();
        assert_same(&view, &model, &[])?;
        for (n, step) in steps.into_iter().enumerate() {
            let key = match step {
                Step::Put(key, value) => {
                    let frame = Frame::new(&key, &value);
                    let before = length;
                    length -= model.get(&key).map_or(0, |old| length_of(&key, old));
                    length += frame.as_bytes().len();
                    // Just too much is refused and changes nothing; just enough is taken.
                    let refused = view.put(frame.clone(), length - 1).expect_err("it is one byte too long");
                    prop_assert_eq!(refused.kind(), ErrorKind::TooLarge);
                    prop_assert_eq!(view.len(), before);
                    view.put(frame, length).expect("it fits");
                    model.insert(key.clone(), value);
                    key
                }
                Step::Remove(key) => {
                    view.remove(&key);
                    length -= model.remove(&key).map_or(0, |old| length_of(&key, &old));
                    key
                }
                Step::Clear => {
                    view = View::empty();
                    model.clear();
                    length = 0;
                    String::new()
                }
            };
            if n % 32 == 0 {
                assert_same(&view, &model, &[key])?;
            } else {
                let seen = view.get(&key).map(|value| value.as_bytes().to_vec());
                prop_assert_eq!(seen.as_ref(), model.get(&key));
                prop_assert_eq!(view.len(), length);
            }
        }
        assert_same(&view, &model, &[])?;
        let written = filled(header.len() + view.len(), |out| {
            out.write(&header);
            view.write_to(out);
        });
        prop_assert_eq!(&written[..header.len()], header.as_slice());
        Data::check(&written, header.len()).expect("it is whole");
        let data = Data::new(written, header.len());
        prop_assert_eq!(data.frames().count(), model.len());
        prop_assert_eq!(model_of(&data), model);
    }
}
