use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::engine::Diary;
use super::pace::next_round;
use super::page::{PageError, PageReader, PageUrl};
use super::timelines::Timelines;

/// Reads a `/metrics` page once a second, on a thread of its own.
#[derive(Debug)]
pub struct Scraper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Diary>,
    url: PageUrl,
}

impl Scraper {
    /// How often a page is read: an exporter's own figures are seldom newer.
    pub const PERIOD: Duration = Duration::from_secs(1);

    /// Starts reading; moments count from `began`. The first page is read before this returns.
    ///
    /// # Errors
    /// When the page cannot be read now, or this machine has no thread for it.
    pub fn start(url: &PageUrl, began: Instant) -> Result<Self, PageError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(PageError::Connect)?;
        let reader = url.reader()?;
        let page = runtime.block_on(reader.get())?;
        let mut diary = Diary::of(&url.to_string());
        diary.note(us_since(began), &page);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                follow(&runtime, &reader, began, &stopped, &mut diary);
                diary
            })
            .map_err(PageError::Connect)?;
        Ok(Self {
            stop,
            thread,
            url: url.clone(),
        })
    }

    /// Ends reading and gives what was seen. Waits for a page that is being read, at most [`PageUrl::PATIENCE`].
    pub fn stop(self) -> Timelines {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // A panic here must not cost the replay its other figures.
        let diary = self
            .thread
            .join()
            .unwrap_or_else(|_| Diary::of(&self.url.to_string()));
        Timelines {
            engine: diary.engine,
            gpus: diary.gpus,
        }
    }
}

fn follow(
    runtime: &tokio::runtime::Runtime,
    reader: &PageReader,
    began: Instant,
    stop: &AtomicBool,
    diary: &mut Diary,
) {
    let mut next = Instant::now() + Scraper::PERIOD;
    loop {
        let now = Instant::now();
        if next > now && !stop.load(Ordering::Relaxed) {
            std::thread::park_timeout(next - now);
            continue;
        }
        let asked = us_since(began);
        let page = runtime.block_on(reader.get());
        // The engine wrote the page somewhere between question and answer.
        let at_us = asked.midpoint(us_since(began));
        match page {
            Ok(page) => diary.note(at_us, &page),
            Err(error) => diary.miss(at_us, &error.to_string()),
        }
        // The last page is read after the end, so that counters count the whole run.
        if stop.load(Ordering::Relaxed) {
            return;
        }
        next = next_round(next, Scraper::PERIOD, Instant::now());
    }
}

fn us_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}
