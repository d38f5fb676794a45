//! Tests of the order in which permits are granted.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use kes_fair::{Acquire, FairPermit, FairSemaphore, QueueFull, Share};
use proptest::prelude::*;

type Semaphore = Arc<FairSemaphore<u8>>;

/// Polls once.
fn poll(acquire: &mut Acquire<u8>) -> Option<FairPermit<u8>> {
    match pin!(acquire).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(permit) => Some(permit),
        Poll::Pending => None,
    }
}

fn semaphore(permits: usize) -> Semaphore {
    FairSemaphore::new(permits, Share::All, 1000)
}

fn ask(semaphore: &Semaphore, client: u8, count: usize) -> Acquire<u8> {
    semaphore.acquire(&client, count).expect("the queue is not full")
}

#[test]
fn one_that_is_alone_has_everything_at_once() {
    let semaphore = semaphore(100);
    let held: Vec<_> = (0..100).map(|_| poll(&mut ask(&semaphore, 1, 1)).unwrap()).collect();
    assert_eq!(semaphore.free(), 0);
    assert!(poll(&mut ask(&semaphore, 1, 1)).is_none());
    drop(held);
    assert_eq!(semaphore.free(), 100);
}

#[test]
fn a_newcomer_is_served_before_the_backlog_of_another() {
    let semaphore = semaphore(1);
    let held = poll(&mut ask(&semaphore, 1, 1)).unwrap();
    let mut many: Vec<_> = (0..500).map(|_| ask(&semaphore, 1, 1)).collect();
    let mut late = ask(&semaphore, 2, 1);
    let mut second = ask(&semaphore, 2, 1);
    drop(held);
    let first = many.iter_mut().find_map(poll).unwrap();
    assert!(poll(&mut late).is_none());
    drop(first);
    // One turn for each client, however many of its requests wait.
    drop(poll(&mut late).unwrap());
    assert!(poll(&mut second).is_none());
    drop(many.iter_mut().skip(1).find_map(poll).unwrap());
    assert!(poll(&mut second).is_some());
}

#[test]
fn requests_of_one_client_are_served_in_their_order() {
    let semaphore = semaphore(1);
    let mut held = poll(&mut ask(&semaphore, 1, 1));
    let mut waiting: Vec<_> = (0..5).map(|_| ask(&semaphore, 1, 1)).collect();
    for index in 0..5 {
        drop(held.take());
        for later in &mut waiting[index + 1..] {
            assert!(poll(later).is_none());
        }
        held = poll(&mut waiting[index]);
        assert!(held.is_some());
    }
}

#[test]
fn small_requests_do_not_starve_a_large_one() {
    let semaphore = semaphore(10);
    let small: Vec<_> = (0..10).map(|_| poll(&mut ask(&semaphore, 1, 1)).unwrap()).collect();
    let mut large = ask(&semaphore, 2, 8);
    let mut small_again = ask(&semaphore, 1, 1);
    for permit in small.into_iter().take(8) {
        assert!(poll(&mut large).is_none() && poll(&mut small_again).is_none());
        drop(permit);
    }
    // All ten are free by now: eight for the large one, then the next.
    assert_eq!(poll(&mut large).unwrap().count(), 8);
    assert!(poll(&mut small_again).is_some());
}

#[test]
fn a_full_queue_is_the_clients_own_and_has_room_for_what_was_given_up() {
    let semaphore: Semaphore = FairSemaphore::new(1, Share::All, 3);
    let held = poll(&mut ask(&semaphore, 1, 1)).unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| ask(&semaphore, 1, 1)).collect();
    assert_eq!(semaphore.acquire(&1, 1).unwrap_err(), QueueFull);
    let mut other = ask(&semaphore, 2, 1);
    drop(waiting.pop());
    waiting.push(ask(&semaphore, 1, 1));
    assert!(semaphore.acquire(&1, 1).is_err());
    drop(waiting);
    drop(held);
    assert!(poll(&mut other).is_some());
}

#[test]
fn a_grant_that_no_one_takes_comes_back() {
    let semaphore = semaphore(1);
    let held = poll(&mut ask(&semaphore, 1, 1)).unwrap();
    let first = ask(&semaphore, 1, 1);
    let mut second = ask(&semaphore, 1, 1);
    drop(held);
    // It was granted, and is dropped before it was polled.
    drop(first);
    assert!(poll(&mut second).is_some());
    assert_eq!(semaphore.free(), 1);
}

#[test]
fn a_request_that_is_given_up_is_in_nobodys_way() {
    let semaphore = semaphore(10);
    let held = poll(&mut ask(&semaphore, 1, 5)).unwrap();
    let large = ask(&semaphore, 2, 8);
    let mut small = ask(&semaphore, 3, 1);
    assert!(poll(&mut small).is_none());
    drop(large);
    assert!(poll(&mut small).is_some());
    drop(held);
}

#[test]
fn a_share_is_left_for_others() {
    let semaphore: Semaphore = FairSemaphore::new(800, Share::TimesFree(7), 10);
    let mut first: Vec<_> = (0..7).map(|_| poll(&mut ask(&semaphore, 1, 100)).unwrap()).collect();
    let mut more = ask(&semaphore, 1, 1);
    assert!(poll(&mut more).is_none());
    // Of what is left another has seven eighths, although the first one waits.
    let second = poll(&mut ask(&semaphore, 2, 87)).unwrap();
    assert!(poll(&mut ask(&semaphore, 2, 1)).is_none());
    drop(second);
    assert!(poll(&mut more).is_none());
    first[0].shrink_to(90);
    assert!(poll(&mut more).is_some());
}

proptest! {
    /// For any sequence of requests and releases: never more permits are granted than exist, no client is
    /// served before its turn, and all permits are released at the end.
    #[test]
    fn permits_are_conserved(
        steps in prop::collection::vec((0u8..4, 1usize..5, 0usize..8, any::<bool>()), 1..200),
        times in prop::option::of(1usize..8),
    ) {
        const TOTAL: usize = 10;
        let share = times.map_or(Share::All, Share::TimesFree);
        let semaphore: Semaphore = FairSemaphore::new(TOTAL, share, 8);
        let (mut waiting, mut held) = (Vec::new(), Vec::<FairPermit<u8>>::new());
        for (client, count, index, is_ask) in steps {
            if is_ask {
                waiting.extend(semaphore.acquire(&client, count));
            } else if index % 2 == 0 && !held.is_empty() {
                held.swap_remove(index % held.len());
            } else if !waiting.is_empty() {
                drop(waiting.swap_remove(index % waiting.len()));
            }
            waiting.retain_mut(|acquire| match poll(acquire) {
                Some(permit) => { held.push(permit); false }
                None => true,
            });
            let sum: usize = held.iter().map(FairPermit::count).sum();
            prop_assert_eq!(sum + semaphore.free(), TOTAL);
        }
        held.clear();
        while let Some(index) = waiting.iter_mut().position(|acquire| poll(acquire).is_some()) {
            drop(waiting.swap_remove(index));
        }
        prop_assert_eq!(semaphore.free(), TOTAL);
        // With a share, what is more than a client may hold at all is never granted.
        prop_assert!(waiting.is_empty() || times.is_some());
    }
}
