//! Where nodes lie on the canvas: files as cards in a grid, folders as frames around what is in them.
//!
//! What lies on the board already stays where it is, by whomever it was put there; only what is new gets a place. A frame
//! leaves room for one more card from the start, and grows when that is used up; only a frame that would then lie on its
//! neighbours moves, with all that is in it. What comes into another folder gets a place there. The same input gives the same
//! places.

use std::collections::HashMap;

use crate::domain::Rect;

/// Size of the card of a file.
const CARD: Size = Size { width: 300.0, height: 200.0 };
/// Between neighbours.
const GAP: f64 = 40.0;
/// Between a frame and what is in it.
const PADDING: f64 = 40.0;
/// Above what is in a frame: its name.
const HEADER: f64 = 80.0;
/// A screen is this much wider than high.
const ASPECT: f64 = 1.4;

/// Something that has, or gets, a place.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The folder around it, by its index among the items.
    pub(super) parent: Option<usize>,
    pub(super) is_folder: bool,
    /// Where it lies on the board; `None` for what is new.
    pub(super) on_board: Option<Rect>,
    /// It lies on the board, but not where it belongs now: it gets a place like something new, in the size that it has.
    pub(super) is_displaced: bool,
}

/// A corner: x and y.
type Point = (f64, f64);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Size {
    width: f64,
    height: f64,
}

/// Where every item lies, in their order. Parents must not form a circle.
pub(super) fn arrange(items: &[Item]) -> Vec<Rect> {
    let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        children.entry(item.parent).or_default().push(index);
    }
    let content = |folder: Option<usize>| children.get(&folder).map_or(&[][..], Vec::as_slice);

    // Outermost first.
    let mut order: Vec<usize> = content(None).to_vec();
    let mut next = 0;
    while let Some(&index) = order.get(next) {
        order.extend_from_slice(content(Some(index)));
        next += 1;
    }

    // From the inside out: what is in a frame decides its size.
    let mut sizes: Vec<Size> = items.iter().map(|item| item.on_board.map_or(CARD, size_of)).collect();
    let mut places: Vec<Option<Point>> = vec![None; items.len()];
    let folders = order.iter().rev().filter(|index| items.get(**index).is_some_and(|item| item.is_folder));
    for folder in folders.copied().map(Some).chain([None]) {
        let inside = Inside::of(items, &sizes, folder, content(folder));
        let (size, placed) = inside.arrange();
        for (child, place) in placed {
            set(&mut places, child, Some(place));
        }
        if let Some(folder) = folder {
            set(&mut sizes, folder, size);
        }
    }

    // From the outside in: what is in a frame moves with it.
    let mut rects: Vec<Rect> = vec![Rect { x: 0.0, y: 0.0, width: 0.0, height: 0.0 }; items.len()];
    for index in order {
        let (Some(item), Some(size)) = (items.get(index), sizes.get(index)) else { continue };
        let frame = item.parent.and_then(|parent| Some((items.get(parent)?.on_board, *rects.get(parent)?)));
        let (x, y) = match (places.get(index).copied().flatten(), item.on_board, frame) {
            (Some((x, y)), _, Some((_, now))) => (now.x + x, now.y + y),
            (Some(place), _, None) => place,
            (None, Some(own), Some((Some(before), now))) => (own.x + (now.x - before.x), own.y + (now.y - before.y)),
            (None, own, _) => own.map_or((0.0, 0.0), |own| (own.x, own.y)),
        };
        set(&mut rects, index, Rect { x, y, width: size.width, height: size.height });
    }
    rects
}

fn set<T>(all: &mut [T], index: usize, value: T) {
    if let Some(slot) = all.get_mut(index) {
        *slot = value;
    }
}

/// A frame, or the canvas itself, with what is in it. Places are measured from its corner.
struct Inside {
    /// What it measures on the board; `None` for a new frame and for the canvas.
    before: Option<Size>,
    is_canvas: bool,
    kept: Vec<Rect>,
    /// Folders that have another size now; their rectangles with that size.
    grown: Vec<(usize, Rect)>,
    cards: Vec<usize>,
    frames: Vec<(usize, Size)>,
}

/// An item by its index, with its corner.
type Placed = (usize, Point);

/// A way to place what is new.
struct Trial {
    cards: Vec<Point>,
    frames: Vec<Point>,
    right: f64,
    bottom: f64,
}

impl Inside {
    fn of(items: &[Item], sizes: &[Size], folder: Option<usize>, content: &[usize]) -> Inside {
        let before = folder.and_then(|folder| items.get(folder)?.on_board);
        let (left, top) = before.map_or((0.0, 0.0), |rect| (rect.x, rect.y));
        let mut inside = Inside {
            before: before.map(size_of),
            is_canvas: folder.is_none(),
            kept: Vec::new(),
            grown: Vec::new(),
            cards: Vec::new(),
            frames: Vec::new(),
        };
        for &child in content {
            let (Some(item), Some(&size)) = (items.get(child), sizes.get(child)) else { continue };
            match item.on_board {
                Some(_) if item.is_displaced && (item.is_folder || size != CARD) => inside.frames.push((child, size)),
                Some(_) if item.is_displaced => inside.cards.push(child),
                None if item.is_folder => inside.frames.push((child, size)),
                None => inside.cards.push(child),
                Some(old) => {
                    let rect = Rect { x: old.x - left, y: old.y - top, width: size.width, height: size.height };
                    if size_of(old) == size {
                        inside.kept.push(rect);
                    } else {
                        inside.grown.push((child, rect));
                    }
                }
            }
        }
        inside
    }

    /// The size of the frame, and the places of what gets one.
    fn arrange(mut self) -> (Size, Vec<Placed>) {
        let mut size = self.before.unwrap_or_default();
        if self.before.is_some() && self.cards.is_empty() && self.frames.is_empty() && self.grown.is_empty() {
            return (size, Vec::new());
        }
        for (child, rect) in std::mem::take(&mut self.grown) {
            let with_margin = Rect {
                x: rect.x - GAP / 2.0,
                y: rect.y - GAP / 2.0,
                width: rect.width + GAP,
                height: rect.height + GAP,
            };
            if self.kept.iter().any(|other| overlap(&with_margin, other)) {
                self.frames.push((child, size_of(rect)));
            } else {
                self.kept.push(rect);
                size.width = size.width.max(rect.x + rect.width + PADDING);
                size.height = size.height.max(rect.y + rect.height + PADDING);
            }
        }
        // Large ones first: rows of frames of like height leave little room unused.
        self.frames.sort_by(|(a, a_size), (b, b_size)| b_size.height.total_cmp(&a_size.height).then(a.cmp(b)));

        let trial = self.best_trial();
        size.width = size.width.max(trial.right + PADDING);
        size.height = size.height.max(trial.bottom + PADDING);
        let cards = self.cards.iter().copied().zip(trial.cards);
        let frames = self.frames.iter().map(|(child, _)| *child).zip(trial.frames);
        (size, cards.chain(frames).collect())
    }

    fn best_trial(&self) -> Trial {
        let widest = self.frames.iter().map(|(_, size)| size.width).fold(CARD.width, f64::max);
        if let Some(before) = self.before {
            return self.try_width(widest.max(before.width - 2.0 * PADDING));
        }
        if !self.kept.is_empty() {
            // The canvas, with something on it.
            let right = self.kept.iter().map(|rect| rect.x + rect.width).fold(0.0, f64::max);
            return self.try_width(widest.max(right));
        }
        let columns = ((self.cards.len() + 1) as f64).sqrt().ceil();
        let cards = columns * (CARD.width + GAP) - GAP;
        let mut best = self.try_width(widest.max(cards));
        // As wide as one, two, three … of the frames side by side.
        let (mut row, mut next) = (-GAP, 1);
        for (count, (_, size)) in self.frames.iter().enumerate() {
            row += GAP + size.width;
            if count + 1 < next {
                continue;
            }
            next = next + next / 4 + 1;
            let trial = self.try_width(widest.max(cards).max(row));
            if trial.cost() < best.cost() {
                best = trial;
            }
        }
        best
    }

    /// Cards in the first free cells of a grid so wide, frames in rows below everything.
    fn try_width(&self, width: f64) -> Trial {
        let (left, top) = if self.is_canvas { (0.0, 0.0) } else { (PADDING, HEADER) };
        let mut trial = Trial { cards: Vec::new(), frames: Vec::new(), right: left, bottom: top };
        let columns = ((width + GAP) / (CARD.width + GAP)).floor().max(1.0) as usize;
        // Room for one card more, so that one file more moves nothing.
        let is_fresh = self.before.is_none() && self.kept.is_empty();
        let spare = usize::from(is_fresh && (!self.cards.is_empty() || self.frames.is_empty()));
        let mut cells = (0..).map(|cell| Rect {
            x: left + (cell % columns) as f64 * (CARD.width + GAP),
            y: top + (cell / columns) as f64 * (CARD.height + GAP),
            width: CARD.width,
            height: CARD.height,
        });
        while trial.cards.len() < self.cards.len() + spare {
            let Some(cell) = cells.find(|cell| !self.kept.iter().any(|other| overlap(cell, other))) else { break };
            trial.add(cell);
            trial.cards.push((cell.x, cell.y));
        }

        let mut bottom = self.kept.iter().map(|rect| rect.y + rect.height).fold(top - GAP, f64::max);
        if !trial.cards.is_empty() {
            bottom = bottom.max(trial.bottom);
        }
        let (mut x, mut y, mut row_height) = (left, bottom + GAP, 0.0_f64);
        for (_, size) in &self.frames {
            if x > left && x + size.width > left + width {
                (x, y, row_height) = (left, y + row_height + GAP, 0.0);
            }
            trial.add(Rect { x, y, width: size.width, height: size.height });
            trial.frames.push((x, y));
            x += size.width + GAP;
            row_height = row_height.max(size.height);
        }
        trial
    }
}

impl Trial {
    fn add(&mut self, rect: Rect) {
        self.right = self.right.max(rect.x + rect.width);
        self.bottom = self.bottom.max(rect.y + rect.height);
    }

    /// The longer side, on a screen.
    fn cost(&self) -> f64 {
        self.right.max(self.bottom * ASPECT)
    }
}

fn size_of(rect: Rect) -> Size {
    Size { width: rect.width, height: rect.height }
}

/// Whether two rectangles have more than an edge in common.
pub(super) fn overlap(a: &Rect, b: &Rect) -> bool {
    a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Folders and files by the index of their parent.
    fn tree(parents: &[(Option<usize>, bool)]) -> Vec<Item> {
        parents
            .iter()
            .map(|&(parent, is_folder)| Item { parent, is_folder, on_board: None, is_displaced: false })
            .collect()
    }

    /// A tree of all shapes: wide, deep, empty folders, one big folder among small ones. The same at every run.
    fn large_tree(size: usize) -> Vec<Item> {
        let mut items = tree(&[(None, true), (Some(0), true), (None, false)]);
        let mut state: u64 = 42;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let mut folders = vec![0, 1];
        for _ in 0..size {
            let parent = match random(10) {
                0 => None,
                1..=4 => folders.last().copied(),
                _ => folders.get(random(folders.len())).copied(),
            };
            let is_folder = random(6) == 0;
            if is_folder {
                folders.push(items.len());
            }
            items.push(Item { parent, is_folder, on_board: None, is_displaced: false });
        }
        items.extend((0..size / 6).map(|_| Item {
            parent: Some(1),
            is_folder: false,
            on_board: None,
            is_displaced: false,
        }));
        items
    }

    fn check(items: &[Item], rects: &[Rect]) {
        let mut siblings: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            siblings.entry(item.parent).or_default().push(index);
            if let Some(frame) = item.parent.map(|parent| &rects[parent]) {
                let rect = &rects[index];
                let inside = rect.x >= frame.x
                    && rect.y >= frame.y
                    && rect.x + rect.width <= frame.x + frame.width
                    && rect.y + rect.height <= frame.y + frame.height;
                assert!(inside, "{index} {rect:?} lies outside of {frame:?}");
            }
        }
        for group in siblings.values() {
            for (place, a) in group.iter().enumerate() {
                for b in &group[place + 1..] {
                    assert!(!overlap(&rects[*a], &rects[*b]), "{a} {:?} lies on {b} {:?}", rects[*a], rects[*b]);
                }
            }
        }
    }

    fn settle(items: &mut [Item], rects: &[Rect]) {
        for (item, rect) in items.iter_mut().zip(rects) {
            item.on_board = Some(*rect);
        }
    }

    #[test]
    fn siblings_do_not_overlap_and_frames_enclose() {
        let items = large_tree(3_000);
        let rects = arrange(&items);
        check(&items, &rects);
        assert_eq!(rects, arrange(&items));
        let (right, bottom) = rects
            .iter()
            .fold((0.0_f64, 0.0_f64), |(r, b), rect| (r.max(rect.x + rect.width), b.max(rect.y + rect.height)));
        assert!(right / bottom < 4.0 && bottom / right < 4.0, "a strip of {right} by {bottom} is not readable");
    }

    #[test]
    fn what_is_there_stays_and_one_more_file_moves_nothing() {
        let mut items = large_tree(400);
        let before = arrange(&items);
        settle(&mut items, &before);
        assert_eq!(arrange(&items), before);
        // Not in a folder that holds folders only: that has no grid with room in it.
        for parent in items.iter().filter(|item| !item.is_folder).map(|item| item.parent).collect::<HashSet<_>>() {
            let mut more = items.clone();
            more.push(Item { parent, is_folder: false, on_board: None, is_displaced: false });
            let rects = arrange(&more);
            assert_eq!(rects[..before.len()], before, "a file more in {parent:?} moved something");
        }
    }

    #[test]
    fn growing_keeps_frames_apart() {
        let mut items = large_tree(400);
        for round in 0..40 {
            let rects = arrange(&items);
            check(&items, &rects);
            settle(&mut items, &rects);
            let parent = items.iter().rposition(|item| item.is_folder).filter(|_| round % 3 > 0);
            for number in 0..7 {
                items.push(Item {
                    parent: parent.or(Some(0)),
                    is_folder: number == 6,
                    on_board: None,
                    is_displaced: false,
                });
            }
        }
    }

    #[test]
    fn what_was_moved_by_hand_stays_and_nothing_is_put_upon_it() {
        let mut items = tree(&[(None, true), (Some(0), false), (Some(0), false), (None, false)]);
        let mut rects = arrange(&items);
        // The first card goes where the spare cell was, the free-lying one far away.
        let spare = arrange(&{
            let mut more = items.clone();
            settle(&mut more, &rects);
            more.push(Item { parent: Some(0), is_folder: false, on_board: None, is_displaced: false });
            more
        });
        rects[1] = spare[4];
        rects[3] = Rect { x: -5_000.25, y: 900.125, width: 123.5, height: 77.0 };
        settle(&mut items, &rects);
        items.push(Item { parent: Some(0), is_folder: false, on_board: None, is_displaced: false });
        items.push(Item { parent: None, is_folder: true, on_board: None, is_displaced: false });
        let after = arrange(&items);
        assert_eq!(after[..4], rects[..4]);
        check(&items, &after);
    }

    #[test]
    fn what_comes_into_another_folder_gets_a_place_there() {
        let mut items =
            tree(&[(None, true), (Some(0), true), (Some(1), false), (None, true), (Some(3), false), (None, false)]);
        let rects = arrange(&items);
        settle(&mut items, &rects);
        // A folder with its card, and a card from the canvas, come into the folder 3.
        for index in [1, 5] {
            items[index].parent = Some(3);
            items[index].is_displaced = true;
        }
        let after = arrange(&items);
        check(&items, &after);
        assert_eq!((size_of(after[1]), size_of(after[5])), (size_of(rects[1]), size_of(rects[5])));
        assert_eq!(
            (after[2].x - after[1].x, after[2].y - after[1].y),
            (rects[2].x - rects[1].x, rects[2].y - rects[1].y)
        );
        assert_eq!((after[0], after[4]), (rects[0], rects[4]));
    }
}
