use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::engine::Diary;
use super::pace::{Clock as _, Parked, rounds};
use super::page::{PageError, PageReader, PageUrl};
use super::timelines::Timelines;

/// Reads a `/metrics` page once a second, on a thread of its own.
#[derive(Debug)]
pub struct Scraper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Diary>,
    url: PageUrl,
}

/// Why there should be a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Somebody named it: it is asked for once a second, also where it was never there. It may be late.
    Named,
    /// Engines have one there, mostly: until it is read for the first time it is asked for at distances that double, up to a minute.
    Guessed,
}

impl Scraper {
    /// How often a page is read: an exporter's own figures are seldom newer.
    pub const PERIOD: Duration = Duration::from_secs(1);

    /// Starts reading; moments count from `began`. The page has been asked for once before this returns, which takes at most
    /// [`PageUrl::PATIENCE`]. Where it was not to be had, it goes on being asked for.
    ///
    /// # Errors
    /// When this machine cannot ask at all: it has no thread for it, or no authority to trust.
    pub fn start(url: &PageUrl, known: Known, began: Instant) -> Result<Self, PageError> {
        let mut follower = Follower::new(url, known, began)?;
        follower.ask();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || follower.follow(&stopped))
            .map_err(PageError::Connect)?;
        Ok(Self {
            stop,
            thread,
            url: url.clone(),
        })
    }

    /// Reads a page once.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub fn look(url: &PageUrl) -> Result<Timelines, PageError> {
        let mut follower = Follower::new(url, Known::Named, Instant::now())?;
        follower.read().map(|()| follower.diary.into())
    }

    /// Ends reading and gives what was seen: nothing of a page that was only guessed and is not there. Waits at most
    /// [`PageUrl::PATIENCE`] for a page that is being read, and as long for a last one where that one came.
    pub fn stop(self) -> Timelines {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // A panic here must not cost the replay its other figures.
        let diary = self.thread.join();
        diary
            .unwrap_or_else(|_| Diary::of(&self.url.to_string()))
            .into()
    }
}

impl From<Diary> for Timelines {
    fn from(diary: Diary) -> Self {
        Self {
            engine: diary.engine,
            gpus: diary.gpus,
        }
    }
}

/// One page, and what it told.
struct Follower {
    runtime: tokio::runtime::Runtime,
    reader: PageReader,
    known: Known,
    began: Instant,
    diary: Diary,
    /// The server answered last that it has no such page.
    has_none: bool,
}

impl Follower {
    fn new(url: &PageUrl, known: Known, began: Instant) -> Result<Self, PageError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(PageError::Connect)?;
        Ok(Self {
            runtime,
            reader: url.reader()?,
            known,
            began,
            diary: Diary::of(&url.to_string()),
            has_none: false,
        })
    }

    fn follow(mut self, stop: &AtomicBool) -> Diary {
        let clock = Parked { stop };
        rounds(&clock, clock.now() + self.distance(), |last| {
            // What was only guessed, and is not there till the end, has nothing to tell of the end.
            if last && self.is_unread_guess() {
                return None;
            }
            let read = self.ask();
            // The last page is read after the end, so that counters count the whole run; one that is not to be had is waited for once.
            let over = !read && stop.load(Ordering::Relaxed);
            (!over).then(|| self.distance())
        });
        if self.is_unread_guess() && self.has_none {
            return Diary::default();
        }
        self.diary
    }

    /// How long after one question the next one is asked.
    fn distance(&self) -> Duration {
        match self.is_unread_guess() {
            true => distance_of_guess(self.diary.engine.missed),
            false => Scraper::PERIOD,
        }
    }

    fn is_unread_guess(&self) -> bool {
        self.known == Known::Guessed && self.diary.engine.taken == 0
    }

    /// Asks for the page, and notes it or that it was not to be had; whether it was.
    fn ask(&mut self) -> bool {
        let asked = self.began.elapsed();
        let Err(error) = self.read() else {
            return true;
        };
        self.has_none = error.says_there_is_none();
        let at_us = micros(asked).midpoint(micros(self.began.elapsed()));
        self.diary.miss(at_us, &error.to_string());
        false
    }

    fn read(&mut self) -> Result<(), PageError> {
        let asked = self.began.elapsed();
        let page = self.runtime.block_on(self.reader.get())?;
        // The engine wrote the page somewhere between question and answer.
        let at_us = micros(asked).midpoint(micros(self.began.elapsed()));
        self.diary.note(at_us, &page);
        Ok(())
    }
}

fn distance_of_guess(missed: u64) -> Duration {
    let doublings = u32::try_from(missed.saturating_sub(1)).unwrap_or(u32::MAX);
    Scraper::PERIOD * 2_u32.saturating_pow(doublings).min(FURTHEST)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// In periods.
const FURTHEST: u32 = 60;

#[cfg(test)]
mod tests {
    use super::super::pace::Virtual;
    use super::*;

    fn follower(known: Known) -> Follower {
        let url = "http://127.0.0.1:1".parse().unwrap();
        Follower::new(&url, known, Instant::now()).unwrap()
    }

    #[test]
    fn a_page_is_asked_for_once_a_second_be_it_there_or_not() {
        let mut follower = follower(Known::Named);
        let clock = Virtual::lasting(Duration::from_secs(60));
        let mut asked = 0;
        rounds(&clock, clock.now() + follower.distance(), |_| {
            asked += 1;
            clock.pass(Duration::from_millis(20));
            match asked % 2 {
                0 => follower.diary.note(0, ""),
                _ => follower.diary.miss(0, ""),
            }
            Some(follower.distance())
        });
        assert_eq!(asked, 60);
    }

    #[test]
    fn a_guess_is_asked_for_ever_more_seldom_until_it_is_read() {
        let mut follower = follower(Known::Guessed);
        let clock = Virtual::lasting(Duration::from_secs(200));
        let began = clock.now();
        let mut seconds = Vec::new();
        rounds(&clock, began, |_| {
            seconds.push((clock.now() - began).as_secs());
            match seconds.len() {
                9.. => follower.diary.note(0, ""),
                _ => follower.diary.miss(0, ""),
            }
            Some(follower.distance())
        });
        assert_eq!(
            seconds[..12],
            [0, 1, 3, 7, 15, 31, 63, 123, 183, 184, 185, 186]
        );
    }
}
