//! Tests of what the store is made of.

use super::pages::Pages;

#[test]
fn pages_hold_what_a_vector_holds_and_give_back_what_they_do_not_need() {
    for group in [1, 3, 32] {
        let mut pages = Pages::new(group);
        let group = group as usize;
        let mut plain = Vec::new();
        let groups = 400_000 / group;
        for number in 0..groups {
            let items: Vec<usize> = (0..group).map(|item| number * group + item).collect();
            pages.push(items.iter().copied());
            plain.push(items);
            assert!(pages.allocated() <= plain.len() * group * 2 + 64, "{} groups", plain.len());
        }
        for step in 0..groups {
            assert_eq!(pages.len(), plain.len());
            let number = step * 7_919 % plain.len();
            assert_eq!(pages.group(number), plain[number]);
            assert_eq!(pages[number], plain[number][0]);
            assert_eq!(pages.swap_remove(number), Some(plain.swap_remove(number)[0]));
            assert!(pages.allocated() <= plain.len() * group * 2 + 64, "{} groups", plain.len());
        }
        assert_eq!((pages.len(), pages.allocated()), (0, 0));
        assert_eq!(pages.swap_remove(0), None);
    }
}

#[test]
fn the_list_of_pages_shrinks_into_the_memory_that_it_has_grown_out_of() {
    let mut pages = Pages::new(1);
    let mut lists = Vec::new();
    for item in 0..1_000_000_u64 {
        pages.push([item]);
        if lists.last() != Some(&pages.list()) {
            lists.push(pages.list());
        }
    }
    assert!(lists.len() > 4);
    while pages.len() > 1 {
        pages.swap_remove(0);
        if lists.last() != Some(&pages.list()) {
            lists.pop();
            assert_eq!(lists.last(), Some(&pages.list()));
        }
    }
}
