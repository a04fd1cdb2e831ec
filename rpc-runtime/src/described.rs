//! A service's description as people read it: what `bailiwick describe` shows of its JSON.

use std::fmt;

use crate::service::{MethodDescription, ServiceDescription};

/// What the columns hold; the last has no padding.
const HEAD: [&str; 6] = ["METHOD", "VERB", "OBJECT", "DELIVERY", "TIMEOUT", "CALL"];

/// A table of the methods, below the service's name.
impl fmt::Display for ServiceDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = std::iter::once(HEAD.map(str::to_owned))
            .chain(self.methods.iter().map(cells))
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: [usize; HEAD.len()] = std::array::from_fn(|at| width(at).unwrap_or_default());
        f.write_str(self.name)?;
        for row in &rows {
            f.write_str("\n")?;
            let (call, others) = row.split_last().expect("a row has a cell for each column");
            for (cell, width) in others.iter().zip(widths) {
                write!(f, "  {cell:width$}")?;
            }
            write!(f, "  {call}")?;
        }
        Ok(())
    }
}

fn cells(method: &MethodDescription) -> [String; HEAD.len()] {
    let arguments: Vec<_> =
        method.arguments.iter().map(|it| format!("{}: {}", it.name, it.type_name)).collect();
    [
        method.name.to_owned(),
        method.verb.to_owned(),
        method.object.pattern().to_owned(),
        method.delivery.name().to_owned(),
        method.timeout.map_or_else(|| "-".to_owned(), |time| format!("{} ms", time.as_millis())),
        format!("({}) -> Result<{}, {}>", arguments.join(", "), method.result, method.error),
    ]
}

#[cfg(all(test, feature = "net"))]
mod tests {
    use crate::{Health, service::Service as _};

    #[test]
    fn each_method_has_a_line_with_what_a_policy_may_say_of_it() {
        let shown = Health::default().description().to_string();
        let wanted = "\
Health
  METHOD  VERB  OBJECT            DELIVERY  TIMEOUT  CALL
  server  read  health            readonly  -        () -> Result<Status, Never>
  check   read  health/{service}  readonly  -        (service: String) -> Result<Status, NoSuchService>";
        assert_eq!(shown, wanted);
    }
}
