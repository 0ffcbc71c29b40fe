//! Tables for people: [`Grid`] with lines around every cell, as `calicoctl` draws it, and [`Columns`] without, as `kubectl` does.
//!
//! Both are as wide as their widest cell. Only a grid has a limit, for its last column: sentences go there, and wrap.

/// Width of a terminal that nobody has made wider.
const SCREEN: usize = 80;
/// A last column narrower than this is not worth wrapping.
const LAST_MIN: usize = 24;

/// A table with lines.
#[derive(Debug)]
pub(super) struct Grid<const N: usize> {
    header: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Grid<N> {
    pub(super) fn new(header: [&'static str; N]) -> Grid<N> {
        Grid { header, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    pub(super) fn write(&self, out: &mut String) {
        let mut widths = self.header.map(str::len);
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(columns(cell));
            }
        }
        if let [before @ .., last] = widths.as_mut_slice() {
            let used: usize = before.iter().map(|width| width + 3).sum();
            *last = (*last).min(SCREEN.saturating_sub(used + 4).max(LAST_MIN));
        }
        let rule: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
        out.push_str(&format!("{rule}+\n"));
        for (cell, width) in self.header.iter().zip(widths) {
            out.push_str(&format!("| {cell:^width$} "));
        }
        out.push_str(&format!("|\n{rule}+\n"));
        for row in &self.rows {
            write_row(row, &widths, out);
        }
        out.push_str(&format!("{rule}+\n"));
    }
}

fn write_row(row: &[String], widths: &[usize], out: &mut String) {
    let lines: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
    let height = lines.iter().map(Vec::len).max().unwrap_or(0);
    for n in 0..height {
        for (cell, width) in lines.iter().zip(widths) {
            let line = cell.get(n).map_or("", String::as_str);
            out.push_str(&format!("| {line:width$} "));
        }
        out.push_str("|\n");
    }
}

/// Lines of whole words, each of at most `width` columns unless a word is longer.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if columns(line) + 1 + columns(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Which side of its column a cell stands on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table without lines.
#[derive(Debug)]
pub(super) struct Columns<const N: usize> {
    header: [(&'static str, Side); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Columns<N> {
    pub(super) fn new(header: [(&'static str, Side); N]) -> Columns<N> {
        Columns { header, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    pub(super) fn write(&self, out: &mut String) {
        let mut widths = self.header.map(|(name, _)| name.len());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(columns(cell));
            }
        }
        self.line(&self.header.map(|(name, _)| name.to_owned()), &widths, out);
        for row in &self.rows {
            self.line(row, &widths, out);
        }
    }

    fn line(&self, cells: &[String; N], widths: &[usize; N], out: &mut String) {
        let mut line = String::new();
        for (n, ((cell, width), (_, side))) in cells.iter().zip(widths).zip(&self.header).enumerate() {
            if n > 0 {
                line.push_str("  ");
            }
            match side {
                Side::Left => line.push_str(&format!("{cell:<width$}")),
                Side::Right => line.push_str(&format!("{cell:>width$}")),
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_of_a_grid_wraps_at_the_edge_of_the_screen() {
        let mut grid = Grid::new(["PEER ADDRESS", "INFO"]);
        grid.row(["10.0.0.2".into(), "Established".into()]);
        grid.row(["10.0.0.3".into(), "a word and ".repeat(12)]);
        let mut out = String::new();
        grid.write(&mut out);
        assert!(
            out.lines().all(|line| line.len() <= SCREEN && line.len() == out.lines().next().unwrap().len())
        );
        assert_eq!(out.lines().count(), 8);
    }

    #[test]
    fn columns_align_words_left_and_numbers_right() {
        let mut table = Columns::new([("NAME", Side::Left), ("COUNT", Side::Right), ("", Side::Left)]);
        table.row(["a".into(), "5".into(), "x".into()]);
        table.row(["longer".into(), "12".into(), String::new()]);
        let mut out = String::new();
        table.write(&mut out);
        assert_eq!(out, "NAME    COUNT\na           5  x\nlonger     12\n");
    }
}
